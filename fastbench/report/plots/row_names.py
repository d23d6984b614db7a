"""What do the rows of a plot share, and what tells each from the others? In words.

What all rows share stands in the caption. What a row is called by (its model, loader, machine and
so on) stands at the row, where rows differ in it. Anything else that differs (threads, versions,
driver; other images or a cold page cache in a few rows) is a footnote, marked at the row: unlike
conditions are never mixed silently. Nothing is drawn here.

What it does not know: what a record of an old version did not keep; that differs from nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.units import format_bytes
from fastbench.records.validity import find_contradictions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from fastbench.records.record import Record

    Reader = Callable[[Record], str]

__all__ = [
    "Conditions",
    "conditions",
    "configuration",
    "image_set",
    "is_among_all",
    "is_on_gpu",
    "list_names",
    "machine",
    "names",
    "parts",
    "sound",
    "text_of",
    "threads",
    "varying",
]

_MOST_NAMED: Final = 3
_NAME_CHARS: Final = 60
_MARKS: Final = "¹²³⁴⁵⁶⁷⁸⁹"
_MOST_VALUES: Final = 4
_DIGITS: Final = 10


def is_on_gpu(record: Record) -> bool:
    """Whether the model ran on a GPU that the record knows."""
    return record.device != "cpu" and bool(record.environment.get("gpus"))


def machine(record: Record) -> str:
    """The GPU that the model ran on, or the CPU."""
    if not is_on_gpu(record):
        return _cpu(record)
    gpus, index = record.environment["gpus"], record.device.partition(":")[2]
    return str(gpus[int(index) if index and int(index) < len(gpus) else 0]["name"])


def _cpu(record: Record) -> str:
    num = record.environment.get("num_cores")
    return f"{record.environment.get('cpu') or 'unknown CPU'}{f', {num} cores' if num else ''}"


def _folder(record: Record) -> str:
    """The last two parts of the data's folder: the rest is one machine's."""
    found = [part for part in str(record.data.get("root", "")).split("/") if part]
    return "/".join(found[-2:]) or "unknown folder"


def _images(record: Record) -> str:
    data = record.data
    size = data.get("num_bytes")
    mean = f" of {format_bytes(size / data['num_samples'])}" if size else ""
    classes = f", {data['num_classes']:,} classes" if data.get("num_classes") else ""
    return f"{_folder(record)}: {data['num_samples']:,} JPEGs{mean}{classes}"


def image_set(record: Record) -> str:
    """Which images: equal for equal ones, wherever they lie."""
    digest = record.data.get("digest")
    which = f"digest {digest[:_DIGITS]}" if digest else record.data.get("root")
    return f"{which}, n={record.data['num_samples']:,}"


def _cache(record: Record) -> str:
    found = record.data.get("page_cache")
    return f"{found} page cache" if found else ""


def _compile(record: Record) -> str:
    mode = record.compile_mode
    return "eager" if mode is None else "compile" if mode == "default" else f"compile {mode}"


def is_among_all(record: Record) -> bool:
    """Whether predictions are among all the model's classes, not those present in the data."""
    return record.config.get("among") != "present"


def _among(record: Record) -> str:
    return "all classes" if is_among_all(record) else "among the classes present"


# What a row is called by, in this order.
_NAMING: Final[dict[str, Reader]] = {
    "model": lambda record: record.model,
    "weights": lambda record: record.weights,
    "loader": lambda record: record.loader,
    "machine": machine,
    "dtype": lambda record: record.dtype,
    "compile": _compile,
    "batch": lambda record: f"batch {record.batch_size}",
    "data": lambda record: f"{_folder(record)}, {record.data['num_samples']:,} JPEGs",
    "cache": _cache,
    "among": _among,
}
_KEYS: Final[dict[str, Reader]] = _NAMING | {"data": image_set}
# Those that are footnotes where nearly all rows are alike: else one row would lengthen all names.
_RATHER_NOTED: Final[dict[str, Reader]] = {
    "data": lambda record: f"images {image_set(record)}",
    "cache": _cache,
    "among": _among,
}
_NEARLY_ALL: Final = 0.8


def _preprocess(record: Record) -> str:
    found = record.preprocess
    if not found:
        return ""
    antialias = "" if found.get("antialias", True) else " without antialias"
    return (
        f"resize {found.get('resize')} {found.get('interpolation')}{antialias}, "
        f"crop {found.get('crop')}"
    )


def threads(record: Record) -> str:
    """How many threads or worker processes the loader had, in words."""
    return f"{record.num_threads} thread{'s' * (record.num_threads != 1)}"


def _resize(record: Record) -> str:
    how = record.config.get("resize")
    return f"--resize {how}" if how else ""


def _quick(record: Record) -> str:
    return "measured with --quick" if record.config.get("quick") else "measured in full"


