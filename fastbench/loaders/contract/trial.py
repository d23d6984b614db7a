"""A loader under trial: how it is opened and read, what its epochs bring, what it leaves behind.

The rules treat a loader through a `Subject`; what the loader raises becomes a broken contract.
Epochs are copied to the host, so that images can be compared after their batch is gone: by sample
id, in levels of 0..255, float32.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import itertools
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

import psutil
import torch

from fastbench.loaders.guard import BrokenContractError, Expected, explained, make_loader
from fastbench.loaders.shared.pixels import levels_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastbench.loaders.base import Batch, Factory, Loader, LoaderSpec

SAME_LEVELS: Final = 0.01
"""Images are the same up to here: another batch may add up float32 values in another order."""
SETTLE_SECONDS: Final = 5.0
"""How long threads and processes may take to end after `close()`."""
NUM_ROUNDS: Final = 5


class SkippedError(Exception):
    """A rule cannot be tried; the text is why."""


@dataclass
class Epoch:
    """One epoch on the host: ids and images of the valid rows, and every fault."""

    num_batches: int = 0
    last_num_rows: int = 0
    ids: list[int] = field(default_factory=list)
    images: dict[int, torch.Tensor] = field(default_factory=dict)
    faults: list[tuple[str, str]] = field(default_factory=list)

    def take_in(self, batch: Batch) -> None:
        """Copy a batch to the host."""
        valid = batch.num_valid
        self.last_num_rows = len(batch.images_NCHW)
        ids = batch.ids_N.detach().flatten()[:valid].to("cpu", torch.int64).tolist()
        self.ids += ids
        if (
            not batch.images_NCHW.is_meta
        ):  # that has no data to copy, and breaks the rule on devices
            images = batch.images_NCHW[:valid].detach().to("cpu", torch.float32, copy=True)
            self.images.update(zip(ids, images, strict=False))

    def raise_faults(self, rule: str | None = None) -> None:
        """Raise `BrokenContractError` for the first fault, or the first of one rule."""
        for name, fault in self.faults:
            if rule in (None, name):
                raise BrokenContractError(fault)


@dataclass(frozen=True)
class Round:
    """What the process holds after a loader was closed."""

    num_threads: int
    num_processes: int
    num_bytes: int
    num_device_bytes: int
    python_threads: Counter[str]


class Subject:
    """The loader under trial: its factory, and the spec that it is opened with.

    `spec` has paths of sound JPEGs whose names differ, and a batch size that does not divide their
    number. `reference` is the factory of the reference's images.
    """

    def __init__(self, factory: Factory, spec: LoaderSpec, reference: Factory) -> None:
        self.factory = factory
        self.reference = reference
        # Pixels are compared, between batches too.
        self.spec = dataclasses.replace(spec, repeatable=True)
        self._opened: Loader | None = None

    @property
    def loader(self) -> Loader:
        """A loader that stays open from rule to rule."""
        if self._opened is None:
            self._opened = make_loader(self.factory, self.spec)
        return self._opened

    @cached_property
    def reads_images(self) -> bool:
        """Whether the images come from the files."""
        return self.loader.reads_images

    def close(self) -> None:
        """Close the loader that stayed open."""
        opened, self._opened = self._opened, None
        if opened is not None:
            with self.watched("while it was closed"):
                opened.close()

    @contextlib.contextmanager
    def open(self, **changes: object) -> Iterator[tuple[Loader, LoaderSpec]]:
        """Another loader, of a changed spec, which is closed at the end."""
        self.close()
        spec = dataclasses.replace(self.spec, **changes)  # type: ignore[arg-type]
        loader = make_loader(self.factory, spec)
        try:
            yield loader, spec
        finally:
            with self.watched("while it was closed"):
                loader.close()

    def watched(self, when: str) -> contextlib.AbstractContextManager[None]:
        """What the loader raises within becomes a `BrokenContractError`."""
        return explained(when, self.spec.batch_size)

    def read(self, loader: Loader, spec: LoaderSpec | None = None) -> Epoch:
        """Read one epoch; an endless one is left after two batches too many."""
        spec = spec or self.spec
        expected = Expected(spec)
        epoch = Epoch()
        with self.watched("in mid-epoch"):
            for batch in itertools.islice(loader, spec.num_batches + 2):
                faults = list(expected.faults(batch, min(epoch.num_batches, spec.num_batches - 1)))
                if epoch.num_batches < spec.num_batches:
                    epoch.faults += faults
                epoch.num_batches += 1
                if any(rule == "batch" for rule, _ in faults):
                    break
                epoch.take_in(batch)
        return epoch

    @cached_property
    def epochs(self) -> tuple[Epoch, Epoch]:
        """The first two epochs of the loader that stays open."""
        return self.read(self.loader), self.read(self.loader)

    @cached_property
    def rounds(self) -> list[Round]:
        """What the process holds after each round of opening, reading and closing.

        The first round makes what is made once: pools, caches, a server of processes.
        """
        rounds: list[Round] = []
        for _ in range(NUM_ROUNDS + 1):
            with self.open() as (loader, _), self.watched("in mid-epoch"):
                deque(itertools.islice(loader, self.spec.num_batches), maxlen=0)
            del loader
            rounds.append(_take_stock(rounds[0] if rounds else None))
        return rounds

    def read_reference(self) -> dict[int, torch.Tensor]:
        """The reference's images by sample, of one epoch."""
        self.close()
        spec = dataclasses.replace(self.spec, prefetch=0, options={})
        reference = self.reference(spec)
        try:
            return self.read(reference, spec).images
        finally:
            reference.close()

    def levels(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """How far two normalised images (C, H, W) are apart, in levels.

        Raises `BrokenContractError` where their shapes differ, `SkippedError` for other shapes.
        """
        if a.shape != b.shape:
            raise BrokenContractError(f"images are {tuple(a.shape)} and {tuple(b.shape)}")
        if a.ndim != 3 or a.shape[0] != 3:
            raise SkippedError(f"images of the shape {tuple(a.shape)} have no levels")
        mine, theirs = (levels_of(image[None], self.spec.preprocess)[0] for image in (a, b))
        return (mine - theirs).abs()

    def alike(
        self, images: Mapping[int, torch.Tensor], wanted: Mapping[int, torch.Tensor], where: str
    ) -> str:
        """Say how alike the images of each sample are; raise `BrokenContractError` where not."""
        most = 0.0
        for sample, image in wanted.items():
            if sample not in images:
                raise BrokenContractError(f"sample {sample} has no image {where}")
            if torch.equal(images[sample], image):
                continue
            off = float(self.levels(images[sample], image).max())
            if not off <= SAME_LEVELS:
                raise BrokenContractError(
                    f"sample {sample} is another image {where}: {off:.2f} levels off"
                )
            most = max(most, off)
        return f"the same pixels, within {most:.1g} levels" if most else "the same pixels"


def _take_stock(before: Round | None) -> Round:
    """What the process holds, once what is ending has had time to end."""
    process = psutil.Process()
    deadline = time.monotonic() + SETTLE_SECONDS
    last: Round | None = None
    num_alike = 0
    gc.collect()
    while True:
        stock = Round(
            num_threads=process.num_threads(),
            num_processes=sum(
                child.is_running() and child.status() != psutil.STATUS_ZOMBIE
                for child in process.children(recursive=True)
            ),
            num_bytes=process.memory_info().rss,
            num_device_bytes=(
                sum(map(torch.cuda.memory_allocated, range(torch.cuda.device_count())))
                if torch.cuda.is_available()
                else 0
            ),
            python_threads=Counter(thread.name for thread in threading.enumerate()),
        )
        alike = last is not None and (stock.num_threads, stock.num_processes) == (
            last.num_threads,
            last.num_processes,
        )
        num_alike = num_alike + 1 if alike else 0
        is_back = before is not None and (
            stock.num_threads <= before.num_threads and stock.num_processes <= before.num_processes
        )
        if is_back or (before is None and num_alike >= 5) or time.monotonic() > deadline:
            return stock
        last = stock
        time.sleep(0.05)
