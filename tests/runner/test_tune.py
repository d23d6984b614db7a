"""`fastbench tune`: trials that fail, a search that goes on, and what is said of the winner."""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import stub_tune
from builders.command_line import sentence

from fastbench.cli.main import main
from fastbench.core.command_options import TUNED
from fastbench.core.config import OPTIONS, RunConfig
from fastbench.core.errors import CrashError, DeviceError, LimitError, OutOfMemoryError
from fastbench.core.options import flag
from fastbench.measure.loader_settings import Found
from fastbench.measure.search import Place, Search, Tried
from fastbench.records.record import FailedRow
from fastbench.records.speed import Trial
from fastbench.runner import tune, unread_files
from fastbench.runner.objective import LATENCY, highest_percentile
from fastbench.runner.options_file import read_options
from fastbench.runner.trials_file import Space, is_out_of_memory

Tune = Callable[..., int]


@pytest.fixture
def ab(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """The comparisons that were asked for; B is 1.2x A in each."""
    asked: list[RunConfig] = []

    def rows(config: RunConfig, *_: object) -> Iterator[Any]:
        asked.append(config)
        yield stub_tune.compared(1.2)

    monkeypatch.setattr(tune, "ab_rows", rows)
    return asked


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ab: list[RunConfig]) -> Tune:
    """`fastbench tune` with simulated trials in this process; batches of 128 are killed."""
    monkeypatch.setattr(tune, "describe", stub_tune.describe)

    def trial(config: RunConfig, *_: Any, objective: str, num_samples: int) -> Iterator[Any]:
        batch, threads = config.batch_size or 32, config.num_threads or 2
        if batch == 128:
            yield FailedRow("sample", "dali", OutOfMemoryError("It does not fit. Use less."))
            return
        yield from stub_tune.simulated(
            batch, threads, max(num_samples, 80 if objective == LATENCY else 0)
        )

    monkeypatch.setattr(tune, "trial", trial)
    monkeypatch.setattr(
        unread_files,
        "run_rows",
        lambda make_rows, config, folder, tell, _: make_rows(config, folder, tell),
    )
    return lambda *argv: main(["tune", "--output", str(tmp_path / "out"), *argv])


def stored(tmp_path: Path) -> list[dict[str, Any]]:
    lines = (tmp_path / "out/trials.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[1:]]


def test_the_winner_is_found_confirmed_and_written(
    run: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str], ab: list[RunConfig]
) -> None:
    assert run("--loader", "dali", "--loader-option", "dali.fancy_upsampling=true") == 0
    shown = capsys.readouterr()
    assert "Winner: batch-size 64, num-threads 1" in shown.out
    told = r"1\.2\d\dx the default's images/s \(95 %: 1\.\d+ to 1\.\d+, 24 pairs\)"
    assert re.search(told, " ".join(shown.out.split()))
    assert len(stored(tmp_path)) == 16
    (asked,) = ab
    assert asked.ab[:2] == ("batch-size=64", "num-threads=1")
    plan = tmp_path / "out/winner.toml"
    assert f"Run it: fastbench run --config {plan}" in shown.out
    options = read_options(plan)
    assert (options["batch_size"], options["num_threads"]) == ((64,), (1,))
    assert options["loader_option"][0] == "dali.fancy_upsampling=true"
    assert options["loader_option"][1].startswith("dali.prefetch=")
    assert main(["run", "--config", str(plan), "--dry-run"]) == 0
    assert all(len(line) <= 80 for line in shown.out.splitlines() if str(tmp_path) not in line)


