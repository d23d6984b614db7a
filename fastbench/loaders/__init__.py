"""Names of loaders: the built-in ones here, others through the entry points `fastbench.loaders`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from fastbench.errors import LoaderMissingError, UnknownNameError, UsageError, did_you_mean
from fastbench.loaders.base import Loader, LoaderSpec

__all__ = [
    "BUILT_IN",
    "GENERAL_OPTIONS",
    "Entry",
    "Factory",
    "check_name",
    "check_options",
    "installed",
    "resolve",
    "why_not",
]

Factory = Callable[[LoaderSpec], Loader]
GROUP: Final = "fastbench.loaders"
GENERAL_OPTIONS: Final = ("prefetch", "num_threads")
"""Settings that every loader has, as fields of its spec."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where a built-in loader lives, what it does, and the options that are its own.

    `decoder` is what turns the JPEG into pixels, `device` where the images are made; `extra` is the
    extra of fastbench's that installs what it needs, None where that is always there.
    """

    target: str
    summary: str
    decoder: str
    device: str
    options: tuple[str, ...] = ()
    extra: str | None = None


BUILT_IN: Final = {
    "dali": Entry(
        target="fastbench.loaders.dali:DaliLoader",
        summary="NVIDIA DALI: all on the GPU, or all in its CPU threads",
        decoder="nvJPEG, or libjpeg-turbo",
        device="GPU or CPU",
        options=("hw_decoder_load", "width_hint", "height_hint"),
    ),
    "dali-cpu": Entry(
        target="fastbench.loaders.dali:DaliCpuLoader",
        summary="NVIDIA DALI: decoded in CPU threads, resized and normalised on the GPU",
        decoder="libjpeg-turbo",
        device="CPU and GPU",
    ),
    "memory": Entry(
        target="fastbench.loaders.memory:MemoryLoader",
        summary="decoded once into memory and replayed: what a perfect decoder would give",
        decoder="none while it is timed",
        device="CPU",
    ),
    "opencv": Entry(
        target="fastbench.loaders.opencv:OpencvLoader",
        summary="OpenCV decodes and resizes, in threads; its filters are not the reference's",
        decoder="libjpeg-turbo in OpenCV",
        device="CPU",
        options=("filter",),
        extra="opencv",
    ),
    "spdl": Entry(
        target="fastbench.loaders.spdl:SpdlLoader",
        summary="Meta's SPDL: FFmpeg decodes and scales, in threads",
        decoder="FFmpeg",
        device="CPU",
        options=("filter",),
        extra="spdl",
    ),
    "synthetic": Entry(
        target="fastbench.loaders.synthetic:SyntheticLoader",
        summary="random images, made once and resident on the device: the model's ceiling",
        decoder="none",
        device="GPU or CPU",
    ),
    "timm": Entry(
        target="fastbench.loaders.timm:TimmLoader",
        summary="timm's create_loader and evaluation transform, DataLoader workers",
        decoder="PIL",
        device="CPU",
        extra="timm",
    ),
    "torchvision": Entry(
        target="fastbench.loaders.torchvision:TorchvisionLoader",
        summary="the reference: the weights' own transforms on PIL images, DataLoader workers",
        decoder="PIL",
        device="CPU",
    ),
    "torchvision-gpu": Entry(
        target="fastbench.loaders.torchvision_gpu:TorchvisionGpuLoader",
        summary="nvJPEG through torchvision or TorchCodec, resize on the GPU",
        decoder="nvJPEG",
        device="GPU",
    ),
    "torchvision-tensor": Entry(
        target="fastbench.loaders.torchvision_tensor:TensorLoader",
        summary="the reference's arithmetic on uint8 tensors, in threads: the fastest on a CPU",
        decoder="libjpeg-turbo in torchvision",
        device="CPU",
    ),
    "webdataset": Entry(
        target="fastbench.loaders.webdataset:WebdatasetLoader",
        summary="WebDataset: the files packed into tar shards, PIL, DataLoader workers",
        decoder="PIL",
        device="CPU",
        extra="webdataset",
    ),
}


def resolve(name: str) -> Factory:
    """The factory of a loader.

    Raises `UnknownNameError` for a name that nobody registered, `LoaderMissingError` where its
    module cannot be imported here.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].target.partition(":")
        try:
            factory: Factory = getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise LoaderMissingError(
                f"The loader {name!r} cannot run here: {error}. "
                f"Install its package, or choose another with --loader."
            ) from error
        return factory
    plug_ins = installed()
    if name in plug_ins:
        try:
            plugged: Factory = plug_ins[name].load()
        except Exception as error:
            raise LoaderMissingError(
                f"The plug-in loader {name!r} ({plug_ins[name].value}) failed to import: "
                f"{type(error).__name__}: {error}. Mend or uninstall its package."
            ) from error
        return plugged
    check_name(name)
    raise AssertionError(name)


def check_name(name: str) -> None:
    """Raise `UnknownNameError`, with the nearest name, for a loader that nobody registered."""
    if name in BUILT_IN:
        return
    known = sorted({*BUILT_IN, *installed()})
    if name not in known:
        raise UnknownNameError(
            f"There is no loader {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}."
        )


def why_not(name: str) -> str | None:
    """Why a loader cannot run here, or None: its package is tried, and nothing is opened."""
    try:
        resolve(name)
    except LoaderMissingError as error:
        return str(error)
    return None


def check_options(loader: str, names: Iterable[str]) -> None:
    """Raise `UsageError` for an option that a built-in loader does not have.

    A plug-in checks its own, when it is opened.
    """
    if loader not in BUILT_IN:
        return
    known = [*GENERAL_OPTIONS, *BUILT_IN[loader].options]
    for name in names:
        if name not in known:
            raise UsageError(
                f"The loader {loader!r} has no option {name!r}.{did_you_mean(name, known)} "
                f"It has: {', '.join(known)}."
            )


def installed() -> dict[str, Any]:
    """The plug-in loaders that installed packages register, by name."""
    import importlib.metadata

    return {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}
