"""Two records held against each other: figures, what differs, the gate, and old files."""

import json
from pathlib import Path

import msgspec
import pytest
from builders.paths import GOLDEN
from builders.records import make
from builders.runs import DATA, MOVED, broken, compare_records, environment, run, text_of, written

from fastbench.cli.main import main
from fastbench.records.gates import compare_pixels
from fastbench.records.record import Record
from fastbench.records.store import read_record
from fastbench.records.validity import find_contradictions
from fastbench.report.compare.ci_gate import slowdown
from fastbench.report.compare.pair_comparison import (
    format_ratio,
)


def names(differences: list[object]) -> set[str]:
    return {difference.name for difference in differences}  # type: ignore[attr-defined]


def test_the_verdict_in_words() -> None:
    slow, fast = run(99, 100, 101), run(124, 125, 126)
    assert compare_records(slow, fast).verdict == "B is 1.25x A (95 %: 1.22 to 1.28)"
    assert compare_records(fast, slow).verdict == "B is 0.80x A (95 %: 0.78 to 0.82)"
    same = compare_records(slow, run(95, 101, 104))
    assert same.verdict == "no difference found (B is 1.00x A, 95 %: 0.90 to 1.11)"
    assert (
        compare_records(run(100), run(125)).verdict
        == "B is 1.25x A; one window a side: no interval"
    )
    assert compare_records(slow, run(125)).verdict == "B is 1.25x A; one window in B: no interval"


def test_ratios_in_words() -> None:
    assert [format_ratio(x) for x in (1.254, 12.34, 1234.5, 0.0123)] == [
        "1.25x", "12.3x", "1,234.5x", "0.012x",
    ]  # fmt: skip
    assert format_ratio(1.0034, (1.0021, 1.0047)) == "1.003x"
    # Two decimals would not tell on which side of 1 it begins.
    assert format_ratio(1.0034, (1.0034, 1.06)) == "1.003x"


def test_figures() -> None:
    golden = read_record(GOLDEN / "record-v3.json")
    found = compare_records(run(100, 100), golden)
    throughput, stall = found.figure("images/s"), found.figure("stall")
    assert (throughput.a, throughput.b, throughput.ratio) == (100, 250, 2.5)
    assert stall.difference == pytest.approx(1.5 / 8 - 0.25)
    assert stall.ratio is None
    by_name = {found.column.name: (found.a, found.b) for found in found.figures}
    assert by_name == {
        "images/s": (100, 250),
        "step-p50": (pytest.approx(0.3125), pytest.approx(0.125)),
        "step-p90": (pytest.approx(0.3125), pytest.approx(0.13)),
        "step-p99": (None, None),
        "batch-latency": (0.2, 0.2),
        "loader-ceiling": (500, 500),
        "model-ceiling": (250, 250),
        "of-ceiling": (0.4, 1.0),
        "stall": (0.25, 0.1875),
        "cpu-s": (None, 12),
        "watts": (None, 200),
        "images/J": (None, 1.25),
        "top-1": (0.923, 0.7),
        "top-5": (0.99, 0.9),
        "agreement": (0.997, 0.995),
    }


def test_the_same_twice() -> None:
    record = run(100, 101, 102)
    other = msgspec.structs.replace(
        record,
        created="2027-01-01T00:00:00+00:00",
        command="fastbench run --quick",
        config={**record.config, "output": "elsewhere", "predictions": "some.csv", "data": "d"},
    )
    found = compare_records(record, other)
    assert (found.unlike, found.changed, found.invalid) == ([], [], [])
    assert "Nothing differs" in text_of(found, 80)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("batch size", {"batch_size": 64}),
        ("dtype", {"dtype": "float16"}),
        ("image set", {"data": {**DATA, "digest": "b" * 64}}),
        ("page cache", {"data": {**DATA, "page_cache": "cold"}}),
        ("preprocess: resize", {"preprocess": {"resize": 232}}),
        ("reference", {"parity": msgspec.structs.replace(make().parity, reference="dali")}),
    ],
)
def test_unlike_records(name: str, changes: dict[str, object]) -> None:
    alike = {"preprocess": {"resize": 256}}
    found = compare_records(run(100, 101, **alike), run(100, 101, **{**alike, **changes}))
    assert names(found.unlike) == {name}
    assert not found.changed
    assert found.word == "unlike"
    text = text_of(found, 80)
    assert text.index("UNLIKE") < text.index("measured")
    assert "Verdict: not comparable (UNLIKE)" in text


def test_images_of_equal_names_and_sizes_that_hold_something_else() -> None:
    a, b, elsewhere = (
        run(100, 101, data={**DATA, "contents": 64 * letter, "root": root}, files=files)
        for letter, root, files in (
            ("a", "/a", {"weights": 64 * "1"}),
            ("b", "/a", {"weights": 64 * "2"}),
            ("a", "/copied", {"weights": 64 * "1"}),
        )
    )
    found = compare_records(a, b)
    assert names(found.unlike) == {"image contents"}
    assert names(found.changed) == {"model file"}
    assert not compare_records(a, elsewhere).unlike
    other = run(100, 101, data={**DATA, "contents": 64 * "b", "digest": 64 * "b"})
    assert names(compare_records(a, other).unlike) == {"image set"}


