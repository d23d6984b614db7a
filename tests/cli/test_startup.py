"""What need not wait for torch does not, and DALI is named by its own files alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from builders.paths import RECORDS

import fastbench

PACKAGE = Path(fastbench.__file__).parent
PAIR = [
    str(RECORDS / f"precision/squeezenet1_0-{loader}-float32.json")
    for loader in ("torchvision", "torchvision-tensor")
]


def imported_by(argv: list[str], heavy: set[str]) -> str:
    """Which of some packages a command imports."""
    code = (
        "import sys\n"
        "from fastbench.cli.main import main\n"
        f"try: main({argv})\n"
        "except SystemExit: pass\n"
        f"print(*sorted({heavy} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout
    return done.stderr.strip()


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["run", "--help"],
        ["compare", "--help"],
        ["report", "--help"],
        ["data", "sample", "--help"],
        ["loaders", "check", "--help"],
    ],
)
def test_help_imports_nothing_heavy(argv: list[str]) -> None:
    assert not imported_by(argv, {"torch", "torchvision", "nvidia", "numpy", "rich", "PIL"})


@pytest.mark.parametrize(
    "argv",
    [
        ["report", *PAIR],
        ["compare", *PAIR],
        ["run", "--preset", "study", "--dry-run"],
    ],
)
def test_what_only_reads_records_or_plans_imports_no_torch(argv: list[str]) -> None:
    assert not imported_by(argv, {"torch", "torchvision", "nvidia"})


def test_only_its_own_files_name_dali() -> None:
    naming = {path for path in PACKAGE.rglob("*.py") if "nvidia.dali" in path.read_text()}
    assert naming == set((PACKAGE / "loaders" / "builtin").glob("dali*.py"))
