"""Loaders that take requests: the epochs' pixels in any order, from files and from memory."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from builders.loaders import spec_of

from fastbench.core.errors import (
    CorruptImageError,
    LoaderError,
    LoaderFailedError,
    LoaderMissingError,
)
from fastbench.core.loader_facts import BUILT_IN
from fastbench.data.dataset import Manifest, scan
from fastbench.loaders.base import LoaderSpec
from fastbench.loaders.builtin.dali_on_demand import DaliOnDemand
from fastbench.loaders.guard_on_demand import CheckedOnDemand
from fastbench.loaders.registry import on_demand_of, resolve
from fastbench.loaders.shared.cuda_streams import InFlight

NAMES = ("dali", "memory", "opencv", "torchvision-tensor")
"""Those that run on a CPU and read images."""


@pytest.fixture
def opened() -> Iterator[Callable[..., CheckedOnDemand]]:
    """Opens a loader on demand; skips where its package is not here."""
    made: list[CheckedOnDemand] = []

    def open_(name: str, spec: LoaderSpec, in_memory: Any = None) -> CheckedOnDemand:
        if name == "opencv":
            pytest.importorskip("cv2")
        made.append(CheckedOnDemand(name, resolve(name), spec, in_memory))
        return made[-1]

    yield open_
    for each in made:
        each.close()


def bytes_of(manifest: Manifest) -> list[np.ndarray]:
    return [np.fromfile(path, np.uint8) for path in manifest.paths]


def epoch_of(name: str, spec: LoaderSpec) -> torch.Tensor:
    loader = resolve(name)(dataclasses.replace(spec, prefetch=0))
    try:
        return torch.cat([batch.images_NCHW[: batch.num_valid].clone() for batch in loader])
    finally:
        loader.close()


def decode(side: CheckedOnDemand, calls: Sequence[Sequence[int]]) -> list[Any]:
    """Each call's result; they are made at once, in as many threads as may."""
    with ThreadPoolExecutor(side.num_callers) as pool:
        return list(pool.map(side.decode, calls))


@pytest.mark.parametrize("name", BUILT_IN)
def test_who_takes_requests_is_known_without_importing_it(name: str) -> None:
    try:
        factory = resolve(name)
    except LoaderMissingError as error:
        pytest.skip(str(error))
    assert hasattr(factory, "on_demand") == BUILT_IN[name].on_demand


