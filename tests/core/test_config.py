"""Each option refuses what cannot be, with the value shown; and the list of options is short."""

import contextlib
import dataclasses
import json
from typing import Any

import pytest

from fastbench.cli.parser import Parser, add_options, from_options
from fastbench.core.command_options import PlanOptions, TuneOptions
from fastbench.core.config import NOT_COMPARED, SWEPT, RunConfig
from fastbench.core.errors import UsageError
from fastbench.core.other_side import other_side
from fastbench.runner.planned_rows import NOT_OF_THE_ROW


def parse(*argv: str) -> RunConfig:
    parser = Parser(prog="fastbench run")
    add_options(parser, RunConfig)
    return from_options(RunConfig, parser.parse_args(argv))


def test_the_options() -> None:
    """Few flags: a new one is put here on purpose."""
    assert [field.name for field in dataclasses.fields(RunConfig)] == [
        "data", "data_root", "model", "weights", "loader", "loader_option", "reference",
        "reference_model", "resize", "device", "dtype", "tf32", "cuda_stream", "cuda_wait",
        "engine", "engine_option", "compile", "compile_mode", "quantize", "image_size", "crop_pct",
        "preprocess", "calibration", "allocator",
        "ranks", "batch_size", "num_threads", "model_threads", "limit", "classes", "among",
        "on_error", "min_seconds", "windows", "max_interval", "page_cache", "latency_batch_size",
        "latency_samples", "passes", "quick", "repeat", "seed", "tolerance", "running",
        "predictions", "ab", "output",
    ]  # fmt: skip
    assert [field.name for field in dataclasses.fields(PlanOptions)] == [
        "preset", "config", "resume", "dry_run",
    ]  # fmt: skip
    assert [field.name for field in dataclasses.fields(TuneOptions)] == [
        "objective", "trials", "minutes", "resume",
    ]  # fmt: skip


def test_what_an_option_changes_is_declared_with_it() -> None:
    assert list(SWEPT) == [
        "resize", "dtype", "tf32", "cuda_stream", "cuda_wait", "engine", "compile", "compile_mode",
        "quantize", "image_size", "crop_pct", "allocator", "ranks", "batch_size", "num_threads",
        "model_threads", "page_cache",
    ]  # fmt: skip
    assert sorted(NOT_OF_THE_ROW) == ["ab", "output", "predictions", "repeat"]
    assert sorted(NOT_COMPARED - NOT_OF_THE_ROW) == [
        "calibration", "latency_batch_size", "latency_samples", "max_interval", "min_seconds",
        "on_error", "page_cache", "passes", "quick", "ranks", "reference", "reference_model",
        "running", "tolerance", "windows",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [
        RunConfig(),
        RunConfig(model=("a", "b"), batch_size=3, min_seconds=3, latency_batch_size=(1, 2)),
        RunConfig(compile=True, ab=("compile=false",)),
    ],
)
def test_a_configuration_goes_through_json(config: RunConfig) -> None:
    stored = json.loads(json.dumps(dataclasses.asdict(config)))
    assert RunConfig.from_json(stored) == config


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dtype", "float64"),
        ("compile_mode", "fastest"),
        ("passes", "some"),
        ("resize", "best"),
        ("batch_size", 0),
        ("num_threads", -1),
        ("limit", 0),
        ("running", 0),
        ("windows", 0),
        ("page_cache", "tepid"),
        ("on_error", "ignore"),
        ("among", "some"),
        ("tolerance", "-1"),
        ("tolerance", "nan"),
        ("tolerance", "strict"),
        ("min_seconds", -0.5),
        ("min_seconds", float("nan")),
        ("min_seconds", float("inf")),
        ("seed", -7),
        ("seed", 2**63),
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


@pytest.mark.parametrize("field", ["data", "weights", "reference", "classes", "predictions"])
def test_an_empty_value(field: str) -> None:
    with pytest.raises(UsageError, match=f"--{field} is empty"):
        RunConfig(**{field: ""})  # type: ignore[arg-type]


