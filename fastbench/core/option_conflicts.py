"""Options of a run that cannot be together, whatever the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastbench.core.engine_facts import COMPILE, UNNAMED
from fastbench.core.errors import UsageError
from fastbench.core.options import flag, parse_own_option
from fastbench.core.preprocess_option import parse_preprocess

if TYPE_CHECKING:
    from fastbench.core.run_options import RunOptions


def check(config: RunOptions) -> None:
    """Raise `UsageError` for options of one configuration that contradict each other."""
    if config.ab:
        _check_ab(config)
    if config.ranks > 1 and ":" in config.device:
        raise UsageError(
            f"--device {config.device} is one GPU, and each of {config.ranks} ranks needs its own. "
            f"Give --device cuda, and choose GPUs with CUDA_VISIBLE_DEVICES."
        )
    for name, values in (("model", config.model), ("loader", config.loader)):
        for value in values:
            if "," in value and not {*"./:"} & {*value}:  # which a file may have
                again = " ".join(f"--{name} {part.strip()}" for part in value.split(","))
                raise UsageError(f"--{name} is {value!r}. Give one at a time: {again}")
    _check_preprocess(config)
    _check_engine(config)
    _check_loader_options(config)


def _check_preprocess(config: RunOptions) -> None:
    given = parse_preprocess(config.preprocess)
    for field, key in (("image_size", "crop"), ("crop_pct", "resize")):
        value = getattr(config, field)
        if value is not None and key in given:
            raise UsageError(
                f"{flag(field)} {value} and --preprocess {key}={given[key]} both set the {key}. "
                f"Leave out one of them."
            )
    size, resize = config.image_size, given.get("resize")
    if size is not None and resize is not None and size > resize:
        raise UsageError(
            f"--image-size {size} cannot be cut out of images resized to {resize}. Give "
            f"--preprocess resize={size} or more, or leave it out."
        )


def _check_engine(config: RunOptions) -> None:
    if config.compile and config.engine not in (UNNAMED, COMPILE):
        raise UsageError(
            f"--compile is the engine compile, and --engine is {config.engine}. Give --engine "
            f"{COMPILE} beside it in place of --compile."
        )
    given = set()
    for text in config.engine_option:
        engine, (name, _) = parse_own_option("engine_option", text)
        if (engine, name) in given:
            raise UsageError(
                f"--engine-option sets {engine}.{name} twice. Give it one value, or run once for "
                f"each."
            )
        given.add((engine, name))


def _check_loader_options(config: RunOptions) -> None:
    settings = set()
    for text in config.loader_option:
        loader, (name, _) = parse_own_option("loader_option", text)
        if (loader, name) in settings:
            raise UsageError(
                f"--loader-option sets {loader}.{name} twice. Give it one value, or run once "
                f"for each."
            )
        settings.add((loader, name))
        if name == "num_threads" and config.num_threads is not None:
            raise UsageError(
                f"--num-threads and --loader-option {text} both set the threads of {loader}. "
                f"Leave out one of them."
            )
        if loader not in config.loaders:
            raise UsageError(
                f"--loader-option {text} is for the loader {loader!r}, which is not run. "
                f"Run: {', '.join(config.loaders)}."
            )


def _check_ab(config: RunOptions) -> None:
    """Refuse options that `--ab` would ignore."""
    for named, given in (
        ("a second --loader", len(config.loader) > 1),
        ("--predictions", config.predictions is not None),
        ("--running", config.running is not None),
        ("--latency-batch-size", bool(config.latency_batch_size)),
        ("--latency-samples", config.latency_samples is not None),
        ("--page-cache cold", config.page_cache == "cold"),
        ("--repeat", config.repeat > 1),
        ("--ranks", config.ranks > 1),
    ):
        if given:
            raise UsageError(
                f"--ab times two sides of one loader, warm, and scores nothing. Leave out {named}."
            )
