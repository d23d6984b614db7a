"""What need not wait for torch does not, and DALI is named by its own files alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from builders.paths import GOLDEN, RECORDS

import fastbench

PACKAGE = Path(fastbench.__file__).parent
PAIR = [
    str(RECORDS / f"precision/squeezenet1_0-{loader}-float32.json")
    for loader in ("torchvision", "torchvision-tensor")
]
OLD = [str(GOLDEN / "record-v1.json"), str(GOLDEN / "record-v3.json")]


def imported_after(code: str, heavy: str) -> str:
    """Which of some packages are imported after some statements in a new interpreter."""
    code = f"import sys\n{code}\nprint(*sorted({set(heavy.split())} & set(sys.modules)))\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def call_of(argv: list[str]) -> str:
    """Statements that give a command, which must do what it is told to."""
    return (
        "from fastbench.cli.main import main\n"
        f"try: assert main({argv}) == 0\n"
        "except SystemExit: pass\n"
    )


def test_help_imports_nothing_heavy() -> None:
    commands = ("", "run", "tune", "compare", "report", "data sample", "loaders check")
    code = "".join(call_of([*command.split(), "--help"]) for command in commands)
    assert not imported_after(code, "torch torchvision nvidia numpy rich PIL")


@pytest.mark.parametrize(
    ("argv", "heavy"),
    [
        (["report", *PAIR], "torch torchvision nvidia"),
        (["report", str(GOLDEN), "--by", "gpu"], "torch torchvision nvidia numpy scipy PIL"),
        (["report", *PAIR, "--html", "light.html"], "torch torchvision numpy matplotlib rich"),
        (["compare", *PAIR], "torch torchvision nvidia"),
        (["compare", *OLD], "torch torchvision nvidia numpy scipy PIL"),
        (["run", "--preset", "study", "--dry-run"], "torch torchvision nvidia"),
        (["run", "--preset", "engines", "--dry-run"], "torch onnxruntime openvino"),
        (["engines"], "torch onnxruntime openvino torchao torch_tensorrt"),
    ],
)
def test_what_only_reads_records_or_plans_imports_no_torch(
    argv: list[str], heavy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not imported_after(call_of(argv), heavy)


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("from fastbench.report.plots.registry import PLOTS", "matplotlib numpy torch PIL"),
        ("from fastbench.models.catalogue import named", "torch torchvision timm numpy"),
        (
            "import fastbench.cli.data\n"
            "from fastbench.data.unpack import imagenet_archive, webdataset_shards",
            "torch scipy numpy PIL",
        ),
    ],
)
def test_modules_that_import_nothing_heavy(code: str, heavy: str) -> None:
    assert not imported_after(code, heavy)


def test_a_study_is_drawn_without_pyplots_global_state(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from fastbench.records.store import read_record\n"
        "from fastbench.report.formats import accuracy_text\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"record = read_record(Path({str(GOLDEN / 'record-v4.json')!r}))\n"
        f"accuracy_text.write_study([record], Path({str(tmp_path)!r}))"
    )
    assert imported_after(code, "matplotlib matplotlib.pyplot torch") == "matplotlib"


def test_only_its_own_files_name_dali() -> None:
    naming = {path for path in PACKAGE.rglob("*.py") if "nvidia.dali" in path.read_text()}
    assert naming == set((PACKAGE / "loaders" / "builtin").glob("dali*.py"))
