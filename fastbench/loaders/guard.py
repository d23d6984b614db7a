"""Every batch of every run is checked against the contract of `base.py` as it passes.

Types, shapes, strides, dtypes, devices and the number of batches lie on the host: to check them
takes microseconds and waits for no device. Ids are checked here on a CPU alone. Reading them from a
GPU would wait: there the tally notes the place of each sample, and the runner checks that later.

What a loader raises becomes one sentence that names the loader, its cause kept.

Pixels are compared in `measure/agreement.py`. `contract/` tries what a run does not do, such as
closing a loader in mid-epoch.

Shape suffixes: N batch, C channels, H height, W width, M samples.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from fastbench.core import watchdog
from fastbench.core.device import as_ours
from fastbench.core.errors import FastbenchError, LoaderError, LoaderFailedError, kind_and_line
from fastbench.core.loader_facts import BUILT_IN
from fastbench.loaders import builtin
from fastbench.loaders.base import Batch, LoaderTraits
from fastbench.loaders.registry import title

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastbench.loaders.base import Factory, Loader, LoaderSpec, Setting

_PACKAGE: Final = Path(__file__).parents[1]
_BUILT_IN: Final = Path(builtin.__file__).parent
_MOST_CHARACTERS: Final = 200
OPEN_S: Final = 3600.0
"""How long a loader may take to open, and a second an image more."""
BATCH_S: Final = 900.0
TIMES_LONGEST: Final = 50
"""A batch may take `BATCH_S`, or so many times the longest so far."""


class BrokenContractError(Exception):
    """A loader breaks the contract; the text goes on from the loader's name."""


class _RaisedError(BrokenContractError):
    """A loader raised an error; `why` is that in words."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(text)
        self.why = why


def make_loader(factory: Factory, spec: LoaderSpec) -> Loader:
    """Call a factory, and check that it returns a loader.

    Raises `BrokenContractError` for a factory that does not take one `LoaderSpec`, that fails, or
    that returns something else; an error of ours that it raises is passed on.
    """
    if not callable(factory):
        raise BrokenContractError(
            f"cannot be opened: a factory is called with a LoaderSpec, and this is "
            f"{kind_of(factory)}"
        )
    with contextlib.suppress(ValueError):  # a few callables do not say what they take
        signature = inspect.signature(factory)
        try:
            signature.bind(spec)
        except TypeError as error:
            raise BrokenContractError(
                f"cannot be opened: a factory takes one LoaderSpec, and this one takes {signature}"
            ) from error
    with explained("while it was opened", spec.batch_size):
        loader = factory(spec)
    if (fault := missing(loader, "__iter__", "close")) is not None:
        with contextlib.suppress(Exception):  # what is no loader need not close like one
            loader.close()
        raise BrokenContractError(f"opens as {kind_of(loader)}, which is no loader: {fault}")
    return loader


@contextlib.contextmanager
def explained(when: str, batch_size: int) -> Iterator[None]:
    """Turn whatever a loader raises into an error of ours, or into a `BrokenContractError`."""
    try:
        yield
    except (FastbenchError, BrokenContractError):
        raise
    except Exception as error:
        raise explain(error, when, batch_size) from error


def in_words(error: BaseException) -> str:
    """`ValueError: no such thing (loader.py:12)`: an exception, and whose line raised it."""
    told = kind_and_line(error)
    if len(told) > _MOST_CHARACTERS:
        told = told[: _MOST_CHARACTERS - 3] + "..."
    # The frames after fastbench's own; and of those the loader's, not the libraries' it calls.
    raised = [(Path(x.filename), x.lineno) for x in traceback.extract_tb(error.__traceback__)]
    frames = list(itertools.dropwhile(lambda frame: _is_ours(frame[0]), raised)) or raised
    own = [(path, line) for path, line in frames if path.parent == frames[0][0].parent]
    return f"{told} ({own[-1][0].name}:{own[-1][1]})" if own else told


def _is_ours(path: Path) -> bool:
    """Whether a file is fastbench's (`contextlib` runs in its name), and no built-in loader."""
    if path == Path(contextlib.__file__):
        return True
    return path.is_relative_to(_PACKAGE) and not path.is_relative_to(_BUILT_IN)


