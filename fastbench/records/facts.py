"""The facts of a row: its model, its loader, its device, each option of its run.

A fact has one name and one wording, for tables, plots, pages, footnotes, `fastbench compare` and
the plan of a run. It is read from a record, or from the configuration of a row that is not measured
yet. A new option in `RunConfig` that changes the pipeline or its measurement is a fact without an
entry here (see `_of_option`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.config import OPTIONS, RunConfig
from fastbench.core.options import field_of, spelt
from fastbench.core.units import counted, format_bytes, format_value
from fastbench.records.record import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastbench.core.options import Option
    from fastbench.records.record import AbRecord, Record

RUN: Final = "what was run"
MACHINE: Final = "machine and software"
FILE: Final = "record"

_TORCH: Final = "torch"
_DALI: Final = ("nvidia-dali-cuda120", "nvidia-dali-cuda130")
PACKAGES: Final = ("fastbench", "torch", "torchvision", *_DALI)
"""Packages whose version is a fact; a record knows more."""
_DIGITS: Final = 10
"""Of a digest or a commit: more of them tell nothing more to people."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One fact, and how it is read and worded.

    `read` takes it from a record, None if the record does not know it. `show` makes the text of a
    cell, `template` or `unit` (which is counted) that of a sentence, and `unsaid` is the value that
    a sentence leaves out. `options` are the options that it comes from; `plan` takes it from a
    configuration, by default as the value of the first. `default` stands for an option that a
    record lacks. `within` names facts in which rows must be alike to be told apart by this one:
    other weights of another model are not worth saying.
    """

    name: str
    heading: str
    meaning: str
    read: Callable[[Any], Any]
    topic: str = RUN
    show: Callable[[Any], str] = format_value
    template: str = "{}"
    unit: str = ""
    unsaid: Any = None
    options: tuple[str, ...] = ()
    plan: Callable[[RunConfig], Any] | None = None
    default: Any = None
    within: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    def of(self, row: Record | AbRecord | RunConfig) -> Any:
        """The row's value; None where it is not known."""
        if isinstance(row, RunConfig):
            return self._planned(row)
        value = self.read(row)
        return self.default if value is None else value

    def _planned(self, config: RunConfig) -> Any:
        if self.plan is not None:
            return self.plan(config)
        value = getattr(config, self.options[0]) if self.options else None
        if value is None:
            return "auto" if self.options and self.default is None else self.default
        return value

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        kinds = [OPTIONS[name].kind for name in self.options]
        return bool(self.unit) or any(kind in (int, float) for kind in kinds)

    def words(self, value: Any) -> str:
        """A value in a sentence; empty for the one that is left out."""
        if value == self.unsaid:
            return ""
        if self.unit:
            return counted(value, self.unit) if isinstance(value, int) else f"{value} {self.unit}s"
        return self.template.format(self.show(value))

    def text(self, row: Record | AbRecord | RunConfig) -> str:
        """The row's value in a sentence; empty if it is not known."""
        value = self.of(row)
        return "" if value is None else self.words(value)


def device_name(record: Record) -> str | None:
    """The name of the GPU that the model ran on, or of the CPU where it ran there."""
    kind, _, index = record.device.partition(":")
    if kind == "cpu":
        cpu: str | None = record.environment.get("cpu")
        return cpu
    names: list[str] = [gpu["name"] for gpu in record.environment.get("gpus", [])]
    number = int(index) if index.isdecimal() else 0
    return names[number] if number < len(names) else None


def folder_of(record: Record) -> str:
    """The last two parts of the data's folder; the others differ from machine to machine."""
    found = [part for part in str(record.data.get("root", "")).split("/") if part]
    return "/".join(found[-2:])


def images_of(record: Record) -> list[str]:
    """How many images there are, how large, and of how many classes, in words."""
    num = record.data["num_samples"]
    found = [counted(num, "JPEG")]
    if num_bytes := record.data.get("num_bytes"):
        found.append(f"{format_bytes(num_bytes / num)} each")
    if num_classes := record.data.get("num_classes"):
        found.append(counted(num_classes, "class", "classes"))
    return found


