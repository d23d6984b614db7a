"""Which engine runs a model, and which mixes of engine, file, device and number formats cannot be.

One place decides: for a dry run, before a row reads its data, and as a model is made ready. That
the engine takes this very model only making it tells. Importing this module imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastbench.core.engine_facts import (
    BUILT_IN,
    EAGER,
    QUANTIZED_BY,
    UNNAMED,
    engine_of_format,
)
from fastbench.core.errors import EngineMissingError, ModelError, UsageError
from fastbench.core.reading import user_path
from fastbench.engines import registry
from fastbench.models import held
from fastbench.models.registry import program_format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastbench.core.config import RunConfig
    from fastbench.core.engine_facts import BuiltInEngine


@dataclass(frozen=True, kw_only=True)
class Mix:
    """What is asked of an engine.

    `device` is torch's name of it. `format` is that of a file, None for a model of torch.
    """

    engine: str
    device: str
    dtype: str
    quantize: str = "none"
    format: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def engine_of(asked: str, name: str, format: str | None) -> str:  # noqa: A002 - as in `Mix`
    """The engine of a model, where `--engine` asks for one, or for `auto`.

    Raises `ModelError` for a file that it does not run.
    """
    if format is None:
        return EAGER if asked == UNNAMED else asked
    runs = [each for each, it in BUILT_IN.items() if format in it.formats]
    if asked == UNNAMED:
        return engine_of_format(format)
    if asked not in runs:
        raise ModelError(
            f"The model {name} is a file of {format}, which the engine {asked} does not run. "
            f"Use --engine {' or '.join(runs)}."
        )
    return asked


def engine_of_model(asked: str, model: str) -> str:
    """The engine of a model that is not loaded.

    Raises `UnknownNameError` for an engine that nobody registered, `ModelError` for a file that it
    does not run.
    """
    registry.check_name(asked)
    return engine_of(asked, user_path(model).name, _format_of(model))


def mix_of(config: RunConfig, model: str, *, device: str, dtype: str) -> Mix:
    """What a configuration asks of the engine of a model that is not loaded.

    Raises as `engine_of_model` does, and for an option that its engine does not have.
    """
    engine = engine_of_model(config.engine_name, model)
    for text in config.engine_option:
        name = text.partition(".")[0]
        registry.check_name(name)
        registry.check_options(name, config.options_of_engine(name))
    return Mix(
        engine=engine,
        device=device,
        dtype=dtype,
        quantize=config.quantize,
        format=_format_of(model),
        options=config.options_of_engine(engine),
    )


def _format_of(model: str) -> str | None:
    return None if held.find(model) is not None else program_format(user_path(model))


def check(mix: Mix) -> None:
    """Raise for what a built-in engine cannot do, on any machine or on this one.

    `UnknownNameError` and `UsageError` for what cannot be asked for, `EngineMissingError` for a
    device that is not the engine's and for a package that is not here. A plug-in is not imported.
    """
    registry.check_name(mix.engine)
    registry.check_options(mix.engine, mix.options)
    if (entry := BUILT_IN.get(mix.engine)) is None:
        return
    _check_dtype(mix, entry)
    if mix.quantize != "none":
        _check_quantize(mix, entry)
    for doing, modules in (
        ("run here", entry.modules),
        ("take a model of torch here", entry.to_export if mix.format is None else ()),
        ("quantise here", entry.to_quantize if mix.quantize != "none" else ()),
    ):
        if (why := registry.missing(mix.engine, modules)) is not None:
            raise EngineMissingError(f"The engine {mix.engine!r} cannot {doing}: {why}.")


def _on_gpu(mix: Mix) -> bool:
    return mix.device.startswith("cuda")


def _check_dtype(mix: Mix, entry: BuiltInEngine) -> None:
    runs = entry.gpu_dtypes if _on_gpu(mix) else entry.cpu_dtypes
    if not runs:
        where, other = (
            ("a GPU of NVIDIA's", "cpu") if _on_gpu(mix) else ("the CPU: it is for a GPU", "cuda")
        )
        raise EngineMissingError(
            f"The engine {mix.engine} does not run on {where}. "
            f"Use --device {other}, or another --engine."
        )
    if mix.dtype not in runs:
        raise UsageError(
            f"The engine {mix.engine} does not compute in {mix.dtype} on {mix.device}. "
            f"Use --dtype {' or '.join(runs)}, or another --engine."
        )


def _check_quantize(mix: Mix, entry: BuiltInEngine) -> None:
    if mix.quantize not in entry.quantizes:
        raise UsageError(
            f"The engine {mix.engine} does not quantise to {mix.quantize}. "
            f"Use --engine {' or '.join(QUANTIZED_BY[mix.quantize])}, or --quantize none."
        )
    here = entry.gpu_quantizes if _on_gpu(mix) else entry.cpu_quantizes
    if mix.quantize not in here:
        others = [
            name
            for name, it in BUILT_IN.items()
            if mix.quantize in (it.gpu_quantizes if _on_gpu(mix) else it.cpu_quantizes)
        ]
        more = f"--engine {' or '.join(others)}" if others else f"--quantize {here[0]}"
        raise UsageError(
            f"The engine {mix.engine} does not quantise to {mix.quantize} on {mix.device}. "
            f"Use {more}, or another --device."
        )
    if mix.quantize == "int8" and mix.dtype not in entry.int8_dtypes:
        raise UsageError(
            f"The engine {mix.engine} quantises float32 models to int8, and this one is "
            f"{mix.dtype}. Use --dtype float32."
        )
