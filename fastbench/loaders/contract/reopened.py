"""Rules of the contract for which a loader is opened anew, with other settings or on other files.

Shape suffixes: C channels, H height, W width.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import FastbenchError
from fastbench.core.loader_facts import decodes
from fastbench.loaders.base import LoaderTraits
from fastbench.loaders.contract.trial import Epoch, SkippedError
from fastbench.loaders.guard import BrokenContractError, in_words
from fastbench.records.gates import IMAGE_LEVELS, MEAN_LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import torch

    from fastbench.loaders.base import Loader
    from fastbench.loaders.contract.trial import Subject

CUT_OFF: Final = "cut-off.jpg"
UNITS: Final = {"float16": 2**-10, "bfloat16": 2**-7}
"""The units in the last place of dtypes."""


def _read_anew(subject: Subject, **changes: object) -> dict[int, torch.Tensor]:
    """The images by sample of an epoch of a loader with a changed spec, in the same order."""
    with subject.open(**changes) as (loader, spec):
        epoch = subject.read(loader, spec)
    epoch.raise_faults()
    if epoch.ids != subject.epochs[0].ids:
        raise BrokenContractError("an epoch has other samples or another order")
    return epoch.images


def alike_with(**changes: object) -> Callable[[Subject], str]:
    """A check that with these settings the batches are the same."""
    how = ", ".join(f"with {name}={value}" for name, value in changes.items())
    return lambda subject: subject.alike(
        _read_anew(subject, **changes), subject.epochs[0].images, how
    )


def as_timed(subject: Subject) -> str:
    """Opened as it is timed, where pixels need not repeat, it delivers the same images."""
    images = _read_anew(subject, repeatable=False)
    wanted = subject.epochs[0].images
    means = {
        sample: float(subject.levels(image, wanted[sample]).double().mean())
        for sample, image in images.items()
    }
    worst = max(means, key=lambda sample: means[sample])
    mean = sum(means.values()) / len(means)
    if not (mean < MEAN_LEVELS and means[worst] < IMAGE_LEVELS):
        raise BrokenContractError(
            f"the images are others than with repeatable=True: sample {worst} is "
            f"{means[worst]:.2f} levels off in the mean"
        )
    return f"the same images, within {mean:.1g} levels in the mean"


def reads_no_batch_ahead(subject: Subject) -> str:
    """With prefetch=0 a batch's files are read when it is asked for, and not before."""
    with (
        _exchangeable(subject) as files,
        subject.open(paths=files.paths, prefetch=0, repeatable=False) as (loader, spec),
    ):
        _skip_copies(loader)
        with subject.watched("in mid-epoch"):
            batches = iter(loader)
        num_batches = min(3, spec.num_batches)
        for position in range(num_batches):
            files.exchange(spec.ids(position))
            epoch = Epoch()
            with subject.watched("in mid-epoch"):
                epoch.take_in(next(batches))
            if old := files.find_old(epoch):
                raise BrokenContractError(
                    f"sample {old[0]} was read before its batch was asked for (batch {position})"
                )
    return f"{num_batches} batches, whose files were exchanged just before they were asked for"


