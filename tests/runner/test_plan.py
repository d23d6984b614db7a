"""What is asked for becomes rows: the product, presets, files, digests, and what is left to do."""

import dataclasses
import json
import os
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders.consistent_record import sound

from fastbench.cli.parser import Parser, add_options, given_options
from fastbench.core.command_options import PlanOptions, Preset
from fastbench.core.config import SWEPT, RunConfig
from fastbench.core.engine_facts import BUILT_IN as ENGINES
from fastbench.core.errors import DataNotFoundError, UnknownNameError, UsageError
from fastbench.core.loader_facts import BUILT_IN
from fastbench.loaders import registry
from fastbench.models.registry import files_of
from fastbench.records.record import Record
from fastbench.records.store import write_record
from fastbench.records.validity import find_contradictions
from fastbench.runner import options_file, plan, planned_rows, possible_rows

BOTH = ("--loader", "torchvision", "--loader", "dali")
PRESETS = typing.get_args(Preset)


def given(*argv: str) -> dict[str, Any]:
    parser = Parser(prog="fastbench run")
    add_options(parser, RunConfig, several=(*SWEPT, "weights"))
    return given_options(RunConfig, parser.parse_args(argv))


def rows_of(*argv: str) -> list[tuple[object, ...]]:
    """(model, loader, dtype, mode or None, batch size) of each row."""
    return [
        (
            row.model,
            row.loader,
            row.config.dtype,
            row.config.compile_mode if row.config.compile else None,
            row.config.batch_size,
        )
        for row in planned_rows.expand(given(*argv))
    ]


def uncounted(*_: str) -> Callable[[int, int], None]:
    return lambda *_: None


def plan_of(*argv: str, **how: Any) -> plan.Plan:
    return plan.make_plan(given(*argv), PlanOptions(**how), uncounted)


def test_no_options_are_two_rows() -> None:
    assert rows_of() == [
        ("sample", "torchvision", "auto", None, None),
        ("sample", "dali", "auto", None, None),
    ]


def test_the_product_in_order() -> None:
    assert rows_of(
        "--model", "a", "--model", "b", "--dtype", "float32", "--dtype", "float16", "--loader",
        "dali", "--loader", "synthetic", "--batch-size", "8", "--batch-size", "4", "--batch-size",
        "8",
    ) == [
        (model, loader, dtype, None, batch_size)
        for model in ("a", "b")
        for dtype in ("float32", "float16")
        for batch_size in (8, 4)
        for loader in ("dali", "synthetic")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("loaders", "timed"),
    [
        ([], ["torchvision", "dali"]),
        (["dali"], ["dali"]),
        (["dali", "torchvision"], ["torchvision", "dali"]),
        (["torchvision"], ["torchvision"]),
    ],
)
def test_the_reference_is_timed_where_it_is_asked_for(loaders: list[str], timed: list[str]) -> None:
    rows = planned_rows.expand(given(*(word for name in loaders for word in ("--loader", name))))
    assert [row.loader for row in rows] == timed
    assert {row.config.reference for row in rows} == {"torchvision"}  # it scores in any case


def test_both_ways_of_compiling() -> None:
    """Eager rows have no mode, and are not repeated for each."""
    assert rows_of(
        "--reference", "none", "--compile", "--no-compile", "--compile-mode", "default",
        "--compile-mode", "max-autotune",
    ) == [
        ("sample", "dali", "auto", "default", None),
        ("sample", "dali", "auto", "max-autotune", None),
        ("sample", "dali", "auto", None, None),
    ]  # fmt: skip
    assert [row[3] for row in rows_of("--compile")] == ["default", "default"]


