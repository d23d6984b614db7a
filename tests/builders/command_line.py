"""The command line in a test's own process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fastbench.cli.main import main
from fastbench.loaders.base import LoaderSpec
from fastbench.loaders.shared.worker_processes import WorkerLoader
from fastbench.records.record import Record
from fastbench.records.store import read_record
from fastbench.runner import unread_files

MODEL = "shufflenet_v2_x0_5"


def sentence(text: str) -> str:
    """What a failed command says: one line, of our own, without a traceback."""
    lines = [line for line in text.splitlines() if line.startswith("fastbench: ")]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


def main_here(argv: list[str]) -> int:
    """`main` with the rows in this process: they have what a test has patched in it.

    DataLoaders have no worker processes there, which take half a second to start.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerLoader, "__init__", _without_workers)
        patch.setattr(
            unread_files,
            "run_rows",
            lambda make_rows, config, folder, tell, _: make_rows(config, folder, tell),
        )
        return main(argv)


_with_workers = WorkerLoader.__init__


def _without_workers(loader: WorkerLoader, spec: LoaderSpec, *settings: Any) -> None:
    _with_workers(loader, spec, *settings)
    loader._num_workers = loader.settings["num_workers"] = 0


def unless_given(usual: Mapping[str, str], argv: Sequence[str]) -> list[str]:
    """These options and their values, but those that `argv` has: most take one value."""
    return [word for flag, value in usual.items() if flag not in argv for word in (flag, value)]


def run_on(
    tmp_path: Path, checkpoint: Path, device_: str
) -> Callable[..., tuple[int, list[Record]]]:
    """`fastbench run` in this process; gives its exit code and the records it wrote."""

    def run_(
        data: Path, *argv: str, weights: str | None = None, quick: bool = True
    ) -> tuple[int, list[Record]]:
        output = tmp_path / "records"
        usual = {
            "--data": str(data),
            "--model": MODEL,
            "--weights": weights or str(checkpoint),
            "--device": device_,
            "--batch-size": "8",
            "--model-threads": "1",  # threads that wait for each other are slower here
            "--min-seconds": "1",
            "--output": str(output),
        }
        code = main_here(
            ["run", "--quick" if quick else "--no-quick", *unless_given(usual, argv), *argv]
        )
        return code, [read_record(path) for path in sorted(output.glob("*.json"))]

    return run_