def test_an_empty_name_among_others() -> None:
    with pytest.raises(UsageError, match="--loader is empty"):
        RunConfig(loader=("dali", ""))


@pytest.mark.parametrize(
    "text", ["prefetch=3", "dali.prefetch", "dali.=3", ".prefetch=3", "dali.prefetch=", ""]
)
def test_a_loader_option_that_cannot_be_parsed(text: str) -> None:
    with pytest.raises(UsageError, match=r"Write it as LOADER\.NAME=VALUE"):
        RunConfig(loader_option=(text,))


def test_a_loader_option_of_a_loader_that_is_not_run() -> None:
    with pytest.raises(UsageError, match=r"for the loader 'synthetic'.* Run: torchvision, dali"):
        RunConfig(loader_option=("synthetic.prefetch=1",))


def test_loader_options_are_typed_and_set_once() -> None:
    settings = ("dali.a=1", "dali.b=0.5", "dali.c=true", "dali.d=x")
    config = RunConfig(loader_option=settings)
    assert config.options_of("dali") == {"a": 1, "b": 0.5, "c": True, "d": "x"}
    assert config.options_of("torchvision") == {}
    with pytest.raises(UsageError, match=r"--loader-option sets dali\.a twice"):
        RunConfig(loader_option=(*settings, "dali.a=2"))


def test_the_second_side_has_one_value_of_an_option() -> None:
    with pytest.raises(UsageError, match=r"--batch-size has 2 values\. Give it one"):
        other_side(RunConfig(ab=("batch-size=1", "batch-size=2")))


def test_ranks_need_a_gpu_each_and_are_no_side_of_ab() -> None:
    with pytest.raises(UsageError, match="choose GPUs with CUDA_VISIBLE_DEVICES"):
        RunConfig(ranks=2, device="cuda:1")
    with pytest.raises(UsageError, match=r"--ab times two sides .* Leave out --ranks"):
        RunConfig(ranks=2, ab=("compile=true",))


def test_no_options_are_the_defaults() -> None:
    assert parse() == RunConfig()


def test_every_kind_of_option() -> None:
    config = parse(
        "--model", "a", "--model", "b", "--batch-size", "7", "--compile", "--min-seconds", "0.5"
    )
    assert config == RunConfig(model=("a", "b"), batch_size=7, compile=True, min_seconds=0.5)
    assert parse("--no-compile").compile is False


def test_each_value_has_its_type() -> None:
    """Whatever it comes from: JSON has lists for tuples, and 5 for 5.0."""
    config = RunConfig(min_seconds=3, model=["a"], latency_batch_size=[1, 2])  # type: ignore[arg-type]
    assert repr(config.min_seconds) == "3.0"
    assert (config.model, config.latency_batch_size) == (("a",), (1, 2))


@pytest.mark.parametrize("value", ["8", 8.0, True, (8,)])
def test_another_type(value: Any) -> None:
    with pytest.raises(UsageError, match=r"--batch-size is .*\. Give a whole number of at least 1"):
        RunConfig(batch_size=value)


@pytest.mark.parametrize(
    ("tolerance", "is_one"),
    [("0", True), ("1.5", True), (".3", True), ("100", True), ("mlperf", True), ("1e-1", True),
     ("100.0", True), ("100.5", False), ("inf", False), ("", False), ("a tenth", False)],
)  # fmt: skip
def test_a_tolerance(tolerance: str, is_one: bool) -> None:
    with contextlib.nullcontext() if is_one else pytest.raises(UsageError, match="--tolerance is"):
        assert RunConfig(tolerance=tolerance).tolerance == tolerance


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


@pytest.mark.parametrize("name", ["model", "loader"])
def test_names_are_given_one_at_a_time(name: str) -> None:
    with pytest.raises(UsageError, match=rf"Give one at a time: --{name} a --{name} b"):
        parse(f"--{name}", "a,b")
    assert parse("--model", "some,nets/a.pt").model == ("some,nets/a.pt",)
