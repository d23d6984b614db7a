"""The interface of a loader: what turns files into tensors, whoever made it.

A loader is one factory, `(LoaderSpec) -> Loader`. It gets an ordered list of files and yields
batches with their samples' ids. Labels are looked up by id outside of it, so no loader can mislabel
a sample. The ids of every epoch are checked: a sample lost, repeated or replaced fails the run.

A plug-in registers its factory under the entry points `fastbench.loaders`; the package in
`tests/example_plugin` is a complete one. `fastbench loaders check NAME` tries every rule. What else
a factory and its loader may say of themselves is in `FactoryTraits` and `LoaderTraits`: each trait
is an attribute of that name, and has a default.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from fastbench.core.errors import CorruptImageError as CorruptImageError  # for plug-ins
from fastbench.core.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy as np
    import torch

GENERAL_OPTIONS: Final = {"prefetch": 0, "num_threads": 1}
"""Options that every loader has, as fields of its spec, and the least value of each."""

Setting = str | int | float | bool | None
"""A value that a loader may put into the record."""


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How an image becomes the model's input: read from the weights, the same for every loader.

    The short side is resized to `resize` pixels (the long side truncated), the middle
    `crop` x `crop` pixels are cut out, and each channel (RGB) becomes `(value / 255 - mean) / std`.
    EXIF orientation is ignored, as torchvision does.
    """

    resize: int
    crop: int
    interpolation: str
    antialias: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not 0 < self.crop <= self.resize:
            raise UsageError(
                f"Preprocessing with crop {self.crop} and resize {self.resize} is not supported: "
                f"the crop must fit into the resized image. Use other weights."
            )


