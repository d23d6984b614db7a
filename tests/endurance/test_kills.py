"""Runs that are killed at random moments leave their finished rows, and nothing else.

`FASTBENCH_KILLS=100 uv run pytest -s tests/endurance/test_kills.py`; about ten seconds a kill.
"""

from __future__ import annotations

import collections
import contextlib
import csv
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
from builders.killed import family, in_memory

from fastbench.loaders.ask import ask

OF_WORKERS = ("timm", "torchvision", "webdataset")
LOADERS = (*OF_WORKERS, "dali", "memory", "opencv", "spdl", "torchvision-tensor")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)
NUM_IMAGES = 24
VICTIMS = ("run", "row", "worker")
NUM_KILLS = int(os.environ.get("FASTBENCH_KILLS", "100"))
LATEST_S = {"run": 7.0, "row": 3.0, "worker": 0.8}
"""When the last kills come after the victim is up: about as long as it lives."""
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
    for i in range(NUM_IMAGES):
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


def wait_for(victim: str, process: subprocess.Popen[str], tmpdir: Path) -> list[psutil.Process]:
    """The processes of this kind, once there are any; none if the run ends before."""
    found: list[psutil.Process] = []
    while not found and process.poll() is None:
        found = family(tmpdir)[victim]
        time.sleep(0.05)
    return found


def left(tmpdir: Path, out: Path) -> list[str]:
    """What a run has left in its temporary folder, but what torch.compile keeps on purpose.

    And half-written files beside its records.
    """
    found = [x.name for x in tmpdir.iterdir() if not x.name.startswith("torchinductor_")]
    return found + [x.name for x in out.parent.rglob(".*.tmp")]


def whole_records(folder: Path) -> dict[str, float]:
    """The records, each of which must be whole, and when they were written."""
    found = {}
    for path in folder.glob("*.json"):
        assert json.loads(path.read_text())["throughput"], path
        found[path.name] = path.stat().st_mtime
    return found


def predicted(file: Path) -> dict[str, int]:
    """How many images' predictions the file has, by loader."""
    with file.open(newline="") as lines:
        return dict(collections.Counter(line["loader"] for line in csv.DictReader(lines)))


@pytest.mark.parametrize("seed", range(NUM_KILLS))
def test_a_killed_run(seed: int, here: tuple[str, ...], data: Path, tmp_path: Path) -> None:
    chance = random.Random(seed)
    victim, sent = chance.choice(VICTIMS), chance.choice(SIGNALS)
    after_s = chance.uniform(0, LATEST_S[victim])
    among = [name for name in here if victim != "worker" or name in OF_WORKERS]
    loaders = chance.sample(among, chance.choice([1, 2]))
    tmpdir, out, predictions = tmp_path / "t", tmp_path / "out", tmp_path / "predictions.csv"
    tmpdir.mkdir()
    before = in_memory()
    argv = [
        *(word for name in loaders for word in ("--loader", name)),
        *("--reference", "none", "--data", str(data), "--model", "sample", "--device", "cpu"),
        *("--quick", "--passes", "end-to-end", "--batch-size", "8", "--output", str(out)),
        *("--predictions", str(predictions)),
    ]
    with start(argv, tmpdir) as process:
        if wait_for(victim, process, tmpdir):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(after_s)
        killed = victim
        # It may be another by now: of the next row, say.
        if found := wait_for(victim, process, tmpdir):
            with contextlib.suppress(psutil.NoSuchProcess):
                chance.choice(found).send_signal(sent)
        else:
            killed = f"no {victim}: the run had ended"
        text, _ = process.communicate(timeout=300)
    told = f"{sent.name} to {killed} after {after_s:.1f} s of {loaders}: {text}"
    counts[f"{sent.name} to {killed}"] += 1
    assert "Traceback" not in text, told
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        remaining = [*family(tmpdir).values()], in_memory() - before
        if remaining == ([], set()):
            break
        time.sleep(0.1)
    assert remaining == ([], set()), told
    finished = whole_records(out) if out.exists() else {}
    counts["rows finished"] += len(finished)
    if (out / "plan.toml").exists():
        again = ["--resume", str(out)]
    else:
        assert len(finished) <= 1, told  # the plan comes behind the first record
        again = [*argv, "--resume", str(out)]
    with start(again, tmpdir) as process:
        text, _ = process.communicate(timeout=300)
    told = f"{told}\nresumed: {text}"
    assert process.returncode == 0, told
    now = whole_records(out)
    assert finished.items() <= now.items(), told
    assert len(now) == len(loaders), told
    assert predicted(predictions) == dict.fromkeys(loaders, NUM_IMAGES), told
    assert not left(tmpdir, out), told
    counts["rows measured by --resume"] += len(now) - len(finished)
