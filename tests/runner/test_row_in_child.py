"""Rows in processes of their own: what ends one ends that row alone, and nothing outlives a run.

Most children here are `builders.stub_child`, which needs no torch; the last test measures.
"""

import csv
import io
import itertools
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from builders import stub_child
from builders.command_line import unless_given
from builders.consistent_record import sound
from builders.paths import TESTS
from rich.console import Console

from fastbench.cli.main import main
from fastbench.cli.run import render
from fastbench.core import child_process, errors
from fastbench.core.child_process import portable
from fastbench.core.console import ConsoleProgress
from fastbench.core.cores import num_cores
from fastbench.core.errors import CorruptImageError, OutputError, UnknownNameError, UsageError
from fastbench.core.loader_facts import BUILT_IN
from fastbench.core.units import counted, format_about
from fastbench.data.sample.draw_all import ensure_sample
from fastbench.records.store import read_record, write_record
from fastbench.runner import cluster, execute, options_file, row_in_child, unread_files
from fastbench.runner.output_folder import open_output
from fastbench.runner.plan import Plan
from fastbench.runner.planned_rows import expand
from fastbench.runner.room_for_ranks import room_for_ranks

pytestmark = pytest.mark.usefixtures("server")
Run = Callable[..., int]
STUBBED = (
    "import sys\n"
    "from fastbench.__main__ import main\n"
    "from fastbench.loaders import registry\n"
    "from builders import stub_child\n"
    "from fastbench.core import child_process\n"
    "from fastbench.runner import execute, row_in_child\n"
    "del child_process.PRELOADED[1:]\n"
    "execute.measure, row_in_child.GRACE_S = stub_child.measure, 1.0\n"
    "registry.check_name = lambda _: None\n"
    "code = main()\n"
    "sys.exit('it imported torch' if 'torch' in sys.modules else code)\n"
)


@pytest.fixture(autouse=True)
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record that every stub makes."""
    folder = tmp_path / "stub"
    folder.mkdir()
    data = {"num_samples": 100, "num_bytes": 11_000_000, "identity": "of the images"}
    path = write_record(sound(data=data, accuracy=None), folder)
    monkeypatch.setenv("STUB_RECORD", str(path))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`fastbench run` without a reference and with stubs for children; gives its exit code."""
    monkeypatch.setattr(execute, "measure", stub_child.measure)
    monkeypatch.setattr(execute, "ask", stub_child.ask)
    monkeypatch.setattr(unread_files, "find_unread", lambda *_: ({}, False))
    monkeypatch.setattr("fastbench.loaders.registry.check_name", lambda _: None)
    monkeypatch.setattr(
        "fastbench.runner.plan.find_images", lambda *_: type("M", (), {"identity": "of the images"})
    )

    def run_(*argv: str, loaders: tuple[str, ...] = (), reference: str = "none") -> int:
        named = [word for name in loaders for word in ("--loader", name)]
        usual = {"--reference": reference, "--output": str(tmp_path / "out")}
        return main(["run", *named, *unless_given(usual, argv), *argv])

    return run_


def started(tmp_path: Path) -> list[str]:
    """The rows whose child was started, `model loader dtype`."""
    lines = (tmp_path / "out/started.txt").read_text().splitlines()
    return [line.split("| ")[1] for line in lines]


def measured(tmp_path: Path) -> list[str]:
    return sorted(read_record(path).loader for path in (tmp_path / "out").glob("*.json"))


