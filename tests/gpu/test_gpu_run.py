"""The command line on a GPU: dtypes, every compile mode, and what the records say."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from builders.command_line import run_on, sentence

from fastbench.core import nvidia
from fastbench.core.config import OPTIONS
from fastbench.core.errors import EXIT_WRONG
from fastbench.records.gates import judge_parity
from fastbench.records.record import Record

pytestmark = pytest.mark.gpu

Run = Callable[..., tuple[int, list[Record]]]


@pytest.fixture
def run(tmp_path: Path, checkpoint: Path) -> Run:
    return run_on(tmp_path, checkpoint, "cuda:0")


def test_every_loader_makes_a_row(run: Run, images: Path) -> None:
    names = ["dali", "torchvision-gpu", "torchvision", "synthetic"]
    code, records = run(images, *(word for name in names for word in ("--loader", name)))
    # Plain chroma upsampling may cost torchvision-gpu the pixel gate on images as noisy as these.
    assert code in (0, EXIT_WRONG)
    assert sorted(record.loader for record in records) == sorted(names)
    for record in records:
        assert (record.device, record.dtype) == ("cuda:0", "float16")
        assert record.model_ceiling is not None
        assert record.environment["driver"]
        if record.loader != "synthetic":
            assert record.parity is not None
            assert record.parity.agreement >= 0.9
            if record.loader != "torchvision-gpu":
                assert judge_parity(record.parity) == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_dtypes(dtype: str, run: Run, images: Path) -> None:
    code, records = run(images, "--loader", "dali", "--dtype", dtype)
    assert code == 0
    assert {record.dtype for record in records} == {dtype}


@pytest.mark.parametrize("mode", OPTIONS["compile_mode"].choices)
def test_every_compile_mode_makes_one_graph(mode: str, run: Run, images: Path) -> None:
    code, records = run(
        images, "--loader", "dali", "--reference", "none", "--compile", "--compile-mode", mode
    )
    assert code == 0
    (record,) = records
    assert record.compilation is not None
    assert record.compilation.num_graphs == 1
    assert record.compilation.num_graph_breaks == 0
    assert record.compilation.num_recompiles == 0


@pytest.mark.parametrize("loader", ["torchvision", "torchvision-gpu", "synthetic"])
def test_no_loader_makes_the_model_compile_again(loader: str, run: Run, images: Path) -> None:
    """Not by a partial last batch, and not by tensors of another kind."""
    code, records = run(
        images, "--loader", loader, "--reference", "none", "--compile",
        "--compile-mode", "reduce-overhead",
    )  # fmt: skip
    assert code == 0
    (record,) = records
    assert record.compilation is not None
    assert (record.compilation.num_graphs, record.compilation.num_recompiles) == (1, 0)


@pytest.mark.parametrize("mode", OPTIONS["compile_mode"].choices)
def test_compiled_logits_are_the_eager_ones(mode: str) -> None:
    """From inputs at changing addresses, as a decoder's rotating buffers are."""
    import torchvision
    from builders.classifiers import make_classifier

    torch.manual_seed(0)
    module = torchvision.models.resnet18(weights=None)
    both = [
        make_classifier(module, device="cuda:0", dtype="float32", batch_size=8, compile_mode=m)
        for m in (None, mode)
    ]
    for _ in range(6):
        images_NCHW = torch.randn(8, 3, 224, 224, device="cuda:0").contiguous(
            memory_format=torch.channels_last
        )
        eager, compiled = (classifier(images_NCHW).clone() for classifier in both)
        torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=1e-3)
    assert both[1].num_graphs() == (1, 0)


def test_tf32_is_the_rows_and_not_the_references(run: Run, images: Path) -> None:
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU has no TensorFloat-32")
    code, records = run(
        images, "--loader", "torchvision", "--dtype", "float32", "--tf32", "--no-tf32"
    )
    assert code == 0
    on, off = sorted(records, key=lambda record: not record.config["tf32"])
    for record, precision in ((on, "high"), (off, "highest")):
        assert record.environment["matmul_precision"] == precision
        assert record.environment["cudnn_tf32"] is (precision == "high")
        assert record.environment["cudnn_benchmark"] is True
        assert record.parity is not None
        assert record.parity.is_reference is (precision == "highest")


def test_the_search_is_recorded(run: Run, images: Path) -> None:
    code, records = run(images, "--loader", "dali", "--reference", "none", quick=False)
    assert code == 0
    (record,) = records
    names = {name for trial in record.tuning for name in trial.settings}
    engines = nvidia.jpeg_engines(0)
    # Without a JPEG engine (T4, GeForce) every share of it is the same.
    assert ("hw_decoder_load" in names) is (engines is None or engines.num_engines > 0)
    assert all(trial.images_per_s for trial in record.tuning)
    best = max(record.tuning, key=lambda trial: trial.images_per_s or 0)
    used = {**record.loader_settings, "prefetch": record.loader_settings["prefetch_queue_depth"]}
    assert {name: used[name] for name in best.settings} == best.settings


def test_out_of_memory_is_one_sentence(
    run: Run, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, records = run(
        images, "--loader", "synthetic", "--reference", "none", "--batch-size", "400000"
    )
    assert (code, records) == (1, [])
    assert "memory" in sentence(capsys.readouterr().err)


def test_the_engines_are_told() -> None:
    found = nvidia.jpeg_engines(0)
    assert found is None or found.num_engines >= 0


def test_a_cuda_clock_agrees_with_the_host() -> None:
    import time

    from fastbench.measure.clock import make_clock

    clock = make_clock(torch.device("cuda", 0))
    clock.start()
    start = time.perf_counter()
    for _ in range(20):
        torch.cuda._sleep(10_000_000)
        clock.mark()
    wall_s = clock.stop()
    assert wall_s == pytest.approx(time.perf_counter() - start, rel=0.1)
    assert sum(clock.step_times()) == pytest.approx(wall_s, rel=0.1)
