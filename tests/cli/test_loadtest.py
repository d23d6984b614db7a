"""What `fastbench loadtest` says: of options that cannot be, of loaders, of files."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders.command_line import main_here, sentence
from builders.images import draw
from builders.load_rows import LoadTest, load_tests
from builders.models import write_export
from builders.plug_ins import PlugIn

from fastbench.loaders.base import LoaderSpec, OnDemand
from fastbench.loaders.builtin.torchvision_tensor import TensorLoader
from fastbench.loaders.shared.on_demand import ThreadedOnDemand

SERVED = ("--rate", "60", "--latency", "5s@p50")


@pytest.fixture
def loadtest(tmp_path: Path) -> Iterator[LoadTest]:
    yield from load_tests(tmp_path / "records")


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (
            ["--scenario", "burst"],
            2,
            "--scenario: invalid choice: 'burst' (choose from 'server', 'single-stream', ",
        ),
        (
            ["--latency", "15"],
            2,
            "--latency is '15'. Give a time and a percentile below 100, such as 15ms@p99.",
        ),
        (["--latency", "15ms@p100"], 2, "--latency is '15ms@p100'. Give a time and a"),
        (["--latency", "15ms@p0"], 2, "--latency is '15ms@p0'. Give a time and a percentile"),
        (["--latency", "0ms@p99"], 2, "--latency is '0ms@p99'. Give a time and a percentile"),
        (["--latency", "15ms"], 2, "--latency is '15ms'. Give a time and a percentile"),
        (["--rate", "0"], 2, "--rate is 0.0. Give a number of queries a second above 0."),
        (["--rate", "-5"], 2, "--rate is -5.0. Give a number of queries a second above 0."),
        (["--rate", "nan"], 2, "--rate is nan. Give a number of queries a second above 0."),
        (["--rate", "many"], 2, "--rate: invalid float value: 'many'"),
        (["--rate", "100", "--scenario", "offline"], 2, "--rate is for --scenario server, and "),
        (["--max-wait", "2"], 2, "--max-wait is '2'. Give a time in ms or s, such as 2ms."),
        (["--max-wait=-2ms"], 2, "--max-wait is '-2ms'. Give a time in ms or s"),
        (["--duration", "1h"], 2, "--duration is '1h'. Give a time in ms or s, such as 2ms."),
        (["--images-per-query", "0"], 2, "--images-per-query is 0. Give "),
        (["--max-queued", "0"], 2, "--max-queued is 0. Give "),
        (
            ["--source", "disk"],
            2,
            "--source: invalid choice: 'disk' (choose from 'file', 'memory')",
        ),
        (["--rate-tolerance", "2"], 2, "--rate-tolerance is 2.0. Give "),
        (
            ["--windows", "3"],
            2,
            "--windows is an option of fastbench run, not of fastbench loadtest",
        ),
        (["--data", "nowhere"], 1, "nowhere does not exist"),
        (["--loader", "daly"], 2, "no loader 'daly'. Did you mean 'dali'?"),
        (["--model", "resnet19"], 2, "no model 'resnet19'. Did you mean 'resnet18'?"),
    ],
)
def test_what_the_command_line_gets_wrong(
    argv: list[str], code: int, said: str, loadtest: LoadTest, capsys: pytest.CaptureFixture[str]
) -> None:
    found, records = loadtest(*argv)
    assert (found, records) == (code, [])
    assert said in sentence(capsys.readouterr().err)


@pytest.mark.parametrize("loader", ["torchvision", "timm"])
def test_a_loader_that_takes_no_requests(
    loader: str, loadtest: LoadTest, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert loadtest("--loader", loader) == (1, [])
    said = sentence(capsys.readouterr().err)
    assert f"The loader {loader!r} " in said
    assert "requests" in said
    assert "dali, dali-cpu, memory, opencv, synthetic, torchvision-tensor." in said
    assert not (tmp_path / "records").exists()


def test_a_plug_in_that_takes_no_requests(
    loadtest: LoadTest, plug_in: PlugIn, capsys: pytest.CaptureFixture[str]
) -> None:
    def mine(spec: LoaderSpec) -> TensorLoader:
        return TensorLoader(spec)

    plug_in("mine", mine)
    assert loadtest("--loader", "mine") == (1, [])
    said = sentence(capsys.readouterr().err)
    assert "'mine'" in said
    assert "requests" in said
    assert "torchvision-tensor." in said


def test_a_plug_in_that_takes_them(loadtest: LoadTest, plug_in: PlugIn) -> None:
    class Mine(TensorLoader):
        pass

    plug_in("mine", Mine)
    code, (record,) = loadtest("--loader", "mine", *SERVED)
    assert (code, record.loader) == (0, "mine")


class Failing:
    """A side on demand that raises at one image."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.num_callers, self.most_at_once = real.num_callers, real.most_at_once
        self.reads_images = real.reads_images
        self.settings: Mapping[str, Any] = real.settings
        self.collate, self.close = real.collate, real.close

    def decode(self, samples: Sequence[int]) -> Any:
        if samples[0] == 2:
            raise ValueError("no such pixel")
        return self._real.decode(samples)


