"""Sets of records, before and after: repeats, the mean, what differs, the table, Markdown, JSON."""

import dataclasses
import io
import json
import math
import os
import random
import re
from pathlib import Path

import msgspec
import pytest
from builders.runs import (
    DATA,
    MOVED,
    compare_records,
    environment,
    folder_of,
    run,
    telemetry,
    text_of,
)
from rich.console import Console

from fastbench.cli.main import main
from fastbench.core import stats
from fastbench.records.accuracy import Accuracy
from fastbench.records.record import Record
from fastbench.records.speed import GpuTelemetry, Telemetry
from fastbench.report.compare import markdown, pair_screen, set_screen
from fastbench.report.compare.ci_gate import Gates, Judgement, judge
from fastbench.report.compare.pair_comparison import compare_runs
from fastbench.report.compare.pairing import pair_up
from fastbench.report.compare.set_comparison import SetComparison, compare_sets

JUDGED = Judgement(0, [], [])
SLOW, SAME, FAST = (79, 80, 81), (99, 100, 101), (124, 125, 126)


def powered(watts: float) -> Telemetry:
    """A GPU at these watts for 10 s."""
    gpu = GpuTelemetry(
        energy_j=10 * watts,
        power_w=[],
        power_limit_w=700,
        sm_utilization_pct=[],
        memory_utilization_pct=[],
        jpeg_utilization_pct=[],
        sm_clock_mhz=[],
        temperature_c=[],
        memory_used_bytes=[],
        throttle_reasons=[],
        num_foreign_processes=0,
    )
    return Telemetry(
        wall_s=10,
        interval_s=1,
        num_readings=10,
        num_images=1000,
        num_cores=2,
        cpu_s=1,
        foreign_cpu_s=0,
        rss_bytes=[],
        gpu=gpu,
    )


def rows(side: int, **others: Record) -> dict[str, Record]:
    """One set of an upgrade: a row that gets slower, one that gets faster, two that do not."""
    rates = {"alexnet": (SAME, SLOW), "vgg16": (SAME, FAST), "resnet18": (SAME, SAME)}
    shared = {"environment": environment(side), "device": "cuda:0", "dtype": "float16"}
    found = {
        model: run(
            *values[side],
            model=model,
            telemetry=powered((75, 80)[side]) if model == "alexnet" else None,
            accuracy=Accuracy(num_samples=1000, top1_correct=(923, 921)[side], top5_correct=990),
            **shared,
        )
        for model, values in rates.items()
    }
    data = {**DATA, "page_cache": ("warm", "cold")[side]}
    return {**found, "odd": run(*SAME, model="googlenet", data=data, **shared), **others}


def sets(folder: Path, **others: Record) -> tuple[Path, Path]:
    return folder_of(folder / "before", **rows(0)), folder_of(folder / "after", **rows(1, **others))


def compared(a: Path, b: Path) -> SetComparison:
    return compare_sets(pair_up(a, b), "before", "after")


def shown(found: SetComparison, width: int, sort: str = "ratio") -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(set_screen.render(found, width, sort))
    return file.getvalue()


def test_repeats_count_once_each() -> None:
    """Logs of the runs 0, 2 and 3, 5, each by two windows: dof 2, t = 4.302653, half sqrt(2) t."""
    a = [run(math.exp(-1), math.exp(1)), run(math.exp(2), math.exp(2))]
    b = [run(math.exp(3), math.exp(3)), run(math.exp(4), math.exp(6))]
    found = compare_runs(a, b)
    half = math.sqrt(2) * 4.302652729911275
    assert found.ratio == pytest.approx(math.exp(3))
    assert found.interval == pytest.approx((math.exp(3 - half), math.exp(3 + half)))
    assert found.verdict.endswith("; 2 and 2 runs)")


def test_repeats_of_two_sides_scatter_each_in_its_way() -> None:
    """Logs 0, 2 and three times 3: the variance is A's, 2 / 2 with dof 1, so half is 12.7062."""
    ratio, interval = vars_of([run(1), run(math.exp(2))], [run(math.exp(3)) for _ in range(3)])
    assert ratio == pytest.approx(math.exp(2))
    half = 12.706204736174698
    assert interval == pytest.approx((math.exp(2 - half), math.exp(2 + half)))


