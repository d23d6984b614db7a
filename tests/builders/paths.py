"""Where the tests' own files lie, and those of the repository that they read."""

from __future__ import annotations

from pathlib import Path

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
