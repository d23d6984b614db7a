"""`docs/notebook.ipynb` runs from top to bottom, and shows what it promises."""

from pathlib import Path

import nbclient
import nbformat
import pytest
from builders.paths import REPOSITORY

NOTEBOOK = REPOSITORY / "docs" / "notebook.ipynb"


def test_the_notebook_has_no_outputs_in_the_repository() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert not any(cell.get("outputs") for cell in cells)


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A kernel is found without one that is installed for all users.
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    table, frame, picture, own = (
        cell.outputs[-1].data for cell in notebook.cells if cell.cell_type == "code"
    )
    assert "torchvision-tensor" in table["text/html"]
    assert "opencv" in frame["text/html"]
    assert "image/png" in picture
    assert "the caller&#x27;s process" in own["text/html"]