def test_a_plug_in_that_fails_at_an_image(
    server: None, loadtest: LoadTest, plug_in: PlugIn, capsys: pytest.CaptureFixture[str]
) -> None:
    def mine(spec: LoaderSpec) -> TensorLoader:
        return TensorLoader(spec)

    def on_demand(spec: LoaderSpec, in_memory: Sequence[np.ndarray] | None) -> OnDemand:
        return Failing(TensorLoader.on_demand(spec, in_memory))

    mine.on_demand = on_demand  # type: ignore[attr-defined]
    plug_in("mine", mine)
    assert loadtest("--loader", "mine", *SERVED) == (1, [])
    said = sentence(capsys.readouterr().err)
    assert "'mine'" in said
    assert "no such pixel" in said


def test_loadgen_is_not_installed(
    loadtest: LoadTest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    assert loadtest() == (1, [])
    said = sentence(capsys.readouterr().err)
    assert said.startswith("fastbench: fastbench loadtest needs LoadGen, which cannot be imported")
    assert said.endswith('Install it: pip install "fastbench[loadgen]"')


@pytest.fixture
def spoilt(small: Path, damage: Callable[[Path], None]) -> Path:
    """A folder of five JPEGs, one of which cannot be decoded."""
    damage(small / "n02123045/3.jpg")
    return small


def test_a_damaged_file_is_named(
    spoilt: Path, loadtest: LoadTest, capsys: pytest.CaptureFixture[str]
) -> None:
    assert loadtest("--data", str(spoilt), *SERVED) == (1, [])
    assert "3.jpg cannot be decoded" in sentence(capsys.readouterr().err)


def test_a_damaged_file_is_left_out(server: None, spoilt: Path, loadtest: LoadTest) -> None:
    """Where it is asked for; it is in the record."""
    code, (record,) = loadtest("--data", str(spoilt), "--on-error", "skip", *SERVED)
    assert code == 0
    assert record.data["num_samples"] == 4
    assert record.served is not None
    assert record.served.num_changed == 0


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_file_that_is_cut_off(
    on_error: str, small: Path, loadtest: LoadTest, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small / "n02123045/3.jpg"
    path.write_bytes(path.read_bytes()[:-99])
    code, records = loadtest("--data", str(small), "--on-error", on_error, *SERVED)
    if on_error == "skip":
        assert (code, records[0].data["num_samples"]) == (0, 4)
    else:
        assert (code, records) == (1, [])
        assert "3.jpg cannot be decoded" in sentence(capsys.readouterr().err)


def test_a_model_that_was_exported_for_one_batch_size(loadtest: LoadTest, tmp_path: Path) -> None:
    """Each batch is padded to that."""
    data = tmp_path / "images"
    for i in range(6):
        draw(data / f"{i}.jpg", (90 + i, 70))
    path = write_export(tmp_path / "net.pt2", batch=4)
    code, (record,) = loadtest("--data", str(data), "--model", str(path), *SERVED)
    assert code == 0
    assert (record.batch_size, record.batch_sizes) == (4, [4])
    assert record.served is not None
    assert record.served.num_changed == 0


def test_such_a_model_for_another_batch(
    loadtest: LoadTest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "images"
    for i in range(6):
        draw(data / f"{i}.jpg", (90 + i, 70))
    path = write_export(tmp_path / "net.pt2", batch=4)
    code, records = loadtest(
        "--data", str(data), "--model", str(path), "--scenario", "single-stream"
    )
    said = sentence(capsys.readouterr().err)
    assert (code, records) == (2, [])
    assert "net.pt2 was exported for" in said
    assert "batch" in said


# ---------------------------------------------------------------------------------- exit codes


def test_a_quick_run_is_no_mlperf_result(
    loadtest: LoadTest, capsys: pytest.CaptureFixture[str]
) -> None:
    code, (record,) = loadtest(*SERVED, "--quick")
    assert code == 0
    assert not record.is_mlperf_length
    assert "No MLPerf result" in capsys.readouterr().out


def test_a_limit_that_is_not_kept_is_invalid(
    loadtest: LoadTest, capsys: pytest.CaptureFixture[str]
) -> None:
    code, (record,) = loadtest("--rate", "60", "--latency", "0.1ms@p50")
    shown = capsys.readouterr()
    assert code == 1
    assert record.latency_bounded_per_s is None
    assert " is INVALID: the latency limit was not kept" in sentence(shown.err)


def test_no_rate_holds_the_limit(loadtest: LoadTest, capsys: pytest.CaptureFixture[str]) -> None:
    code, (record,) = loadtest("--latency", "0.1ms@p50")
    shown = capsys.readouterr()
    assert code == 1
    assert len(record.runs) == 1
    assert "no rate holds 0.1 ms at p50: one query alone takes " in sentence(shown.err)


def test_wrong_predictions(
    loadtest: LoadTest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = ThreadedOnDemand.decode

    def upside_down(self: ThreadedOnDemand, samples: Sequence[int]) -> torch.Tensor:
        return real(self, samples).flip(1)

    monkeypatch.setattr(ThreadedOnDemand, "decode", upside_down)
    code, (record,) = loadtest(*SERVED, "--reference", "torchvision")
    assert record.result.is_valid
    assert record.parity is not None
    assert code == 3, capsys.readouterr()


def test_the_reference_agrees(loadtest: LoadTest) -> None:
    code, (record,) = loadtest(*SERVED, "--reference", "torchvision")
    assert code == 0
    assert record.parity is not None
    assert record.parity.num_agreeing == record.parity.num_samples


def test_its_help_is_one_screen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main_here(["loadtest", "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "--latency TIME@pN" in shown
    assert "--scenario" in shown
