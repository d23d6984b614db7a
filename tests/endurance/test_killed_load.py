"""Runs under load that are killed in mid-search leave what they have measured, nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders.killed import family, in_memory
from builders.load_rows import read_load

from fastbench.records.load_validity import find_contradictions_under_load

KILLS = [
    # To whom, which signal, and the exit code.
    ("group", signal.SIGINT, 130),
    ("run", signal.SIGINT, 130),
    ("run", signal.SIGTERM, 130),
    ("run", signal.SIGKILL, -signal.SIGKILL),
    ("row", signal.SIGKILL, 1),
    ("row", signal.SIGSEGV, 1),
]


def start(*argv: str, tmpdir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "fastbench", *argv],
        env=os.environ | {"TMPDIR": str(tmpdir)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A test run in the background of a shell inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("loader", ["torchvision-tensor", "dali"])
@pytest.mark.parametrize(("victim", "sent", "code"), KILLS)
def test_a_search_that_is_killed(
    victim: str, sent: signal.Signals, code: int, loader: str, tmp_path: Path
) -> None:
    tmpdir, out = tmp_path / "t", tmp_path / "out"
    tmpdir.mkdir()
    before = in_memory()
    argv = (
        *("--limit", "16", "--model", "sample", "--device", "cpu", "--reference", "none"),
        *("--loader", loader, "--batch-size", "4", "--latency", "300ms@p90", "--quick"),
        *("--duration", "20s", "--output", str(out)),
    )
    with start("loadtest", *argv, tmpdir=tmpdir) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        err = ""
        while err.count(": searching") < 3:  # two runs are over
            line = process.stderr.readline()
            assert line, err
            err += line
        time.sleep(0.5)
        if victim == "group":
            os.killpg(process.pid, sent)
        elif victim == "run":
            process.send_signal(sent)
        else:
            family(tmpdir)["row"][0].send_signal(sent)
        err += process.stderr.read()
        shown = process.stdout.read()
    assert process.returncode == code, err
    assert "Traceback" not in err
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        remaining = [*family(tmpdir).values()], in_memory() - before
        if remaining == ([], set()):
            break
        time.sleep(0.1)
    assert remaining == ([], set()), err
    (path,) = out.glob("*.json")
    record = read_load(path)
    assert [run.purpose for run in record.runs[:2]] == ["search", "search"]
    assert not record.is_finished
    assert find_contradictions_under_load(record) == []
    for run in record.runs:
        assert run.logs is not None
        assert (out / run.logs / "mlperf_log_summary.txt").is_file()
    if code == 130:
        assert f"Interrupted: no row was finished; in {out} are the runs so far." in err
        assert loader in shown
    with start("report", str(out), tmpdir=tmpdir) as process:
        report, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert loader in report
    assert not [*out.rglob(".*.tmp")]