def test_a_loader_that_takes_no_requests() -> None:
    said = (
        r"The loader 'torchvision' reads its files in order, and cannot take requests.*--loader: "
        r"dali, dali-cpu, memory, opencv, synthetic, torchvision-tensor\."
    )
    with pytest.raises(LoaderError, match=said):
        on_demand_of("torchvision", resolve("torchvision"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_the_pixels_are_the_epochs_in_any_order_and_number(
    name: str, dtype: str, images: Path, opened: Callable[..., CheckedOnDemand]
) -> None:
    """All kinds of JPEG, some of which the fast decoders leave to Pillow."""
    manifest = scan(images)
    spec = spec_of(manifest, dtype=dtype)
    wanted = epoch_of(name, spec)
    order = [*range(21, -1, -1), *range(0, 22, 3)]
    for in_memory in (None, bytes_of(manifest)):
        side = opened(name, spec, in_memory)
        assert side.reads_images
        singles = decode(side, [[i] for i in order])
        for start in range(0, len(order), 8):
            batch = side.collate(singles[start : start + 8], 8)
            some = order[start : start + 8]
            assert torch.equal(batch[: len(some)], wanted[some])
            assert torch.isfinite(batch).all()
        assert torch.equal(side.collate(singles[:1], 1), wanted[order[:1]])
        step = side.most_at_once
        several = [order[start : start + step] for start in range(0, 8, step)]
        assert torch.equal(side.collate(decode(side, several), 8), wanted[order[:8]])


def test_one_call_of_a_whole_batch_is_not_copied(
    images: Path, opened: Callable[..., CheckedOnDemand]
) -> None:
    for name, samples in (("dali", range(8)), ("torchvision-tensor", [3])):
        side = opened(name, spec_of(scan(images)))
        (whole,) = decode(side, [samples])
        batch = side.collate([whole], len(samples))
        memory = whole if isinstance(whole, torch.Tensor) else whole.images_NHWC
        assert batch.data_ptr() == memory.data_ptr()


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_whole_until_the_next_but_one(
    name: str, images: Path, opened: Callable[..., CheckedOnDemand]
) -> None:
    side = opened(name, spec_of(scan(images)))
    held = decode(side, [[i] for i in range(22)])
    first = side.collate(held[:8], 8)
    then = first.clone()
    decode(side, [[i] for i in range(22)])
    second = side.collate(held[8:15], 8)
    assert torch.equal(first, then)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("in_memory", [False, True], ids=["file", "memory"])
@pytest.mark.parametrize("name", ["dali", "opencv", "torchvision-tensor"])
def test_a_bad_file_is_named_and_others_are_decoded_after_it(
    name: str,
    in_memory: bool,
    small: Path,
    damage: Callable[[Path], None],
    opened: Callable[..., CheckedOnDemand],
) -> None:
    manifest = scan(small)
    wanted = epoch_of(name, spec_of(manifest))
    damage(Path(manifest.paths[3]))
    cut = Path(manifest.paths[1])
    cut.write_bytes(cut.read_bytes()[:400])
    side = opened(name, spec_of(manifest), bytes_of(manifest) if in_memory else None)
    if in_memory:
        for path in manifest.paths:
            Path(path).unlink()
    for bad in (3, 1, 3):
        for _ in range(2):
            with pytest.raises(CorruptImageError, match=Path(manifest.paths[bad]).name):
                decode(side, [[bad]])
        if side.most_at_once > 1:
            with pytest.raises(LoaderFailedError, match=Path(manifest.paths[bad]).name):
                decode(side, [[0, bad, 2]])
        good = decode(side, [[0], [2], [4]])
        assert torch.equal(side.collate(good, 3), wanted[[0, 2, 4]])


def test_memory_names_a_bad_file_when_it_is_opened(small: Path) -> None:
    manifest = scan(small)
    held = bytes_of(manifest)
    held[2] = held[2][:300]
    with pytest.raises(CorruptImageError, match=Path(manifest.paths[2]).name):
        CheckedOnDemand("memory", resolve("memory"), spec_of(manifest), held)


def test_synthetic_costs_nothing(images: Path, opened: Callable[..., CheckedOnDemand]) -> None:
    side = opened("synthetic", spec_of(scan(images), dtype="bfloat16"))
    assert not side.reads_images
    batch, one = side.collate([side.decode([0, 1])], 8), side.collate([side.decode([5])], 1)
    assert batch.data_ptr() == one.data_ptr()
    assert batch.shape == (8, 3, 224, 224)


def test_closed_twice_and_then_it_decodes_no_more(images: Path) -> None:
    for name in ("dali", "torchvision-tensor"):
        side = CheckedOnDemand(name, resolve(name), spec_of(scan(images)))
        kept = side.collate(decode(side, [[0]]), 1)
        side.close()
        side.close()
        assert torch.isfinite(kept).all()
        with pytest.raises(LoaderError, match=f"'{name}' failed to decode: RuntimeError: the load"):
            side.decode([0])


def test_threads_that_decode_start_none_of_torch(
    images: Path, opened: Callable[..., CheckedOnDemand]
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        side = opened("torchvision-tensor", spec_of(scan(images)))
        numbers: list[int] = []
        barrier = threading.Barrier(2)

        def work() -> None:
            barrier.wait()  # both set it at once
            side.decode([0])
            numbers.append(torch.get_num_threads())

        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(work) for _ in range(2)]:
                future.result()
        assert numbers == [1, 1]
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


class FakeStream:
    """Notes what is asked of it, in a list that it shares."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    def record_event(self) -> str:
        self.log.append("decoded")
        return f"event {self.log.count('decoded')}"

    def wait_event(self, event: str) -> None:
        self.log.append(("waits for", event))


class FakeDali:
    """Hands out images whose first value is their sample's id."""

    name = "dali"

    def __init__(self) -> None:
        self.settings = {"dali": "2", "prefetch_queue_depth": 0, "padding_share": 0.0}

    def run_on(self, files: Any, ids: Sequence[int]) -> Any:
        images_NHWC = torch.zeros(len(ids), 2, 2, 3)
        images_NHWC[:, 0, 0, 0] = torch.tensor(list(ids))
        return SimpleNamespace(as_tensor=lambda: images_NHWC), None

    def close(self) -> None: ...


def test_on_a_gpu_dali_s_batches_are_waited_for_and_held(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With streams and events that are none: the order of the calls, not what a GPU makes of it."""
    log: list[Any] = []
    stream = FakeStream(log)
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    held: list[Any] = []
    drained: list[int] = []
    monkeypatch.setattr(InFlight, "hold", lambda _, *owners: held.append(owners))
    monkeypatch.setattr(InFlight, "drain", lambda _: drained.append(len(held)))
    paths = [f"{i}.jpg" for i in range(11)]
    spec = dataclasses.replace(spec_of(scan(small)), device="cuda:0", paths=paths)
    side = DaliOnDemand(FakeDali(), spec, [np.zeros(1, np.uint8)] * 11)
    assert side.settings == {"dali": "2"}
    parts = [side.decode([i]) for i in range(5)]
    for i in (0, 1):
        assert side.collate([parts[i]], 1)[0, 0, 0, 0] == i
        assert log[-1] == ("waits for", f"event {i + 1}")
    assert held == []  # both may still be read
    side.collate(parts[2:4], 4)
    assert log[-2:] == [("waits for", "event 3"), ("waits for", "event 4")]
    assert [owners[0][0] for owners in held] == [parts[0]]
    side.close()
    assert [len(owners[0]) for owners in held] == [1, 1, 2]
    assert drained == [3]
