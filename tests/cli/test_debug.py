"""`--debug` shows where an error came from; without it there is one sentence."""

import logging
import os
from pathlib import Path

import pytest

from fastbench.cli.main import main


@pytest.mark.parametrize("how", ["option", "environment"])
def test_an_error_has_its_traceback_and_its_cause(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.json").write_text("{")
    if how == "environment":
        monkeypatch.setenv("FASTBENCH_DEBUG", "1")
    argv = ["report", str(tmp_path / "a.json"), *(["--debug"] if how == "option" else [])]
    assert main(argv) == 1
    err = capsys.readouterr().err
    assert "json.decoder.JSONDecodeError" in err
    assert "direct cause" in err
    assert "fastbench.core.errors.RecordError: " in err
    assert err.splitlines()[-1].startswith("fastbench: ")
    # What it set is gone again.
    assert os.environ.get("FASTBENCH_DEBUG") == ("1" if how == "environment" else None)
    assert logging.getLogger("fastbench").handlers == []


def test_without_it_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FASTBENCH_DEBUG", "0")
    assert main(["report", str(tmp_path / "a")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
