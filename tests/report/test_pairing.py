"""Which runs are held against which: by configuration, repeats together, nobody forgotten."""

import json
from pathlib import Path

import msgspec
import pytest
from builders.engines import row
from builders.runs import DATA, environment, folder_of, parity_record, run, written

from fastbench.cli.main import main
from fastbench.core.errors import RecordError
from fastbench.records.store import write_record
from fastbench.report.compare.pairing import PairedSets, pair_up


def stems(found: PairedSets) -> list[tuple[list[str], list[str]]]:
    """The names of the files of each pair."""
    return [tuple([x.path.stem for x in side] for side in (p.a, p.b)) for p in found.pairs]  # type: ignore[misc]


def test_two_single_records_are_a_pair_whatever_they_are(tmp_path: Path) -> None:
    a = folder_of(tmp_path / "a", x=run(100))
    (a / "notes.json").write_text("{}")
    (a / "suite.json").write_text('{"schema_version": 3}')
    write_record(parity_record(), a)
    b = folder_of(tmp_path / "b", y=run(80, loader="torchvision", batch_size=64))
    for other in (b, b / "y.json"):
        assert stems(pair_up(a, other)) == [(["x"], ["y"])]


def test_configurations_find_each_other_whatever_their_files_are_called(tmp_path: Path) -> None:
    a = folder_of(tmp_path / "a", x=run(100), y=run(100, dtype="float16"), z=run(9, model="m"))
    b = folder_of(tmp_path / "b", x=run(80, dtype="float16"), v=run(80), w=run(9, batch_size=8))
    found = pair_up(a, b)
    assert stems(found) == [(["x"], ["v"]), (["y"], ["x"])]
    assert [(x.runs[0].path.stem, x.differs_in) for x in found.only_a] == [("z", ["model"])]
    assert [(x.runs[0].path.stem, x.differs_in) for x in found.only_b] == [("w", ["batch size"])]


def test_a_file_against_a_folder(tmp_path: Path) -> None:
    a = written(tmp_path, run(100, dtype="float16"), "a.json")
    b = folder_of(tmp_path / "b", x=run(80), x2=run(81), y=run(80, dtype="float16"))
    found = pair_up(a, b)
    assert stems(found) == [(["a"], ["y"])]
    (lone,) = found.only_b
    assert lone.files == f"{b / 'x.json'} and 1 repeat"
    assert lone.nearest == "the nearest differs in dtype"
    assert stems(pair_up(b, a)) == [(["y"], ["a"])]


def test_repeats_are_together_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    """Also those of sub-folders, where `fastbench run` puts a run each."""
    a, b = tmp_path / "a", tmp_path / "b"
    for i, name in enumerate(("third", "first", "second")):
        created = f"2026-01-02T03:0{(3, 1, 2)[i]}:00+00:00"
        folder = a / name
        folder.mkdir(parents=True)
        write_record(run(100 + i, created=created), folder).rename(folder / f"{name}.json")
    folder_of(b, x=run(80), y=run(81), z=run(50, loader="torchvision"))
    assert stems(pair_up(a, b)) == [(["first", "second", "third"], ["x", "y"])]


def test_a_copy_of_a_record_is_no_repeat(tmp_path: Path) -> None:
    """It would count as a run that does not scatter, and make the interval too narrow."""
    a = folder_of(tmp_path / "a", x=run(100), y=run(104), z=run(9, model="m"))
    b = folder_of(tmp_path / "b", x=run(100), y=run(104), z=run(9, model="m"))
    folder_of(b / "copies", x=run(100), y=run(104))
    assert stems(pair_up(a, b)) == [(["x", "y"], ["x", "y"]), (["z"], ["z"])]