IMAGENET: Final = Preprocess(
    resize=256,
    crop=224,
    interpolation="bilinear",
    antialias=True,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
"""torchvision's usual preprocessing for ImageNet."""


@dataclass(frozen=True, kw_only=True)
class LoaderSpec:
    """All that a loader is told.

    The id of a sample is its index in `paths`. `prefetch` is the number of batches made ahead (of
    each worker, where there are workers). With 0 nothing is done before a batch is asked for; batch
    latency is measured in that mode alone. `device` and `dtype` are torch's names of what the
    images must arrive as. `largest` is the largest width and the largest height among the images,
    `sizes` has the (width, height) of each, of which `paths` may be a part, in no order that
    matters, and is empty where they are not known: for what is prepared once. With `repeatable` a
    sample's pixels may not depend on its place in a batch: it is set when predictions are scored in
    a pass of their own. `resize` is `fast`, or `exact` for the reference's rounding where a loader
    can follow it at the cost of time.
    `options` are the loader's own (`--loader-option`).
    """

    paths: Sequence[str]
    batch_size: int
    preprocess: Preprocess
    device: str
    dtype: str
    num_threads: int
    prefetch: int = 2
    seed: int = 0
    largest: tuple[int, int] | None = None
    sizes: Sequence[tuple[int, int]] = ()
    repeatable: bool = False
    resize: str = "fast"
    options: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def num_batches(self) -> int:
        """Batches in an epoch, the last one partial where the sizes do not divide."""
        return -(-len(self.paths) // self.batch_size)

    @property
    def on_gpu(self) -> bool:
        """Whether the images must arrive on a CUDA device."""
        return self.device.startswith("cuda")

    def ids(self, position: int) -> range:
        """The samples of the batch at a position of an epoch."""
        start = position * self.batch_size
        return range(start, min(start + self.batch_size, len(self.paths)))

    def with_settings(self, settings: Mapping[str, Setting]) -> LoaderSpec:
        """A spec with these settings: the general ones in its fields, the others in its options."""
        general = {name: settings[name] for name in GENERAL_OPTIONS if name in settings}
        own = {name: value for name, value in settings.items() if name not in GENERAL_OPTIONS}
        return dataclasses.replace(self, options={**self.options, **own}, **general)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Batch:
    """Images ready for the model, on its device.

    `images_NCHW` is normalised, in the spec's dtype, with channels_last strides. `ids_N` is int64,
    on the same device. Both are plain tensors, of no subclass. Of the N rows the first `num_valid`
    count; the rest is padding, whose ids are ignored. N is the batch size, or `num_valid` in the
    last batch. The tensors are not made under `torch.inference_mode`, which gives torch.compile
    another kind of input to compile for.
    """

    images_NCHW: torch.Tensor
    ids_N: torch.Tensor
    num_valid: int


class Loader(Protocol):
    """Iterating yields one epoch: every sample once, in the order of `LoaderSpec.paths`.

    Epochs follow each other: a loader should prefetch across the boundary, so that the next
    `iter()` finds batches waiting. Each decodes the files anew. An epoch left early is finished,
    unseen, by the next `iter()`. A batch stays valid until the next but one is asked for. A file
    that cannot be read raises, at its batch, an error that names it; `CorruptImageError` is made
    for that. Iterating a closed loader raises.

    `reads_images` is False where the images do not come from the files, so that their predictions
    mean nothing. `settings` is what was really used, for the record. Two of them are read:
    `decoder`, which begins with "none" where no JPEG is decoded while the loader is timed
    (`core/loader_facts.py`), and `num_workers` (see `LoaderTraits`).
    """

    reads_images: bool
    settings: Mapping[str, Setting]

    def __iter__(self) -> Iterator[Batch]:
        """One epoch of batches."""
        ...

    def close(self) -> None:
        """Free threads, processes and memory. May be called twice, and in mid-epoch."""
        ...


Factory = Callable[[LoaderSpec], Loader]
"""What makes a loader; a class will do."""


class OnDemand(Protocol):
    """The other side that a loader may have: images by request, in any order, for runs under load.

    A factory that has it has an attribute `on_demand`, an `OnDemandFactory`.

    `num_callers` threads may call `decode` at once, each with 1 to `most_at_once` samples: 1 where
    images are decoded one by one as they arrive, the largest batch where batches are. Only one
    thread calls `collate`. `reads_images` and `settings` are as those of a `Loader`.
    """

    num_callers: int
    most_at_once: int
    reads_images: bool
    settings: Mapping[str, Setting]

    def decode(self, samples: Sequence[int]) -> Any:
        """Images of these samples, in this order: what `collate` takes, however it is made.

        A file that cannot be read raises an error that names it. Of several samples that fail
        together each is then asked for by itself. What was returned stays valid until it was
        collated, also while other images are decoded.
        """
        ...

    def collate(self, decoded: Sequence[Any], size: int) -> torch.Tensor:
        """(size, 3, H, W): what several calls of `decode` returned, one after the other.

        As `Batch.images_NCHW`: normalised, on the device, channels_last. Where there are fewer
        images than `size` the rows behind them may hold anything finite. It is valid until the next
        but one call.
        """
        ...

    def close(self) -> None:
        """Free threads and memory. May be called twice; no other call is going on."""
        ...


OnDemandFactory = Callable[[LoaderSpec, "Sequence[np.ndarray] | None"], OnDemand]
"""`(spec, in_memory) -> OnDemand`. The spec's `batch_size` is the largest batch, `prefetch` means
nothing. `in_memory` has the (B,) uint8 bytes of each sample's JPEG; None: they are in `spec.paths`.
"""


@dataclass(frozen=True, kw_only=True)
class FactoryTraits:
    """What a factory may say of its loaders before one is opened, and the defaults.

    `decoder` (what turns the JPEG into pixels), `device` (where the images are made) and `options`
    (the names of the loader's own) are shown by `fastbench loaders`. `why_not()` says what is
    missing here for it to run, beyond its package. `search_space(spec)` has the settings that are
    worth trying, by name, each with its values in order, of those that an option can be given
    (not None); the first two are searched together.
    """

    decoder: str | None = None
    device: str | None = None
    options: tuple[str, ...] = ()
    why_not: Callable[[], str | None] = lambda: None
    search_space: Callable[[LoaderSpec], Mapping[str, tuple[Setting, ...]]] = lambda _: {}

    @classmethod
    def of(cls, factory: object) -> FactoryTraits:
        """What a factory says; attributes of other types are not meant as traits."""
        kinds = {"decoder": str, "device": str, "options": tuple}
        told: dict[str, Any] = {}
        for trait in dataclasses.fields(cls):
            value = getattr(factory, trait.name, None)
            if value is not None and isinstance(value, kinds.get(trait.name, object)):
                told[trait.name] = value
        return cls(**told)


@dataclass(frozen=True, kw_only=True)
class LoaderTraits:
    """What an opened loader may say of itself, and the defaults.

    `repeatable` is False where a sample's pixels depend on its place in a batch, unless the spec
    asks for `repeatable`. `packs` is True where it reads a copy of the files, made while it was
    opened (an archive, a database). `num_workers`, of its `settings`, counts the workers that each
    prefetch for themselves. `num_in_stages` batches wait in its stages, besides those of `prefetch`
    that wait in its queue.
    """

    repeatable: bool = True
    packs: bool = False
    num_workers: int = 1
    num_in_stages: int = 0

    @classmethod
    def of(cls, loader: Loader) -> LoaderTraits:
        """What a loader says."""
        workers = dict(loader.settings).get("num_workers")
        return cls(
            repeatable=getattr(loader, "repeatable", cls.repeatable),
            packs=getattr(loader, "packs", cls.packs),
            num_in_stages=getattr(loader, "num_in_stages", cls.num_in_stages),
            num_workers=workers if isinstance(workers, int) and workers > 0 else cls.num_workers,
        )

    def num_queued(self, prefetch: int) -> int:
        """Batches that may wait in the loader's queues."""
        return prefetch * self.num_workers + (self.num_in_stages if prefetch else 0)


def check_option_names(loader: str, given: Iterable[str], known: list[str]) -> None:
    """Raise `UsageError` for an option that a loader does not have."""
    for name in given:
        if name not in known:
            raise UsageError(
                f"The loader {loader!r} has no option {name!r}.{did_you_mean(name, known)} "
                f"It has: {', '.join(known) or 'none'}."
            )


def take_options(spec: LoaderSpec, loader: str, **defaults: Setting) -> dict[str, Setting]:
    """The loader's options: `spec.options` over `defaults`, whose types they must have.

    A default of None takes any number. Raises `UsageError` for an unknown option, or a value of
    another type.
    """
    check_option_names(loader, spec.options, list(defaults))
    for name, value in spec.options.items():
        default = defaults[name]
        wanted = (int, float) if default is None or isinstance(default, float) else type(default)
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            kind = "a number" if isinstance(wanted, tuple) else f"of type {wanted.__name__}"
            raise UsageError(f"The option {loader}.{name} is {value!r}; it must be {kind}.")
    return {**defaults, **spec.options}