def _power_limit(record: Record) -> str:
    gpu = record.telemetry.gpu if record.telemetry else None
    return f"power limit {gpu.power_limit_w:g} W" if gpu and gpu.power_limit_w else ""


def _package(shown: str, *packages: str) -> Reader:
    def read(record: Record) -> str:
        known: dict[str, Any] = record.environment.get("packages", {})
        return next((f"{shown} {known[name]}" for name in packages if known.get(name)), "")

    return read


def _of_gpu(shown: str, name: str) -> Reader:
    def read(record: Record) -> str:
        found = record.environment.get(name) if is_on_gpu(record) else None
        return f"{shown} {found}" if found else ""

    return read


# What else a row may differ in, in the caption's order.
_HOW: Final[dict[str, Reader]] = {
    "host": lambda record: f"GPU host {_cpu(record)}" if is_on_gpu(record) else "",
    "power limit": _power_limit,
    "threads": threads,
    "preprocess": _preprocess,
    "resize": _resize,
    "quick": _quick,
}
_SOFTWARE: Final[dict[str, Reader]] = {
    "fastbench": _package("fastbench", "fastbench"),
    "torch": _package("torch", "torch"),
    "torchvision": _package("torchvision", "torchvision"),
    "DALI": _package("DALI", "nvidia-dali-cuda120", "nvidia-dali-cuda130"),
    "driver": _of_gpu("driver", "driver"),
    "CUDA": _of_gpu("CUDA", "cuda"),
}
_UNSAID: Final = ("", "measured in full", "all classes", "--resize fast")
_OWN_PREPROCESS: Final = "each model's own resize and crop"


def text_of(record: Record, field: str) -> str:
    """What a record is in one of the fields of `varying`, as people call it."""
    return _NAMING[field](record)


def varying(records: Sequence[Record]) -> list[str]:
    """What the rows are told apart by, of `model`, `weights`, `loader`, `machine` and so on.

    Weights differ between models anyhow: they count where one model has several. Other images or
    another page cache count where they are not rare (see `conditions`).
    """
    found = [name for name, key in _KEYS.items() if len({key(r) for r in records} - {""}) > 1]
    num_models = len({record.model for record in records})
    if "weights" in found and len({(r.model, r.weights) for r in records}) == num_models:
        found.remove("weights")
    return [name for name in found if not (name in _RATHER_NOTED and _is_rare(records, name))]


def _is_rare(records: Sequence[Record], name: str) -> bool:
    """Whether nearly all rows are alike in a field, and but a few are not."""
    counts = Counter(key for record in records if (key := _KEYS[name](record)))
    return counts.most_common(1)[0][1] >= _NEARLY_ALL * counts.total()


def configuration(record: Record, without: Collection[str] = ()) -> tuple[str, ...]:
    """Equal for rows that are alike in all of those fields but `without`."""
    return tuple(key(record) for name, key in _KEYS.items() if name not in without)


def parts(
    records: Sequence[Record], *, always: Collection[str] = (), without: Collection[str] = ()
) -> list[list[str]]:
    """What each row is called among the others, part by part.

    `always` are fields that are there though all rows share them; `without`, those that stand
    elsewhere in the plot.
    """
    telling = {*varying(records), *always} - {*without}
    return [
        [text for name, read in _NAMING.items() if name in telling and (text := read(record))]
        for record in records
    ]


def names(
    records: Sequence[Record], *, always: Collection[str] = (), without: str | None = None
) -> list[list[str]]:
    """As `parts`, told apart: by loader settings, else by time, else by number.

    Rows that differ in `without` are told apart by that.
    """
    found = parts(records, always=always, without=(without,) if without else ())
    aside = [_KEYS[without](record) if without else "" for record in records]
    for more in (_settings, _times, _numbers):
        of_name: dict[tuple[str, ...], list[int]] = {}
        for i, name in enumerate(found):
            of_name.setdefault((aside[i], *name), []).append(i)
        for same in of_name.values():
            if len(same) > 1:
                for i, text in zip(same, more([records[i] for i in same]), strict=True):
                    found[i] += [text] if text else []
    return found


def _settings(same: list[Record]) -> list[str]:
    """The loaders' settings, where they differ in one or two."""
    known = [record.loader_settings for record in same]
    fields = sorted({name for settings in known for name in settings})
    differing = [x for x in fields if len({str(s.get(x)) for s in known}) > 1]
    if len(differing) > 2:
        return [""] * len(same)
    return [", ".join(f"{x} {s[x]}" for x in differing if x in s) for s in known]


def _times(same: list[Record]) -> list[str]:
    return [record.created[:16].replace("T", " ") for record in same]