def test_one_run_against_repeats_is_taken_to_scatter_as_they_do() -> None:
    """Logs 0, 2 and 5: variance 2 of dof 1, so half is 12.7062 sqrt(2 (1/2 + 1))."""
    a, b = [run(1, 1), run(math.exp(2))], [run(math.exp(5))]
    half = 12.706204736174698 * math.sqrt(3)
    for (ratio, interval), sign in ((vars_of(a, b), 1), (vars_of(b, a), -1)):
        assert ratio == pytest.approx(math.exp(4 * sign))
        assert interval == pytest.approx((math.exp(4 * sign - half), math.exp(4 * sign + half)))


def vars_of(a: list[Record], b: list[Record]) -> tuple[float, tuple[float, float] | None]:
    found = compare_runs(a, b)
    return found.ratio, found.interval


def flat(runs: list[list[float]]) -> list[float]:
    return [rate for rates in runs for rate in rates]


def test_repeats_cover_what_differs_from_run_to_run() -> None:
    """Runs 5 % apart, their windows 2 %: 95 % with the run as unit; pooled windows are too sure."""
    chance = random.Random(1)
    covered = {"runs": 0, "windows": 0}
    for _ in range(400):
        sides = []
        for _ in "AB":
            means = [chance.gauss(0, 0.05) for _ in range(4)]
            sides.append([[math.exp(chance.gauss(m, 0.02)) for _ in range(3)] for m in means])
        _, of_runs = vars_of(*([run(*rates) for rates in side] for side in sides))
        _, pooled = stats.log_ratio_interval(*map(flat, sides))
        for name, interval in (("runs", of_runs), ("windows", pooled)):
            assert interval is not None
            covered[name] += interval[0] <= 1 <= interval[1]
    assert 0.93 * 400 <= covered["runs"] <= 0.98 * 400
    assert covered["windows"] < 0.85 * 400


def test_figures_of_repeats_are_medians() -> None:
    found = compare_runs([run(100), run(300), run(110)], [run(200), run(220)])
    throughput = found.figure("images/s")
    assert (throughput.a, throughput.b) == pytest.approx((110, 210))
    text = " ".join(text_of(found, 80).split())
    assert "3 runs" in text
    assert "what differs from run to run is in the interval" in text
    assert "in no interval. Repeat both" not in text
    single = " ".join(text_of(compare_runs([run(100), run(90)], [run(200)]), 80).split())
    assert "A single run is taken to scatter as the other side's do" in single
    assert "in no interval. Repeat both" in " ".join(
        text_of(compare_runs([run(100)], [run(200)]), 80).split()
    )


def test_steps_are_too_few_where_no_repeat_has_enough() -> None:
    """The figure is there as soon as one run has it, whichever is the first."""
    short, long = run(100), run(*SAME)  # of 32 and 96 steps
    text = " ".join(text_of(compare_runs([short, long], [long, short]), 80).split())
    assert "too few steps for a percentile (n=96 and 96; p99 needs 662)" in text
    text = " ".join(text_of(compare_runs([short, short], [long]), 80).split())
    assert "(n=32 and 96; p90 needs 64, p99 needs 662)" in text


def test_the_interval_of_top_1_is_of_the_median_run() -> None:
    """80.00 % of 1,000 images is shown, and has the interval 77.41 to 82.36."""
    accuracies = (
        hits and Accuracy(num_samples=1000, top1_correct=hits, top5_correct=990)
        for hits in (None, 900, 800, 700)
    )
    runs = [run(*SAME, accuracy=accuracy) for accuracy in accuracies]
    text = " ".join(text_of(compare_runs(runs, runs), 80).split())
    assert "top-1 % 80.00 80.00" in text
    assert "Top-1, 95 %: A 77.41 to 82.36 (n=1,000), B 77.41 to 82.36 (n=1,000)." in text


def test_a_repeat_that_is_invalid_makes_its_row_invalid() -> None:
    wrong = run(100, accuracy=Accuracy(num_samples=1000, top1_correct=9, top5_correct=8))
    found = compare_runs([run(100), run(101)], [run(100), wrong])
    assert found.word == "invalid"
    assert found.invalid == [
        "a run of B is INVALID: 9 hits of top-1 and 8 of top-5 among 1,000 samples"
    ]


