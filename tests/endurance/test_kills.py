"""Runs that are killed at random moments leave their finished rows, and nothing else.

`FASTBENCH_KILLS=100 uv run pytest -s tests/endurance/test_kills.py`; about ten seconds a kill.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from builders.images import draw

from fastbench.loaders.ask import ask

LOADERS = (
    *("dali", "memory", "opencv", "spdl", "timm"),
    *("torchvision", "torchvision-tensor", "webdataset"),
)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)
VICTIMS = ("run", "row", "worker")
NUM_KILLS = int(os.environ.get("FASTBENCH_KILLS", "100"))
LATEST_S = 7.0
"""When the last kills come; the runs take about as long."""
counts: collections.Counter[str] = collections.Counter()


@pytest.fixture(scope="module")
def here() -> Iterator[tuple[str, ...]]:
    """The loaders that run on this machine; the counts are printed in the end."""
    found = tuple(listed.name for listed in ask(LOADERS) if listed.why_not is None)
    assert len(found) >= 6
    yield found
    print("\n" + "\n".join(f"{num:4} {what}" for what, num in sorted(counts.items())))  # noqa: T201


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few small JPEGs."""
    root = tmp_path_factory.mktemp("data")
    for i in range(24):
        draw(root / f"{i}.jpg", (100 + i, 80))
    return root


def start(argv: list[str], tmpdir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "fastbench", "run", *argv],
        env=os.environ | {"TMPDIR": str(tmpdir)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def family(tmpdir: Path) -> dict[str, list[psutil.Process]]:
    """The processes of a run by what they are; those that the system made for it under `other`."""
    found = collections.defaultdict(list)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if not process.environ().get("TMPDIR", "").startswith(str(tmpdir)):
                continue
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            above = [each.pid for each in process.parents()]
            depth = above.index(os.getpid()) if os.getpid() in above else -1
            # The run, its server, a row, the server of the row's workers, a worker.
            found[{0: "run", 2: "row", 4: "worker"}.get(depth, "other")].append(process)
    return found


def left(tmpdir: Path) -> list[str]:
    """What a run has left in its temporary folder, but what torch.compile keeps on purpose."""
    return [x.name for x in tmpdir.iterdir() if not x.name.startswith("torchinductor_")]


def whole_records(folder: Path) -> dict[str, float]:
    """The records, each of which must be whole, and when they were written."""
    found = {}
    for path in folder.glob("*.json"):
        assert json.loads(path.read_text())["throughput"], path
        found[path.name] = path.stat().st_mtime
    return found


@pytest.mark.parametrize("seed", range(NUM_KILLS))
def test_a_killed_run(seed: int, here: tuple[str, ...], data: Path, tmp_path: Path) -> None:
    chance = random.Random(seed)
    loaders = chance.sample(here, chance.choice([1, 3]))
    sent, after_s = chance.choice(SIGNALS), chance.uniform(0.1, LATEST_S)
    victim = chance.choice(VICTIMS)
    tmpdir, out = tmp_path / "t", tmp_path / "out"
    tmpdir.mkdir()
    in_memory = {*os.listdir("/dev/shm")}
    argv = [
        *(word for name in loaders for word in ("--loader", name)),
        *("--reference", "none", "--data", str(data), "--model", "sample", "--device", "cpu"),
        *("--quick", "--passes", "end-to-end", "--batch-size", "8", "--output", str(out)),
    ]
    with start(argv, tmpdir) as process:
        time.sleep(after_s)
        found = family(tmpdir)
        if not found[victim]:
            victim = "run"
        if process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                (found[victim] or found["run"])[0].send_signal(sent)
        else:
            victim = "run that had ended"
        text, _ = process.communicate(timeout=300)
    told = f"{sent.name} to {victim} after {after_s:.1f} s of {loaders}: {text}"
    counts[f"{sent.name} to {victim}"] += 1
    assert "Traceback" not in text, told
    deadline = time.monotonic() + 20
    while (remaining := [*family(tmpdir).values()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not remaining, told
    assert not left(tmpdir), told
    assert {*os.listdir("/dev/shm")} <= in_memory, told
    finished = whole_records(out) if out.exists() else {}
    counts["rows finished"] += len(finished)
    if (out / "plan.toml").exists():
        again = ["--resume", str(out)]
    else:
        assert not finished, told
        again = argv
    with start(again, tmpdir) as process:
        text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, f"{told}\nresumed: {text}"
    now = whole_records(out)
    assert finished.items() <= now.items(), told
    assert len(now) == len(loaders), told
    assert not left(tmpdir), f"{told}\nresumed: {text}"
    counts["rows measured by --resume"] += len(now) - len(finished)