def _engine_of(record: Record) -> Engine | None:
    """What runs the model in place of torch; None if torch does."""
    # A record before version 6 says nothing of it; a model without parameters is not torch's.
    unknown = record.engine is None and getattr(record, "num_parameters", None) == 0
    return Engine() if unknown else record.engine


def _engine_name(record: Record) -> str | None:
    engine = _engine_of(record)
    return engine.name if engine else _TORCH


def _number_format(record: Record) -> str | None:
    engine = _engine_of(record)
    return engine.number_format if engine else record.dtype


def _engine_threads(record: Record) -> int | None:
    engine = _engine_of(record)
    threads: int | None = record.environment.get("torch_threads")
    return engine.num_threads if engine else threads


def _compilation(record: Record) -> str | None:
    """Nothing where another engine has the model: what it does with it is not known."""
    if _engine_of(record) and record.compile_mode is None:
        return None
    return compilation(record.compile_mode)


def _cpu_quota(record: Record) -> str | None:
    if "cpu_quota" not in record.environment:
        return None
    quota = record.environment["cpu_quota"]
    return "none" if quota is None else f"{quota:g} cores"


def _variables(record: Record) -> str | None:
    """All in one text: which of them are set is part of the fact."""
    known = record.environment.get("variables")
    if known is None:
        return None
    return " ".join(f"{name}={value}" for name, value in known.items()) or "none set"


def compilation(mode: str | None) -> str:
    """`eager` or `compile`, with torch.compile's mode if it is not the default one."""
    return {None: "eager", "default": "compile"}.get(mode, f"compile {mode}")


def _of_loader(given: Sequence[str], loader: str) -> str:
    """The part of `--loader-option` that is for this loader."""
    return ", ".join(sorted(x for x in given if x.partition("=")[0].rpartition(".")[0] == loader))


def _power_limit(record: Record) -> str | None:
    gpu = record.telemetry.gpu if record.telemetry else None
    return f"{gpu.power_limit_w:g} W" if gpu and gpu.power_limit_w else None


def _commit(record: Record) -> str | None:
    commit, plus, changes = (record.environment.get("git") or "").partition("+")
    return commit[:_DIGITS] + plus + changes or None


def _time(created: str) -> str:
    """To the second: it tells rows of the same configuration apart."""
    return created[:19].replace("T", " ")


def _reader(where: str) -> Callable[[Record], Any]:
    """A function that reads a record's field, or with `field.key` an entry of the field."""
    field, _, key = where.partition(".")

    def read(record: Record) -> Any:
        value = getattr(record, field)
        value = value.get(key) if key else value
        return tuple(value) if isinstance(value, list) else value

    return read


def _fact(
    name: str, meaning: str, where: str | Callable[[Record], Any] | None = None, **more: Any
) -> Fact:
    """A fact that stands `where` in a record, by default in the field of its name."""
    where = where or field_of(name)
    heading = more.get("heading", name)
    options = tuple(x for x in dict.fromkeys((field_of(name), where)) if x in OPTIONS)
    given = {"heading": heading, "options": options, "read": where}
    if isinstance(where, str):
        given["read"] = _reader(where)
        if where.startswith("environment."):
            given |= {"topic": MACHINE, "template": f"{heading} {{}}"}
    return Fact(**{"name": name, "meaning": meaning, **given, **more})


def _version(heading: str, *packages: str) -> Fact:
    """The version of the first of the packages that is installed, by default of the named one."""

    def read(record: Record) -> str | None:
        known = record.environment.get("packages", {})
        return next((known[name] for name in packages or (heading,) if known.get(name)), None)

    meaning, template = f"the version of {heading}", f"{heading} {{}}"
    return _fact(heading.lower(), meaning, read, heading=heading, topic=MACHINE, template=template)


