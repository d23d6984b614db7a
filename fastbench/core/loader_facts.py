"""What is known of the built-in loaders without importing one.

It stands in the lowest package because options, records and the registry need it. What a loader
says of itself is in `loaders/base.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_DECODER: Final = "none"
"""How the setting `decoder` begins if no JPEG is decoded while the loader is timed."""


def decodes(settings: Mapping[str, Any]) -> bool:
    """Whether a loader with these settings decodes JPEGs while it is timed."""
    return not str(settings.get("decoder")).startswith(NO_DECODER)


@dataclass(frozen=True, kw_only=True)
class BuiltInLoader:
    """Where a built-in loader is, what it does, and its own options.

    `decoder` turns the JPEG into pixels, `device` is where the images are made, `extra` the extra
    of fastbench that installs what it needs, None if nothing more is needed. `packages` are the
    distributions of which one must be installed, none if torch and torchvision will do, and with
    `needs_gpu` it runs on an NVIDIA GPU alone. `num_cores` is up to
    how many its threads scale, None where Python's lock is no limit to them: the CPU time of an
    image over that in which two threads hold it, as `benchmarks/lock_held.py` found on two cores.
    `on_demand`: it takes requests too (`OnDemand` in `loaders/base.py`).
    """

    target: str
    summary: str
    decoder: str
    device: str = "CPU"
    options: tuple[str, ...] = ()
    extra: str | None = None
    packages: tuple[str, ...] = ()
    needs_gpu: bool = False
    num_cores: int | None = None
    on_demand: bool = False


_DALI: Final = ("nvidia-dali-cuda120", "nvidia-dali-cuda130")
BUILT_IN: Final = {
    "dali": BuiltInLoader(
        target="fastbench.loaders.builtin.dali:DaliLoader",
        summary="NVIDIA DALI: all on the GPU, or all in its CPU threads",
        decoder="nvJPEG, or libjpeg-turbo",
        device="GPU or CPU",
        packages=_DALI,
        options=(
            "hw_decoder_load",
            "fancy_upsampling",
            "hybrid_huffman_threshold",
            "device_memory_padding",
            "host_memory_padding",
            "width_hint",
            "height_hint",
            "resize_minibatch_size",
        ),
        on_demand=True,
    ),
    "dali-cpu": BuiltInLoader(
        target="fastbench.loaders.builtin.dali:DaliCpuLoader",
        summary="NVIDIA DALI: decoded in CPU threads, resized and normalised on the GPU",
        decoder="libjpeg-turbo",
        device="CPU and GPU",
        options=("resize_minibatch_size",),
        packages=_DALI,
        needs_gpu=True,
        on_demand=True,
    ),
    "memory": BuiltInLoader(
        target="fastbench.loaders.builtin.memory:MemoryLoader",
        summary="decoded once into memory and replayed: what a perfect decoder would give",
        decoder=f"{NO_DECODER} while it is timed",
        on_demand=True,
    ),
    "opencv": BuiltInLoader(
        target="fastbench.loaders.builtin.opencv:OpencvLoader",
        summary="OpenCV decodes and resizes, in threads; its filters are not the reference's",
        decoder="libjpeg-turbo in OpenCV",
        options=("filter",),
        extra="opencv",
        packages=(
            *("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
            "opencv-contrib-python-headless",
        ),
        num_cores=14,
        on_demand=True,
    ),
    "spdl": BuiltInLoader(
        target="fastbench.loaders.builtin.spdl:SpdlLoader",
        summary="Meta's SPDL: FFmpeg decodes and scales, in threads",
        decoder="FFmpeg",
        options=("filter",),
        extra="spdl",
        packages=("spdl",),
    ),
    "synthetic": BuiltInLoader(
        target="fastbench.loaders.builtin.synthetic:SyntheticLoader",
        summary="random images, made once and resident on the device: the model's ceiling",
        decoder=NO_DECODER,
        device="GPU or CPU",
        on_demand=True,
    ),
    "timm": BuiltInLoader(
        target="fastbench.loaders.builtin.timm:TimmLoader",
        summary="timm's create_loader and evaluation transform, DataLoader workers",
        decoder="PIL",
        extra="timm",
        packages=("timm",),
    ),
    "torchvision": BuiltInLoader(
        target="fastbench.loaders.builtin.torchvision:TorchvisionLoader",
        summary="the reference: the weights' own transforms on PIL images, DataLoader workers",
        decoder="PIL",
    ),
    "torchvision-gpu": BuiltInLoader(
        target="fastbench.loaders.builtin.torchvision_gpu:TorchvisionGpuLoader",
        summary="nvJPEG through torchvision or TorchCodec, resize on the GPU",
        decoder="nvJPEG",
        device="GPU",
        needs_gpu=True,
    ),
    "torchvision-tensor": BuiltInLoader(
        target="fastbench.loaders.builtin.torchvision_tensor:TensorLoader",
        summary="the reference's pixels by uint8 tensors, in threads: the fastest on few cores",
        decoder="libjpeg-turbo in simplejpeg, or in torchvision",
        num_cores=14,
        on_demand=True,
    ),
    "webdataset": BuiltInLoader(
        target="fastbench.loaders.builtin.webdataset:WebdatasetLoader",
        summary="WebDataset: the files packed into tar shards, PIL, DataLoader workers",
        decoder="PIL",
        extra="webdataset",
        packages=("webdataset",),
    ),
}

DEFAULT_LOADER: Final = "dali"
"""The loader of a run without `--loader`, where it is installed."""
FALLBACK_LOADER: Final = "torchvision-tensor"
"""The one where it is not: the fastest on a CPU that needs no package beyond torchvision."""
REFERENCE_LOADER: Final = "torchvision"
"""The reference of a run without `--reference`."""
CEILING_LOADER: Final = "synthetic"
"""The loader that gives the batch of the model's ceiling."""

FASTEST_ON_CPU: Final = "torchvision-tensor"
"""By `benchmarks/cpu_loaders.py`, on as many cores as its threads scale to."""
SLOWER_ON_CPU: Final = ("dali", "spdl", "timm", "torchvision", "webdataset")
"""By the same benchmark. On a GPU fastbench has measured none yet."""
VERSION_SETTINGS: Final = frozenset({"dali"})
"""Settings that are a package's version, which is in a record's environment too."""