def test_tf32_beside_float32_is_for_that_alone() -> None:
    def kinds(*argv: str) -> list[tuple[str, bool]]:
        rows = planned_rows.expand(given("--reference", "none", *argv))
        return [(row.config.dtype, row.config.tf32) for row in rows]

    both = ("--tf32", "--no-tf32", "--dtype", "float16", "--dtype", "float32")
    assert kinds(*both) == [("float16", False), ("float32", True), ("float32", False)]
    # In vain: the row will say so, and is not run as another without a word.
    assert kinds("--tf32", "--dtype", "float16") == [("float16", True)]
    assert kinds("--tf32") == [("auto", True)]


def test_a_row_has_the_options_of_its_own_loader_and_of_the_reference() -> None:
    rows = planned_rows.expand(
        given(
            "--loader", "dali", "--loader", "synthetic", "--loader-option", "dali.prefetch=3",
            "--loader-option", "torchvision.prefetch=1",
        )
    )  # fmt: skip
    assert [row.config.loader_option for row in rows] == [
        ("dali.prefetch=3", "torchvision.prefetch=1"),
        ("torchvision.prefetch=1",),
    ]


def test_every_loader_that_runs_here() -> None:
    rows = planned_rows.expand(given("--loader", "all", "--loader", "dali"))
    assert [row.loader for row in rows][:2] == ["torchvision", "dali"]
    assert {row.loader for row in rows} >= set(BUILT_IN)
    assert len(rows) == len({row.loader for row in rows})
    # What was named has to run, the others may.
    assert [row.loader for row in rows if not row.only_if_here] == ["torchvision", "dali"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--loader", "daly"], "no loader 'daly'. Did you mean 'dali'?"),
        (["--reference", "torchvison"], "Did you mean 'torchvision'?"),
        (["--batch-size", "8", "--batch-size", "0"], "--batch-size is 0"),
        (["--loader-option", "dali.prefetsch=1"], "no option 'prefetsch'. Did you mean 'prefetch'"),
        (["--loader-option", "opencv.filter=area"], "'opencv', which is not run"),
        (
            ["--num-threads", "1", "--loader-option", "dali.num_threads=2"],
            "--num-threads and --loader-option dali.num_threads=2 both set the threads of dali",
        ),
        (
            ["--compile-mode", "default", "--compile-mode", "max-autotune"],
            "--compile-mode is given more than once, and no row is compiled",
        ),
        # Without threads, or with less than nothing ahead, a loader would be waited for for ever.
        (
            ["--loader-option", "dali.num_threads=0"],
            "dali.num_threads is 0. Give a whole number of at least 1.",
        ),
        (
            ["--loader-option", "dali.prefetch=-1"],
            "dali.prefetch is -1. Give a whole number of at least 0.",
        ),
        (["--loader-option", "dali.prefetch=2.5"], "dali.prefetch is 2.5"),
        (["--loader-option", "dali.prefetch=nan"], "dali.prefetch is nan"),
        (["--loader-option", "dali.prefetch=true"], "dali.prefetch is True"),
        (["--loader-option", "dali.prefetch=many"], "dali.prefetch is many"),
    ],
)
def test_what_cannot_be_is_refused_before_any_row(argv: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        rows_of(*argv)
    assert said in str(caught.value)


def test_ab_has_one_value_of_each() -> None:
    config = planned_rows.single(
        given("--dtype", "float16", "--model", "a", "--model", "b", "--compile")
    )
    assert config == RunConfig(dtype="float16", model=("a", "b"), compile=True)
    with pytest.raises(UsageError, match=r"--batch-size is given 2 times.* Give it once"):
        planned_rows.single(given("--batch-size", "8", "--batch-size", "4"))


def test_each_model_has_its_weights() -> None:
    asked = ["--model", "a", "--model", "b", "--model", "c", "--reference", "none"]

    def weights_of(*weights: str) -> list[str]:
        argv = [word for text in weights for word in ("--weights", text)]
        return [row.config.weights for row in planned_rows.expand(given(*asked, *argv))]

    assert weights_of() == ["DEFAULT"] * 3
    assert weights_of("none") == ["none"] * 3
    assert weights_of("a=x.pth", "c=y.pth") == ["x.pth", "DEFAULT", "y.pth"]
    assert weights_of("a=x.pth", "none") == ["x.pth", "none", "none"]
    assert weights_of("epoch=3.pth") == ["epoch=3.pth"] * 3  # a file that is named so


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (("resnet81=x",), "--weights is 'resnet81=x', and no model 'resnet81' is run. Did you mean "
         "'resnet18'? Run: resnet18, resnet50."),
        (("resnet18=x", "resnet18=y"), "--weights of resnet18 is given twice: x and y."),
        (("x.pth", "y.pth"), "--weights is given twice: x.pth and y.pth. Give it once, or once for "
         "each model: --weights MODEL=WEIGHTS"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be_told_apart(weights: tuple[str, ...], said: str) -> None:
    argv = [word for text in weights for word in ("--weights", text)]
    with pytest.raises(UsageError) as caught:
        planned_rows.expand(given("--model", "resnet18", "--model", "resnet50", *argv))
    assert said in str(caught.value)


def test_ab_has_one_set_of_weights() -> None:
    options = given("--model", "a", "--weights", "a=x.pth")
    assert planned_rows.single(options).weights == "x.pth"
    with pytest.raises(UsageError, match=r"--weights has several values, and --ab compares two"):
        planned_rows.single(given("--model", "a", "--model", "b", "--weights", "a=x.pth"))


def test_repeats_are_the_whole_plan_again() -> None:
    rows = planned_rows.expand(given("--repeat", "2", "--batch-size", "8", "--batch-size", "4"))
    assert [(row.loader, row.config.batch_size, row.number) for row in rows] == [
        (loader, batch_size, number)
        for number in (1, 2)
        for batch_size in (8, 4)
        for loader in ("torchvision", "dali")
    ]
    assert len({row.key for row in rows}) == 8
    assert len({row.digest for row in rows}) == 4


def test_patterns_become_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan.catalogue, "matching", lambda pattern: ("resnet18", "resnet50"))
    rows = plan_of("--model", "vgg16", "--model", "resnet*", "--reference", "none").rows
    assert [row.model for row in rows] == ["vgg16", "resnet18", "resnet50"]


# ------------------------------------------------------------------------------------- files


def test_the_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(possible_rows, "problem_of", lambda row: None)  # whatever is installed
    files = sorted(path.stem for path in options_file.PRESETS.glob("*"))
    assert files == sorted(PRESETS)
    numbers = {name: len(plan_of(preset=name).rows) for name in PRESETS}
    assert numbers == {
        "study": 8,
        "imagenet-classics": 30,
        "loaders": len({*BUILT_IN, *registry.installed()}),
        "engines": 2 * len(ENGINES),
        "precision": 12,
        "quantization": 14,  # eager is not quantised
        "resolution": 10,
        "batch-scaling": 9,
        "scaling": 4,
    }
    study = [row.model for row in plan_of(preset="study").rows]
    assert study[::2] == ["alexnet", "vgg16", "resnet18", "googlenet"]


def test_ranks_of_a_preset_are_run_only_if_there_is_room(tmp_path: Path) -> None:
    def optional(found: plan.Plan) -> list[int]:
        return [row.config.ranks for row in found.rows if row.only_if_room]

    preset = plan_of(preset="scaling")
    assert [row.config.ranks for row in preset.rows] == [1, 2, 4, 8]
    assert optional(preset) == [2, 4, 8]
    # By hand or in a file they are asked for.
    assert optional(plan_of("--ranks", "4", preset="scaling")) == []
    file = tmp_path / "own.toml"
    file.write_text("ranks = [2, 4]\n")
    assert optional(plan_of(config=str(file))) == []
    # A run that is gone on with does not tell where its plan is from.
    options_file.write_options(preset.options, tmp_path / plan.PLAN_FILE)
    assert optional(plan_of(resume=str(tmp_path))) == [2, 4, 8]


def test_every_model_of_the_presets_is_there() -> None:
    from fastbench.models.registry import check_name

    for name in PRESETS:
        for row in plan_of(preset=name).rows:
            check_name(row.model)


def test_preset_then_file_then_command_line(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text('dtype = "float16"\nmin-seconds = 1\nlatency-batch-size = 2\nquick = true\n')
    rows = plan_of(
        "--no-compile", "--min-seconds", "2", preset="precision", config=str(file)
    ).rows  # fmt: skip
    assert [row.loader for row in rows] == ["torchvision", "dali"]
    assert rows[0].config == RunConfig(
        model=("sample",),
        loader=("torchvision",),
        dtype="float16",
        min_seconds=2.0,
        latency_batch_size=(2,),
        quick=True,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("batch-sise = 8", "has 'batch-sise', which is no option of fastbench run. Did you mean "
         "'batch-size'?"),
        ("batch_sise = 8\nmodell = 'a'\n[wieghts]\na = 'b'", "has 'batch_sise', which is no option "
         "of fastbench run. Did you mean 'batch-size'? It has 'modell', which is no option of "
         "fastbench run. Did you mean 'model'? It has 'wieghts', which is no option of fastbench "
         "run. Did you mean 'weights'? List them: fastbench run --help"),
        ("batch_size = 8\nbatch-size = 4", "has 'batch-size' twice. Leave out one of them."),
        ("[batch-size]\na = 8", "batch-size is {'a': 8}. Give a whole number"),
        ("preset = 'study'", "has 'preset', which is no option"),
        ("batch-size = '8'", "batch-size is '8'. Give a whole number of at least 1. Write several "
         "as a list."),
        ("batch-size = [8, true]", "batch-size is True. Give a whole number"),
        ("batch-size = []", "batch-size is empty"),
        ("batch-size = 8.5", "batch-size is 8.5"),
        ("limit = [8]", "limit is [8]. Give a whole number of at least 1."),
        ("compile = 1", "compile is 1. Give true or false. Write"),
        ("model = 3", "model is 3. Give text in quotes. Write"),
        ("min-seconds = true", "min-seconds is True. Give a number of seconds, 0 or more."),
        ("model = [", "is not TOML: Invalid value"),
        ("model = " + "[" * 20_000, "is not TOML: maximum recursion"),
        ("limit = " + "9" * 6000, "is not TOML: Exceeds the limit"),
        ("dtype = 'float64'", "--dtype is 'float64'"),
    ],
)  # fmt: skip
def test_a_file_that_says_what_cannot_be(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        plan_of(config=str(file))
    assert said in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"gone.toml cannot be read \(No such file"):
        plan_of(config="gone.toml")


def test_both_spellings_and_weights_of_each_model(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(
        'model = ["a", "b"]\nbatch_size = [8, 4]\nmin-seconds = 1\n[weights]\na = "x.pth"\n'
    )
    rows = plan_of("--reference", "none", config=str(file)).rows
    assert [(row.model, row.config.weights, row.config.batch_size) for row in rows] == [
        *(("a", "x.pth", 8), ("a", "x.pth", 4), ("b", "DEFAULT", 8), ("b", "DEFAULT", 4)),
    ]


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    asked = given(
        "--model", 'a"b\\c\n', "--model", "é", "--compile", "--no-compile", "--batch-size", "8",
        "--min-seconds", "0.25", "--limit", "7", "--quick", "--data", "/x/\udcff",
    )  # fmt: skip
    options_file.write_options(asked, tmp_path / "plan.toml")
    assert options_file.read_options(tmp_path / "plan.toml") == asked


# ----------------------------------------------------------------------------------- digests


def digest(**changes: Any) -> str:
    config = RunConfig(model=("a",), loader=("dali",), **changes)
    return plan.PlannedRow(config).digest


@pytest.mark.parametrize(
    "change",
    [
        {"data": "elsewhere"},
        {"data_root": "elsewhere"},
        {"weights": "none"},
        {"reference": "none"},
        {"dtype": "float16"},
        {"batch_size": 8},
        {"compile": True},
        {"loader_option": ("dali.prefetch=3",)},
        {"loader_option": ("torchvision.prefetch=3",)},
        {"limit": 5},
        {"among": "present"},
        {"running": 5},
        {"tolerance": "1"},
        {"seed": 1},
    ],
)
def test_what_changes_a_row_changes_its_digest(change: dict[str, Any]) -> None:
    assert digest(**change) != digest()


@pytest.mark.parametrize(
    "change",
    [
        {"output": "elsewhere"},
        {"predictions": "file.csv"},
        {"compile_mode": "max-autotune"},  # without --compile
        {"min_seconds": 5},
    ],
)
def test_what_does_not_change_a_row_does_not(change: dict[str, Any]) -> None:
    assert digest(**change) == digest()


def test_a_mode_counts_with_compilation() -> None:
    assert digest(compile=True, compile_mode="max-autotune") != digest(compile=True)


def test_the_digest_of_a_record_is_that_of_its_row() -> None:
    """Through JSON; and a record of when a configuration had all the loaders of its run."""
    row = planned_rows.expand(given("--compile", "--loader-option", "dali.prefetch=3"))[1]
    stored = json.loads(json.dumps(dataclasses.asdict(row.config)))
    assert plan.digest_of(RunConfig.from_json(stored), "sample", "dali") == row.digest
    stored["loader"] = ["dali", "synthetic"]
    stored["loader_option"].append("synthetic.prefetch=1")
    del stored["seed"]  # an option that was added later
    older = RunConfig.from_json({**stored, "of_another_version": 1})
    assert plan.digest_of(older, "sample", "dali") == row.digest
    assert plan.digest_of(older, "sample", "synthetic") != row.digest


# ------------------------------------------------------------------------------------ resume


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The identity of the images that are there now."""
    found = {"identity": "of the images"}

    def find(*_: object) -> object:
        if not found:
            raise DataNotFoundError("There are none. Name others.")
        return type("Manifest", (), found)

    monkeypatch.setattr(plan, "find_images", find)
    return found


def record_of(row: plan.PlannedRow, **changes: Any) -> Record:
    return sound(
        model=row.model,
        loader=row.loader,
        config=dataclasses.asdict(row.config),
        data={"num_samples": 100, "identity": "of the images"},
        files=files_of(row.model, row.config.weights),
        **changes,
    )


def test_finished_rows_are_found(tmp_path: Path, data: dict[str, str]) -> None:
    rows = planned_rows.expand(given("--model", "a", "--model", "b"))
    write_record(record_of(rows[1]), tmp_path)
    (tmp_path / "cut.json").write_text('{"schema_version": 3, "mod')
    (tmp_path / "suite.json").write_text("{}")
    asked = ["--model", "a", "--model", "b", "--output", str(tmp_path)]
    resumed = plan_of(*asked, resume="")
    assert set(resumed.finished) == {rows[1].key}
    assert [row.digest for row in resumed.todo] == [rows[i].digest for i in (0, 2, 3)]
    assert resumed.output == str(tmp_path)
    # Another plan knows it too, and without --resume all is measured.
    assert len(plan_of("--model", "a", resume=str(tmp_path)).todo) == 1
    assert len(plan_of(*asked).todo) == 4


def test_repeats_that_are_finished_are_counted(tmp_path: Path, data: dict[str, str]) -> None:
    asked = ["--repeat", "3", "--reference", "none"]
    row = planned_rows.expand(given(*asked))[0]
    for created in ("2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00"):
        write_record(record_of(row, created=created), tmp_path)
    resumed = plan_of(*asked, resume=str(tmp_path))
    assert [row.number for row in resumed.todo] == [3]
    assert [resumed.finished[row.digest, n].created[:10] for n in (1, 2)] == [
        *("2026-01-02", "2026-01-03"),
    ]
    assert plan_of("--reference", "none", resume=str(tmp_path)).todo == []


def test_the_newest_record_of_a_row_counts(tmp_path: Path, data: dict[str, str]) -> None:
    row = planned_rows.expand(given())[0]
    for created in ("2026-01-03T00:00:00+00:00", "2026-01-02T00:00:00+00:00"):
        write_record(record_of(row, created=created), tmp_path)
    (found,) = plan_of(*BOTH, resume=str(tmp_path)).finished.values()
    assert found.created == "2026-01-03T00:00:00+00:00"


def test_a_record_that_contradicts_itself_is_not_finished(
    tmp_path: Path, data: dict[str, str]
) -> None:
    row = planned_rows.expand(given())[0]
    broken = msgspec.structs.replace(sound().throughput, num_images=1)
    record = record_of(row, throughput=broken)
    assert find_contradictions(record)
    write_record(record, tmp_path)
    assert plan_of(*BOTH, resume=str(tmp_path)).finished == {}


def test_other_images_are_measured_again(tmp_path: Path, data: dict[str, str]) -> None:
    write_record(record_of(planned_rows.expand(given())[0]), tmp_path)
    data["identity"] = "of others"
    resumed = plan_of(*BOTH, resume=str(tmp_path))
    assert (resumed.finished, resumed.num_changed, len(resumed.todo)) == ({}, 1, 2)
    data.clear()
    with pytest.raises(DataNotFoundError):
        plan_of(*BOTH, resume=str(tmp_path))


def test_a_record_that_does_not_know_its_images_is_measured_again(
    tmp_path: Path, data: dict[str, str]
) -> None:
    """An older version wrote it."""
    row = planned_rows.expand(given())[0]
    record = msgspec.structs.replace(record_of(row), data={"num_samples": 100, "digest": "a"})
    write_record(record, tmp_path)
    resumed = plan_of(*BOTH, resume=str(tmp_path))
    assert (resumed.finished, resumed.num_changed) == ({}, 1)


def test_the_newest_of_the_records_of_these_images_counts(
    tmp_path: Path, data: dict[str, str]
) -> None:
    row = planned_rows.expand(given())[0]
    write_record(record_of(row, created="2026-01-02T00:00:00+00:00"), tmp_path)
    newer = record_of(row, created="2026-01-03T00:00:00+00:00")
    write_record(msgspec.structs.replace(newer, data={**newer.data, "identity": "b"}), tmp_path)
    (found,) = plan_of(*BOTH, resume=str(tmp_path)).finished.values()
    assert found.created == "2026-01-02T00:00:00+00:00"


@pytest.mark.parametrize(
    ("given_file", "name"),
    [
        ("--weights=last.pt", "last.pt"),
        ("--weights=last.pt:ema", "last.pt"),
        ("--model=last.pt", "last.pt"),
        ("--model=nets:small", "nets.py"),
    ],
)
def test_a_row_of_another_file_is_measured_again(
    given_file: str,
    name: str,
    tmp_path: Path,
    data: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By what is in it: its size, its time and its name are those of before."""
    monkeypatch.chdir(tmp_path)
    file = Path(name)
    file.write_bytes(b"before")
    as_before = file.stat()
    asked = ["--loader", "torchvision", given_file]
    Path("out").mkdir()
    write_record(record_of(planned_rows.expand(given(*asked))[0]), Path("out"))
    assert plan_of(*asked, resume="out").todo == []
    os.utime(file)  # a copy of the same file
    assert plan_of(*asked, resume="out").todo == []
    file.write_bytes(b"after.")
    os.utime(file, ns=(0, as_before.st_mtime_ns))
    resumed = plan_of(*asked, resume="out")
    assert (len(resumed.todo), resumed.num_changed) == (1, 1)
    file.unlink()
    assert len(plan_of(*asked, resume="out").todo) == 1


def test_resume_by_itself_takes_the_plan(
    tmp_path: Path, data: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no run in fastbench-results to go on with"):
        plan_of(resume="")
    for day in ("1", "2"):
        folder = plan.RESULTS / day
        folder.mkdir(parents=True)
        options_file.write_options(given("--model", f"m{day}"), folder / plan.PLAN_FILE)
    write_record(record_of(planned_rows.expand(given("--model", "m2"))[0]), plan.RESULTS / "2")
    newest = plan_of(resume="")
    assert (newest.output, newest.rows[0].model) == ("fastbench-results/2", "m2")
    assert len(newest.todo) == 1
    named = plan_of("--predictions", "p.csv", resume="fastbench-results/1")
    assert named.rows[0].model == "m1"
    assert named.options["predictions"] == "p.csv"
    with pytest.raises(UsageError, match=r"There is no plan.toml in elsewhere"):
        plan_of(resume="elsewhere")
    with pytest.raises(UsageError, match=r"--resume names a and --output b"):
        plan_of("--output", "b", resume="a")
    # The options are the plan, and there is nothing yet: a script may always say --resume.
    assert len(plan_of("--model", "m1", "--output", "new", resume="").todo) == 2


def test_resume_goes_on_where_the_file_says(
    tmp_path: Path, data: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    newest = plan.RESULTS / "1"
    newest.mkdir(parents=True)
    options_file.write_options(given("--model", "other"), newest / plan.PLAN_FILE)
    Path("out").mkdir()
    write_record(record_of(planned_rows.expand(given("--model", "a"))[0]), Path("out"))
    Path("plan.toml").write_text('model = "a"\noutput = "out"\n')
    for resume in ("", "out", "out/"):
        resumed = plan_of(config="plan.toml", resume=resume)
        assert Path(resumed.output or "") == Path("out")
        assert len(resumed.todo) == 1
    assert plan_of(config="plan.toml").output == "out"
    assert plan_of("--output", "there", config="plan.toml").output == "there"
    with pytest.raises(UsageError, match=r"--resume names a and --output out"):
        plan_of(config="plan.toml", resume="a")


def test_what_tells_rows_apart() -> None:
    swept = plan_of("--compile", "--no-compile", "--batch-size", "8", "--dtype", "float16")
    assert [swept.title(row) for row in swept.rows[::2]] == [
        "sample · torchvision · compile",
        "sample · torchvision · eager",
    ]
    swept = plan_of(
        "--dtype", "auto", "--dtype", "float16", "--batch-size", "8", "--batch-size", "4"
    )
    assert swept.title(swept.rows[1]) == "sample · dali · auto · batch 8"


def test_the_time_left() -> None:
    assert plan.seconds_left([], 4) is None
    assert plan.seconds_left([10.0, 20.0], 4) == 60.0


def test_an_unknown_preset() -> None:
    parser = Parser(prog="fastbench run")
    add_options(parser, PlanOptions)
    with pytest.raises(UsageError, match=r"invalid choice: 'stduy'"):
        parser.parse_args(["--preset", "stduy"])
    assert parser.parse_args(["--resume"]).resume == ""
    assert parser.parse_args(["--resume", "there"]).resume == "there"


def test_an_unknown_loader_is_no_row() -> None:
    with pytest.raises(UnknownNameError):
        plan_of("--loader", "al")


def test_a_model_that_nobody_named_is_said_where_weights_are_given() -> None:
    made = plan.make_plan({"weights": ("own.pth",)}, PlanOptions(), uncounted)
    assert made.notes == ("No --model is given, so the model is sample.",)
    named = {"weights": ("own.pth",), "model": ("resnet18",)}
    assert plan.make_plan(named, PlanOptions(), uncounted).notes == ()