def _of_option(option: Option) -> Fact:
    """An option as a fact: `name value`, a bool as its name; the default is left out."""
    name = spelt(option.name)
    default = "auto" if option.default is None else option.default
    return Fact(
        name=name,
        heading=name,
        meaning=option.help,
        read=_reader(f"config.{option.name}"),
        template=name if option.default is False else f"{name} {{}}",
        unsaid=default,
        options=(option.name,),
        default=default,
    )


_ABOUT_THE_ROW: Final = (
    _fact(
        "device",
        "the GPU that the model ran on, or the CPU where it ran there",
        device_name,
        aliases=("gpu",),
    ),
    _fact("model", "the model's name", plan=lambda config: config.models[0]),
    _fact(
        "weights",
        "the model's weights",
        template="weights {}",
        unsaid="embedded",
        within=("model",),
    ),
    _fact(
        "model-file",
        "the files of the model and of its weights: the first digits of their SHA-256",
        lambda record: ", ".join(x[:_DIGITS] for x in record.files.values()) or None,
        heading="model file",
        template="file {}",
        within=("model", "weights"),
    ),
    _fact("loader", "what turned files into batches", plan=lambda config: config.timed_loader),
    _fact(
        "decoder",
        "what the loader decoded JPEGs with",
        "loader_settings.decoder",
        template="decoder {}",
    ),
    _fact("dtype", "the model's number format", _number_format),
    _fact("engine", "what runs the model", _engine_name, unsaid=_TORCH),
    _fact("batch", "images a batch", "batch_size", heading="batch size", template="batch {}"),
    _fact(
        "compile",
        "`compile`, with torch.compile's mode where it is not the default; or `eager`",
        _compilation,
        options=("compile", "compile_mode"),
        plan=lambda config: compilation(config.compile_mode if config.compile else None),
    ),
    _fact("threads", "the loader's threads or worker processes", "num_threads", unit="thread"),
    _fact(
        "engine-threads",
        "threads that ran the model on the CPU: torch's, or what another engine states",
        _engine_threads,
        heading="engine threads",
        unit="engine thread",
    ),
    _fact(
        "matmul-precision",
        "torch's precision of float32 matrix products: highest, or high for TensorFloat-32",
        "environment.matmul_precision",
        heading="matmul precision",
        topic=RUN,
        unsaid="highest",
    ),
    _fact(
        "images",
        "images of the data set that were used",
        lambda record: record.data["num_samples"],
        unit="image",
        options=("limit",),
    ),
    _fact(
        "digest",
        "which images these are: the first digits of their digest",
        "data.digest",
        heading="image set",
        show=lambda value: value[:_DIGITS],
        template="digest {}",
        options=("data", "classes"),
        plan=lambda config: config.classes or config.data,
    ),
    _fact(
        "contents",
        "what these images hold: the first digits of a digest of both ends of each file",
        "data.contents",
        heading="image contents",
        show=lambda value: value[:_DIGITS],
        template="contents {}",
        within=("digest",),
    ),
    _fact(
        "page-cache",
        "whether the files were in memory: warm or cold",
        "data.page_cache",
        heading="page cache",
        template="{} page cache",
    ),
    _fact(
        "reference",
        "the loader whose float32 predictions the row is held against",
        lambda record: record.parity.reference if record.parity else None,
        template="reference {}",
    ),
    _fact(
        "loader-option",
        "what was set of the loader",
        lambda record: _of_loader(record.config.get("loader_option", ()), record.loader),
        plan=lambda config: _of_loader(config.loader_option, config.timed_loader),
        within=("loader",),
    ),
)

_INPUT: Final = tuple(
    _fact(
        f"preprocess-{key}",
        meaning,
        f"preprocess.{key}",
        heading=f"preprocess: {key}",
        template=f"{key} {{}}",
        within=("model", "weights"),
    )
    for key, meaning in (
        ("resize", "pixels that an image's short side is resized to"),
        ("crop", "pixels of the square that is cut out of its middle"),
        ("interpolation", "the filter that it is resized with"),
        ("antialias", "whether that filter is made wider to shrink an image"),
        ("mean", "what is subtracted from a pixel, by channel"),
        ("std", "what it is then divided by, by channel"),
    )
)
"""How an image becomes the model's input."""