@pytest.mark.parametrize(
    "changes",
    [
        {"num_threads": 4},
        {"data": {**DATA, "digest": "b" * 64}},
        {"data": {**DATA, "page_cache": None}},
        {"config": {"resize": "exact"}},
        {"config": {"quick": True}},
        {"config": {"loader_option": ["dali.prefetch=3"]}},
        {"preprocess": {"resize": 232}},
        {"parity": None},
        {"environment": environment(1)},
    ],
)
def test_what_is_no_repeat_is_a_pair_all_the_same_where_there_is_one_of_it(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    a = folder_of(tmp_path / "a", x=run(100), y=run(100, dtype="float16"))
    b = folder_of(tmp_path / "b", x=run(80, **changes), y=run(80, dtype="float16"))
    assert stems(pair_up(a, b)) == [(["y"], ["y"]), (["x"], ["x"])]
    # On one side, it is another configuration.
    found = pair_up(folder_of(tmp_path / "a", z=run(100, **changes)), b)
    assert stems(found) == [(["y"], ["y"]), (["z"], ["x"])]
    assert [x.runs[0].path.stem for x in found.only_a] == ["x"]


def test_options_of_another_loader_mean_nothing(tmp_path: Path) -> None:
    config = {"loader_option": ["torchvision.prefetch=3"]}
    a = folder_of(tmp_path / "a", x=run(100), y=run(101, config=config), z=run(1, model="m"))
    assert stems(pair_up(a, a)) == [(["x", "y"], ["x", "y"]), (["z"], ["z"])]


def test_several_rows_on_another_machine(tmp_path: Path) -> None:
    """Two thread counts each: what was set finds its partner, which its name alone would not."""
    sides = []
    for side in (0, 1):
        rows = {
            f"t{threads}": run(
                100, num_threads=threads, environment=environment(side), device="cuda:0"
            )
            for threads in (2, 4)
        }
        sides.append(folder_of(tmp_path / str(side), **rows))
    assert stems(pair_up(*sides)) == [(["t2"], ["t2"]), (["t4"], ["t4"])]


def test_engine_quantisation_and_image_size_are_part_of_what_is_paired(tmp_path: Path) -> None:
    """Though all rows ran on other images than those of the other side, and so are no repeats."""
    kinds = {
        "eager": row(),
        "openvino": row(engine="openvino"),
        "int8": row(engine="openvino", quantize="int8"),
        "small": row(engine="openvino", quantize="int8", size=160),
    }
    others = {
        name: msgspec.structs.replace(each, data={**each.data, "digest": "b" * 64})
        for name, each in kinds.items()
    }
    found = pair_up(folder_of(tmp_path / "a", **kinds), folder_of(tmp_path / "b", **others))
    assert sorted(stems(found)) == sorted(([name], [name]) for name in kinds)
    del others["int8"], others["small"]
    found = pair_up(tmp_path / "a", folder_of(tmp_path / "c", **others))
    assert sorted(x.runs[0].path.stem for x in found.only_a) == ["int8", "small"]


def test_a_choice_of_partners_is_not_guessed(tmp_path: Path) -> None:
    a = folder_of(tmp_path / "a", x=run(100, num_threads=2), y=run(100, num_threads=4))
    b = folder_of(tmp_path / "b", x=run(80, num_threads=8), y=run(80, num_threads=4))
    folder_of(b, z=run(80, num_threads=16))
    found = pair_up(a, b)
    assert stems(found) == [(["y"], ["y"])]
    assert [x.differs_in for x in found.only_a] == [["threads"]]
    assert sorted(x.runs[0].path.stem for x in found.only_b) == ["x", "z"]


def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = written(tmp_path / "good", run(100, 101))
    empty = tmp_path / "empty"
    empty.mkdir()
    text = tmp_path / "text.json"
    text.write_text("not JSON")
    later = tmp_path / "later.json"
    later.write_text('{"schema_version": 99}')
    stored = json.loads(good.read_text())
    stored["throughput"]["windows"][0]["wall_s"] = 0
    damaged = tmp_path / "damaged.json"
    damaged.write_text(json.dumps(stored))
    headless = tmp_path / "headless.json"
    headless.write_text(json.dumps({**stored, "device": None}))
    others = folder_of(tmp_path / "o", x=run(1, model="m", batch_size=8), y=run(1, model="n"))
    cut = tmp_path / "cut"
    folder_of(cut, x=run(100))
    (cut / "y.json").write_text(good.read_text()[:1000])
    for path, said in {
        tmp_path / "missing.json": "cannot be read (No such file or directory). Name",
        text: "is not JSON",
        later: "schema_version 99, this fastbench reads 1",
        write_record(parity_record(), tmp_path): "`fastbench parity`, not of a row of",
        damaged: "(throughput.windows[0].wall_s should be a number of at least 1e-09)",
        headless: "is a damaged record",
        empty: "holds no records. Name",
        cut: "y.json is not a record: it is not JSON",
        others: "differs from the nearest in model. Name two files",
    }.items():
        assert main(["compare", str(good), str(path)]) == 1, path
        out, err = capsys.readouterr()
        assert said in err, path
        assert (err.count("\n"), out) == (1, "")


def test_a_side_cannot_hold_the_other(tmp_path: Path) -> None:
    """The slow runs of B would be repeats of A's, whose scatter then hides the slowdown."""
    a = folder_of(tmp_path / "a", x=run(100), y=run(100, dtype="float16"))
    b = folder_of(a / "b", x=run(80), y=run(80, dtype="float16"))
    for pair in ((a, b), (b, a), (a, a / "x.json")):
        with pytest.raises(RecordError, match=r"is inside of .*on both sides"):
            pair_up(*pair)