def test_what_a_record_does_not_know_is_no_unlikeness() -> None:
    found = compare_records(run(100, data={**DATA, "page_cache": None}, parity=None), run(100))
    assert not found.unlike
    assert names(found.changed) == {"page cache", "reference"}


def test_what_changed() -> None:
    # An option that the older version does not have is listed where the newer one turned it.
    config = {"quick": False, "seed": 0}
    new = {"quick": True, "seed": 0, "among": "present", "windows": 3, "page_cache": "warm"}
    sides = [
        run(
            100,
            environment=environment(side),
            config=(config, new)[side],
            num_threads=(2, 4)[side],
            loader_settings={
                "dali": MOVED["DALI"][side],
                "prefetch_queue_depth": (2, 3)[side],
                "num_threads": (2, 4)[side],
            },
        )
        for side in (0, 1)
    ]
    found = compare_records(*sides)
    assert {difference.name: (difference.a, difference.b) for difference in found.changed} == {
        "threads": (2, 4),
        "quick": (False, True),
        "among": ("all", "present"),
        "device": MOVED["CPU"],
        "dali: prefetch_queue_depth": (2, 3),
        **{name: values for name, values in MOVED.items() if name != "device"},
    }
    text = text_of(found, 80)
    assert text.index("B CPU") < text.index("images/s")
    assert "B: Measured with --quick" in text


def test_other_loaders_have_their_settings_in_one_line() -> None:
    found = compare_records(
        run(100, loader_settings={"decoder": "cpu"}),
        run(100, loader="torchvision", loader_settings={"decoder": "PIL", "num_workers": 2}),
    )
    assert names(found.changed) == {"loader", "loader settings"}
    assert "decoder PIL, num workers 2" in " ".join(text_of(found, 120).split())


@pytest.mark.parametrize("width", [80, 120])
def test_the_screen_is_whole(width: int) -> None:
    text = text_of(compare_records(run(100), read_record(GOLDEN / "record-v3.json")), width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    for part in ("a.json", "b.json", "UNLIKE", "what changed", "2.50x", "−22.30", "p99 needs 662"):
        assert part in text, part


def test_the_machine_is_the_device_that_the_model_ran_on() -> None:
    two = {"cpu": "A CPU", "num_cores": 2, "gpus": [{"name": "GPU 0"}, {"name": "GPU 1"}]}
    nameless = {"cpu": None, "num_cores": None, "gpus": []}
    found = compare_records(
        run(100, environment=two, device="cuda:1"), run(100, environment=nameless)
    )
    a, b = text_of(found, 120).split("b.json")[:2]
    assert "dali · GPU 1 · float32 · eager" in a
    assert "dali · float32 · eager" in b


def test_brackets_are_no_markup() -> None:
    found = compare_records(run(100), run(100, weights="[bold]x[/bold]", notes=["[red]"]))
    text = text_of(found, 80)
    assert "[bold]x[/bold]" in text
    assert "B: [red]." in text


def test_an_invalid_record_is_flagged() -> None:
    text = text_of(compare_records(run(100, 101), broken(run(100, 101))), 80)
    assert "B is INVALID: the steps take" in text
    assert "Verdict: not comparable (INVALID)" in text


def test_a_certain_slowdown() -> None:
    slow, fast = run(79, 80, 81), run(99, 100, 101)
    why = slowdown(compare_records(fast, slow), 0.95)
    assert why == "B is 0.80x A (95 %: 0.78 to 0.82): certainly below 0.95."
    assert slowdown(compare_records(fast, slow), 0.81) is None  # the interval reaches above
    assert slowdown(compare_records(slow, fast), 0.95) is None
    assert slowdown(compare_records(fast, run(60, 90, 100)), 0.95) is None
    assert "no interval. The ratio itself is below 0.95" in str(
        slowdown(compare_records(run(100), run(80)), 0.95)
    )
    assert slowdown(compare_records(run(100), run(96)), 0.95) is None


@pytest.mark.parametrize(
    ("b", "options", "code", "said"),
    [
        (run(99, 100, 101), [], 0, ""),
        (run(79, 80, 81), [], 0, ""),
        (run(79, 80, 81), ["--fail-below", "0.95"], 1, "certainly below 0.95"),
        (run(79, 80, 81), ["--fail-below", "0.7"], 0, ""),
        (run(99, 100, 101), ["--fail-below", "0.95", "--fail-unsure"], 0, ""),
        (run(60, 90, 100), ["--fail-below", "0.95"], 0, "A slowdown to 0.95 is not ruled out"),
        (run(60, 90, 100), ["--fail-below", "0.95", "--fail-unsure"], 2, "is not ruled out"),
        (run(99, 100, 101), ["--fail-unsure"], 2, "Give --fail-below too"),
        (run(80), ["--fail-below", "0.95"], 1, "no interval"),
        (run(99, 100, 101, batch_size=64), [], 0, ""),
        (run(99, 100, 101, batch_size=64), ["--fail-below", "0.95"], 2, "differ in batch size"),
        (run(99, 100, 101, dtype="x"), ["--fail-below", "0.9", "--allow-unlike"], 0, ""),
        (run(79, 80, 81, dtype="x"), ["--fail-below", "0.9", "--allow-unlike"], 1, "certainly"),
        (run(99, 100, 101), ["--fail-below", "0"], 2, "Give a ratio above 0"),
        (run(99, 100, 101), ["--fail-below", "nan"], 2, "Give a ratio above 0"),
        (run(99, 100, 101), ["--fail-below", "slow"], 2, "invalid float value"),
    ],
)
def test_the_command(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    b: Record,
    options: list[str],
    code: int,
    said: str,
) -> None:
    paths = written(tmp_path, run(99, 100, 101), "a.json"), written(tmp_path, b, "b.json")
    assert main(["compare", *map(str, paths), *options]) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == (1 if said else 0)


def test_an_invalid_record_is_not_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, broken(run(99, 100)))
    argv = ["compare", str(path), str(path), "--allow-unlike"]
    assert main(argv) == 0
    assert main([*argv, "--fail-below", "0.9"]) == 2
    assert "cannot be judged: A is INVALID: the steps take" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (1, {"images_per_s": 162.16635, "p50_s": 0.194613, "efficiency": 0.811378, "top1": 0.925}),
        (2, {"images_per_s": 250.0, "p50_s": 0.125, "efficiency": 1.0, "top1": 0.7}),
        (3, {"images_per_s": 250.0, "p50_s": 0.125, "efficiency": 1.0, "top1": 0.7}),
        (4, {"images_per_s": 250.0, "p50_s": 0.125, "efficiency": 1.0, "top1": 0.7}),
        (5, {"images_per_s": 250.0, "p50_s": 0.125, "efficiency": 1.0, "top1": 0.7}),
        (12, {"images_per_s": 176.49, "p50_s": 0.14732, "efficiency": 0.544861, "top1": 0.92308}),
    ],
)
def test_old_records(version: int, expected: dict[str, float]) -> None:
    """A record of any version must load for ever, with the figures that it had.

    A file here is not changed to suit a change of the code. A new version gets a file of its own.
    """
    path = GOLDEN / f"record-v{version}.json"
    assert json.loads(path.read_text())["schema_version"] == version
    record = read_record(path)
    assert record.accuracy is not None
    assert {
        "images_per_s": record.throughput.images_per_s,
        "p50_s": record.throughput.step_time_s(50),
        "efficiency": record.overlap_efficiency,
        "top1": record.accuracy.top1,
    } == pytest.approx(expected, rel=1e-4)
    assert find_contradictions(record) == []
    assert compare_records(record, record).ratio == 1


