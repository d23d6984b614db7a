"""Records on disk: one JSON file each, under a name of its own, read back by any later version.

History of `schema_version`; what a version lacks has its field's default when it is read:
    1   first version
    2   accuracy: per_class, confusions, running; data: skipped
    3   throughput: windows, is_settled; telemetry; other_latencies; data: page_cache, mean_pixels,
        pixels, page_cache_share
    4   num_parameters, num_macs; loader_ceiling: cpu_s
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import types
import typing
from typing import Any, Final, TypeVar

from fastbench.core.errors import OutputError, RecordError
from fastbench.records.record import AbRecord, Described, ParityRecord, Record

if typing.TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "SCHEMA_VERSION",
    "build_record",
    "other_kind",
    "read_json",
    "read_record",
    "write_ab_record",
    "write_parity_record",
    "write_record",
]

SCHEMA_VERSION: Final = 4
MOST_BYTES: Final = 200
"""Of a record's name, where the system takes 255: a model may be named after a file of as many."""

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


def write_record(record: Record, folder: Path) -> Path:
    """Write a record into a folder, under a name of its own: no earlier file is overwritten.

    Raises `OutputError` where that fails.
    """
    compiled = "-compile" if record.compile_mode else ""
    return _write(record, folder, f"{record.model}-{record.loader}-{record.dtype}{compiled}")


def write_parity_record(record: ParityRecord, folder: Path) -> Path:
    """Write what `fastbench parity` found, in the same way."""
    return _write(record, folder, f"parity-{record.model}-{record.loader}")


def write_ab_record(record: AbRecord, folder: Path) -> Path:
    """Write what `fastbench run --ab` found, in the same way."""
    return _write(record, folder, f"ab-{record.model}-{record.loader}")


def _write(record: Described, folder: Path, stem: str) -> Path:
    text = json.dumps(dataclasses.asdict(record), indent=1, allow_nan=False) + "\n"
    stem = stem.replace("/", "_").encode("utf-8", "ignore")[:MOST_BYTES].decode("utf-8", "ignore")
    try:
        number = 1
        while True:
            path = folder / (f"{stem}.json" if number == 1 else f"{stem}-{number}.json")
            try:
                _write_new(path, text)
            except FileExistsError:
                number += 1
            else:
                _LOG.debug("record written: %s", path)
                return path
    except OSError as error:
        raise OutputError(
            f"The record cannot be written to {folder} ({error.strerror}). "
            f"Free some space, or name another folder with --output."
        ) from error


def _write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet, as a whole or not at all."""
    with open(path, "x", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
        except BaseException:  # a full disk, or Ctrl-C
            path.unlink(missing_ok=True)
            raise


def read_record(path: Path) -> Record:
    """Read a record back.

    Raises `RecordError` for a file that is no record, or of a version that this one does not know.
    """
    return build_record(read_json(path), path)


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises `RecordError` where it cannot be read, or is no JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
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
    """A record from what `read_json` found at `path`.

    Raises `RecordError` where that is none, or of a version that this one does not know.
    """
    version = stored.get("schema_version") if isinstance(stored, dict) else None
    if version is None:
        raise RecordError(f"{path} is not a record: it has no schema_version. Name another file.")
    if version not in range(1, SCHEMA_VERSION + 1):
        raise RecordError(
            f"{path} has schema_version {version}, this fastbench reads 1 to {SCHEMA_VERSION}. "
            f"Install the version that wrote it, or measure again."
        )
    if (kind := other_kind(stored)) is not None:
        raise RecordError(
            f"{path} is a record of `{kind}`, not of a row of `fastbench run`. Name one of those."
        )
    try:
        return _build(Record, {**stored, "schema_version": SCHEMA_VERSION})
    except (TypeError, KeyError, AttributeError) as error:
        raise RecordError(f"{path} is a damaged record ({error}). Measure again.") from error


def other_kind(stored: Mapping[str, Any]) -> str | None:
    """The command whose record this is, where it is none of `fastbench run` by itself."""
    if "a_images_per_s" in stored:
        return "fastbench run --ab"
    return "fastbench parity" if "parity" in stored and "throughput" not in stored else None


def _build(kind: type[T], stored: Mapping[str, Any]) -> T:
    """A dataclass from its JSON form; fields that hold dataclasses are built in turn."""
    hints = _hints(kind)  # type: ignore[arg-type]
    if unknown := sorted(set(stored) - set(hints)):
        raise TypeError(f"unknown field {unknown[0]!r} in {kind.__name__}")
    return kind(**{name: _value(hints[name], value) for name, value in stored.items()})


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    """The types of a dataclass's fields, looked up once and not for every record."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _value(hint: Any, value: Any) -> Any:
    if typing.get_origin(hint) is list and value is not None:
        (item,) = typing.get_args(hint)
        if item in (float, int, str) and isinstance(value, list):
            return value  # thousands of step times: as they are
        return [_value(item, part) for part in value]
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    nested = next((x for x in options if isinstance(x, type) and dataclasses.is_dataclass(x)), None)
    return _build(nested, value) if nested is not None and value is not None else value
