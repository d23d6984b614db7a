"""Rules of the side on demand, for the loaders that have one.

`decode` is called from as many threads as it allows, and `collate` from this one.

Shape suffixes: C channels, H height, W width.
"""

from __future__ import annotations

import contextlib
import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from fastbench.loaders.contract.reopened import UNITS, check_rounded, names_it, one_cut_off
from fastbench.loaders.guard import BrokenContractError, Expected
from fastbench.loaders.guard_on_demand import check_images, make_on_demand

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastbench.loaders.base import LoaderSpec, OnDemand
    from fastbench.loaders.contract.trial import Subject

_SOURCES: Final = ("from files", "from memory")


@dataclasses.dataclass
class _Opened:
    """A side on demand under trial, and the threads that call it."""

    made: OnDemand
    spec: LoaderSpec
    subject: Subject
    pool: ThreadPoolExecutor

    @property
    def most(self) -> int:
        """How many samples a call may have here."""
        return min(self.made.most_at_once, self.spec.batch_size)

    def decode(self, calls: Sequence[Sequence[int]]) -> list[Any]:
        """What each call returns; they are made at once."""
        with self.subject.watched("to decode"):
            return list(self.pool.map(self.made.decode, calls))

    def collate(self, decoded: Sequence[Any], size: int) -> torch.Tensor:
        """A batch without faults."""
        with self.subject.watched("to collate"):
            images_NCHW = self.made.collate(decoded, size)
        check_images(images_NCHW, size, Expected(self.spec))
        if not bool(torch.isfinite(images_NCHW).all()):
            raise BrokenContractError(f"a batch of {size} has rows that are not finite")
        return images_NCHW

    def images(self, calls: Sequence[Sequence[int]], size: int) -> dict[int, torch.Tensor]:
        """The images of these calls by sample, (C, H, W) on the host, in batches of a size."""
        images: dict[int, torch.Tensor] = {}
        waiting: list[tuple[Sequence[int], Any]] = []

        def collate() -> None:
            samples = [sample for call, _ in waiting for sample in call]
            rows = _to_host(self.collate([made for _, made in waiting], size))
            images.update(zip(samples, rows, strict=False))
            waiting.clear()

        for call, made in zip(calls, self.decode(calls), strict=True):
            if sum(len(other) for other, _ in waiting) + len(call) > size:
                collate()
            waiting.append((call, made))
        collate()
        return images


@contextlib.contextmanager
def _opened(
    subject: Subject, in_memory: Sequence[np.ndarray] | None = None, **changes: object
) -> Iterator[_Opened]:
    subject.close()
    spec = dataclasses.replace(subject.spec, **changes)  # type: ignore[arg-type]
    make = subject.factory.on_demand  # type: ignore[attr-defined]
    made = make_on_demand(make, spec, in_memory)
    try:
        with ThreadPoolExecutor(made.num_callers) as pool:
            yield _Opened(made, spec, subject, pool)
    finally:
        with subject.watched("while it was closed"):
            made.close()


def _calls(samples: Sequence[int], most: int) -> list[Sequence[int]]:
    return [samples[start : start + most] for start in range(0, len(samples), most)]


def _to_host(images_NCHW: torch.Tensor) -> torch.Tensor:
    return images_NCHW.detach().to("cpu", torch.float32, copy=True)


def opens(subject: Subject) -> str:
    """It opens, makes a batch of one, and closes twice."""
    with _opened(subject) as it:
        it.images([[0]], 1)
        callers = it.made.num_callers
        said = f"{callers} {'caller' if callers == 1 else 'callers'}, up to {it.most} at once"
        with subject.watched("while it was closed a first time"):
            it.made.close()
    return said


def batches(subject: Subject) -> str:
    """Batches of each size and dtype, full and padded, are as the spec asks, and finite."""
    for dtype in (subject.spec.dtype, *UNITS):
        with _opened(subject, dtype=dtype) as it:
            for size in (1, it.spec.batch_size):
                images = it.images([[0]], size)
                if dtype in UNITS and it.made.reads_images:
                    check_rounded(images, subject, dtype)
            it.images(_calls(range(it.spec.batch_size), it.most), it.spec.batch_size)
    return f"1 to {subject.spec.batch_size} rows, float32, {' and '.join(UNITS)}"


def pixels(subject: Subject) -> str:
    """In any order and number, from files and from memory, they are the epochs' images."""
    wanted, num = subject.epochs[0].images, len(subject.spec.paths)
    # From memory each sample has the next one's bytes: its path would give another image.
    held = [np.fromfile(path, np.uint8) for path in subject.spec.paths]
    held = [*held[1:], held[0]]
    nexts = {i: wanted[(i + 1) % num] for i in range(num)}
    said = ""
    for where, in_memory, theirs in zip(_SOURCES, (None, held), (wanted, nexts), strict=True):
        with _opened(subject, in_memory) as it:
            backwards = range(num)[::-1]
            for most, size in {(1, it.spec.batch_size), (it.most, it.most), (1, 1)}:
                images = it.images(_calls(backwards, most), size)
                said = subject.alike(images, theirs, f"on demand, {where}, {most} a call")
    return f"{said} as in epochs, {' and '.join(_SOURCES)}"


def stays_valid(subject: Subject) -> str:
    """What was decoded and a batch stay whole while others are made."""
    with _opened(subject) as it:
        size, every = it.spec.batch_size, range(len(it.spec.paths))
        num_held = 3 * it.made.num_callers  # more than one of each thread
        calls = _calls(every, 1)[:num_held]
        held = it.decode(calls)
        it.decode(_calls(every[::-1], 1))
        before = it.collate(held[:size], size)
        then = _to_host(before)
        it.collate(it.decode(_calls(every[::-1], 1)[:size]), size)
        if not torch.equal(_to_host(before), then):
            raise BrokenContractError(
                "a batch changed when the next was collated; it has to stay until the next but one"
            )
        images = {
            call[0]: _to_host(it.collate([made], 1))[0]
            for call, made in zip(calls, held, strict=True)
        }
        wanted = {sample: subject.epochs[0].images[sample] for sample in images}
        subject.alike(images, wanted, "on demand, when others were decoded before it was collated")
    return f"{num_held} images, and a batch"


def broken_file(subject: Subject) -> str:
    """A file that is cut off is named, from memory too, and others are decoded after it.

    A loader that reads all files when it is opened names it then.
    """
    said = ""
    with one_cut_off(subject) as (paths, place):
        for in_memory in (None, [np.fromfile(path, np.uint8) for path in paths]):
            said = _names_one(subject, in_memory, paths, place)
    return said


def _names_one(
    subject: Subject, in_memory: Sequence[np.ndarray] | None, paths: tuple[str, ...], place: int
) -> str:
    opened: list[_Opened] = []
    with contextlib.ExitStack() as stack:

        def read() -> None:
            opened.append(stack.enter_context(_opened(subject, in_memory, paths=paths)))
            opened[0].decode([[place]])

        said = names_it(read)
        for it in opened:
            if it.most > 1:
                with contextlib.suppress(Exception):
                    it.decode([[0, place]])
            images = it.images([[0], [1]], min(2, it.spec.batch_size))
            wanted = {i: subject.epochs[0].images[i] for i in images}
            subject.alike(images, wanted, "on demand, after a file that is cut off")
    return said
