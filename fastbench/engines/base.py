"""The interface of an engine: what executes a model, whoever made it.

An engine is one factory, `(EngineSpec) -> callable`. It gets a model and the shape, the number
format and the device of its images, and gives what turns a batch of them into logits. What else it
may say of itself is in `EngineTraits`: each trait is an attribute of that name, and has a default.

A plug-in registers its factory under the entry points `fastbench.engines`. What it makes of a model
is held against the float32 eager model before anything is timed, as with the built-in engines.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import platformdirs

from fastbench.core.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import torch

    from fastbench.models.base import LoadedModel

Run = Callable[["torch.Tensor"], "torch.Tensor"]
"""(N, 3, H, W) images -> (N, classes) logits, both on the device."""


def _cache() -> Path:
    return platformdirs.user_cache_path("fastbench") / "engines"


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """All that an engine is told.

    `model` is in float32 on the CPU, or a file; `model.copy_module()` is the engine's own. Each
    batch has `batch_size` channels_last images of `crop` x `crop` pixels in `images_dtype` (a trait
    of the factory, by default `dtype`) on `device`. `dtype` is what the model computes in, `tf32`
    lets a GPU multiply float32 as TensorFloat-32, `num_threads` are for a CPU. `quantize` is
    `none`, `int8` or `fp8`; `calibration` has (N, 3, H, W) float32 batches on the CPU, normalised,
    for int8 alone. `compile_mode` is torch.compile's. `options` are the engine's own
    (`--engine-option`). `cache` is a folder for files that may be used again.
    """

    model: LoadedModel
    batch_size: int
    crop: int
    device: torch.device
    dtype: str
    num_threads: int
    cache: Path = field(default_factory=_cache)
    tf32: bool = False
    quantize: str = "none"
    calibration: Sequence[torch.Tensor] = ()
    compile_mode: str = "default"
    options: Mapping[str, Any] = field(default_factory=dict)


Factory = Callable[[EngineSpec], Run]
"""What makes an engine; a class with `__call__` will do."""


@dataclass(frozen=True, kw_only=True)
class EngineTraits:
    """What a made engine may say of itself, and the defaults.

    `settings` is what was really used, for the record, and `setup_s` the seconds of each step to
    make it ready, by name. `weights_bytes` is the size of the weights that it runs, None where that
    is not known, `number_format` what it computes in, by default the dtype of its spec.
    `num_graphs()` are the graphs and graph breaks of torch.compile, `close()` frees
    what it holds.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    setup_s: Mapping[str, float] = field(default_factory=dict)
    weights_bytes: int | None = None
    number_format: str | None = None
    num_graphs: Callable[[], tuple[int, int]] = lambda: (0, 0)
    close: Callable[[], None] = lambda: None

    @classmethod
    def of(cls, engine: object) -> EngineTraits:
        """What an engine says."""
        names = [trait.name for trait in dataclasses.fields(cls)]
        return cls(**{name: getattr(engine, name) for name in names if hasattr(engine, name)})


class Steps(dict[str, float]):
    """Seconds of each step to make an engine ready, by name."""

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the time of what is done meanwhile to a step."""
        start = time.perf_counter()
        yield
        self[name] = self.get(name, 0.0) + time.perf_counter() - start


def take_options(spec: EngineSpec, engine: str, **choices: tuple[Any, ...]) -> dict[str, Any]:
    """The engine's options: `spec.options` over the first of the choices of each.

    An option without further choices takes any value. Raises `UsageError` for an option or a value
    that the engine does not have.
    """
    found = {name: values[0] for name, values in choices.items()}
    for name, value in spec.options.items():
        if name not in choices:
            raise UsageError(
                f"The engine {engine!r} has no option {name!r}."
                f"{did_you_mean(name, list(choices))} It has: {', '.join(choices) or 'none'}."
            )
        if len(choices[name]) > 1 and value not in choices[name]:
            raise UsageError(
                f"--engine-option {engine}.{name} is {value!r}. "
                f"Choose one of: {', '.join(map(str, choices[name]))}."
            )
        found[name] = value
    return found
