"""What reaches a terminal, a spreadsheet, a full disk: text is shown, never obeyed, never lost."""

import csv
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders.paths import GOLDEN

from fastbench.core import terminal

TURNS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
CONTROLS = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)])) + TURNS
REPORT = ["report", str(GOLDEN / "record-v8.json")]


def fastbench(*argv: str, **options: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "fastbench", *argv]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


def test_no_control_character_of_a_name_is_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    file = io.StringIO()
    name = f"a{CONTROLS}b äöü Δ 猫"
    terminal.console(file, width=1000).print(name, markup=False, highlight=False)
    terminal.write(name)
    for shown in (file.getvalue(), capsys.readouterr().out):
        assert not {*CONTROLS} - {"\t", "\n"} & {*shown}
        assert "\\u001b" in shown or "\x1b" not in name
        assert shown.rstrip().endswith("b äöü Δ 猫")


def test_what_a_table_is_styled_with_is_kept() -> None:
    file = io.StringIO()
    terminal.console(file, force_terminal=True, width=80).print("[bold]x[/bold]")
    assert "\x1b[1m" in file.getvalue()


@pytest.mark.parametrize("columns", ["0", "-5", "1", "x"])
def test_no_terminal_is_too_narrow(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal.console(io.StringIO()).width >= terminal.MIN_WIDTH


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "a\rb", "a\nb", 'a"b,c'])
def test_no_cell_of_csv_is_a_formula(text: str) -> None:
    file = io.StringIO()
    terminal.write_csv(file, [[text, -1.5, 7, None]])
    ((cell, *others),) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert not cell.startswith(("=", "+", "-", "@", "\t"))
    assert "\r" not in file.getvalue()
    assert cell.lstrip("'") == text.replace("\r", "\\u000d")
    assert others == ["-1.5", "7", ""]  # numbers are numbers


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("argv", [["--help"], REPORT], ids=["help", "report"])
def test_a_full_stdout_is_told(argv: list[str], unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        done = fastbench(*argv, stdout=full, env=environment)
    assert done.returncode == 1
    assert done.stderr == (
        "fastbench: stdout cannot be written (No space left on device). Send it to another place.\n"
    )


def test_a_closed_stdout_is_told() -> None:
    done = fastbench(*REPORT, preexec_fn=lambda: os.close(1))
    assert done.returncode == 1
    assert done.stderr.startswith("fastbench: stdout cannot be written (")


def test_a_table_in_ascii() -> None:
    environment = os.environ | {
        "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "COLUMNS": "100"
    }  # fmt: skip
    shown = fastbench(*REPORT, stdout=subprocess.PIPE, env=environment)
    assert shown.returncode == 0, shown.stderr
    rule = next(line for line in shown.stdout.splitlines() if line.startswith("---"))
    assert len(rule) <= 100
    assert "\\x" not in shown.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_any_command_that_is_interrupted_ends_with_130(
    number: signal.Signals, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "fastbench",
            "data",
            "sample",
            "--num-images",
            "9999",
            "--output",
            str(tmp_path),
        ],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    ) as process:
        while process.poll() is None and not any(tmp_path.rglob("*.jp*g")):
            time.sleep(0.02)
        process.send_signal(number)
        process.send_signal(signal.SIGTERM)  # a second one changes nothing
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 130, said
    assert said.endswith("fastbench: Interrupted.\n")
    assert "Traceback" not in said