class Expected:
    """What batches have to be for one spec."""

    def __init__(self, spec: LoaderSpec) -> None:
        self.spec = spec
        self.num_batches = spec.num_batches
        self.size = spec.batch_size
        self.crop = spec.preprocess.crop
        self.dtype: torch.dtype = getattr(torch, spec.dtype)
        self.device = torch.device(spec.device)

    def faults(self, batch: object, position: int) -> Iterator[tuple[str, str]]:
        """What is wrong with the batch at a position: (the rule that it breaks, what was seen).

        The rules are `batch`, `plain`, `sizes`, `shape`, `layout`, `dtype`, `device` and `ids`.
        Nothing else is checked of what is no `Batch`.
        """
        if not isinstance(batch, Batch):
            yield (
                "batch",
                f"batch {position} is {kind_of(batch)}, not a fastbench.loaders.base.Batch",
            )
            return
        images, ids, num_valid = batch.images_NCHW, batch.ids_N, batch.num_valid
        for what, value, kind in (
            ("images_NCHW", images, torch.Tensor),
            ("ids_N", ids, torch.Tensor),
            ("num_valid", num_valid, int),
        ):
            if not isinstance(value, kind):
                wanted = _article(kind.__name__)
                yield "batch", f"{what} is {kind_of(value)}, not {wanted} (batch {position})"
                return
        for what, value in (("images_NCHW", images), ("ids_N", ids)):
            if type(value) is not torch.Tensor:  # its work could be done later, or never
                yield (
                    "plain",
                    f"{what} is {kind_of(value)}, a subclass, and not a plain torch.Tensor",
                )
        num_rows = images.shape[0] if images.ndim else 0
        valid = len(self.spec.ids(position))
        if num_valid != valid:
            yield "sizes", f"num_valid is {num_valid} in batch {position}, where {valid} belong"
        # The last batch may be padded or not.
        if num_rows not in (self.size, valid):
            wanted = f"{self.size}" if valid == self.size else f"{valid} or {self.size}"
            yield "sizes", f"batch {position} has {num_rows} rows, not {wanted}"
        yield from self.image_faults(images)
        if ids.dtype != torch.int64:
            yield "ids", f"ids are {ids.dtype}, not torch.int64"
        if ids.shape != (num_rows,):
            yield "ids", f"ids have the shape {tuple(ids.shape)}, not ({num_rows},)"
        if ids.device != self.device:
            yield "ids", f"ids are on {ids.device}, not on {self.device}"

    def image_faults(self, images: torch.Tensor) -> Iterator[tuple[str, str]]:
        """What is wrong with the images of a batch, but for their number and their class."""
        if images.is_inference():
            yield (
                "batch",
                (
                    "images are made under torch.inference_mode, for which torch.compile would "
                    "compile the model again"
                ),
            )
        if images.shape[1:] != (3, self.crop, self.crop):
            yield "shape", f"images are {tuple(images.shape)}, not (N, 3, {self.crop}, {self.crop})"
        elif not images.is_contiguous(memory_format=torch.channels_last):
            yield "layout", f"images have strides {images.stride()}, which is not channels_last"
        if images.dtype != self.dtype:
            yield "dtype", f"images are {images.dtype}, not {self.dtype}"
        if images.device != self.device:
            yield "device", f"images are on {images.device}, not on {self.device}"


