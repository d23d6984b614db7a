"""Rows of several ranks by each way to start them, and what ends one.

`uv run pytest -s tests/endurance/test_ranks.py`; some minutes. FASTBENCH_KILLS sets the kills.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

NUM_IMAGES = 101
NUM_KILLS = int(os.environ.get("FASTBENCH_KILLS", "20"))


def options(out: Path, *more: str, batch_sizes: tuple[int, ...] = (8,)) -> list[str]:
    return [
        *("-m", "fastbench", "run", "--limit", str(NUM_IMAGES), "--device", "cpu"),
        *("--loader", "torchvision-tensor", "--output", str(out), "--reference", "none"),
        *(word for size in batch_sizes for word in ("--batch-size", str(size))),
        *more,
    ]


def start(argv: list[str], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        argv, env=os.environ | environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def ended(*processes: subprocess.Popen[str], seconds: float = 180) -> list[str]:
    """What they printed, once they have ended with 0."""
    said = [process.communicate(timeout=seconds)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return said


def record(out: Path) -> dict[str, Any]:
    (path,) = out.glob("*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def counted(found: dict[str, Any]) -> tuple[Any, ...]:
    """What does not depend on time, nor on how the ranks were started."""
    return (
        found["accuracy"],
        [(x["rank"], x["num_samples"], x["num_threads"], x["machine"]) for x in found["ranks"]],
        found["throughput"]["num_images"] // found["throughput"]["num_epochs"],
        found["config"] | {"output": None, "predictions": None},
    )


def test_as_many_ranks_as_there_are_ways_to_start_them(tmp_path: Path) -> None:
    out = [tmp_path / str(i) for i in range(5)]
    here = [sys.executable, "-P"]
    predictions = [tmp_path / f"{i}.csv" for i in range(4)]
    for i in (1, 2, 3):
        more = ("--quick", "--ranks", str(i), "--predictions", str(predictions[i]))
        ended(start([*here, *options(out[i], *more)]))
    alone, two, three = (record(out[i]) for i in (1, 2, 3))
    assert alone["accuracy"]["num_samples"] == NUM_IMAGES
    assert alone["accuracy"] == two["accuracy"] == three["accuracy"]
    rows = []
    for file in predictions[1:]:
        with file.open(newline="") as lines:
            rows.append([(x["file"], x["top1"]) for x in csv.DictReader(lines)])
    assert rows[0] == rows[1] == rows[2]
    assert len({name for name, _ in rows[0]}) == NUM_IMAGES

    port = free_port()
    rendezvous = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}"]
    by_torchrun = [*here, "-m", "torch.distributed.run", "--nnodes", "2", *rendezvous]
    agents = [start([*by_torchrun, *options(out[0], "--quick")]) for _ in range(2)]
    ended(*agents)
    assert counted(record(out[0])) == counted(two)

    slurm = {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "localhost",
        "MASTER_PORT": free_port(),
    }
    tasks = [
        start([*here, *options(out[4], "--quick")],
              **slurm, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank))
        for rank in range(2)
    ]  # fmt: skip
    said = ended(*tasks)
    assert said[1] == ""  # only the first one talks
    assert counted(record(out[4])) == counted(two)


def ranks_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of a run's ranks, in no order."""
    found = []
    with contextlib.suppress(psutil.Error):
        for server in psutil.Process(process.pid).children():
            if "forkserver" in " ".join(server.cmdline()):
                found += [x for x in server.children() if x.status() != psutil.STATUS_ZOMBIE]
    return found


def wait_for_windows(process: subprocess.Popen[str], num: int) -> list[psutil.Process]:
    """The ranks, once they have measured for a while."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        ranks = ranks_of(process)
        if len(ranks) == num and all(x.cpu_times().user > 3 for x in ranks):
            return ranks
        time.sleep(0.1)
    raise AssertionError("the ranks do not measure")


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_a_rank_that_is_lost_fails_the_row_by_its_name(
    tmp_path: Path, sent: signal.Signals
) -> None:
    more = ("--ranks", "2", "--min-seconds", "60")
    run = start([sys.executable, "-P", *options(tmp_path / "out", *more)])
    ranks = wait_for_windows(run, 2)
    ranks[1].send_signal(sent)
    began = time.monotonic()
    said, _ = run.communicate(timeout=60)
    assert time.monotonic() - began < 30
    assert run.returncode == 1
    assert "The process of rank " in said
    assert {signal.SIGKILL: "SIGKILL", signal.SIGSTOP: "no sign of life"}[sent] in said
    assert not any(x.is_running() and x.status() != psutil.STATUS_ZOMBIE for x in ranks)


def test_a_follower_that_dies_ends_the_leaders_row(tmp_path: Path) -> None:
    slurm = {
        "SLURM_JOB_ID": "8",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "localhost",
        "MASTER_PORT": free_port(),
    }
    more = ("--min-seconds", "60")
    tasks = [
        start([sys.executable, "-P", *options(tmp_path / "out", *more)],
              **slurm, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank))
        for rank in range(2)
    ]  # fmt: skip
    wait_for_windows(tasks[1], 1)
    tasks[1].kill()
    began = time.monotonic()
    said, _ = tasks[0].communicate(timeout=90)
    assert time.monotonic() - began < 30
    assert tasks[0].returncode == 1
    assert "Rank 1 on " in said


@pytest.mark.parametrize("seed", range(NUM_KILLS))
def test_a_killed_sweep_goes_on(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    out, tmpdir = tmp_path / "out", tmp_path / "t"
    tmpdir.mkdir()
    sizes = (4, 8, 16)
    argv = [sys.executable, "-P", *options(out, "--quick", "--ranks", "2", batch_sizes=sizes)]
    run = start(argv, TMPDIR=str(tmpdir))
    victim, sent = chance.choice(["run", "rank"]), chance.choice([signal.SIGKILL, signal.SIGTERM])
    time.sleep(chance.uniform(2, 25))
    ranks = ranks_of(run)
    before = {path.name for path in out.glob("*.json")}
    with contextlib.suppress(ProcessLookupError, psutil.Error):
        if victim == "run" or not ranks:
            run.send_signal(sent)
        else:
            chance.choice(ranks).send_signal(signal.SIGKILL)
    said, _ = run.communicate(timeout=120)
    gone = time.monotonic() + 20
    while (left := [x for x in psutil.process_iter() if _is_of(x, tmpdir)]) and (
        time.monotonic() < gone
    ):
        time.sleep(0.2)
    assert not left, said
    after = {path.name for path in out.glob("*.json")}
    assert before <= after
    ended(start([*argv, "--resume", str(out)], TMPDIR=str(tmpdir)))
    found = [json.loads(path.read_text()) for path in out.glob("*.json")]
    assert sorted(each["batch_size"] for each in found) == [*sizes]
    assert all(each["accuracy"]["num_samples"] == NUM_IMAGES for each in found)


def _is_of(process: psutil.Process, tmpdir: Path) -> bool:
    with contextlib.suppress(psutil.Error):
        if process.status() != psutil.STATUS_ZOMBIE:
            return process.environ().get("TMPDIR", "").startswith(str(tmpdir))
    return False
