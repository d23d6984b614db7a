"""`--help` in groups, and what is said of a word that no command knows."""

import re

import pytest
from builders.command_line import sentence

from fastbench.cli.completion import script
from fastbench.cli.main import main, make_parser
from fastbench.core.config import OPTIONS
from fastbench.core.engine_facts import BUILT_IN as ENGINES
from fastbench.core.errors import UsageError
from fastbench.core.loader_facts import BUILT_IN
from fastbench.core.options import flag

COMMON = [
    *("--preset", "--data", "--model", "--weights", "--loader", "--device", "--dtype"),
    *("--engine", "--compile", "--batch-size", "--output"),
]


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """The options of each group of a command's help, in order."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    found: dict[str, list[str]] = {}
    group = ""
    for line in capsys.readouterr().out.splitlines():
        if title := re.fullmatch(r"(\w[\w ]*):", line):
            group = title[1]
            found[group] = []
        elif option := re.match(r"  (?:-h, )?(--[\w-]+)", line):
            found[group].append(option[1])
    return found


def test_the_common_options_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    groups = help_of("run", capsys)
    assert list(groups) == [
        *("common", "data", "model", "loader", "measuring", "comparing", "output", "options"),
    ]
    assert groups["common"] == COMMON
    assert groups["options"] == ["--help", "--debug"]
    assert {*map(flag, OPTIONS)} <= {option for group in groups.values() for option in group}


@pytest.mark.parametrize("command", ["tune", "parity"])
def test_other_commands_have_the_same_groups(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = help_of(command, capsys)
    assert [*groups][:3] == ["common", "data", "model"]
    assert "--model" in groups["common"]


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("run", "[OPTIONS]"),
        ("tune", "[OPTIONS]"),
        ("parity", "[OPTIONS]"),
        ("compare", "[OPTIONS] A B"),
        ("report", "[OPTIONS] PATH ..."),
    ],
)
def test_usage_is_a_line(command: str, usage: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert (first, second) == (f"usage: fastbench {command} {usage}", "")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("run --batchsize 8", "There is no option --batchsize of fastbench run. Did you mean "
         "'--batch-size'? See: fastbench run --help"),
        ("run --loaders=dali", "There is no option --loaders of fastbench run. Did you mean "
         "'--loader'?"),
        ("run --batch 8", "There is no option --batch of fastbench run."),
        ("run --objective throughput", "--objective is an option of fastbench tune, not of "
         "fastbench run. See: fastbench run --help"),
        ("report x --modle y --quick", "--quick is an option of fastbench run, not of"),
        ("run now", "The word 'now' is no argument of fastbench run. See: fastbench run --help"),
        ("data sample --num 3", "There is no option --num of fastbench data sample."),
        ("rnu", "There is no command 'rnu' of fastbench. Did you mean 'run'? See: fastbench --h"),
        ("data imagnet", "There is no command 'imagnet' of fastbench data. Did you mean "
         "'imagenet'? See: fastbench data --help"),
        ("--modle", "There is no option --modle of fastbench."),
    ],
)  # fmt: skip
def test_a_misspelt_word(argv: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv.split()) == 2
    assert said in sentence(capsys.readouterr().err)


def test_two_misspelt_options_are_both_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--modle", "a", "--batchsize", "8"]) == 2
    said = sentence(capsys.readouterr().err)
    assert "'--model'" in said
    assert "'--batch-size'" in said


def test_a_choice_that_there_is_not() -> None:
    with pytest.raises(
        UsageError,
        match=r"invalid choice: 'bflaot16'.*Did you mean 'bfloat16'\? See: fastbench run",
    ):
        make_parser().parse_args(["run", "--dtype", "bflaot16"])


def test_the_script_of_a_shell_completes_options_loaders_and_files() -> None:
    text = script(make_parser(), "bash")
    for option in ("--batch-size", "--print-completion", "--objective", "--fail-below"):
        assert option in text
    loaders = re.search(r"run___loader_choices=\(([^)]*)\)", text)
    assert loaders is not None
    assert {*BUILT_IN, "all"} <= {*loaders[1].split()}
    engines = re.search(r"run___engine_choices=\(([^)]*)\)", text)
    assert engines is not None
    assert {*ENGINES, "auto"} <= {*engines[1].split()}
    assert re.search(r"run___preset_choices=\([^)]*imagenet-classics", text)
    assert "run___config_COMPGEN=_shtab_compgen_files" in text
    assert "report___plots_COMPGEN=_shtab_compgen_dirs" in text


def test_completion_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--print-completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith("#compdef fastbench")
