"""What the tests are made on: JPEGs drawn here, of sizes and kinds that trip decoders."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builders.command_line import MODEL
from builders.images import SIZES, draw
from builders.plug_ins import LOADERS, FakeEntryPoint, PlugIn

# As `fastbench run` does, before torch is loaded: worker processes need the cores too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other are slower here

# A first compilation takes most of its time to try what the processor can and to compile headers.
os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "1")
os.environ.setdefault("TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS", "0")

# What is imported stays: looking for garbage in it takes a fifth of the imports' time.
gc.disable()

NO_GPU = "torch sees no CUDA device"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what needs a GPU where there is none.

    What needs the server comes first, so that one worker of pytest-xdist has most of it.
    """
    items.sort(key=lambda item: "server" not in getattr(item, "fixturenames", ()))
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if not needing:
        return
    import torch

    if not torch.cuda.is_available():
        for item in needing:
            item.add_marker(pytest.mark.skip(reason=NO_GPU))


def pytest_collection_finish() -> None:
    """Look for garbage again, seldom, and not in what was imported."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def pytest_unconfigure() -> None:
    """Some libraries complain of what is left when the program ends."""
    gc.unfreeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line in place of one a test."""
    skipped = terminalreporter.stats.get("skipped", [])
    num = sum(isinstance(x.longrepr, tuple) and NO_GPU in x.longrepr[2] for x in skipped)
    if num:
        terminalreporter.write_line(f"{num} GPU tests skipped: {NO_GPU}")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Rows in a test's own process set torch's threads, which are one for each test."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def server() -> None:
    """The server of rows and of loaders' workers: started once, with all that they import."""
    from fastbench.core import child_process, own_processes

    loaders = [f"fastbench.loaders.builtin.{name}" for name in ("timm", "webdataset")]
    child_process.PRELOADED += loaders
    own_processes.server._stop()  # type: ignore[attr-defined] # one that has less
    child_process.ensure_server()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """22 JPEGs in three ImageNet class folders: every size, and the kinds that JPEGs come in."""
    root = tmp_path_factory.mktemp("images")
    for i in range(15):
        wnid = ("n01440764", "n02123045", "n15075141")[i % 3]
        draw(root / wnid / f"{i:02d}.JPEG", SIZES[i % len(SIZES)])
    kinds: list[tuple[str, dict[str, object]]] = [
        ("gray", {"mode": "L"}),
        ("progressive", {"progressive": True}),
        ("subsampling444", {"subsampling": 0}),
        ("subsampling422", {"subsampling": 1}),
        ("cmyk", {"mode": "CMYK"}),
        (
            "exif",
            {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"},
        ),
        ("tiny", {}),
    ]
    for name, options in kinds:
        size = (17, 33) if name == "tiny" else (411, 273)
        draw(root / "n02123045" / f"{name}.JPEG", size, **options)
    return root


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Five JPEGs in two class folders, to be damaged."""
    root = tmp_path / "small"
    for i in range(5):
        draw(root / ("n01440764", "n02123045")[i % 2] / f"{i}.jpg", (90 + i, 70))
    return root


@pytest.fixture
def damage() -> Callable[[Path], None]:
    """Make a JPEG undecodable though its header and its last bytes are right."""

    def damage_tables(path: Path) -> None:
        data = path.read_bytes()
        codes = data.index(b"\xff\xc4") + 5  # how many Huffman codes there are of each length
        path.write_bytes(data[:codes] + b"\xff" * 16 + data[codes + 16 :])

    return damage_tables


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> PlugIn:
    """Register a factory as if a package had been installed; an exception is raised on import."""
    entries: list[FakeEntryPoint] = []
    real = importlib.metadata.entry_points

    def entry_points(**asked: str) -> object:
        here = [x for x in entries if x.group == asked.get("group")]
        return here or real(**asked)  # others ask too: triton, as it is imported

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)

    def register(name: str, factory: object, group: str = LOADERS) -> None:
        entries.append(FakeEntryPoint(name, factory, group))

    return register


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of MODEL whose outputs differ from image to image, unlike those of `none`."""
    import torch
    import torchvision

    torch.manual_seed(5)
    module = torchvision.models.get_model(MODEL, weights=None)
    module.train()
    with torch.no_grad():
        for _ in range(3):  # gives BatchNorm statistics to work with
            module(torch.randn(8, 3, 64, 64))
    path = tmp_path_factory.mktemp("weights") / "local.pth"
    torch.save(module.state_dict(), path)
    return path


@pytest.fixture
def no_inductor(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile makes its graphs, but no C++ code of them, which takes seconds a model."""
    import torch

    real = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda module, **options: real(module, **options, backend="aot_eager")
    )