def test_every_version_has_its_golden_file() -> None:
    from fastbench.records.store import SCHEMA_VERSION

    assert {path.name for path in GOLDEN.glob("record-*")} == {
        f"record-v{version}.json" for version in range(1, SCHEMA_VERSION + 1)
    }


def test_what_only_later_versions_know() -> None:
    first, second, third, fourth, fifth = (
        read_record(GOLDEN / f"record-v{i}.json") for i in range(1, 6)
    )
    assert first.accuracy is not None
    assert first.accuracy.per_class is None
    assert second.accuracy is not None
    assert second.accuracy.per_class is not None
    assert second.accuracy.per_class.names == ["tench", "tabby"]
    assert second.throughput.stall_share is None
    assert second.telemetry is None
    assert third.throughput.rates == [250, 250]
    assert third.throughput.stall_share == 0.1875
    assert third.throughput.is_settled is True
    assert third.telemetry is not None
    assert third.telemetry.gpu is not None
    assert third.telemetry.gpu.energy_j == 1600
    assert third.telemetry.cpu_s_per_1000_images == 12
    assert third.telemetry.foreign_cpu_share == 0.01
    assert third.telemetry.images_per_joule == 1.25
    assert third.parity is not None
    assert third.parity.pixels is not None
    assert compare_pixels(third.parity) == "equivalent"
    for older in (first, second, third):
        assert (older.num_parameters, older.num_macs) == (None, None)
        assert older.loader_ceiling is not None
        assert older.loader_ceiling.cpu_s is None
    assert (fourth.num_parameters, fourth.num_macs) == (11_689_512, 1_814_083_944)
    assert fourth.loader_ceiling is not None
    assert fourth.model_ceiling is not None
    assert (fourth.loader_ceiling.cpu_s, fourth.model_ceiling.cpu_s) == (3.5, None)
    assert (fourth.num_changed, fifth.num_changed) == (None, 3)
    assert fifth.parity is not None
    assert (fifth.parity.num_compared, fifth.parity.max_levels) == (132, 7.0)
    assert fifth.parity.num_uncompared == 1