def reads_anew(subject: Subject) -> str:
    """The files are read in every epoch: else what is timed is no decoding."""
    with (
        _exchangeable(subject) as files,
        subject.open(paths=files.paths, repeatable=False) as (loader, spec),
    ):
        _skip_copies(loader)
        epoch = subject.read(loader, spec)
        files.exchange(range(len(files.paths)))
        # What was made ahead is old: some batches of each worker, and what lies between.
        num_ahead = (spec.prefetch + 1) * LoaderTraits.of(loader).num_workers + 2
        for _ in range(1 + -(-num_ahead // spec.num_batches)):
            epoch = subject.read(loader, spec)
        if old := files.find_old(epoch):
            raise BrokenContractError(
                f"{len(old)} samples, such as {old[0]}, are images of files that were exchanged an "
                f"epoch before: they were read once, and kept"
            )
    return "files that were exchanged were seen an epoch later"


def _skip_copies(loader: Loader) -> None:
    if not decodes(loader.settings):
        raise SkippedError("its settings say that it decodes nothing while it is timed")
    if LoaderTraits.of(loader).packs:
        raise SkippedError("it reads a copy of the files, which it made when it was opened")


class _Files:
    """Copies of the subject's files; exchanged, each has the next one's picture."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        self._subject = subject
        self._contents = [Path(path).read_bytes() for path in subject.spec.paths]
        self.paths = tuple(str(folder / f"{i:04d}.jpg") for i in range(len(self._contents)))
        for path, content in zip(self.paths, self._contents, strict=True):
            Path(path).write_bytes(content)

    def exchange(self, samples: Iterable[int]) -> None:
        for i in samples:
            new = Path(f"{self.paths[i]}.new")
            new.write_bytes(self._contents[self._next(i)])
            new.replace(self.paths[i])

    def find_old(self, epoch: Epoch) -> list[int]:
        """The samples whose images are nearer to those of before the exchange."""
        known = self._subject.epochs[0].images
        return [
            i
            for i, image in epoch.images.items()
            if self._distance(image, known[i]) < self._distance(image, known[self._next(i)])
        ]

    def _next(self, sample: int) -> int:
        return (sample + 1) % len(self._contents)

    def _distance(self, a: torch.Tensor, b: torch.Tensor) -> float:
        return float(self._subject.levels(a, b).double().mean())


@contextlib.contextmanager
def _exchangeable(subject: Subject) -> Iterator[_Files]:
    _ = subject.epochs  # what the files' pictures look like
    with tempfile.TemporaryDirectory() as folder:
        yield _Files(subject, Path(folder))


def dtypes(subject: Subject) -> str:
    """The values of the other dtypes are float32's, rounded once or twice."""
    for dtype in UNITS:
        check_rounded(_read_anew(subject, dtype=dtype, prefetch=0), subject, dtype)
    return "float32's values, rounded"


def check_rounded(images: Mapping[int, torch.Tensor], subject: Subject, dtype: str) -> None:
    """Raise `BrokenContractError` where images are not the epochs', rounded once or twice."""
    for sample, image in images.items():
        full = subject.epochs[0].images[sample]
        off = (image - full).abs()
        if not bool((off <= UNITS[dtype] * full.abs() + 1e-3).all()):
            raise BrokenContractError(
                f"sample {sample} in {dtype} is up to {float(off.max()):.3g} from float32"
            )


def belong(subject: Subject) -> str:
    """With the list reversed each file gives the same pixels."""
    paths = subject.spec.paths
    reordered = _read_anew(subject, paths=tuple(reversed(paths)))
    images = {len(paths) - 1 - sample: image for sample, image in reordered.items()}
    return subject.alike(images, subject.epochs[0].images, "where the list is reversed")


def broken_file(subject: Subject) -> str:
    """A JPEG cut off in its middle, in the second batch, ends in an error that names it."""
    with one_cut_off(subject) as (paths, _):

        def read() -> None:
            with subject.open(paths=paths) as (loader, spec):
                deque(itertools.islice(loader, spec.num_batches), maxlen=0)

        return names_it(read)


@contextlib.contextmanager
def one_cut_off(subject: Subject) -> Iterator[tuple[tuple[str, ...], int]]:
    """The subject's paths, of which one is a JPEG cut off in its middle, and that one's place."""
    paths = list(subject.spec.paths)
    place = min(subject.spec.batch_size + 1, len(paths) - 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CUT_OFF
        data = Path(paths[place]).read_bytes()
        path.write_bytes(data[: len(data) // 2])
        paths[place] = str(path)
        yield tuple(paths), place


def names_it(read: Callable[[], object]) -> str:
    """What is said as the file that is cut off is read.

    Raises `BrokenContractError` where nothing is, or the file is not named.
    """
    try:
        read()
    except FastbenchError as error:
        text = str(error)
    except Exception as error:  # noqa: BLE001 - any kind of error will do
        text = in_words(error)
    else:
        raise BrokenContractError(
            "a file that ends in its middle is delivered as an image, without a word"
        )
    if CUT_OFF not in text:
        raise BrokenContractError(f"the error does not name the file: {text}")
    return _first_sentence(text)


def _first_sentence(text: str) -> str:
    head, _, tail = text.partition(CUT_OFF)
    before = head.rpartition(" ")[0]
    return f"{before} {CUT_OFF}{tail.partition('. ')[0]}".strip()
