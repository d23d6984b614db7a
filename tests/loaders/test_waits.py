"""No loader waits for ever: what its workers need is there, and what they do not send is missed."""

import collections
import dataclasses
import errno
import itertools
import math
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from builders.faulty_datasets import EndsEarly, Unsent
from builders.images import draw
from builders.loaders import IMAGENET, spec_of
from torch.utils.data import DataLoader

from fastbench.core.errors import LoaderError
from fastbench.data.dataset import scan
from fastbench.loaders.base import Loader, LoaderSpec
from fastbench.loaders.builtin import torchvision
from fastbench.loaders.shared import epochs, shared_memory, threads, worker_processes
from fastbench.loaders.shared.shared_memory import SharedMemory

Open = Callable[[str, LoaderSpec], Loader]
OF_WORKERS = ["timm", "torchvision", "webdataset"]
SPEC = LoaderSpec(
    paths=[f"{i}.jpg" for i in range(100)],
    batch_size=64,
    preprocess=IMAGENET,
    device="cuda",
    dtype="float16",
    num_threads=8,
)
BATCH = 64 * 3 * 224 * 224


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets what is free in shared memory, in bytes."""

    def set_(num_bytes: int) -> None:
        stat = os.statvfs_result((4096, 4096, 1 << 20, *[num_bytes // 4096] * 2, 0, 0, 0, 0, 255))
        real = os.statvfs
        monkeypatch.setattr(
            os, "statvfs", lambda path: stat if path == shared_memory.FOLDER else real(path)
        )

    return set_


def test_what_is_needed() -> None:
    assert SharedMemory("timm", SPEC, 8, torch.uint8).num_bytes == 18 * BATCH
    assert SharedMemory("torchvision", SPEC, 8, torch.float16).num_bytes == 18 * BATCH * 2
    deeper = dataclasses.replace(SPEC, prefetch=5, batch_size=1)
    assert SharedMemory("timm", deeper, 3, torch.float32).num_bytes == 17 * 4 * 3 * 224 * 224


def test_too_little_is_refused_before_a_worker_starts(free: Callable[[int], None]) -> None:
    memory = SharedMemory("torchvision", SPEC, 8, torch.float16)
    free(memory.num_bytes + 4096)
    memory.check()
    free(64 << 20)
    with pytest.raises(LoaderError) as caught:
        memory.check()
    assert str(caught.value) == (
        "The loader 'torchvision' needs 346.8 MB of shared memory for 18 batches from 8 workers, "
        "and /dev/shm has 67.1 MB free. Give a container more with --shm-size=414m, or use a "
        "smaller --batch-size, fewer --num-threads or --loader-option torchvision.prefetch=1."
    )
    assert memory.num_bytes * 1.2 < 414 << 20


def test_advice_is_of_use(free: Callable[[int], None]) -> None:
    free(0)
    least = dataclasses.replace(SPEC, prefetch=1, num_threads=1)
    with pytest.raises(LoaderError, match=r"m, or use a smaller --batch-size\.$"):
        SharedMemory("timm", least, 1, torch.uint8).check()


@pytest.mark.parametrize("stat", [OSError(errno.ENOENT, "none"), None])
def test_space_without_a_known_limit(stat: OSError | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no /dev/shm, or a tmpfs without a limit, whose size is 0."""

    def statvfs(_: str) -> os.statvfs_result:
        if stat is not None:
            raise stat
        return os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255))

    monkeypatch.setattr(os, "statvfs", statvfs)
    SharedMemory("timm", SPEC, 8, torch.uint8).check()


@pytest.mark.parametrize("name", OF_WORKERS)
def test_a_loader_with_workers_looks_at_the_space(
    name: str, images: Path, open_loader: Open, free: Callable[[int], None]
) -> None:
    free(1 << 20)
    before = threading.active_count()
    with pytest.raises(LoaderError, match="of shared memory for 6 batches from 2 workers"):
        open_loader(name, spec_of(scan(images)))
    assert threading.active_count() == before
    next(iter(open_loader(name, spec_of(scan(images), prefetch=0))))  # which has no workers


@pytest.mark.parametrize("name", OF_WORKERS)
def test_what_is_used_is_what_is_said(name: str, images: Path, open_loader: Open) -> None:
    before = _shared_bytes(0)  # what other tests' loaders have left
    loader = open_loader(name, spec_of(scan(images), batch_size=2))
    batch = 2 * 3 * 224 * 224 * (1 if name == "timm" else 4)
    most = 0
    for _ in itertools.islice(itertools.chain.from_iterable(itertools.repeat(loader)), 14):
        time.sleep(0.03)  # as a model that is slower than the workers
        sizes = (size for file, size in _shared_bytes(batch).items() if file not in before)
        most = max(most, sum(sizes))
    assert 4 * batch <= most <= loader._memory.num_bytes  # type: ignore[attr-defined]


