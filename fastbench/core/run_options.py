"""Every option of a run: its type, range, choices, default and help, declared once.

`options.py` says how an option is declared and how its values are read, `option_conflicts.py` which
of them cannot be together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from fastbench.core.engine_facts import COMPILE, UNNAMED
from fastbench.core.loader_facts import DEFAULT_LOADER, REFERENCE_LOADER
from fastbench.core.options import option, parse_own_option
from fastbench.core.value_types import (
    DEVICES,
    PUBLISHED_TOLERANCE,
    Count,
    Device,
    Name,
    Percent,
    Seconds,
    Seed,
    Share,
    Tolerance,
    is_share,
    is_tolerance,
)

DEFAULT_BATCH_SIZE: Final = {"cuda": 256, "cpu": 32}


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of one `fastbench run`, and what follows from them."""

    data: Name = option(
        "sample",
        "folder of JPEGs, one sub-folder a class, or as ImageNet is handed out; a CSV file with a "
        "header such as path,label; a list of lines `path label`; sample is drawn here",
        "DIR|FILE|sample",
        group="common",
    )
    data_root: Name | None = option(
        None,
        "the folder that the paths in a CSV file or a list are relative to (default: the file's "
        "own)",
        "DIR",
        group="data",
    )
    model: tuple[Name, ...] = option(
        (),
        "model by name or pattern ('resnet*'), timm:NAME, package.module:callable, or a file (see "
        "`fastbench models`); its code is run: give only what you trust (default: sample for the "
        "sample data, else resnet50)",
        group="common",
    )
    weights: Name = option(
        "DEFAULT",
        "DEFAULT, a torchvision name, a .pth or .safetensors file (FILE:KEY: one of several sets "
        "in it), or none for random ones",
        "NAME|FILE[:KEY]|none",
        by_model=True,
        group="common",
    )
    loader: tuple[Name, ...] = option(
        (),
        "loader by name, or module:Factory, or all that run here (default: dali, or "
        "torchvision-tensor without DALI)",
        group="common",
    )
    loader_option: tuple[str, ...] = option(
        (),
        "a setting of one loader, such as dali.prefetch=3; `fastbench loaders` lists them; "
        "repeatable",
        "LOADER.NAME=VALUE",
        group="loader",
    )
    reference: Name = option(
        REFERENCE_LOADER,
        "loader whose float32 predictions every row is held against; it is timed without --loader, "
        "or where that names it",
        "NAME|none",
        changes="measurement",
        group="comparing",
    )
    reference_model: Name | None = option(
        None,
        "model whose float32 predictions the rows are held against (default: their own): what an "
        "exported file was made from",
        "NAME",
        changes="measurement",
        group="comparing",
    )
    resize: Literal["fast", "exact"] = option(
        "fast",
        "exact: as Pillow does, slower; fast: within a level of it for bilinear, a few for bicubic",
        swept=True,
        group="loader",
    )
    device: Device = option("auto", f"where the model runs: {DEVICES}", group="common")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = option(
        "auto",
        "the model's dtype; auto is float16 on a GPU, float32 on a CPU",
        swept=True,
        group="common",
    )
    tf32: bool = option(
        False,
        "let a GPU multiply float32 numbers as TensorFloat-32, with 10 bits of precision",
        swept=True,
        group="model",
    )
    cuda_stream: Literal["default", "side"] = option(
        "default",
        "the model's CUDA stream: CUDA's default, or its own",
        swept=True,
        changes="process",
        group="model",
    )
    cuda_wait: Literal["spin", "block"] = option(
        "spin",
        "how the host waits for CUDA: spin burns a core, block sleeps",
        swept=True,
        changes="process",
        group="model",
    )
    engine: Name = option(
        UNNAMED,
        "what executes the model, one of `fastbench engines` (auto: eager, or what a file is for)",
        swept=True,
        group="common",
    )
    engine_option: tuple[str, ...] = option(
        (),
        "a setting of one engine, such as openvino.hint=throughput (see `fastbench engines`); "
        "repeatable",
        "ENGINE.NAME=VALUE",
        group="model",
    )
    compile: bool = option(False, "the engine compile: torch.compile", swept=True, group="common")
    compile_mode: Literal[
        "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"
    ] = option("default", "torch.compile's mode, with --compile", swept=True, group="model")
    quantize: Literal["none", "int8", "fp8"] = option(
        "none",
        "the number format that the engine quantises the model to, after its training",
        swept=True,
        group="model",
    )
    image_size: Count | None = option(
        None,
        "pixels a side of the square that the model sees (default: the model's own)",
        "N",
        swept=True,
        group="model",
    )
    crop_pct: Share | None = option(
        None,
        "share of the resized short side that is cut out (default: the model's own)",
        "SHARE",
        swept=True,
        group="model",
    )
    preprocess: tuple[str, ...] = option(
        (),
        "mean, std, interpolation, resize, crop or antialias in place of the model's own; "
        "repeatable",
        "KEY=VALUE",
        group="model",
    )
    calibration: Name | None = option(
        None,
        "images to calibrate int8 with: a folder, or how many of the data to set aside, unscored "
        "(default: a fifth, 128 at most)",
        "DIR|N",
        changes="measurement",
        group="data",
    )
    allocator: Literal["keep", "system"] = option(
        "keep",
        "freed host memory: keep it for the next batch, or leave it to the system",
        swept=True,
        changes="process",
        group="model",
    )
    ranks: Count = option(
        1,
        "processes that share the images out, each on its own GPU (default: 1, or as many as "
        "torchrun or srun has started)",
        "N",
        swept=True,
        changes="measurement",
    )
    batch_size: Count | None = option(
        None,
        "images a batch, of each rank (default: {cuda} on a GPU, {cpu} on a CPU)".format(
            **DEFAULT_BATCH_SIZE
        ),
        "N",
        swept=True,
        group="common",
    )
    num_threads: Count | None = option(
        None,
        "a loader's threads or worker processes (default: all cores)",
        "N",
        swept=True,
        group="loader",
    )
    model_threads: Count | None = option(
        None,
        "the engine's threads for the model on a CPU (default: all cores)",
        "N",
        swept=True,
        group="model",
    )
    limit: Count | None = option(
        None,
        "use N images, evenly spread over the data set (default: all)",
        "N",
        group="data",
    )
    classes: Name | None = option(
        None,
        "use only the images of these classes: a file with a class folder a line",
        "FILE",
        group="data",
    )
    among: Literal["all", "present"] = option(
        "all",
        "predict among all the model's classes, or those present in the data",
        group="model",
    )
    on_error: Literal["fail", "skip"] = option(
        "fail",
        "what a damaged file does: fail the run, or be skipped and named",
        changes="measurement",
        group="data",
    )
    min_seconds: Seconds = option(
        5.0,
        "shortest timed window; it always covers whole epochs",
        "SECONDS",
        changes="measurement",
    )
    windows: Count = option(
        3,
        "timed windows a row; their median is reported, and their spread",
        "N",
        changes="measurement",
    )
    max_interval: Percent | None = option(
        None,
        "go on until the throughput's 95 % interval reaches at most so far, such as 2%, or for ten "
        "times --windows",
        "PERCENT",
        changes="measurement",
        is_valid=is_share,
    )
    page_cache: Literal["warm", "cold"] = option(
        "warm",
        "warm: read all files before; cold: drop them from it before each window of one epoch",
        changes="measurement",
        swept=True,
        group="data",
    )
    latency_batch_size: tuple[Count, ...] = option(
        (),
        "measure batch latency with N images a batch too, repeatable",
        "N",
        changes="measurement",
    )
    latency_samples: Count | None = option(
        None,
        "take N samples of batch latency, or those of ten minutes: 64 give its p90, 662 its p99 "
        "(default: 10, or two seconds)",
        "N",
        changes="measurement",
    )
    passes: Literal["all", "end-to-end"] = option(
        "all",
        "all: also the loader alone and the model alone, the two ceilings",
        changes="measurement",
    )
    quick: bool = option(
        False, "one epoch and a short warm-up, for a first look", changes="measurement"
    )
    repeat: Count = option(
        1,
        "measure the whole plan N times over; `fastbench report` makes one row of the repeats",
        "N",
        changes="nothing",
    )
    seed: Seed = option(0, "seed of random weights and synthetic images", "N", group="model")
    tolerance: Tolerance = option(
        PUBLISHED_TOLERANCE,
        "points by which top-1 may miss the published one on all of ImageNet, or mlperf: 1 percent "
        "of it",
        "POINTS|mlperf",
        changes="measurement",
        is_valid=is_tolerance,
        group="comparing",
    )
    running: Count | None = option(
        None,
        "report top-1 and top-5 of the first N, 2N... images too, in the data's order",
        "N",
        changes="record",
        group="output",
    )
    predictions: Name | None = option(
        None,
        "write each image's label, top-5 classes and probabilities to a CSV file",
        "FILE",
        changes="nothing",
        group="output",
    )
    ab: tuple[str, ...] = option(
        (),
        "compare with a second configuration that differs in this option: windows of both in turn, "
        "and the ratio of their throughputs; repeatable",
        "OPTION=VALUE",
        changes="nothing",
        group="comparing",
    )
    output: str | None = option(
        None,
        "folder for the JSON records (default: fastbench-results/DATE-TIME)",
        "DIR",
        changes="nothing",
        group="common",
    )

    @property
    def timed_loader(self) -> str:
        """The one loader that `--ab` runs: the first that was asked for."""
        return (self.loader or (DEFAULT_LOADER,))[0]

    @property
    def engine_name(self) -> str:
        """The engine; `auto` where that is the model's to say."""
        return COMPILE if self.compile else self.engine

    @property
    def models(self) -> tuple[str, ...]:
        """The models of this run, each once, in the order asked for."""
        fallback = "sample" if self.data == "sample" else "resnet50"
        return tuple(dict.fromkeys(self.model or (fallback,)))

    @property
    def loaders(self) -> tuple[str, ...]:
        """The loaders of this run, each once, the reference first: other rows need its result."""
        asked = self.loader or (DEFAULT_LOADER,)
        reference = () if self.reference == "none" else (self.reference,)
        return tuple(dict.fromkeys((*reference, *asked)))

    def options_of(self, loader: str) -> dict[str, str | int | float | bool]:
        """What `--loader-option` sets of one loader."""
        parsed = (parse_own_option("loader_option", text) for text in self.loader_option)
        return dict(setting for name, setting in parsed if name == loader)

    def options_of_engine(self, engine: str) -> dict[str, str | int | float | bool]:
        """What `--engine-option` sets of one engine."""
        parsed = (parse_own_option("engine_option", text) for text in self.engine_option)
        return dict(setting for name, setting in parsed if name == engine)