def test_the_set_in_figures(tmp_path: Path) -> None:
    """The mean of 0.8, 1.25 and 1: logs -u, u, 0, so half is t(2) u / sqrt(3), t(2) = 4.302653."""
    found = compared(*sets(tmp_path))
    assert found.counts == {"slower": 1, "faster": 1, "equal": 1, "unlike": 1}
    assert found.headline == "1 of 4 rows slower"
    assert found.mean is not None
    ratio, interval = found.mean
    assert ratio == pytest.approx(1, abs=1e-4)
    half = 4.302652729911275 * math.log(1.25) / math.sqrt(3)
    assert interval == pytest.approx((math.exp(-half), math.exp(half)), rel=1e-3)
    assert found.summary == (
        "4 rows: 1 slower, 1 faster, 1 equal, 1 unlike; geometric mean of B / A 1.00x "
        "(95 %: 0.57 to 1.74), 3 rows of it"
    )
    assert [row.label for row in found.sorted_rows("ratio")] == [
        "alexnet", "resnet18", "vgg16", "googlenet",
    ]  # fmt: skip
    assert [row.label for row in found.sorted_rows("configuration")] == [
        "alexnet", "googlenet", "resnet18", "vgg16",
    ]  # fmt: skip
    # The GPU is not the same: it stands with what differs.
    assert found.shared == [
        *("dali", "float16", "eager", "batch 32", "digest aaaaaaaaaa", "2 threads", "1,000 images"),
    ]


def test_every_row_has_a_label(tmp_path: Path) -> None:
    cold = run(*SAME, data={**DATA, "page_cache": "cold"})
    a = folder_of(tmp_path / "a", x=run(*SAME), y=cold)
    assert [row.label for row in compared(a, a).rows] == ["warm page cache", "cold page cache"]


def test_no_headline_passes_over_what_is_not_judged(tmp_path: Path) -> None:
    """A row of half the speed without an interval, and one of another page cache."""
    cold = {**DATA, "page_cache": "cold"}
    a = {"x": run(*SAME), "once": run(100, model="m"), "odd": run(*SAME, model="n")}
    b = {"x": run(*SAME), "once": run(50, model="m"), "odd": run(*SLOW, model="n", data=cold)}
    sides = folder_of(tmp_path / "a", **a), folder_of(tmp_path / "b", **b)
    assert compared(*sides).headline == "no difference found, 2 of 3 rows not judged"
    folder_of(sides[1], x=run(*FAST))
    assert compared(*sides).headline == "1 of 3 rows faster, none slower, 2 of 3 rows not judged"


def test_what_differs_is_said_once_and_in_front(tmp_path: Path) -> None:
    found = compared(*sets(tmp_path))
    differences = {x.name: (x.a, x.b) for x in found.differences if x.num_rows == 4}
    assert differences == MOVED
    assert [(x.name, x.num_rows) for x in found.differences if x.num_rows != 4] == [
        ("page cache", 1)
    ]
    text = shown(found, 80)
    assert text.count("590.1") == 1
    assert text.index("4 rows:") < text.index("590.1") < text.index("0.800x")
    assert "page cache (1 of 4)" in text


def test_many_ways_to_differ_are_various(tmp_path: Path) -> None:
    sides = []
    for side in (0, 1):
        tuned = {
            f"m{i}": run(100, model=f"m{i}", loader_settings={"prefetch": i * side})
            for i in range(2, 7)
        }
        sides.append(folder_of(tmp_path / str(side), **tuned))
    (difference,) = compared(*sides).differences
    assert dataclasses.astuple(difference) == ("dali: prefetch", "various", "various", 5)


