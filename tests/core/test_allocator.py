"""Freed memory that a process keeps: counted by the kernel, in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fastbench.core import allocator

# Sixty large blocks, one after the other; page faults of all but the first.
FAULTS = """
import json, resource, sys
from fastbench.core import allocator
why_not = allocator.set_up(sys.argv[1])
faults = []
for _ in range(60):
    block = bytearray(64 << 20)
    del block
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(json.dumps([why_not, allocator.in_force(), faults[-1] - faults[0]]))
"""


def faults_of(choice: str) -> Any:
    command = [sys.executable, "-c", FAULTS, choice]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


@pytest.mark.skipif(
    not (allocator.library() or "").startswith("glibc"), reason="malloc is not glibc's here"
)
def test_memory_that_is_kept_is_not_faulted_in_again() -> None:
    (no_reason, kept, few), (_, left, many) = faults_of("keep"), faults_of("system")
    assert (no_reason, kept, left) == (None, "keep", "system")
    assert many > 59 * (64 << 20) / (2 << 20)  # at least once each 2 MiB, if pages are huge
    assert few < many / 50


@pytest.mark.parametrize("name", ["jemalloc", "musl 1.2", None])
def test_another_library_is_left_alone_and_named(
    name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: object) -> None:
        raise AssertionError("it was changed")

    monkeypatch.setattr(allocator, "_is_kept", False)
    monkeypatch.setattr(allocator, "library", lambda: name)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: type("", (), {"mallopt": never}))
    assert allocator.set_up("system") is None
    said = allocator.set_up("keep")
    assert said is not None
    assert (name or "an unknown library") in said
    assert allocator.in_force() == "system"


def test_where_glibc_refuses_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = type("", (), {"mallopt": staticmethod(lambda *_: 0)})
    monkeypatch.setattr(allocator, "_is_kept", False)
    monkeypatch.setattr(allocator, "library", lambda: "glibc 2.99")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: refusing)
    assert allocator.set_up("keep") == "glibc 2.99 refuses to keep freed memory"
    assert allocator.in_force() == "system"


def test_the_library_by_what_is_loaded(tmp_path: Path) -> None:
    maps = tmp_path / "proc/self/maps"
    maps.parent.mkdir(parents=True)
    maps.write_text("7f00-7f01 r-xp 0 08:01 1  /usr/lib/libtcmalloc_minimal.so.4\n")
    assert allocator.library(tmp_path) == "tcmalloc"
