"""Every knob of a run: its default, its unit and its check, declared once.

`RunConfig` is inert: it reads no file, no environment and imports no torch. `arguments.py`
turns its fields into command-line options, so a help text stands here and nowhere else.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastbench.core.errors import UsageError, did_you_mean
from fastbench.core.loader_facts import DEFAULT_LOADER, REFERENCE_LOADER

__all__ = [
    "COMPILE_MODES",
    "DEVICES_HELP",
    "DTYPES",
    "MLPERF",
    "PRESETS",
    "PUBLISHED_TOLERANCE",
    "SWEPT",
    "Knob",
    "PlanOptions",
    "RunConfig",
    "parse_loader_option",
]

DTYPES: Final = ("auto", "float32", "float16", "bfloat16")
COMPILE_MODES: Final = (
    "default",
    "reduce-overhead",
    "max-autotune",
    "max-autotune-no-cudagraphs",
)
RESIZES: Final = ("fast", "exact")
PASSES: Final = ("all", "end-to-end")
ON_ERROR: Final = ("fail", "skip")
AMONG: Final = ("all", "present")
PAGE_CACHES: Final = ("warm", "cold")
SWEPT: Final = ("dtype", "compile", "compile_mode", "batch_size")
"""Options that may be given again, beside the model and the loader: every combination is a row."""
PRESETS: Final = ("study", "imagenet-classics", "loaders", "precision", "batch-scaling")
"""The files in `presets/`."""
NOT_COMPARED: Final = frozenset(
    {
        *("ab", "latency_batch_size", "min_seconds", "on_error", "output", "page_cache"),
        *("passes", "predictions", "quick", "reference", "running", "tolerance", "windows"),
    }
)
"""Options that `--ab` cannot set for its second side: its windows do not depend on them."""
PUBLISHED_TOLERANCE: Final = "0.3"
MLPERF: Final = "mlperf"
DEVICES_HELP: Final = "auto, cpu, cuda or cuda:N"


@dataclass(frozen=True)
class Knob:
    """What the command line says of one field: its help, and the word for its value.

    `bare` is the value of an option that is given without one, where that means something.
    """

    help: str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    bare: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One `fastbench run`: a row of the table for each model and loader.

    Raises `UsageError`, with the value shown, for a field that cannot be.
    """

    data: Annotated[
        str,
        Knob(
            "folder of JPEGs, one sub-folder a class, or a list file of lines `path label`; "
            "'sample' is drawn here",
            "DIR|FILE|sample",
        ),
    ] = "sample"
    model: Annotated[
        tuple[str, ...],
        Knob(
            "model by name, timm:NAME, package.module:callable, or a file of TorchScript or "
            "torch.export; repeatable (default: sample for the sample data, else resnet50)",
        ),
    ] = ()
    weights: Annotated[
        str,
        Knob(
            "pretrained weights: DEFAULT, a torchvision name, a .pth or .safetensors file, or none",
            "DEFAULT|NAME|FILE|none",
        ),
    ] = "DEFAULT"
    loader: Annotated[
        tuple[str, ...],
        Knob(
            "loader by name, repeatable; all: every one that runs here, for fastbench run "
            "(default: dali)"
        ),
    ] = ()
    loader_option: Annotated[
        tuple[str, ...],
        Knob(
            "a setting of one loader, repeatable: every loader has prefetch and num_threads, "
            "`fastbench loaders` lists the others",
            "LOADER.NAME=VALUE",
        ),
    ] = ()
    reference: Annotated[
        str,
        Knob("loader whose float32 predictions every row is held against", "NAME|none"),
    ] = REFERENCE_LOADER
    resize: Annotated[
        str,
        Knob(
            "fast: one pass, within a level of the reference; exact: Pillow's two rounded passes",
            choices=RESIZES,
        ),
    ] = "fast"
    device: Annotated[str, Knob("where the model runs: " + DEVICES_HELP)] = "auto"
    dtype: Annotated[
        str, Knob("the model's dtype; auto is float16 on a GPU, float32 on a CPU", choices=DTYPES)
    ] = "auto"
    compile: Annotated[bool, Knob("compile the model with torch.compile")] = False
    compile_mode: Annotated[
        str, Knob("torch.compile's mode; takes effect with --compile", choices=COMPILE_MODES)
    ] = "default"
    batch_size: Annotated[
        int | None, Knob("images a batch (default: 256 on a GPU, 32 on a CPU)", "N")
    ] = None
    num_threads: Annotated[
        int | None, Knob("a loader's threads or worker processes (default: all cores)", "N")
    ] = None
    limit: Annotated[
        int | None, Knob("use N images, evenly spread over the data set (default: all)", "N")
    ] = None
    classes: Annotated[
        str | None,
        Knob("use only the images of these classes: a file with a class folder a line", "FILE"),
    ] = None
    among: Annotated[
        str,
        Knob("predict among all the model's classes, or those present in the data", choices=AMONG),
    ] = "all"
    on_error: Annotated[
        str,
        Knob(
            "what a file that is no sound JPEG does: fail the run, or be skipped by every loader "
            "and named in the record",
            choices=ON_ERROR,
        ),
    ] = "fail"
    min_seconds: Annotated[
        float, Knob("shortest timed window; it always covers whole epochs", "SECONDS")
    ] = 5.0
    windows: Annotated[
        int, Knob("timed windows a row; their median is reported, and their spread", "N")
    ] = 3
    page_cache: Annotated[
        str,
        Knob(
            "warm: read all files once before; cold: put them out of the page cache before each "
            "window, which is then one epoch",
            choices=PAGE_CACHES,
        ),
    ] = "warm"
    latency_batch_size: Annotated[
        tuple[int, ...],
        Knob("measure batch latency with N images a batch too, repeatable", "N"),
    ] = ()
    passes: Annotated[
        str,
        Knob("all: also the loader alone and the model alone, the two ceilings", choices=PASSES),
    ] = "all"
    quick: Annotated[bool, Knob("one epoch and a short warm-up, for a first look")] = False
    seed: Annotated[int, Knob("seed of random weights and synthetic images", "N")] = 0
    tolerance: Annotated[
        str,
        Knob(
            "points by which top-1 may miss the published value on all of ImageNet, or mlperf: at "
            "least 99 percent of it",
            "POINTS|mlperf",
        ),
    ] = PUBLISHED_TOLERANCE
    running: Annotated[
        int | None,
        Knob("report top-1 and top-5 of the first N, 2N... images too, in the data's order", "N"),
    ] = None
    predictions: Annotated[
        str | None,
        Knob("write each image's label, top-5 classes and probabilities to a CSV file", "FILE"),
    ] = None
    ab: Annotated[
        tuple[str, ...],
        Knob(
            "compare with a second configuration that differs in this option, repeatable: windows "
            "of both in turn (A B B A), and the ratio of their throughputs",
            "OPTION=VALUE",
        ),
    ] = ()
    output: Annotated[
        str | None,
        Knob("folder for the JSON records (default: fastbench-results/DATE-TIME)", "DIR"),
    ] = None

    def __post_init__(self) -> None:
        """Check what can be checked without looking at the machine."""
        for name, choices in (
            ("dtype", DTYPES),
            ("compile_mode", COMPILE_MODES),
            ("passes", PASSES),
            ("resize", RESIZES),
            ("on_error", ON_ERROR),
            ("among", AMONG),
            ("page_cache", PAGE_CACHES),
        ):
            value = getattr(self, name)
            if value not in choices:
                raise UsageError(
                    f"{_option(name)} is {value!r}. Choose one of: {', '.join(choices)}."
                )
        for name in ("batch_size", "num_threads", "limit", "running", "windows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{_option(name)} is {value}. Give a whole number of at least 1.")
        for size in self.latency_batch_size:
            if size < 1:
                raise UsageError(
                    f"--latency-batch-size is {size}. Give a whole number of at least 1."
                )
        if not 0 <= self.min_seconds < float("inf"):
            raise UsageError(
                f"--min-seconds is {self.min_seconds}. Give a number of seconds, 0 or more."
            )
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"--seed is {self.seed}. Give a whole number from 0 to 2**63 - 1.")
        kind, _, index = self.device.partition(":")
        if self.device not in ("auto", "cpu") and (
            kind != "cuda" or (":" in self.device and not index.isdecimal())
        ):
            raise UsageError(f"--device is {self.device!r}. Choose {DEVICES_HELP}.")
        if self.tolerance != MLPERF and _points(self.tolerance) is None:
            raise UsageError(
                f"--tolerance is {self.tolerance!r}. Give a number of points, 0 or more, or mlperf."
            )
        for name in ("data", "weights", "reference", "classes", "predictions"):
            if getattr(self, name) == "":
                raise UsageError(f"{_option(name)} is empty. Give it a value or leave it out.")
        for name in ("model", "loader"):
            values = getattr(self, name)
            if "" in values:
                raise UsageError(f"{_option(name)} is empty. Give it a value or leave it out.")

        if self.ab:
            self._check_ab()
        for text in self.loader_option:
            loader, _ = parse_loader_option(text)
            if loader not in self.loaders:
                raise UsageError(
                    f"--loader-option {text} is for the loader {loader!r}, which is not run. "
                    f"Run: {', '.join(self.loaders)}."
                )

    def _check_ab(self) -> None:
        """Refuse what `--ab` would leave undone: it times one loader, and scores nothing."""
        for option, given in (
            ("a second --loader", len(self.loader) > 1),
            ("--predictions", self.predictions is not None),
            ("--running", self.running is not None),
            ("--latency-batch-size", bool(self.latency_batch_size)),
            ("--page-cache cold", self.page_cache == "cold"),
        ):
            if given:
                raise UsageError(
                    f"--ab times two sides of one loader, warm, and scores nothing. "
                    f"Leave out {option}."
                )

    @property
    def timed_loader(self) -> str:
        """The one loader that `--ab` runs: the first that was asked for."""
        return (self.loader or (DEFAULT_LOADER,))[0]

    def other_side(self) -> RunConfig:
        """The second configuration of `--ab`.

        Raises `UsageError` for an option or a value that cannot be.
        """
        hints = typing.get_type_hints(RunConfig, include_extras=True)
        changes: dict[str, Any] = {}
        for text in self.ab:
            name, equals, written = text.partition("=")
            field = name.lstrip("-").replace("-", "_")
            if field in NOT_COMPARED:
                raise UsageError(
                    f"--ab is {text!r}, and its windows do not depend on that. "
                    f"Give an option of the pipeline, such as compile=true."
                )
            if not equals or field not in hints:
                known = [] if field in hints else [key for key in hints if key not in NOT_COMPARED]
                raise UsageError(
                    f"--ab is {text!r}. Write OPTION=VALUE with an option that B has otherwise, "
                    f"such as compile=true.{did_you_mean(field, known)}"
                )
            kind = typing.get_args(hints[field])[0]
            changes[field] = _value_of(kind, field, written, changes.get(field, ()))
        try:
            other = dataclasses.replace(self, **{**changes, "loader_option": ()}, ab=())
            # What is said of a loader holds for B too, but for what --ab says otherwise.
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
        """The loaders of this run, each once; the reference comes first, so rows can be held
        against it as they finish.
        """
        asked = self.loader or (DEFAULT_LOADER,)
        reference = () if self.reference == "none" else (self.reference,)
        return tuple(dict.fromkeys((*reference, *asked)))

    def options_of(self, loader: str) -> dict[str, str | int | float | bool]:
        """What `--loader-option` says of one loader; the last word on a name counts."""
        parsed = map(parse_loader_option, self.loader_option)
        return dict(option for name, option in parsed if name == loader)


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Where the rows of one `fastbench run` come from, and which of them are run.

    None of it changes what a row measures, and no record has it.
    """

    preset: Annotated[
        str | None,
        Knob("a plan that comes with fastbench; other options override it", choices=PRESETS),
    ] = None
    config: Annotated[
        str | None,
        Knob(
            "TOML file with options by name, a list where several values are meant; it overrides "
            "the preset, and options given here override it",
            "FILE",
        ),
    ] = None
    resume: Annotated[
        str | None,
        Knob(
            "go on with a run: rows that are finished are not measured again. DIR has its records "
            "(default: --output, else the newest run); by itself it runs that run's plan",
            "DIR",
            bare="",
        ),
    ] = None
    dry_run: Annotated[bool, Knob("print the rows that would be measured, and stop")] = False


def parse_loader_option(text: str) -> tuple[str, tuple[str, str | int | float | bool]]:
    """`LOADER.NAME=VALUE` -> (loader, (name, value)); the value a number or a bool if it can be.

    Raises `UsageError` for another form.
    """
    target, equals, written = text.partition("=")
    loader, _, name = target.rpartition(".")
    if not (equals and loader and name and written):
        raise UsageError(
            f"--loader-option is {text!r}. Write it as LOADER.NAME=VALUE, such as dali.prefetch=3."
        )
    if written in ("true", "false"):
        return loader, (name, written == "true")
    for kind in (int, float):
        try:
            return loader, (name, kind(written))
        except ValueError:
            continue
    return loader, (name, written)


def _value_of(kind: Any, field: str, written: str, before: Any) -> Any:
    """What `OPTION=VALUE` means for a field; an option that may be repeated is added to."""
    if typing.get_origin(kind) is tuple:
        (item, *_) = typing.get_args(kind)
        return (*before, _value_of(item, field, written, ()))
    if kind is bool:
        if written not in ("true", "false"):
            raise UsageError(f"--ab {field}={written}: give true or false.")
        return written == "true"
    for part in typing.get_args(kind) or (kind,):
        if part is type(None):
            continue
        try:
            return part(written)
        except ValueError:
            raise UsageError(
                f"--ab {field}={written}: {written!r} is not a "
                f"{'whole ' if part is int else ''}number. Give another value."
            ) from None
    raise AssertionError(kind)


def _points(text: str) -> float | None:
    try:
        points = float(text)
    except ValueError:
        return None
    return points if 0 <= points <= 100 else None


def _option(field: str) -> str:
    return "--" + field.replace("_", "-")