def test_a_trial_that_fails_is_named_and_no_larger_one_follows(
    run: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--trials", "25") == 0
    failed = [x for x in stored(tmp_path) if x["measured"] is None]
    sizes = [x["settings"]["batch_size"] for x in stored(tmp_path)]
    (first,) = [x for x in failed if x["out_of_memory"]][:1]
    least = first["settings"]
    for after in stored(tmp_path)[stored(tmp_path).index(first) + 1 :]:
        its = after["settings"]
        assert its["batch_size"] < least["batch_size"] or its["prefetch"] < least["prefetch"]
    assert 128 in sizes
    shown = capsys.readouterr()
    assert "batch-size 128" in shown.err
    assert "failed: It does not fit. Use less." in shown.err
    assert f"25 trials, {len(failed)} failed" in shown.out


def test_ctrl_c_keeps_the_trials_and_resume_goes_on(
    run: Tune,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, calls = tune.trial, []

    def interrupted(*args: Any, **how: Any) -> Iterator[Any]:
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        yield from real(*args, **how)

    monkeypatch.setattr(tune, "trial", interrupted)
    assert run("--trials", "7", "--model", "sample") == 130
    said, out = sentence(capsys.readouterr().err), str(tmp_path / "out")
    assert said.endswith(f"3 trials are in {out}. Go on with: fastbench tune --resume {out}")
    before = stored(tmp_path)
    assert main(["tune", "--resume", out]) == 0
    assert stored(tmp_path)[:3] == before
    assert len(stored(tmp_path)) == 7
    assert main(["tune", "--resume", out, "--trials", "8"]) == 0
    assert len(stored(tmp_path)) == 8
    # They are those of a search that was not interrupted.
    together = [x["settings"] for x in stored(tmp_path)]
    monkeypatch.setattr(tune, "trial", real)
    (tmp_path / "out/trials.jsonl").unlink()
    assert run("--trials", "8", "--model", "sample") == 0
    assert [x["settings"] for x in stored(tmp_path)] == together


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (
            ["--model", "alexnet"],
            "--resume goes on with the options of that search. Leave out --mo",
        ),
        (["--objective", "cpu-seconds"], "Leave out --objective"),
    ],
)
def test_resume_takes_no_other_options(
    run: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], said: str
) -> None:
    assert run("--trials", "1") == 0
    capsys.readouterr()
    assert main(["tune", "--resume", str(tmp_path / "out"), *argv]) == 2
    assert said in sentence(capsys.readouterr().err)


def test_resume_without_a_search_or_with_other_images(
    run: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["tune", "--resume", str(tmp_path)]) == 2
    assert "trials.jsonl cannot be read" in sentence(capsys.readouterr().err)
    assert run("--trials", "1") == 0
    (tmp_path / "out/trials.jsonl").write_bytes(b'{"version": 1}\n')
    capsys.readouterr()
    assert main(["tune", "--resume", str(tmp_path / "out")]) == 2
    assert "is damaged, or of another version" in sentence(capsys.readouterr().err)
    capsys.readouterr()
    assert run("--trials", "1") == 2
    assert "has the trials of an earlier search" in sentence(capsys.readouterr().err)
    (tmp_path / "out/trials.jsonl").unlink()
    assert run("--trials", "1") == 0

    def of_others(*args: Any, **how: Any) -> Iterator[Any]:
        for space in stub_tune.describe(*args, **how):
            yield dataclasses.replace(space, identity="others")

    monkeypatch.setattr(tune, "describe", of_others)
    capsys.readouterr()
    assert main(["tune", "--resume", str(tmp_path / "out")]) == 2
    assert "are of other images. Search anew" in sentence(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("ratio", "said"),
    [(1.0, "In turn it is as good."), (0.8, "In turn it is better.")],
)
def test_a_winner_that_is_not_confirmed_is_not_written(
    run: Tune,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    ratio: float,
    said: str,
) -> None:
    record = stub_tune.compared(ratio)
    if ratio == 1:
        a = record.a_images_per_s
        alike = [x * (1.01 if i % 4 < 2 else 0.99) for i, x in enumerate(a)]
        record = msgspec.structs.replace(record, b_images_per_s=alike)
    monkeypatch.setattr(tune, "ab_rows", lambda *_: iter([record]))
    assert run("--trials", "6") == 0
    assert said in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "out/winner.toml").exists()


