"""Records on disk: one JSON file each, which any later version reads.

History of `schema_version`; what a version lacks has its field's default when it is read:
    1   first version
    2   accuracy: per_class, confusions, running; data: skipped
    3   throughput: windows, is_settled; telemetry; other_latencies; data: page_cache, mean_pixels,
        pixels, page_cache_share
    4   num_parameters, num_macs; loader_ceiling: cpu_s
    5   num_changed; parity: stood_out, num_uncompared
    6   engine, files, accuracy_doubts; accuracy: num_classes; num_planned of --ab; data:
        contents, identity, not_used; throughput: kernel_s; telemetry: cpu_quota, num_periods,
        num_throttled; environment: affinity, cpu_quota, governor, instruction_set,
        allocator, variables, torch_threads, interop_threads, matmul_precision, cudnn_tf32,
        cudnn_benchmark, cudnn_deterministic
    7   tuning_s; data: loader of skipped
    8   rounds, stages; telemetry: kernel_cpu_s, num_faults; environment: freed_memory; config:
        allocator, which was the system's before
    9   ranks, machines; config: ranks
    10  process; config: data_root; labels say which file they were read from
    11  calibration, program; engine: settings, setup_s, weights_bytes; config: engine,
        engine_option, quantize, calibration, image_size, crop_pct, preprocess, reference_model
    12  records of `fastbench loadtest`
"""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from fastbench.core.atomic_files import file_stem, write_new, write_whole, writing
from fastbench.core.config import OPTIONS
from fastbench.core.engine_facts import EAGER
from fastbench.core.errors import RecordError, UsageError
from fastbench.core.reading import read_regular
from fastbench.records.facts import FACTS
from fastbench.records.fields import FreeFields
from fastbench.records.load import LoadRecord
from fastbench.records.record import AbRecord, Described, ParityRecord, Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SCHEMA_VERSION: Final = 12

_LOG = logging.getLogger(__name__)
T = TypeVar("T")

_SOUND: Final[set[tuple[str, str]]] = set()
"""Options and their values, as Python writes them, that were read before."""
AB: Final = "fastbench run --ab"
LOAD: Final = "fastbench loadtest"
_WORDS: Final = {
    "Object missing required field": "lacks the field",
    "Object contains unknown field": "has the unknown field",
    "Number out of range": "is too large",
    "Invalid enum value": "has the unknown value",
    "Expected": "should be",
    ", got": ", not",
    "of length": "with a length",
    ">=": "of at least",
    "<=": "of at most",
    r"\bint\b": "a whole number",
    r"\bfloat\b": "a number",
    r"\bstr\b": "text",
    r"\bbool\b": "true or false",
    r"\barray\b": "a list",
    r"\bobject\b": "an object",
    r"\|": "or",
    "`": "",
}
"""Patterns of msgspec's messages, and our words for them."""


def write_record(record: Described, folder: Path, called: Sequence[str] = ()) -> Path:
    """Write a record of any kind into a folder, under a new name: no file is overwritten.

    `called` is what tells it from the others of its run, such as `batch 8`. Raises `OutputError`
    where that fails.
    """
    parts = [record.model, record.loader]
    if isinstance(record, Record):
        engine = FACTS["engine"].text(record)
        parts += [FACTS[name].text(record) for name in ("dtype", "quantize")]
        parts += [] if engine == EAGER else [engine.replace(" ", "-")]
    else:
        kinds = {ParityRecord: "parity", LoadRecord: f"load-{record.config.get('scenario')}"}
        parts.insert(0, kinds.get(type(record), "ab"))
    parts += [word for text in called if (word := "-".join(text.split())) not in parts]
    text = _text_of(record)
    with writing("The record", folder):
        (path,) = write_new(folder, file_stem(*filter(None, parts)), {".json": text.encode()})
    _LOG.debug("record written: %s", path)
    return path


def replace_record(record: Described, path: Path) -> None:
    """Write a record over what `write_record` wrote of it when it was unfinished."""
    text = _text_of(record)
    with writing("The record", path):
        write_whole(path, text.encode())


def _text_of(record: Described) -> str:
    """A record's JSON. Raises `RecordError` for values that `read_record` would refuse."""
    stored = json.loads(json.dumps(record, default=msgspec.structs.asdict))
    try:
        _typed(stored, type(record))
        return json.dumps(stored, indent=1, allow_nan=False) + "\n"
    except ValueError as error:  # a loader's settings may hold anything
        why = _in_words(error) if isinstance(error, msgspec.ValidationError) else str(error)
        raise RecordError(
            f"The record of {record.model} behind {record.loader} cannot be written ({why}). "
            f"That is a bug of fastbench or of the loader: report it."
        ) from error