def complaints(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("fastbench: ")]


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(there: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_crash_is_one_failed_row(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(loaders=("killed", "segfault", "buggy", "silent", "hungry", "dali")) == 1
    assert measured(tmp_path) == ["dali"]
    shown = capsys.readouterr()
    assert "dali" in shown.out
    killed, fault, bug, silent, memory = complaints(shown.err)
    assert memory.startswith("fastbench: sample · hungry: Out of memory (MemoryError). Allow the ")
    assert killed == (
        "fastbench: sample · killed: The row's process was killed by SIGKILL. Mostly that is the "
        "system, out of memory: try a smaller --batch-size."
    )
    assert "sample · segfault: The row's process was killed by SIGSEGV. That is a fault of" in fault
    plug_in = "That is most likely a bug of the plug-in loader"
    assert f"sample · buggy: The row's process ended with exit code 1. {plug_in} 'buggy'" in bug
    assert f"sample · silent: The row's process ended with exit code 0. {plug_in}" in silent
    # The output is kept where there is any, and its end is shown.
    log = re.search(r"Its output is in (.*)\.$", fault)
    assert log is not None
    assert "the last words" in Path(log[1]).read_text()
    assert "Fatal Python error: Segmentation fault" in Path(log[1]).read_text()
    assert "  | the last words" in shown.err
    assert "in measure\n" in shown.err  # where it crashed
    assert "Extension modules" not in shown.err
    assert "sample · buggy crashed, and wrote last:" in shown.err
    assert "  | RuntimeError: a bug" in shown.err
    # What the row had started went with it.
    assert not is_running(int((tmp_path / "out/worker.pid").read_text()))


@pytest.mark.parametrize("loader", ["segfault", "silent"])
def test_a_row_alone_is_as_safe_as_a_row_among_others(
    loader: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(loaders=(loader,)) == 1
    (said,) = complaints(capsys.readouterr().err)
    assert said.startswith(f"fastbench: sample · {loader}: The row's process ")


@pytest.mark.parametrize(
    "command",
    [
        ["parity", "--model", "sample", "--loader", "dali", "--loader", "opencv"],
        ["run", "--ab", "dtype=float16", "--loader", "dali", "--model", "sample", "--model", "b"],
    ],
)
def test_rows_that_are_compared_are_as_safe(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(unread_files, "find_unread", lambda *_: ({}, False))
    monkeypatch.setattr(execute, "parity", stub_child.half)
    monkeypatch.setattr(execute, "ab", stub_child.half)
    assert main([*command, "--output", str(tmp_path / "out")]) == 1
    first, second = complaints(capsys.readouterr().err)
    assert first.startswith("fastbench: sample · dali: The row's process was killed by SIGSEGV. ")
    row = "sample · opencv" if command[0] == "parity" else "b · dali"
    assert second == f"fastbench: {row}: There are no images."


def test_our_own_errors_keep_their_class_and_their_words(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(loaders=("damaged", "dali")) == 1
    (said,) = complaints(capsys.readouterr().err)
    assert said.startswith("fastbench: sample · damaged: a.jpg is damaged. Replace or remove")


def test_debugging_reaches_the_children(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--debug", loaders=("damaged", "hopeless")) == 1
    err = capsys.readouterr().err
    started = re.search(r"fastbench.core.child_process: process (\d+) started", err)
    assert started is not None
    assert re.search(rf" {started[1]} fastbench.stub: damaged is logged", err)
    assert f"process {started[1]} ended with exit code 0" in err
    # A row that failed, and an error that ended the run: each with the child's frames above it.
    row, end = err.split("fastbench: sample · damaged: a.jpg is damaged")
    assert f"In process {started[1]}:" in row
    assert "CorruptImageError: a.jpg is damaged" in row
    assert re.search(r"In process \d+:\nTraceback", end)
    assert 'raise DataNotFoundError("There are no images.")' in end
    assert end.endswith("\nfastbench: There are no images.\n")
    assert run(loaders=("damaged",)) == 1
    assert "logged" not in capsys.readouterr().err


def test_a_study_that_cannot_be_written_hides_no_failed_row(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OutputError("The accuracy study cannot be written. Free some space.")

    monkeypatch.setattr("fastbench.report.formats.accuracy_text.write_study", full)
    assert run(loaders=("damaged", "dali")) == 1
    shown = capsys.readouterr()
    row, study = complaints(shown.err)
    assert row.startswith("fastbench: sample · damaged: a.jpg is damaged.")
    assert study == "fastbench: The accuracy study cannot be written. Free some space."
    assert f"Records: {tmp_path / 'out'}" in shown.out
    assert run(loaders=("dali",)) == 1


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", b"o\\udcff"), ("ascii", b"each * sample")]
)
def test_what_the_terminal_cannot_show_is_spelt_out(
    encoding: str, shown: bytes, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an hour of measuring it ended the run with a traceback."""
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding, write_through=True))
    folder = str(tmp_path / "o\udcff")
    assert run("--output", folder, loaders=("synthetic", "dali")) == 0
    assert shown in screen.getvalue()


def test_a_plan_that_cannot_be_written_hides_no_row(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out/plan.toml").mkdir(parents=True)
    assert run(loaders=("synthetic", "dali")) == 1
    shown = capsys.readouterr()
    assert "The plan cannot be written to" in complaints(shown.err)[0]
    assert "synthetic" in shown.out
    assert measured(tmp_path) == ["synthetic"]


def test_two_runs_of_one_second_have_a_folder_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = [open_output(None) for _ in range(5)]
    assert len({folder for folder, _ in made}) == 5
    assert all(is_new for _, is_new in made)
    assert all(folder.parent == Path("fastbench-results") for folder, _ in made)


def test_what_fails_for_its_model_fails_once(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [
        *("--model", "unloadable", "--model", "sample", "--dtype", "float32", "--dtype", "float16")
    ]
    assert run(*argv, loaders=("dali", "synthetic")) == 1
    assert started(tmp_path) == [
        "unloadable dali float32",
        "unloadable dali float16",
        *(f"sample {name} {dtype}" for dtype in ("float32", "float16")
          for name in ("dali", "synthetic")),
    ]  # fmt: skip
    assert complaints(capsys.readouterr().err) == [
        f"fastbench: unloadable · every loader · {dtype}: There are no weights."
        for dtype in ("float32", "float16")
    ]


def test_what_fails_for_all_ends_the_run(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(loaders=("dali", "hopeless", "synthetic")) == 1
    assert measured(tmp_path) == ["dali"]
    assert complaints(capsys.readouterr().err) == ["fastbench: There are no images."]


def test_a_fault_after_the_row_does_not_lose_it(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(loaders=("untidy", "dali")) == 0
    assert measured(tmp_path) == ["dali", "untidy"]
    err = capsys.readouterr().err
    assert "The row's process was killed by SIGSEGV after the row was measured." in err
    assert err.count("said by every row") == 1
    assert "untidy is at work" in err
    lines = [line for line in err.splitlines() if line.startswith("Row ")]
    assert lines == [
        "Row 1 of 2: sample · untidy",
        "Row 2 of 2: sample · dali, less than a minute left",
    ]
    # The first row's child looks at the names of all models before anything is measured.
    told = [line.split("|")[0] for line in (tmp_path / "out/started.txt").read_text().splitlines()]
    assert told == ["sample ", ""]


def test_a_process_that_does_not_end_is_not_said_to_have_died(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(row_in_child, "EXIT_S", 0.5)
    assert run(loaders=("lingering", "dali")) == 0
    assert measured(tmp_path) == ["dali", "lingering"]
    err = capsys.readouterr().err
    assert "The row's process did not end within 0.5 s, and was killed." in err
    assert "SIGKILL" not in err


def test_loaders_that_are_not_here_are_left_out_of_all(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = dict.fromkeys(("absent", "dali", "opencv"), BUILT_IN["dali"])
    monkeypatch.setattr("fastbench.loaders.registry.BUILT_IN", few)
    monkeypatch.setattr("fastbench.runner.planned_rows.BUILT_IN", few)
    monkeypatch.setattr("fastbench.loaders.registry.installed", dict)
    argv = ["--dtype", "float32", "--dtype", "float16"]
    assert run(*argv, loaders=("all",)) == 0
    err = capsys.readouterr().err
    assert complaints(err) == []
    assert "opencv is left out: it is not installed" in err
    assert err.count("absent is left out: Its package is not here.") == 1
    assert started(tmp_path) == [
        "sample absent float32", "sample dali float32", "sample dali float16",
    ]  # fmt: skip
    # Asked for by name, it is a row that failed.
    assert run(loaders=("absent", "dali")) == 1
    assert "sample · absent: Its package is not here." in complaints(capsys.readouterr().err)[0]


def test_ranks_of_a_preset_without_room_are_left_out(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def room(device: str) -> tuple[int, str]:
        asked.append(device)
        return 1, "this machine has 1 core for them"

    monkeypatch.setattr(execute, "room_for_ranks", room)
    assert run("--preset", "scaling", loaders=("dali",)) == 0
    err = capsys.readouterr().err
    for num in (2, 4, 8):
        assert f"--ranks {num} is left out: this machine has 1 core for them." in err
    assert started(tmp_path) == ["sample dali auto"]
    assert asked == ["auto"]
    # No row of several ranks was planned here, and nobody asks.
    assert run(loaders=("dali",)) == 0
    assert len(asked) == 1


def test_there_is_room_for_a_rank_on_each_core_or_for_those_that_were_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    num, why = room_for_ranks("cpu")
    assert num == num_cores()
    assert why == f"this machine has {counted(num, 'core')} for them"
    started = cluster.Started("torchrun", 0, 16, 0, ("localhost", 29_500), has_store=True)
    monkeypatch.setattr(cluster, "here", lambda: cluster.Cluster(started))
    assert room_for_ranks("cuda") == (16, "torchrun started 16 processes")


def test_resume_runs_what_is_not_finished(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--batch-size", "10", "--batch-size", "20"]
    assert run(*argv, loaders=("dali", "damaged")) == 1
    assert len(started(tmp_path)) == 4
    assert options_file.read_options(tmp_path / "out/plan.toml") == {
        "reference": "none", "loader": ("dali", "damaged"), "batch_size": (10, 20),
    }  # fmt: skip
    capsys.readouterr()
    assert main(["run", "--resume", str(tmp_path / "out"), "--dry-run"]) == 0
    assert "4 rows: 2 finished, 2 to be measured, about 1 min" in capsys.readouterr().out
    assert len(started(tmp_path)) == 4
    assert main(["run", "--resume", str(tmp_path / "out")]) == 1
    assert started(tmp_path)[4:] == ["sample damaged auto"] * 2
    shown = capsys.readouterr()
    assert shown.out.count("dali") >= 2  # rows of before are in the table
    assert len(complaints(shown.err)) == 2
    # With all rows done there is nothing to start.
    assert run(*argv, "--resume", loaders=("dali",)) == 0
    assert len(started(tmp_path)) == 6
    assert len(list((tmp_path / "out").glob("*.json"))) == 2


def start(tmp_path: Path, *loaders: str, argv: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A whole `fastbench run` with stubs for children; it fails where it imports torch itself."""
    named = [word for name in loaders for word in ("--loader", name)]
    argv = ("run", "--reference", "none", *named, "--output", str(tmp_path / "out"), *argv)
    return subprocess.Popen(
        [sys.executable, "-c", STUBBED, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=TESTS,
        start_new_session=True,
        # A test run in the background of a shell inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_a_dry_run_prints_the_rows(tmp_path: Path) -> None:
    argv = (
        *("--dry-run", "--compile", "--no-compile", "--batch-size", "64"),
        *("--num-threads", "2", "--model-threads", "3", "--resize", "exact"),
    )
    # Where there is a GPU, auto is another dtype.
    with start(tmp_path, "dali", "synthetic", argv=(*argv, "--device", "cpu")) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    rows = [line.split() for line in out.splitlines() if "sample" in line]
    assert rows == [
        [number, "sample", loader, "float32", how, "64", "2", "exact", "3"]
        for number, (how, loader) in zip(
            "1234", itertools.product(("compile", "eager"), ("dali", "synthetic")), strict=True
        )
    ]
    assert "4 rows, about 3 min, longer where an epoch takes longer" in " ".join(out.split())
    assert not (tmp_path / "out").exists()


def test_brackets_in_a_models_name_are_no_markup() -> None:
    """A folder or a file may have them."""
    name = "runs[old]/[/a].pt2"
    rows = expand({"model": (name,), "loader": ("dali",), "reference": "none"})
    plan = Plan(options={}, rows=rows, output=None, finished={}, resumed=False)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    console.print(render(plan))
    with ConsoleProgress(console) as progress:
        progress.say(f"{name}: loading the model")
        progress.count(f"{name}: pairs")(1, 2)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert f"{name}  dali" in shown
    assert f"{name}: loading the model" in shown
    assert f"{name}: pairs" in shown


def test_sigterm_is_like_ctrl_c(tmp_path: Path) -> None:
    with start(tmp_path, "dali", "slow", "synthetic") as process:
        told = tmp_path / "out/child.pid"
        wait_for(lambda: told.exists() and told.read_text())
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert not is_running(int(told.read_text()))
    assert "interrupted" in (tmp_path / "out/ended.txt").read_text()  # and not killed
    assert "dali" in out
    assert "Interrupted: 1 finished row is in" in err


def interrupted(tmp_path: Path, *loaders: str, after_s: float = 0.0) -> tuple[str, str]:
    """What a run printed that got Ctrl-C when the child of its row had said that it is there."""
    with start(tmp_path, *loaders) as process:
        told = tmp_path / "out/child.pid"
        wait_for(lambda: told.exists() and told.read_text())
        time.sleep(after_s)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    return out, err


@pytest.mark.parametrize("kind", ["slow", "stubborn"])
def test_ctrl_c_ends_the_child_and_says_how_to_go_on(kind: str, tmp_path: Path) -> None:
    with start(tmp_path, "dali", kind, "synthetic") as process:
        told = tmp_path / "out/child.pid"
        wait_for(lambda: told.exists() and told.read_text())
        child = int(told.read_text())
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert not is_running(child)
    assert "dali" in out
    assert "Traceback" not in err
    assert ("did not end within 1 s, and was killed" in err) == (kind == "stubborn")
    folder = tmp_path / "out"
    assert err.splitlines()[-1] == (
        f"fastbench: Interrupted: 1 finished row is in {folder}. "
        f"Go on with: fastbench run --resume {folder}"
    )
    assert started(tmp_path) == ["sample dali auto", f"sample {kind} auto"]


def test_a_row_that_is_stuck_is_lost_alone(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(loaders=("stuck", "dali")) == 1
    shown = capsys.readouterr()
    assert "of waiting for a batch of the loader 'stuck'. Choose another with --loader" in shown.err
    assert "dali" in shown.out


def test_a_row_that_can_answer_no_more_is_lost_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(child_process, "MUTE_S", 0.1)
    assert run(loaders=("mute", "dali")) == 1
    shown = capsys.readouterr()
    assert "dali" in shown.out
    assert complaints(shown.err) == [
        "fastbench: sample · mute: The row's process closed the pipe for its answers, and was "
        "ended. That is most likely a bug of the plug-in loader 'mute': tell its author."
    ]


def test_what_a_child_answers_after_ctrl_c_is_heard(tmp_path: Path) -> None:
    out, err = interrupted(tmp_path, "parting", "dali")
    assert "parting" in out
    assert "Interrupted: 1 finished row is in" in err
    assert started(tmp_path) == ["sample parting auto"]


def test_ctrl_c_while_the_process_of_a_measured_row_ends(tmp_path: Path) -> None:
    """Torch takes a second or more to end: the row is finished all the same."""
    out, err = interrupted(tmp_path, "lingering", "dali", after_s=0.5)  # the record is known
    assert "lingering" in out
    folder = tmp_path / "out"
    assert err.splitlines()[-1] == (
        f"fastbench: Interrupted: 1 finished row is in {folder}. "
        f"Go on with: fastbench run --resume {folder}"
    )


def test_ctrl_c_does_not_offer_the_plan_of_an_earlier_run(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    options_file.write_options({"model": ("other",)}, folder / "plan.toml")
    _, err = interrupted(tmp_path, "slow", "dali")
    assert err.splitlines()[-1] == "fastbench: Interrupted: no row was finished."


def test_a_child_does_not_outlive_its_parent(tmp_path: Path) -> None:
    with start(tmp_path, "stubborn", "dali") as process:
        told = tmp_path / "out/child.pid"
        wait_for(lambda: told.exists() and told.read_text())
        child = int(told.read_text())
        process.kill()
        process.communicate()
    wait_for(lambda: not is_running(child), 10)


def test_every_error_comes_through() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.FastbenchError)
    ]
    assert errors.CrashError in kinds
    for kind in kinds:
        error = kind("a", "b", "c") if kind is CorruptImageError else kind("What. Next.")
        back = pickle.loads(pickle.dumps(portable(error)))
        assert (type(back), str(back), back.exit_code) == (kind, str(error), error.exit_code)

    for image in (
        CorruptImageError(Path("a") / "b.jpg", "is damaged", "Mend it."),
        type("PlugInError", (CorruptImageError,), {})("a/b.jpg", "is damaged", "Mend it."),
    ):
        back = pickle.loads(pickle.dumps(portable(image)))
        assert (type(back), str(back)) == (CorruptImageError, "a/b.jpg is damaged. Mend it.")

    class PlugInError(UnknownNameError):
        def __init__(self, number: int) -> None:
            super().__init__(number)

        def __str__(self) -> str:
            return "Its own words."

    back = portable(PlugInError(3))
    assert (type(back), str(back)) == (UnknownNameError, "Its own words.")


def test_the_progress_in_a_terminal() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with ConsoleProgress(console) as progress:
        progress.row(2, 12, "sample · dali · batch 8", 250.0, "batch 8")
        progress.say("sample · dali: measuring")
        progress.count("drawing the images")(3, 10)
        progress.note("A [line] that stays.")
        progress.note("A [line] that stays.")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "2 of 12 rows" in shown
    assert "about 4 min left" in shown
    assert "sample · dali: measuring (batch 8)" in shown
    assert "drawing the images" in shown
    assert shown.count("A [line] that stays.") == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "less than a minute"), (29, "less than a minute"), (31, "about 1 min"),
     (250, "about 4 min"), (3600, "about 1 h 0 min"), (4800, "about 1 h 20 min")],
)  # fmt: skip
def test_a_time_that_is_guessed(seconds: float, text: str) -> None:
    assert format_about(seconds) == text


def test_a_bad_file_among_the_images_of_several_rows(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a real child, which lists the images: its sentence is the run's."""
    (small / "n02123045/3.jpg").write_bytes(b"")
    argv = ["--model", "sample", "--device", "cpu", "--output", str(tmp_path / "out")]
    assert main(["run", "--data", str(small), *argv]) == 1
    (said,) = complaints(capsys.readouterr().err)
    assert "3.jpg is empty (0 bytes). Replace or remove the file" in said
    assert not (tmp_path / "out").exists()


def test_two_rows_that_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With real children: what the second needs of the reference it has from the first."""
    data, out, file = tmp_path / "data", tmp_path / "out", tmp_path / "predictions.csv"
    ensure_sample(16, root=data)
    code = main(
        ["run", "--data", str(data), "--model", "sample", "--device", "cpu", "--quick",
         "--batch-size", "8", "--passes", "end-to-end", "--loader", "torchvision",
         "--loader", "torchvision-tensor",
         "--loader-option", "torchvision.prefetch=0",  # no workers of its own
         "--output", str(out), "--predictions", str(file)]
    )  # fmt: skip
    err = capsys.readouterr().err
    assert code == 0, err
    assert err.count("No GPU is used") == 1
    assert "the reference's float32 predictions" not in err  # its own row gave them
    records = {read_record(path).loader: read_record(path) for path in out.glob("*.json")}
    assert set(records) == {"torchvision", "torchvision-tensor"}
    for name, record in records.items():
        assert record.config["loader"] == [name]
        assert record.config["model"] == ["sample"]
        assert record.parity is not None
        assert record.parity.is_reference == (name == "torchvision")
        assert record.parity.agreement == 1
        assert record.environment["packages"]["torch"]
    with open(file, newline="") as lines:
        found = [row["loader"] for row in csv.DictReader(lines)]
    assert found == ["torchvision"] * 16 + ["torchvision-tensor"] * 16
    assert len(list((out / ".kept").iterdir())) == 1
    # Both are finished: their digests are those of the plan, and the images are the same.
    assert main(["run", "--resume", str(out), "--dry-run"]) == 0
    assert "2 rows: 2 finished, 0 to be measured." in capsys.readouterr().out
    # A file of predictions is of one set of images.
    os.utime(next(data.rglob("*.jpg")))
    assert main(["run", "--resume", str(out)]) == UsageError.exit_code
    err = capsys.readouterr().err
    assert "2 finished rows will be run again: not known to be of these images" in err
    assert "predictions.csv is there already, and nothing is overwritten." in err