def test_the_default_is_what_the_loader_searched_for(
    run: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ab: list[RunConfig]
) -> None:
    """It is held against the winner, and told to the search."""
    rates = {1: 500.0, 2: 900.0, 3: None}
    trials = [Trial(settings={"num_threads": x}, images_per_s=y) for x, y in rates.items()]
    found = Found({"num_threads": 2}, trials, 3.5)

    def describe(*args: Any, **how: Any) -> Iterator[Space]:
        for space in stub_tune.describe(*args, **how):
            yield dataclasses.replace(space, loader_search=found)

    told = []

    class Listening(Search):
        def next(self, tried: Tried) -> Place | None:
            told.append({place[1]: rate for place, rate in tried.loaders.items()})
            return super().next(tried)

    monkeypatch.setattr(tune, "describe", describe)
    monkeypatch.setattr(tune, "Search", Listening)
    assert run("--trials", "8") == 0
    assert told == [{0: 500.0, 1: 900.0}] * 8
    (config,) = ab
    assert config.num_threads == 2
    assert config.batch_size is None
    assert "num-threads=1" in config.ab
    head = json.loads((tmp_path / "out/trials.jsonl").read_text().splitlines()[0])
    assert [x["images_per_s"] for x in head["loader_search"]["trials"]] == [500.0, 900.0, None]
    given: list[Any] = []

    def listening(*args: Any, loader_search: Any, **how: Any) -> Iterator[Space]:
        given.append(loader_search)
        yield from describe(*args, **how)

    monkeypatch.setattr(tune, "describe", listening)
    assert main(["tune", "--resume", str(tmp_path / "out"), "--trials", "9"]) == 0
    assert given == [found]


@pytest.mark.parametrize(("batch_size", "is_quick"), [("4", False), ("64", True)])
def test_a_comparison_that_would_take_long_is_a_short_one(
    run: Tune, ab: list[RunConfig], batch_size: str, is_quick: bool
) -> None:
    """Those in the queues are run too: of 64 images they take 16 minutes in all pairs."""
    assert run("--batch-size", batch_size, "--trials", "6") == 0
    assert [config.quick for config in ab] == [is_quick]


