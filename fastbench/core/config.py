"""Every option of a run: its type, range, choices, default and help, declared once.

`RunConfig` reads no file and no environment, and needs no torch. `options.py` says how an option
is declared and how its values are read.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from fastbench.core.errors import UsageError, did_you_mean
from fastbench.core.loader_facts import DEFAULT_LOADER, REFERENCE_LOADER
from fastbench.core.options import declared, field_of, flag, option, parse_loader_option
from fastbench.core.value_types import (
    DEVICES,
    PUBLISHED_TOLERANCE,
    Count,
    Device,
    Name,
    Percent,
    Seconds,
    Seed,
    Tolerance,
    is_share,
    is_tolerance,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_BATCH_SIZE: Final = {"cuda": 256, "cpu": 32}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The options of one `fastbench run`. Raises `UsageError` for a value that cannot be."""

    data: Name = option(
        "sample",
        "folder of JPEGs, one sub-folder a class, or as ImageNet is handed out; a CSV file with "
        "a header such as path,label; a list file of lines `path label`; 'sample' is drawn here",
        "DIR|FILE|sample",
    )
    data_root: Name | None = option(
        None,
        "the folder that the paths in a CSV file or a list are relative to (default: the file's "
        "own)",
        "DIR",
    )
    model: tuple[Name, ...] = option(
        (),
        "model by name, timm:NAME, package.module:callable, or a file of TorchScript or "
        "torch.export; repeatable (default: sample for the sample data, else resnet50). "
        "Callables, plug-ins and such files run their code: give only what you trust",
    )
    weights: Name = option(
        "DEFAULT",
        "pretrained weights: DEFAULT, a torchvision name, a .pth or .safetensors file (FILE:KEY: "
        "one of several sets in it; no code in it is run), or none",
        "DEFAULT|NAME|FILE[:KEY]|none",
    )
    loader: tuple[Name, ...] = option(
        (),
        "loader by name, repeatable; all: every one that runs here, for fastbench run "
        "(default: dali, or torchvision-tensor where DALI is not installed). A plug-in is code "
        "that is trusted",
    )
    loader_option: tuple[str, ...] = option(
        (),
        "a setting of one loader, repeatable: every loader has prefetch and num_threads, "
        "`fastbench loaders` lists the others",
        "LOADER.NAME=VALUE",
    )
    reference: Name = option(
        REFERENCE_LOADER,
        "loader whose float32 predictions every row is held against",
        "NAME|none",
        changes="measurement",
    )
    resize: Literal["fast", "exact"] = option(
        "fast",
        "fast: one pass, bilinear within a level of the reference, bicubic off by 0.2 in the mean "
        "and a few at edges; exact: Pillow's two passes, slower",
        swept=True,
    )
    device: Device = option("auto", f"where the model runs: {DEVICES}")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = option(
        "auto", "the model's dtype; auto is float16 on a GPU, float32 on a CPU", swept=True
    )
    tf32: bool = option(
        False,
        "let a GPU multiply float32 numbers as TensorFloat-32: faster, with 10 bits of precision "
        "in place of 23; the reference's predictions are made without",
        swept=True,
    )
    cuda_stream: Literal["default", "side"] = option(
        "default",
        "the CUDA stream of the model: CUDA's default, on which other work may wait, or its own",
        swept=True,
        changes="process",
    )
    cuda_wait: Literal["spin", "block"] = option(
        "spin",
        "how CUDA's own waits go on the host: spin, which burns a core, or block, which sleeps",
        swept=True,
        changes="process",
    )
    compile: bool = option(False, "compile the model with torch.compile", swept=True)
    compile_mode: Literal[
        "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"
    ] = option("default", "torch.compile's mode; takes effect with --compile", swept=True)
    allocator: Literal["keep", "system"] = option(
        "keep",
        "memory that the row's process has freed on the host: keep it for the next batch, or leave "
        "it to the system's allocator",
        swept=True,
        changes="process",
    )
    ranks: Count = option(
        1,
        "processes that share the images out, each on a GPU of its own (default: 1, or all that "
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
    )
    num_threads: Count | None = option(
        None,
        "a loader's threads or worker processes (default: all cores, shared by a machine's ranks)",
        "N",
        swept=True,
    )
    model_threads: Count | None = option(
        None,
        "torch's threads for the model on a CPU, whatever OMP_NUM_THREADS says (default: as many "
        "as there are cores that the process may use)",
        "N",
        swept=True,
    )
    limit: Count | None = option(
        None, "use N images, evenly spread over the data set (default: all)", "N"
    )
    classes: Name | None = option(
        None, "use only the images of these classes: a file with a class folder a line", "FILE"
    )
    among: Literal["all", "present"] = option(
        "all", "predict among all the model's classes, or those present in the data"
    )
    on_error: Literal["fail", "skip"] = option(
        "fail",
        "what a file that is no sound JPEG does: fail the run, or be skipped by every loader and "
        "named; one that a loader alone does not read, by that one",
        changes="measurement",
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
        "go on with windows until the 95 % interval of the throughput is at most so wide to "
        "either side, such as 2%, or there are ten times --windows",
        "PERCENT",
        changes="measurement",
        is_valid=is_share,
    )
    page_cache: Literal["warm", "cold"] = option(
        "warm",
        "warm: read all files once before; cold: put them out of the page cache before each "
        "window, which is then one epoch",
        changes="measurement",
        swept=True,
    )
    latency_batch_size: tuple[Count, ...] = option(
        (),
        "measure batch latency with N images a batch too, repeatable",
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
    seed: Seed = option(0, "seed of random weights and synthetic images", "N")
    tolerance: Tolerance = option(
        PUBLISHED_TOLERANCE,
        "points by which top-1 may miss the published value on all of ImageNet, or mlperf: at "
        "least 99 percent of it",
        "POINTS|mlperf",
        changes="measurement",
        is_valid=is_tolerance,
    )
    running: Count | None = option(
        None,
        "report top-1 and top-5 of the first N, 2N... images too, in the data's order",
        "N",
        changes="record",
    )
    predictions: Name | None = option(
        None,
        "write each image's label, top-5 classes and probabilities to a CSV file",
        "FILE",
        changes="nothing",
    )
    ab: tuple[str, ...] = option(
        (),
        "compare with a second configuration that differs in this option, repeatable: windows "
        "of both in turn (A B B A), and the ratio of their throughputs",
        "OPTION=VALUE",
        changes="nothing",
    )
    output: str | None = option(
        None,
        "folder for the JSON records (default: fastbench-results/DATE-TIME)",
        "DIR",
        changes="nothing",
    )

    def __post_init__(self) -> None:
        """Read each value, and check what does not depend on the machine."""
        for name, each in OPTIONS.items():
            object.__setattr__(self, name, each.read(getattr(self, name)))
        if self.ab:
            self._check_ab()
        if self.ranks > 1 and ":" in self.device:
            raise UsageError(
                f"--device {self.device} is one GPU, and each of {self.ranks} ranks needs its own. "
                f"Give --device cuda, and choose GPUs with CUDA_VISIBLE_DEVICES."
            )
        for name, values in (("model", self.model), ("loader", self.loader)):
            for value in values:
                if "," in value and not {*"./:"} & {*value}:  # which a file may have
                    again = " ".join(f"--{name} {part.strip()}" for part in value.split(","))
                    raise UsageError(f"--{name} is {value!r}. Give one at a time: {again}")
        settings = set()
        for text in self.loader_option:
            loader, (name, _) = parse_loader_option(text)
            if (loader, name) in settings:
                raise UsageError(
                    f"--loader-option sets {loader}.{name} twice. Give it one value, or run once "
                    f"for each."
                )
            settings.add((loader, name))
            if name == "num_threads" and self.num_threads is not None:
                raise UsageError(
                    f"--num-threads and --loader-option {text} both set the threads of {loader}. "
                    f"Leave out one of them."
                )
            if loader not in self.loaders:
                raise UsageError(
                    f"--loader-option {text} is for the loader {loader!r}, which is not run. "
                    f"Run: {', '.join(self.loaders)}."
                )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> RunConfig:
        """The configuration in a record; an option that it lacks has its default."""
        return cls(**{name: value for name, value in stored.items() if name in OPTIONS})

    def _check_ab(self) -> None:
        """Refuse options that `--ab` would ignore."""
        for named, given in (
            ("a second --loader", len(self.loader) > 1),
            ("--predictions", self.predictions is not None),
            ("--running", self.running is not None),
            ("--latency-batch-size", bool(self.latency_batch_size)),
            ("--page-cache cold", self.page_cache == "cold"),
            ("--ranks", self.ranks > 1),
        ):
            if given:
                raise UsageError(
                    f"--ab times two sides of one loader, warm, and scores nothing. "
                    f"Leave out {named}."
                )

    @property
    def timed_loader(self) -> str:
        """The one loader that `--ab` runs: the first that was asked for."""
        return (self.loader or (DEFAULT_LOADER,))[0]

    def other_side(self) -> RunConfig:
        """The second configuration of `--ab`.

        Raises `UsageError` for an option or a value that cannot be.
        """
        texts: dict[str, list[str]] = {}
        for text in self.ab:
            name, equals, written = text.partition("=")
            field = field_of(name)
            if field == "ranks":
                raise UsageError(
                    f"--ab is {text!r}, and each of its sides is one rank. Give a row for each "
                    f"number: --ranks 1 --ranks 2."
                )
            if field in NOT_COMPARED:
                raise UsageError(
                    f"--ab is {text!r}, and its windows do not depend on that. "
                    f"Give an option of the pipeline, such as compile=true."
                )
            if not equals or field not in OPTIONS:
                known = (
                    [] if field in OPTIONS else [key for key in OPTIONS if key not in NOT_COMPARED]
                )
                raise UsageError(
                    f"--ab is {text!r}. Write OPTION=VALUE with an option that B has otherwise, "
                    f"such as compile=true.{did_you_mean(field, known)}"
                )
            texts.setdefault(field, []).append(written)
        try:
            changes: dict[str, Any] = {}
            for field, its_texts in texts.items():
                values = OPTIONS[field].read(its_texts, several=True, is_text=True)
                if len(values) > 1 and not OPTIONS[field].is_tuple:
                    raise UsageError(f"{flag(field)} has {len(values)} values. Give it one.")
                changes[field] = values if OPTIONS[field].is_tuple else values[0]
            other = dataclasses.replace(self, **{**changes, "loader_option": ()}, ab=())
            # Options of a loader hold for B too, unless --ab sets them.
            settings: dict[tuple[str, str], str] = {}
            for text in (*self.loader_option, *changes.get("loader_option", ())):
                loader, (name, _) = parse_loader_option(text)
                if loader in other.loaders or text not in self.loader_option:
                    settings[loader, name] = text
            return dataclasses.replace(other, loader_option=tuple(settings.values()))
        except UsageError as error:
            raise UsageError(f"--ab, the second side: {error}") from error

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
        parsed = map(parse_loader_option, self.loader_option)
        return dict(setting for name, setting in parsed if name == loader)


OPTIONS: Final = declared(RunConfig)
"""The options of a run, by field."""
SWEPT: Final = tuple(name for name, each in OPTIONS.items() if each.swept)
"""Options that may be given again, besides model and loader: every combination is a row."""
NOT_COMPARED: Final = frozenset(
    name for name, each in OPTIONS.items() if each.changes not in ("pipeline", "process")
)
"""Options that `--ab` refuses: its windows do not depend on them."""
