"""The house keeps its shape: imports go downwards, and `--help` imports nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fastbench

PACKAGE = Path(fastbench.__file__).parent

# Layer 0 is pure, 1 is the device, 2 orchestrates, 3 is the edge. The first that fits counts.
LAYERS = [
    ("fastbench.loaders.base", 0),
    ("fastbench.loaders.", 1),
    ("fastbench.loaders.registry", 0),
    ("fastbench.models.", 1),
    ("fastbench.models.registry", 0),
    ("fastbench.data", 0),
    ("fastbench.core.errors", 0),
    ("fastbench.core.units", 0),
    ("fastbench.core.stats", 0),
    ("fastbench.records.gates", 0),
    ("fastbench.records.validity", 0),
    ("fastbench.records.advice", 0),
    ("fastbench.core.config", 0),
    ("fastbench.arguments", 0),
    ("fastbench.options", 0),
    ("fastbench.references", 0),
    ("fastbench.records.record", 0),
    ("fastbench.records.speed", 0),
    ("fastbench.records.accuracy", 0),
    ("fastbench.records.store", 0),
    ("fastbench.measure.per_class", 0),
    ("fastbench.report.compare.ratio", 0),
    ("fastbench.records.conditions", 0),
    ("fastbench.report.compare.pair_up", 0),
    ("fastbench.report.compare.sets", 0),
    ("fastbench.report.compare.ci_gate", 0),
    ("fastbench.sweep", 0),
    ("fastbench.measure.clock", 1),
    ("fastbench.core.device", 1),
    ("fastbench.measure.diagnose", 1),
    ("fastbench.core.nvidia", 1),
    ("fastbench.measure.machine", 1),
    ("fastbench.measure.telemetry", 1),
    ("fastbench.measure.passes", 2),
    ("fastbench.measure.interleave", 2),
    ("fastbench.measure.agreement", 2),
    ("fastbench.loaders.contract.rules", 2),
    ("fastbench.loaders.contract.trial", 2),
    ("fastbench.measure.loader_settings", 2),
    ("fastbench.apart", 3),
    ("fastbench.workbench", 3),
    ("fastbench.row", 3),
    ("fastbench.ab", 3),
    ("fastbench.comparison", 3),
    ("fastbench.session", 3),
    ("fastbench.report", 3),
    ("fastbench.cli_run", 3),
    ("fastbench.loaders.contract.process", 3),
    ("fastbench.cli", 3),
    ("fastbench.__main__", 3),
    ("fastbench", 0),
]
RUNNING = {f"fastbench.{name}" for name in ("ab", "session", "row", "comparison", "workbench")}
HEAVY = {"torch", "torchvision", "nvidia"}


def layer(module: str) -> int:
    """A prefix that ends with a dot stands for what is inside a room, not for the room itself."""
    return next(
        number
        for prefix, number in LAYERS
        if module == prefix or module.startswith(prefix.rstrip(".") + ".")
    )


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("fastbench", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, *, module_level: bool) -> set[str]:
    """The modules that a file imports when it runs; not those for type checkers alone."""
    found: set[str] = set()
    todo: list[ast.AST] = [ast.parse(path.read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if module_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        todo.extend(ast.iter_child_nodes(node))
    return found


@pytest.mark.parametrize("name", modules())
def test_imports_go_downwards(name: str) -> None:
    known = modules()
    for imported in imports(known[name], module_level=False) & set(known):
        assert layer(imported) <= layer(name), f"{name} imports {imported}, which is above it"


@pytest.mark.parametrize("name", [name for name in modules() if layer(name) in (0, 3)])
def test_pure_and_edge_rooms_import_no_torch_at_their_head(name: str) -> None:
    if name in RUNNING:
        pytest.skip("they run everything: the command line imports them inside `run`")
    heads = {module.split(".")[0] for module in imports(modules()[name], module_level=True)}
    if name == "fastbench.models.train_sample":
        return
    assert not heads & HEAVY


def test_one_file_names_dali() -> None:
    naming = [name for name, path in modules().items() if "nvidia.dali" in path.read_text()]
    assert naming == ["fastbench.loaders.builtin.dali"]


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
    code = (
        "import sys, fastbench.cli\n"
        f"try: fastbench.cli.main({argv})\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'torchvision', 'nvidia', 'numpy', 'rich', 'PIL'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: fastbench" in done.stdout