_ELSE: Final = (
    _fact("labels", "where the images' labels come from"),
    _fact(
        "reads-images",
        "whether the loader reads the images; else the predictions mean nothing",
        heading="images are read",
        template="its loader does not read the images",
        unsaid=True,
    ),
    _fact("cpu", "the machine's CPU", "environment.cpu", heading="CPU", template="{}"),
    _fact("cores", "cores that the run could use", "environment.num_cores", unit="core"),
    _fact("affinity", "the numbers of the cores that it was allowed", "environment.affinity"),
    _fact(
        "cpu-quota",
        "the CPU time that its control group had, in cores",
        _cpu_quota,
        heading="CPU quota",
        topic=MACHINE,
        template="CPU quota {}",
        unsaid="none",
    ),
    _fact("governor", "what decides on the CPU's clocks", "environment.governor"),
    _fact(
        "instruction-set",
        "the instructions that torch uses on this CPU",
        "environment.instruction_set",
        heading="instruction set",
    ),
    _fact(
        "memory",
        "the machine's memory",
        "environment.memory_bytes",
        show=format_bytes,
        template="{} of memory",
    ),
    _fact("os", "the operating system", "environment.os", heading="OS", template="{}"),
    _fact(
        "power-limit",
        "what the GPU may draw",
        _power_limit,
        heading="power limit",
        topic=MACHINE,
        template="power limit {}",
    ),
    _version("fastbench"),
    _version("torch"),
    _version("torchvision"),
    _version("DALI", *_DALI),
    _fact("driver", "the version of NVIDIA's driver", "environment.driver"),
    _fact("cuda", "the version of CUDA", "environment.cuda", heading="CUDA"),
    _fact("cudnn", "the version of cuDNN", "environment.cudnn", heading="cuDNN"),
    _fact("python", "the version of Python", "environment.python", heading="Python"),
    _fact(
        "omp-wait-policy",
        "what OpenMP's threads do while they wait",
        "environment.omp_wait_policy",
    ),
    _fact("allocator", "the library that malloc is from", "environment.allocator"),
    _fact(
        "interop-threads",
        "torch's threads for operations side by side",
        "environment.interop_threads",
        heading="inter-op threads",
        unit="inter-op thread",
    ),
    *(
        _fact(f"cudnn-{name}", meaning, f"environment.cudnn_{name}", heading=f"cuDNN {name}")
        for name, meaning in (
            ("benchmark", "whether cuDNN tries which of its algorithms is the fastest"),
            ("deterministic", "whether it may use deterministic algorithms only"),
            ("tf32", "whether its convolutions may use TensorFloat-32"),
        )
    ),
    _fact(
        "variables",
        "environment variables that change the speed of torch, DALI or the allocator",
        _variables,
        topic=MACHINE,
        template="variables {}",
        unsaid="none set",
    ),
    _fact(
        "commit",
        "the commit that fastbench ran from, and whether it had been edited",
        _commit,
        heading="fastbench commit",
        topic=MACHINE,
        template="commit {}",
    ),
    _fact("date", "when it was measured, UTC", "created", topic=FILE, show=_time),
)

_WITH_A_FACT: Final = {name for fact in _ABOUT_THE_ROW for name in fact.options}
OF_OPTIONS: Final = tuple(
    _of_option(option)
    for name, option in OPTIONS.items()
    if option.changes in ("pipeline", "measurement") and name not in _WITH_A_FACT
)
"""The options that are facts by themselves."""

PREPROCESS: Final = tuple(fact.name for fact in _INPUT)
"""The names of the facts of the preprocessing."""
FACTS: Final[dict[str, Fact]] = {
    fact.name: fact for fact in (*_ABOUT_THE_ROW, *OF_OPTIONS, *_INPUT, *_ELSE)
}
"""Every fact by its name, in the order in which tables have them."""