def read_record(path: Path) -> Record:
    """Read a record of `fastbench run`. Raises `RecordError` if the file is none."""
    return build_record(read_json(path), path)


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises `RecordError` if it cannot be read, or is no JSON."""
    try:
        return json.loads(read_regular(path).decode("utf-8"), parse_constant=_refuse)
    except OSError as error:
        raise RecordError(
            f"The record {path} cannot be read ({error.strerror}). Name a file that fastbench "
            f"wrote."
        ) from error
    except (ValueError, RecursionError) as error:
        raise RecordError(
            f"{path} is not a record: it is not JSON ({error}). Name a file that fastbench wrote."
        ) from error


def build_record(stored: Any, path: Path) -> Record:
    """The record of a row in what `read_json` found at `path`.

    Raises `RecordError` if it is none, or of an unknown version.
    """
    if isinstance(stored, dict) and (kind := other_kind(stored)) is not None:
        raise RecordError(
            f"{path} is a record of `{kind}`, not of a row of `fastbench run`. Name one of those."
        )
    return _build(stored, path, Record)


def build_ab_record(stored: Any, path: Path) -> AbRecord | None:
    """The record of `fastbench run --ab` in it; None if it is something else.

    Raises `RecordError` if it is damaged, or of an unknown version.
    """
    if not isinstance(stored, dict) or other_kind(stored) != AB:
        return None
    record = _build(stored, path, AbRecord)
    try:
        _ = record.verdict
    except (ArithmeticError, ValueError) as error:
        raise RecordError(f"{path} is a damaged record ({error}). Measure again.") from error
    return record


def build_load_record(stored: Any, path: Path) -> LoadRecord | None:
    """The record of `fastbench loadtest` in it; None if it is something else.

    Raises `RecordError` if it is damaged, or of an unknown version.
    """
    if not isinstance(stored, dict) or other_kind(stored) != LOAD:
        return None
    record = _build(stored, path, LoadRecord)
    if not record.runs:
        raise RecordError(f"{path} is a damaged record (runs is empty). Measure again.")
    return record


def _build(stored: Any, path: Path, kind: type[T]) -> T:
    version = stored.get("schema_version") if isinstance(stored, dict) else None
    if version is None:
        raise RecordError(f"{path} is not a record: it has no schema_version. Name another file.")
    if type(version) is not int or version not in range(1, SCHEMA_VERSION + 1):
        shown = f"{version!s:.20}" if isinstance(version, int | str) else "that is no number"
        raise RecordError(
            f"{path} has schema_version {shown}, this fastbench reads 1 to {SCHEMA_VERSION}. "
            f"Install the version that wrote it, or measure again."
        )
    config = stored.get("config")
    if version < 8 and isinstance(config, dict):
        stored = {**stored, "config": {"allocator": "system", **config}}
    try:
        return _typed({**stored, "schema_version": SCHEMA_VERSION}, kind)
    except msgspec.ValidationError as error:
        raise RecordError(
            f"{path} is a damaged record ({_in_words(error)}). Measure again."
        ) from error


def is_of_a_row(stored: Any) -> bool:
    """Whether JSON was written as a record of `fastbench run`; it may be damaged."""
    return (
        isinstance(stored, dict)
        and {"schema_version", "throughput"} <= stored.keys()
        and other_kind(stored) is None
    )


def other_kind(stored: Mapping[str, Any]) -> str | None:
    """The command whose record this is, if it is not a row of `fastbench run`."""
    if "a_images_per_s" in stored:
        return AB
    if "scenario" in stored:
        return LOAD
    return "fastbench parity" if "parity" in stored and "throughput" not in stored else None


def _typed(stored: dict[str, Any], kind: type[T]) -> T:
    """A record from JSON. Raises `msgspec.ValidationError` where its types do not allow that."""
    record = msgspec.convert(stored, kind)
    msgspec.convert(stored, FreeFields)
    for name, value in stored["config"].items():
        if (key := (name, repr(value))) in _SOUND:
            continue
        if name not in OPTIONS or (OPTIONS[name].choices and isinstance(value, str)):
            continue  # another version has other options, and other choices
        try:
            OPTIONS[name].read(value)
            _SOUND.add(key)
        except UsageError as error:
            raise msgspec.ValidationError(
                f"is {value!r}, which no run accepts - at `$.config.{name}`"
            ) from error
    return record


def _refuse(constant: str) -> None:
    """Python reads NaN and Infinity, which JSON does not have."""
    raise ValueError(f"{constant} is no number of JSON")


def _in_words(error: msgspec.ValidationError) -> str:
    """What is wrong with which field: `throughput.wall_s should be a number, not text`."""
    found, _, where = str(error).partition(" - at `$.")
    for theirs, ours in _WORDS.items():
        found = re.sub(theirs, ours, found)
    return f"{where.rstrip('`') or 'it'} {found}"