def test_a_set_that_is_mixed_says_so(tmp_path: Path) -> None:
    a, b = sets(tmp_path)
    assert compared(a, b).mixed == []
    older = {**environment(0), "driver": "570.9"}
    folder_of(a, again=msgspec.structs.replace(rows(0)["vgg16"], environment=older))
    found = compared(a, b)
    assert found.mixed == ["A is of several: driver 570.9, 580.1"]
    assert "A is of several: driver" in shown(found, 80)
    difference = next(x for x in found.differences if x.a == ("570.9", "580.1"))
    assert (difference.b, difference.num_rows) == ("590.1", 1)


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_is_whole(tmp_path: Path, width: int) -> None:
    name = "a-model-with-quite-a-long-name"
    long = {"device": "cuda:0", "model": name, "loader": "torchvision-tensor", "dtype": "float16"}
    a, b = sets(tmp_path)
    for side, folder in ((0, a), (1, b)):
        folder_of(folder, long=run(*SAME, environment=environment(side), **long))
    found = compared(a, b)
    text = shown(found, width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    for part in (
        *("alexnet · dali", "0.800x", "0.779–0.821", "slower", "−0.20", "0.750x"),
        "UNLIKE in page cache",
    ):
        assert part in text, part
    assert ("A images/s" in text) == (width == 120)
    row = next(line for line in text.splitlines() if line.startswith("alexnet"))
    assert len(row.rstrip()) > 60


@pytest.mark.parametrize("width", [40, 50, 60, 70])
def test_a_narrow_screen_has_fewer_figures_and_cuts_none(tmp_path: Path, width: int) -> None:
    found = compared(*sets(tmp_path))
    text = shown(found, width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    for row in found.rows:
        line = next(x for x in text.splitlines() if x.startswith(row.label))
        assert f"{row.comparison.ratio:.3f}x" in line
        assert row.comparison.word in line
    assert ("images/J" in text) == (width == 70)
    pair = io.StringIO()
    comparison = found.rows[0].comparison
    Console(file=pair, width=width).print(pair_screen.render(comparison, "a", "b", width))
    assert "…" not in pair.getvalue()
    words = " ".join(pair.getvalue().split())
    for part in ("images/s", "images/J", "B against A", "W", "1.07x"):
        assert part in words, part


def test_predictions_that_got_worse_are_seen(tmp_path: Path) -> None:
    def side(top1: int) -> dict[str, Record]:
        accuracy = Accuracy(num_samples=1000, top1_correct=top1, top5_correct=1000)
        return {"x": run(*SAME, accuracy=accuracy), "y": run(*SAME, model="m")}

    found = compared(folder_of(tmp_path / "a", **side(925)), folder_of(tmp_path / "b", **side(880)))
    assert found.headline == "no difference found, predictions worse in 1"
    text = shown(found, 80)
    assert "equal !" in text
    assert "! sample: top-1 fell from 92.50 to 88.00 %" in text
    front = markdown.render(found, JUDGED).split("<details>")[0]
    assert "| sample | 1.000x | 0.978–1.023 | **equal !** | −4.50 |" in front
    assert "| m |" not in front


def test_what_no_row_has_is_no_column(tmp_path: Path) -> None:
    a = folder_of(tmp_path / "a", x=run(100, 101, parity=None), y=run(100, parity=None, model="m"))
    text = shown(compared(a, a), 80)
    assert "images/J" not in text
    assert "agree" not in text
    assert "unsure" in text
    assert "runs" not in shown(compared(a, a), 120).split("configuration")[1].splitlines()[0]


def test_who_has_no_partner_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = sets(tmp_path, new=run(5, model="new"))
    folder_of(a, old=run(5, model="alexnet", loader="opencv"))
    argv = ["compare", str(a), str(b)]
    assert main(argv) == 0
    out, err = (" ".join(text.split()) for text in capsys.readouterr())
    assert "only A alexnet · opencv · A CPU · float32 · eager · batch 32" in out
    assert "only B new · dali" in out
    assert f"No partner in {b} for {a / 'old.json'}: the nearest differs in" in err
    assert f"No partner in {a} for {b / 'new.json'}" in err
    assert main([*argv, "--fail-below", "0.5", "--allow-unlike"]) == 0
    assert main([*argv, "--require-all"]) == 2
    assert main(["compare", str(a), str(a), "--require-all"]) == 0


@pytest.mark.parametrize("form", ["table", "markdown", "json"])
def test_a_name_that_is_no_text(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # a narrow table breaks the line within the name
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    rows = {"x": run(*SAME), "y": run(1, model="m")}
    a, b = folder_of(folder, **rows), folder_of(tmp_path / "b", **rows)
    argv = ["compare", str(a), str(b), "--format", form]
    assert main(argv) == 0
    assert "\\udcff" in capsys.readouterr().out.replace("\\\\", "\\")
    file = tmp_path / "out"
    assert main([*argv, "--output", str(file)]) == 0
    assert "udcff" in file.read_text("utf-8")


def test_many_without_a_partner_are_counted(tmp_path: Path) -> None:
    b = folder_of(tmp_path / "b", x=run(1), **{f"m{i}": run(1, model=f"m{i}") for i in range(9)})
    a = folder_of(tmp_path / "a", x=run(1))
    found = judge(compared(a, b), Gates())
    assert (found.code, found.reasons) == (0, [])
    assert len(found.complaints) == 4
    assert found.complaints[-1] == "6 more rows without a partner: see the report."


def test_a_slowdown_that_is_not_ruled_out_is_in_the_comment(tmp_path: Path) -> None:
    runs = [run(rate) for rate in (60, 90, 100)]
    a, b = (folder_of(tmp_path / x, **{f"r{i}": r for i, r in enumerate(runs)}) for x in "ab")
    found = compared(a, b)
    judgement = judge(found, Gates(fail_below=0.95))
    assert judgement.code == 0
    text = markdown.render(found, judgement)
    assert "A slowdown to 0.95 is not ruled out: the ratio's 95 % interval is " in text
    assert "| sample · dali · " in text  # the only row has its name too
    assert judge(found, Gates(fail_below=0.95, fail_unsure=True)).code == 2


def test_one_certain_slowdown_fails_the_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = sets(tmp_path)
    argv = ["compare", str(a), str(b), "--fail-below"]
    assert main([*argv, "0.95", "--allow-unlike"]) == 1
    err = capsys.readouterr().err
    assert f"{b / 'alexnet.json'}: B is 0.80x A" in err
    assert err.count("\n") == 1
    assert main([*argv, "0.7", "--allow-unlike"]) == 0
    # What cannot be judged outweighs it.
    assert main([*argv, "0.95"]) == 2
    assert "the records differ in page cache" in capsys.readouterr().err


def test_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = sets(tmp_path, new=run(5, model="new|*er*<b>"))
    argv = ["compare", str(a), str(b), "--format", "markdown"]
    assert main([*argv, "--fail-below", "0.95", "--allow-unlike"]) == 1
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0] == "### fastbench: 1 of 4 rows slower"
    assert lines[2].startswith("**4 rows: 1 slower, 1 faster, 1 equal, 1 unlike; geometric mean")
    assert lines[4] == "**It fails (exit code 1):**"
    assert "certainly below 0.95" in lines[6]
    assert "No partner" not in lines[7]
    front, folded = text.split("<details>", 1)
    assert "| alexnet | 0.800x | 0.779–0.821 | **slower** | −0.20 |" in front
    assert "resnet18" not in front
    assert "| resnet18 | 1.000x |" in folded
    assert "| torch | 2.15.0 | 2.16.0 |" in front
    assert r"new\|\*er\*&lt;b&gt;" in front
    assert text.count("<details>") == text.count("</details>") == 2
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.M):
        # Every row has as many cells as its head.
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


def test_markdown_of_a_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = folder_of(tmp_path / "a", x=run(*SAME))
    b = folder_of(tmp_path / "b", y=run(*SLOW, dtype="float16"))
    assert main(["compare", str(a), str(b), "--format", "markdown"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("### fastbench: unlike, B is 0.80x A (95 %: 0.78 to 0.82)\n")
    assert "| images/s | 100 | 80.0 | 0.80x |" in text
    assert "what differs from run to run" in text


def test_markdown_of_names_that_look_like_it() -> None:
    """A code span ends at as many backquotes as it begins with, and a line at any end of one."""
    assert markdown._code("before") == "`before`"
    assert markdown._code("`a`` b") == "``` `a`` b ```"
    assert markdown._code("a\rb") == "`a b`"
    assert markdown._text("a\r\n| b\r# c") == r"a \| b \# c"


def test_markdown_of_a_large_set_fits_a_comment(tmp_path: Path) -> None:
    a = folder_of(tmp_path / "a", x=run(*SAME), y=run(*SAME, model="m"))
    found = compared(a, a)
    label = "a-model-with-quite-a-long-name · torchvision-tensor · float16 · batch 256"
    many = [dataclasses.replace(found.rows[0], label=f"{label} {i}") for i in range(1000)]
    text = markdown.render(dataclasses.replace(found, rows=many), JUDGED)
    assert len(text) < 65_536
    assert "850 more rows left out." in text
    # Names of models and weights may be paths.
    long = [dataclasses.replace(row, label=f"{'folder_' * 60}{row.label}") for row in many]
    reasons = [f"{'folder_' * 60}{i}.json: too slow" for i in range(100)]
    text = markdown.render(dataclasses.replace(found, rows=long), Judgement(1, reasons, []))
    assert 20_000 < len(text) < 65_536
    assert text.count("<details>") == text.count("</details>") == 2


def test_what_chance_does_to_many_rows_is_counted(tmp_path: Path) -> None:
    a = folder_of(tmp_path / "a", x=run(*SAME), y=run(*SAME, model="m"), z=run(1, model="n"))
    found = compared(a, a)
    same, once = found.rows[0], found.rows[2]
    for num, said in ((9, ""), (10, "0.5 of 10"), (30, "1.5 of 30"), (200, "10 of 200")):
        # Rows without an interval look like nothing.
        many = dataclasses.replace(found, rows=[same] * num + [once] * 5)
        notes = " ".join(set_screen.set_notes(many, []))
        assert f"by chance: {said} would." in notes if said else "by chance" not in notes


def test_doubts_are_said_of_each_side_once(tmp_path: Path) -> None:
    busy = [run(100, model=m, telemetry=telemetry(foreign=x)) for m, x in (("a", 0.5), ("b", 0.9))]
    a = folder_of(tmp_path / "before", x=busy[0], y=busy[1])
    beside = run(100, model="b", telemetry=telemetry(foreign=0.3))
    b = folder_of(tmp_path / "after", x=run(100, model="a"), y=beside)
    found = compared(a, b)
    *_, first, second = set_screen.set_notes(found, [])
    assert first == (
        "A, b: speed in doubt: other processes took 90 % of the cores' time (the worst of 2 rows)."
    )
    assert second == "B, b: speed in doubt: other processes took 30 % of the cores' time."
    assert text_of(compare_records(busy[0], run(100)), 80).count("A: speed in doubt: other") == 1


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = sets(tmp_path, new=run(5, model="new"))
    argv = ["compare", str(a), str(b), "--format", "json", "--fail-below", "0.95"]
    assert main([*argv, "--sort", "configuration"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["format"], found["exit_code"], found["num_rows"]) == (2, 2, 4)
    assert len(found["complaints"]) == 3
    assert [row["configuration"]["model"] for row in found["rows"]] == [
        "alexnet", "googlenet", "resnet18", "vgg16",
    ]  # fmt: skip
    first = found["rows"][0]
    assert first["verdict"] == "slower"
    assert first["a"] == [
        {"file": str(a / "alexnet.json"), "images_per_s": [99, 100, 101], "doubts": []}
    ]
    assert first["interval_has"] == "windows"
    assert {"name": "torch", "a": "2.15.0", "b": "2.16.0", "num_rows": 4} in found["differences"]
    assert found["only_b"][0]["files"] == [str(b / "new.json")]


@pytest.mark.parametrize(
    ("form", "starts"), [("table", "A  "), ("markdown", "### "), ("json", "{")]
)
def test_a_file_in_place_of_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, starts: str
) -> None:
    a, b = sets(tmp_path)
    file = tmp_path / "report"
    argv = ["compare", str(a), str(b), "--format", form, "--output"]
    assert main([*argv, str(file)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("4 rows: 1 slower")
    assert out.endswith(f"{file}\n")
    assert file.read_text().startswith(starts)
    assert "\x1b" not in file.read_text()
    assert main([*argv, str(tmp_path / "no" / "report")]) == 1
    assert f"cannot be written to {tmp_path}/no/report (No such file" in capsys.readouterr().err
