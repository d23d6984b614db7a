"""Each knob refuses what cannot be, with the value shown; and the list of knobs is short."""

import dataclasses

import pytest

from fastbench.arguments import Parser, add_options, from_options
from fastbench.config import RunConfig
from fastbench.errors import UsageError


def parse(*argv: str) -> RunConfig:
    parser = Parser(prog="fastbench run")
    add_options(parser, RunConfig)
    return from_options(RunConfig, parser.parse_args(argv))


def test_the_knobs() -> None:
    """Few flags: a new one is put here on purpose."""
    assert [field.name for field in dataclasses.fields(RunConfig)] == [
        "data", "model", "weights", "loader", "reference", "device", "dtype", "compile",
        "compile_mode", "batch_size", "num_threads", "limit", "min_seconds", "quick", "seed",
        "output",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dtype", "float64"),
        ("compile_mode", "fastest"),
        ("batch_size", 0),
        ("num_threads", -1),
        ("limit", 0),
        ("min_seconds", -0.5),
        ("min_seconds", float("nan")),
        ("min_seconds", float("inf")),
        ("seed", -7),
        ("device", "tpu"),
        ("device", "cuda:x"),
        ("device", "cuda:"),
    ],
)
def test_a_value_that_cannot_be(field: str, value: object) -> None:
    with pytest.raises(UsageError) as caught:
        RunConfig(**{field: value})  # type: ignore[arg-type]
    assert "--" + field.replace("_", "-") in str(caught.value)
    assert str(value) in str(caught.value)


@pytest.mark.parametrize("field", ["data", "weights", "reference"])
def test_an_empty_value(field: str) -> None:
    with pytest.raises(UsageError, match=f"--{field} is empty"):
        RunConfig(**{field: ""})  # type: ignore[arg-type]


def test_an_empty_name_among_others() -> None:
    with pytest.raises(UsageError, match="--loader is empty"):
        RunConfig(loader=("dali", ""))


def test_no_options_are_the_defaults() -> None:
    assert parse() == RunConfig()


def test_every_kind_of_option() -> None:
    config = parse(
        "--model", "a", "--model", "b", "--batch-size", "7", "--compile", "--min-seconds", "0.5"
    )
    assert config == RunConfig(model=("a", "b"), batch_size=7, compile=True, min_seconds=0.5)
    assert parse("--no-compile").compile is False


@pytest.mark.parametrize(
    "argv", [["--modle", "a"], ["--batch-size", "x"], ["--dtype", "half"], ["--model"]]
)
def test_options_that_cannot_be_parsed(argv: list[str]) -> None:
    with pytest.raises(UsageError, match=r"See: fastbench run --help"):
        parse(*argv)


def test_the_reference_comes_first_and_once() -> None:
    assert RunConfig().loaders == ("torchvision", "dali")
    assert RunConfig(loader=("dali", "torchvision", "dali")).loaders == ("torchvision", "dali")
    assert RunConfig(loader=("dali",), reference="none").loaders == ("dali",)


def test_the_default_model_fits_the_data() -> None:
    assert RunConfig().models == ("sample",)
    assert RunConfig(data="photos").models == ("resnet50",)
    assert RunConfig(data="photos", model=("vgg16",)).models == ("vgg16",)