def _numbers(same: list[Record]) -> list[str]:
    return [f"run {number}" for number, _ in enumerate(same, 1)]


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The caption's first paragraph, its footnotes, and each row's mark (empty for most)."""

    shared: str
    footnotes: list[str]
    marks: list[str]


def conditions(records: Sequence[Record], *, without: Collection[str] = ()) -> Conditions:
    """What all rows share, and what the few do not that rows are not told apart by.

    `without` are fields that stand elsewhere in the plot.
    """
    telling = [*varying(records), *without]
    first = records[0]
    noted = {name: read for name, read in _RATHER_NOTED.items() if name not in telling}
    noted |= _HOW | _SOFTWARE
    how = {
        name: read
        for name, read in noted.items()
        if name not in without and _differs(records, read)
    }
    own_preprocess = "preprocess" in how and not _differs_within(records, _preprocess)
    if own_preprocess:
        del how["preprocess"]

    def shared(*fields: str) -> str:
        readers = _NAMING | _HOW | _SOFTWARE
        found = [_known(records, readers[x]) for x in fields if x not in telling and x not in how]
        return ", ".join(text for text in found if text not in _UNSAID)

    model = first.model if first.weights == "embedded" else f"{first.model} ({first.weights})"
    texts = [
        shared("machine", "host", "power limit"),
        "" if "data" in telling else _images(_usual(records)),
        shared("cache", "among"),
        "" if {"model", "weights"} & {*telling} else model,
        shared("loader", "dtype", "batch", "compile", "threads"),
        _OWN_PREPROCESS if own_preprocess else shared("preprocess"),
        shared("resize", "quick"),
        shared(*_SOFTWARE),
        _dates(records),
    ]
    footnotes, marks = _footnotes(records, how)
    return Conditions(
        shared=" · ".join(text for text in texts if text), footnotes=footnotes, marks=marks
    )


def _usual(records: Sequence[Record]) -> Record:
    """The first of the rows with the images that most have."""
    most = Counter(map(image_set, records)).most_common(1)[0][0]
    return next(record for record in records if image_set(record) == most)


def _differs(records: Sequence[Record], read: Reader) -> bool:
    return len({read(record) for record in records} - {""}) > 1


def _differs_within(records: Sequence[Record], read: Reader) -> bool:
    """Whether rows of the same model and weights differ."""
    of_model: dict[tuple[str, str], set[str]] = {}
    for record in records:
        of_model.setdefault((record.model, record.weights), set()).add(read(record))
    return any(len(found - {""}) > 1 for found in of_model.values())


def _known(records: Sequence[Record], read: Reader) -> str:
    return next((text for record in records if (text := read(record))), "")


def _dates(records: Sequence[Record]) -> str:
    days = sorted({record.created[:10] for record in records})
    return " to ".join(dict.fromkeys((days[0], days[-1])))


def _footnotes(records: Sequence[Record], how: dict[str, Reader]) -> tuple[list[str], list[str]]:
    """A footnote for each way of being unlike the most; in one, unmarked, where there are many."""
    most = {
        name: Counter(text for r in records if (text := read(r))).most_common(1)[0][0]
        for name, read in how.items()
    }
    unlike = [
        tuple(
            (name, text) for name, read in how.items() if (text := read(r)) not in ("", most[name])
        )
        for r in records
    ]
    kinds = [kind for kind in dict.fromkeys(unlike) if kind]
    if len(kinds) > len(_MARKS):
        values = [list(dict.fromkeys(filter(None, map(read, records)))) for read in how.values()]
        lines = [f"Rows differ in: {'; '.join(map(_in_short, values))}."]
        return lines, [""] * len(records)
    of_kind = dict(zip(kinds, _MARKS, strict=False))
    lines = [
        f"{mark} {', '.join(text for _, text in kind)}; "
        f"unmarked rows: {', '.join(most[name] for name, _ in kind)}."
        for kind, mark in of_kind.items()
    ]
    return lines, [of_kind.get(kind, "") for kind in unlike]


def _in_short(values: list[str]) -> str:
    rest = len(values) - _MOST_VALUES
    return " / ".join(values[:_MOST_VALUES]) + (f" and {rest} more" if rest > 0 else "")


def sound(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """The records that are measurements, and a sentence on those that are INVALID, if any."""
    found = [record for record in records if not find_contradictions(record)]
    invalid = [
        " ".join(name)
        for name, r in zip(names(records, always=("model",), without="data"), records, strict=True)
        if find_contradictions(r)
    ]
    return found, [f"Left out as INVALID: {list_names(invalid)}."] if invalid else []


def list_names(found: Sequence[str]) -> str:
    """Some names in a sentence: `a, b, c and 4 more`."""
    short = [x if len(x) <= _NAME_CHARS else x[: _NAME_CHARS - 1] + "…" for x in found]
    rest = len(short) - _MOST_NAMED
    return ", ".join(short[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
