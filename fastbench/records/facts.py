"""The facts of a row: its model, its loader, its device, each option of its run.

A fact has one name and one wording, for tables, plots, pages, footnotes, `fastbench compare` and
the plan of a run. It is read from a record, or from the configuration of a row that is not measured
yet. A new option in `RunConfig` that changes the pipeline or its measurement is a fact without an
entry here (see `_of_option`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.core.config import OPTIONS
from fastbench.core.options import field_of, spelt
from fastbench.core.units import format_bytes
from fastbench.records import fact_values
from fastbench.records.fact import RUN as RUN
from fastbench.records.fact import Fact
from fastbench.records.load_facts import OF_LOAD

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastbench.core.options import Option
    from fastbench.records.record import Record

MACHINE: Final = "machine and software"
FILE: Final = "record"

_DALI: Final = ("nvidia-dali-cuda120", "nvidia-dali-cuda130")
PACKAGES: Final = ("fastbench", "torch", "torchvision", *_DALI)
"""Packages whose version is a fact; a record knows more."""


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
    options = tuple(x for x in dict.fromkeys((field_of(name), where)) if x in OPTIONS)
    read = _reader(where) if isinstance(where, str) else where
    heading = name.replace("-", " ")
    given = {"name": name, "meaning": meaning, "heading": heading, "options": options, "read": read}
    return Fact(**{**given, **more})


def _of_machine(
    name: str, meaning: str, read: str | Callable[[Record], Any] | None = None, **more: Any
) -> Fact:
    """A fact of the environment, by default its entry of that name; worded `heading value`."""
    template = f"{more.get('heading', name.replace('-', ' '))} {{}}"
    where = read or f"environment.{field_of(name)}"
    return _fact(name, meaning, where, **{"topic": MACHINE, "template": template, **more})


def _version(heading: str, *packages: str) -> Fact:
    """The version of the first of the packages that is installed, by default of the named one."""

    def read(record: Record) -> str | None:
        known = record.environment.get("packages", {})
        return next((known[name] for name in packages or (heading,) if known.get(name)), None)

    return _of_machine(heading.lower(), f"the version of {heading}", read, heading=heading)


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
        fact_values.device_name,
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
        lambda record: ", ".join(x[: fact_values.DIGITS] for x in record.files.values()) or None,
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
    _fact("dtype", "the model's number format", fact_values.number_format),
    _fact(
        "engine",
        "what executes the model: eager, compile (with torch.compile's mode where it is not the "
        "default), or another engine",
        fact_values.engine_name,
        options=("engine", "compile", "compile_mode"),
        plan=fact_values.planned_engine,
    ),
    _fact(
        "quantize",
        "what the weights and activations were quantised to after training",
        fact_values.quantized,
        unsaid="none",
        default="none",
        options=("quantize",),
    ),
    _fact("batch", "images a batch", "batch_size", heading="batch size", template="batch {}"),
    _fact(
        "image-size",
        "pixels a side of the square that the model sees",
        "preprocess.crop",
        template="{} px",
        unsaid="auto",  # of a row that is not measured yet
        options=("image_size",),
        within=("model", "weights"),
    ),
    _fact(
        "ranks",
        "processes that shared the images out, each on a GPU of its own",
        lambda record: record.config.get("ranks") or 1,
        unit="rank",
        unsaid=1,
        options=("ranks",),
    ),
    _fact(
        "process",
        "the process that the row ran in: its own, or the caller's, where a Python program gave "
        "the model as an object",
        lambda record: fact_values.PROCESSES[record.process],
        unsaid=fact_values.PROCESSES["own"],
        default=fact_values.PROCESSES["own"],
    ),
    _fact("threads", "the loader's threads or worker processes", "num_threads", unit="thread"),
    _fact(
        "engine-threads",
        "threads that ran the model on the CPU: torch's, or what another engine states",
        fact_values.engine_threads,
        unit="engine thread",
    ),
    _fact(
        "matmul-precision",
        "torch's precision of float32 matrix products: highest, or high for TensorFloat-32",
        "environment.matmul_precision",
        template="matmul precision {}",
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
        show=lambda value: value[: fact_values.DIGITS],
        template="digest {}",
        options=("data", "data_root", "classes"),
        plan=lambda config: config.classes or config.data_root or config.data,
    ),
    _fact(
        "contents",
        "what these images hold: the first digits of a digest of both ends of each file",
        "data.contents",
        heading="image contents",
        show=lambda value: value[: fact_values.DIGITS],
        template="contents {}",
        within=("digest",),
    ),
    _fact(
        "page-cache",
        "whether the files were in memory: warm or cold",
        "data.page_cache",
        template="{} page cache",
    ),
    _fact(
        "allocator",
        OPTIONS["allocator"].help,
        "environment.freed_memory",
        template="allocator {}",
        unsaid=OPTIONS["allocator"].default,
        options=("allocator",),
        default="system",
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
        lambda record: fact_values.of_loader(record.config.get("loader_option", ()), record.loader),
        plan=lambda config: fact_values.of_loader(config.loader_option, config.timed_loader),
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
        within=("model", "weights", "preprocess", *follows_from),
    )
    for key, meaning, *follows_from in (
        ("resize", "pixels that an image's short side is resized to", "image-size", "crop-pct"),
        ("crop", "pixels of the square that is cut out of its middle", "image-size"),
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
    _of_machine("cpu", "the machine's CPU", heading="CPU", template="{}"),
    _fact(
        "cores", "cores that the run could use", "environment.num_cores", topic=MACHINE, unit="core"
    ),
    _of_machine("affinity", "the numbers of the cores that it was allowed"),
    _of_machine(
        "cpu-quota",
        "the CPU time that its control group had, in cores",
        fact_values.cpu_quota,
        heading="CPU quota",
        unsaid="none",
    ),
    _of_machine("governor", "what decides on the CPU's clocks"),
    _of_machine("instruction-set", "the instructions that torch uses on this CPU"),
    _fact(
        "memory",
        "the machine's memory",
        "environment.memory_bytes",
        topic=MACHINE,
        show=format_bytes,
        template="{} of memory",
    ),
    _of_machine("os", "the operating system", heading="OS", template="{}"),
    _of_machine("power-limit", "what the GPU may draw", fact_values.power_limit),
    _version("fastbench"),
    _version("torch"),
    _version("torchvision"),
    _version("DALI", *_DALI),
    _of_machine("driver", "the version of NVIDIA's driver"),
    _of_machine("cuda", "the version of CUDA", heading="CUDA"),
    _of_machine("cudnn", "the version of cuDNN", heading="cuDNN"),
    _of_machine("python", "the version of Python", heading="Python"),
    _of_machine(
        "omp-wait-policy", "what OpenMP's threads do while they wait", heading="OMP wait policy"
    ),
    _of_machine("malloc", "the library that malloc is from", "environment.allocator"),
    _of_machine(
        "interop-threads",
        "torch's threads for operations side by side",
        heading="inter-op threads",
        unit="inter-op thread",
    ),
    *(
        _of_machine(f"cudnn-{name}", meaning, heading=f"cuDNN {name}")
        for name, meaning in (
            ("benchmark", "whether cuDNN tries which of its algorithms is the fastest"),
            ("deterministic", "whether it may use deterministic algorithms only"),
            ("tf32", "whether its convolutions may use TensorFloat-32"),
        )
    ),
    _of_machine(
        "variables",
        "environment variables that change the speed of torch, DALI or the allocator",
        fact_values.variables,
        unsaid="none set",
    ),
    _of_machine(
        "commit",
        "the commit that fastbench ran from, and whether it had been edited",
        fact_values.commit,
        heading="fastbench commit",
        template="commit {}",
    ),
    _fact("date", "when it was measured, UTC", "created", topic=FILE, show=fact_values.time),
)

_WITH_A_FACT: Final = {name for fact in _ABOUT_THE_ROW for name in fact.options}
OF_OPTIONS: Final = tuple(
    _of_option(option)
    for name, option in OPTIONS.items()
    if option.changes in ("pipeline", "process", "measurement") and name not in _WITH_A_FACT
)
"""The options that are facts by themselves."""

_CROP: Final = "preprocess-crop"
PREPROCESS: Final = ("image-size", *(fact.name for fact in _INPUT if fact.name != _CROP))
"""The names of the facts of the preprocessing, each said once: the crop is the image size."""
FACTS: Final[dict[str, Fact]] = {
    fact.name: fact for fact in (*_ABOUT_THE_ROW, *OF_LOAD, *OF_OPTIONS, *_INPUT, *_ELSE)
}
"""Every fact by its name, in the order in which tables have them."""