class CheckedLoader:
    """A loader whose batches are checked, and whose errors name it.

    Iterating raises `LoaderError` where a batch is not what the spec asks for, where an epoch has
    more or fewer batches than it should, and for what the loader itself raises.
    """

    def __init__(self, name: str, factory: Factory, spec: LoaderSpec) -> None:
        self._name = name
        self._batch_size = spec.batch_size
        self._longest_s = 0.0
        # A loader may decode or pack all images when it is opened.
        limit_s = OPEN_S + len(spec.paths)
        with named(name), watchdog.limited(f"the loader {name!r} to open", limit_s):
            self._loader = make_loader(factory, spec)
        self._expected = Expected(spec)
        self._ids_M = torch.arange(len(spec.paths)) if spec.device == "cpu" else None
        self.reads_images: bool = self._loader.reads_images
        self.settings: Mapping[str, Setting] = dict(self._loader.settings)
        self.repeatable: bool = LoaderTraits.of(self._loader).repeatable

    def __iter__(self) -> Iterator[Batch]:
        """One epoch of batches."""
        expected = self._expected
        with named(self._name):
            with (
                explained("as an epoch began", self._batch_size),
                watchdog.limited(f"the loader {self._name!r} to begin an epoch", self._limit_s),
            ):
                batches = iter(self._loader)
            for position in range(expected.num_batches):
                batch = self._take(batches)
                if batch is None:
                    raise BrokenContractError(
                        f"ended its epoch after {position} of {expected.num_batches} batches: "
                        f"samples are lost"
                    )
                for _, fault in expected.faults(batch, position):
                    raise BrokenContractError(f"breaks the contract: {fault}")
                self._check_ids(batch, position)
                yield batch
                del batch
            if self._take(batches) is not None:
                raise BrokenContractError(
                    f"goes on after the {expected.num_batches} batches of its epoch: samples are "
                    f"repeated"
                )

    def close(self) -> None:
        """Close the loader."""
        with (
            named(self._name),
            explained("while it was closed", self._batch_size),
            watchdog.limited(f"the loader {self._name!r} to close", self._limit_s),
        ):
            self._loader.close()

    @property
    def _limit_s(self) -> float:
        """How long one step of the loader may take; beyond what built-in ones allow themselves."""
        return max(BATCH_S, TIMES_LONGEST * self._longest_s)

    def _take(self, batches: Iterator[Batch]) -> Batch | None:
        """The next batch, None at the epoch's end. This is timed: `explained` would cost more."""
        watchdog.begin(f"a batch of the loader {self._name!r}", self._limit_s)
        start = time.monotonic()
        try:
            return next(batches)
        except StopIteration:
            return None
        except FastbenchError:
            raise
        except Exception as error:
            raise explain(error, "in mid-epoch", self._batch_size) from error
        finally:
            self._longest_s = max(self._longest_s, time.monotonic() - start)
            watchdog.end()

    def _check_ids(self, batch: Batch, position: int) -> None:
        if self._ids_M is None:
            return
        start = position * self._expected.size
        wanted = self._ids_M[start : start + batch.num_valid]
        if torch.equal(batch.ids_N[: batch.num_valid], wanted):
            return
        ids = batch.ids_N[: batch.num_valid].tolist()
        row = next(i for i, sample in enumerate(ids) if sample != start + i)
        raise BrokenContractError(
            f"delivered sample {ids[row]} where sample {start + row} belongs (batch {position}, "
            f"row {row}): samples are lost, repeated or out of order"
        )


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """Turn a broken contract into a `LoaderError` about this loader."""
    try:
        yield
    except BrokenContractError as error:
        remedy = (
            "Report this, or choose another with --loader."
            if name in BUILT_IN
            else f"Mend it or tell its author; `fastbench loaders check {name}` tries every rule."
        )
        text = f"{title(name)} {error}. {remedy}"
        ours = LoaderError(text)
        if isinstance(error, _RaisedError):
            ours = LoaderFailedError(text, error.why)
        raise ours from (error.__cause__ or error)


def explain(error: Exception, when: str, batch_size: int) -> FastbenchError | BrokenContractError:
    """Torch's errors of memory and of the device as everywhere, any other as the loader's."""
    ours = as_ours(error, "loading", batch_size)
    why = in_words(error)
    return ours or _RaisedError(f"failed {when}: {why}", why)


def missing(made: Any, *methods: str) -> str | None:
    """What a factory's result lacks to be a loader, which has these methods."""
    for method in methods:
        if not callable(getattr(made, method, None)):
            return f"it has no {method}()"
    if not isinstance(getattr(made, "reads_images", None), bool):
        return "it has no reads_images, which is True where the images come from the files"
    settings = getattr(made, "settings", None)
    if settings is None or not hasattr(settings, "items"):
        return "it has no settings, a mapping for the record, which may be empty"
    for key, value in settings.items():
        if not isinstance(key, str) or not isinstance(value, str | int | float | bool | None):
            return (
                f"no record can hold its settings, of which {key!r} is {kind_of(value)} and not a "
                f"str, int, float, bool or None"
            )
        if len(str(value)) > _MOST_CHARACTERS or (
            isinstance(value, float) and not math.isfinite(value)
        ):
            return (
                f"no record can hold its settings, of which {key!r} is infinite, no number (NaN), "
                f"or has more than {_MOST_CHARACTERS} characters"
            )
    return None


def kind_of(value: object) -> str:
    """`None`, `a Tensor`, `an ImageFolder`."""
    return "None" if value is None else _article(type(value).__name__)


def _article(word: str) -> str:
    return f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}"
