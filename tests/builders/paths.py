"""Where the tests' own files lie, and those of the repository that they read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fastbench.core.errors import DataError
from fastbench.data.dataset import scan

TESTS = Path(__file__).parents[1]
REPOSITORY = TESTS.parent
GOLDEN = TESTS / "golden"
RECORDS = REPOSITORY / "benchmarks" / "records"


def contents(root: Path) -> dict[str, bytes]:
    """Every file below the root but the marker of what made it; hidden ones too."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.match("fastbench-*.json")
    }


def is_unfinished(root: Path) -> bool:
    """Whether a folder that was not filled to its end is refused as data."""
    with pytest.raises(DataError, match=rf"{re.escape(str(root))} is unfinished: "):
        scan(root)
    return True
