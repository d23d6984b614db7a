"""Which record is held against which? Two files, or two folders by the names of their files.

A folder with one record stands for that record. A folder may hold other JSON files, such as the
records of `fastbench parity`: they are passed over.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastbench.errors import RecordError
from fastbench.storage import other_kind, read_record

if TYPE_CHECKING:
    from pathlib import Path

    from fastbench.results import Record

__all__ = ["Pair", "Pairs", "pair_up"]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two records to compare, and where they came from."""

    path_a: Path
    path_b: Path
    a: Record
    b: Record


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """All pairs, and the files that have no partner on the other side."""

    pairs: list[Pair]
    only_a: list[Path]
    only_b: list[Path]


def pair_up(a: Path, b: Path) -> Pairs:
    """Find and read what is to be compared.

    Raises `RecordError` for a file that is no record, a folder without one, a folder with several
    against a file, and two folders that have no file name in common.
    """
    of_a, of_b = _find(a), _find(b)
    if len(of_a) == len(of_b) == 1:
        common = [(*of_a.values(), *of_b.values())]
    elif a.is_dir() and b.is_dir():
        common = [(of_a[name], of_b[name]) for name in sorted({*of_a} & {*of_b})]
    else:
        folder, found = (a, of_a) if len(of_a) > 1 else (b, of_b)
        raise RecordError(
            f"{folder} holds {len(found)} records. Name one of them: {', '.join(sorted(found))}."
        )
    if not common:
        raise RecordError(
            f"No file in {a} has the name of one in {b}. Name two files, one of each."
        )
    paired = {path for pair in common for path in pair}
    return Pairs(
        pairs=[Pair(path_a=x, path_b=y, a=read_record(x), b=read_record(y)) for x, y in common],
        only_a=[path for _, path in sorted(of_a.items()) if path not in paired],
        only_b=[path for _, path in sorted(of_b.items()) if path not in paired],
    )


def _find(path: Path) -> dict[str, Path]:
    """The records that a path stands for, by file name."""
    if not path.is_dir():
        return {path.name: path}
    found = {each.name: each for each in sorted(path.glob("*.json")) if _may_be_record(each)}
    if not found:
        raise RecordError(
            f"The folder {path} holds no records. Name one that `fastbench run` wrote."
        )
    return found


def _may_be_record(path: Path) -> bool:
    """False for JSON that is something else; what is broken is for `read_record` to refuse."""
    try:
        stored = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return True
    return isinstance(stored, dict) and "schema_version" in stored and other_kind(stored) is None
