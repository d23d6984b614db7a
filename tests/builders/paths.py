"""Where the tests' own files lie, and those of the repository that they read."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parents[1]
REPOSITORY = TESTS.parent
GOLDEN = TESTS / "golden"
RECORDS = REPOSITORY / "benchmarks" / "records"
