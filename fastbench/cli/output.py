"""Results go to stdout, errors to stderr."""

from __future__ import annotations

import sys

__all__ = ["complain", "say"]


def say(text: str) -> None:
    """A line of result, on stdout."""
    sys.stdout.write(text + "\n")


def complain(text: str) -> None:
    """A line of error, on stderr."""
    sys.stderr.write(f"fastbench: {text}\n")