def test_where_ab_fails_trials_in_turn_confirm(
    run: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = FailedRow("sample", "dali", OutOfMemoryError("Both do not fit. Use less."))
    monkeypatch.setattr(tune, "ab_rows", lambda *_: iter([failed]))
    assert run("--trials", "6") == 0
    shown = capsys.readouterr()
    assert "--ab of the two fails, so trials in turn: Both do not fit." in shown.err
    assert re.search(r"Winner: .* \(95 %: .*, 12 pairs\)", " ".join(shown.out.split()))
    sides = [x["side"] for x in stored(tmp_path) if x["side"]]
    assert sides == ["default", "winner", "winner", "default"] * 6


def test_a_default_that_fails_ends_the_search(
    run: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """But one that is out of memory does not: smaller batches may fit, and are named."""
    assert run("--batch-size", "16") == 1
    assert "The default settings fail: It refuses. Use another." in sentence(
        capsys.readouterr().err
    )
    assert len(stored(tmp_path)) == 1


def test_a_default_out_of_memory_has_a_winner_and_no_comparison(
    run: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    large = dataclasses.replace(stub_tune.BATCHES, default=5)
    monkeypatch.setattr(stub_tune, "BATCHES", large)
    assert run("--trials", "4") == 0
    assert [x["measured"] is None for x in stored(tmp_path)][:2] == [True, False]
    assert stored(tmp_path)[1]["settings"]["batch_size"] == 64
    said = " ".join(capsys.readouterr().out.split())
    assert "not held against the default, since one of the two fails." in said
    assert (tmp_path / "out/winner.toml").exists()


def test_other_objectives(run: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--objective", "cpu-seconds", "--trials", "6") == 0
    shown = capsys.readouterr()
    assert "num-threads 1" in shown.out
    assert "0.500x the default's CPU s/1,000 images" in " ".join(shown.out.split())
    out = str(tmp_path / "latency")
    assert main(["tune", "--objective", "latency-p99", "--output", out]) == 0
    shown = capsys.readouterr()
    assert "p90 is searched for, not p99: a trial has 80 batches, and p99 needs 662" in shown.err
    assert "the default's ms p90" in " ".join(shown.out.split())


def test_what_cannot_be_is_refused(
    run: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "other")
    for argv, said in (
        (["--objective", "images-per-joule"], "needs a GPU that counts its energy, and the CPU"),
        (["--loader", "dali", "--loader", "opencv"], "--loader is given twice, and a search is"),
        (["--batch-size", "8", "--num-threads", "1", "--objective", "latency-p99"],
         "There is nothing to search: every setting is given."),
        (["--minutes", "0"], "--minutes is 0.0. Give a number of minutes above 0."),
    ):  # fmt: skip
        assert main(["tune", "--output", out, *argv]) == 2
        assert said in sentence(capsys.readouterr().err)
        assert not Path(out).exists()


def test_a_counter_that_says_nothing_is_a_failed_trial(
    run: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_energy(*args: Any, **how: Any) -> Iterator[Any]:
        for space in stub_tune.describe(*args, **how):
            yield dataclasses.replace(space, has_energy=True)

    monkeypatch.setattr(tune, "describe", with_energy)
    assert run("--objective", "images-per-joule") == 1
    said = sentence(capsys.readouterr().err)
    assert "The default settings fail: It has no images/J. Choose another --objective." in said


def test_the_minutes_bound_the_search(
    run: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--minutes", "1e-9") == 0
    shown = capsys.readouterr()
    assert len(stored(tmp_path)) == 1
    assert "minutes are over. More: --resume" in shown.err
    assert "Keep the default: batch size 32, " in shown.out
    assert "It is the best of 1 trial." in " ".join(shown.out.split())
    assert f"Trials: {tmp_path / 'out' / 'trials.jsonl'}" in shown.out


def test_options_that_were_given_are_not_searched(run: Tune, tmp_path: Path) -> None:
    assert run("--batch-size", "8", "--trials", "3") == 0
    assert {"num_threads", "prefetch"} == {*stored(tmp_path)[0]["settings"]}
    assert read_options(tmp_path / "out/winner.toml")["batch_size"] == (8,)


def test_images_are_set_aside_for_int8(run: Tune, ab: list[RunConfig]) -> None:
    """They were among the timed ones before, and refused."""
    assert run("--engine", "onnxruntime", "--quantize", "int8") == 0
    assert [config.calibration for config in ab] == ["auto"]


@pytest.mark.usefixtures("server")
def test_a_crash_is_a_failed_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In processes of their own, which are killed."""
    monkeypatch.setattr(tune, "describe", stub_tune.describe)
    monkeypatch.setattr(tune, "trial", stub_tune.trial)
    out = str(tmp_path / "out")
    assert main(["tune", "--batch-size", "128", "--trials", "2", "--output", out]) == 1
    for trial in stored(tmp_path):
        assert trial["measured"] is None
        assert trial["out_of_memory"]
        assert "was killed by SIGKILL. Mostly that is the system, out of memory" in trial["why"]
    assert len(stored(tmp_path)) == 2
    assert "No trial was measured. The last: The row's process" in sentence(capsys.readouterr().err)


def test_which_errors_are_of_memory() -> None:
    for error in (OutOfMemoryError("x"), LimitError("x"), CrashError("x", -9)):
        assert is_out_of_memory(error)
    for error in (CrashError("x", -11), DeviceError("x")):
        assert not is_out_of_memory(error)


def test_the_percentile_that_so_many_samples_support() -> None:
    assert [highest_percentile(n) for n in (1, 63, 64, 130, 661, 662, 10_000)] == [
        50, 50, 90, 95, 95, 99, 99,
    ]  # fmt: skip


def test_it_takes_every_option_of_the_pipeline() -> None:
    """A new one is taken by itself; those of scoring and of reports are not."""
    assert {"model", "loader", "device", "dtype", "batch_size", "min_seconds"} <= {*TUNED}
    assert not {"reference", "tolerance", "predictions", "ab", "windows", "passes"} & {*TUNED}
    assert {flag(name) for name in TUNED} <= {flag(name) for name in OPTIONS}