def _shared_bytes(least: int) -> dict[int, int]:
    """Bytes of each tensor of at least that size in shared memory, of this process's family."""
    sizes = {}
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        for file in Path(f"/proc/{process.pid}/fd").glob("*"):
            try:
                if os.readlink(file).startswith("/dev/shm/torch_"):
                    stat = os.stat(file)
                    sizes[stat.st_ino] = stat.st_size
            except OSError:
                continue  # closed meanwhile
    return {file: size for file, size in sizes.items() if size >= least}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        (Unsent, "needs .* of shared memory for 6 batches"),
        (EndsEarly, r"The loader 'torchvision' ended its epoch before batch \d of 11"),
    ],
)
def test_what_workers_do_not_send(
    dataset: type, says: str, images: Path, open_loader: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision, "_BatchDataset", lambda _: dataset())
    if dataset is EndsEarly:
        monkeypatch.setattr(
            torchvision.TorchvisionLoader,
            "_open",
            lambda self: DataLoader(EndsEarly(), batch_size=None, **self._arguments()),
        )
    loader = open_loader("torchvision", spec_of(scan(images), batch_size=2))
    with pytest.raises(LoaderError, match=says):
        collections.deque(loader, maxlen=0)


@pytest.mark.usefixtures("impatient")
def test_a_worker_that_no_page_was_left_for(images: Path, open_loader: Open) -> None:
    """Where the file system promises what it has not, a write ends in SIGBUS."""
    loader = open_loader("torchvision", spec_of(scan(images)))
    stream = itertools.chain.from_iterable(itertools.repeat(loader))
    next(stream)
    for worker in loader._workers:  # type: ignore[attr-defined]
        os.kill(worker.pid, signal.SIGBUS)
    with pytest.raises(LoaderError, match="of shared memory for 6 batches"):
        collections.deque(itertools.islice(stream, 50), maxlen=0)


class _Worker:
    """Its end is told `after_s` seconds from now, as by a server that has other work."""

    def __init__(self, status: int, after_s: float) -> None:
        self.sentinel, told = multiprocessing.Pipe(duplex=False)
        self.timer = threading.Timer(after_s, told.send, [status])
        self.timer.start()
        self._status: int | None = None

    @property
    def exitcode(self) -> int | None:
        if self._status is None and self.sentinel.poll():
            self._status = self.sentinel.recv()
        return self._status


def test_an_end_that_is_told_late(images: Path, open_loader: Open) -> None:
    """After the DataLoader's error, and after the ends of the workers that it stopped itself."""
    loader = open_loader("torchvision", spec_of(scan(images), prefetch=0))
    assert isinstance(loader, worker_processes.WorkerLoader)
    stopped, killed, ended = (-signal.SIGTERM, 0.0), (-signal.SIGBUS, 0.3), (0, 0.1)
    for ends, says in [
        ([stopped, killed, ended], "of shared memory"),
        ([stopped, killed, ended, (-signal.SIGSEGV, 0.2)], "it was killed by SIGSEGV"),
        ([stopped, ended], "as when memory, processes or threads run out"),
    ]:
        workers = [_Worker(*end) for end in ends]
        loader._workers = list(workers)  # type: ignore[arg-type]
        assert says in str(loader._failed(0, ConnectionResetError()))
        for worker in workers:
            worker.timer.join()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["opencv", "spdl", "timm", "torchvision", "torchvision-tensor"])
def test_a_file_that_never_ends(
    name: str, tmp_path: Path, open_loader: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one on a file system that does not answer."""
    monkeypatch.setattr(epochs, "LEAST_LIMIT_S", 0.3)
    monkeypatch.setattr(worker_processes, "_LOOK_S", 0.1)
    monkeypatch.setattr(threads, "STOP_S", 0.1)
    for i in range(4):
        draw(tmp_path / f"{i}.jpg", (60, 50))
    spec = spec_of(scan(tmp_path), batch_size=2)
    stuck = Path(spec.paths[3])
    stuck.unlink()
    os.mkfifo(stuck)
    loader = open_loader(name, spec)
    if name == "spdl":
        monkeypatch.setattr("fastbench.loaders.builtin.spdl.STOP_S", 0.1)
    start = time.monotonic()
    with pytest.raises(LoaderError) as caught:
        collections.deque(loader, maxlen=0)
    loader.close()
    assert time.monotonic() - start < 20
    # A release of the file, for which threads wait.
    os.close(os.open(stuck, os.O_RDWR | os.O_NONBLOCK))
    said = str(caught.value)
    assert re.match(rf"The loader '{name}' has waited .* s for batch [01] of its epoch \(", said)
    assert "the longest wait before was" in said


def test_the_limit_grows_with_the_waits(images: Path, open_loader: Open) -> None:
    loader = open_loader("synthetic", spec_of(scan(images)))
    assert isinstance(loader, epochs.EpochLoader)
    assert loader._limit_s == epochs.LEAST_LIMIT_S >= 120
    next(iter(loader))
    assert 0 < loader._longest_wait_s < math.inf
    loader._longest_wait_s = 100.0
    assert loader._limit_s == 2000
