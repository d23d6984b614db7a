"""The table that `fastbench run` prints: it fits, and its rows are told apart."""

import io
from pathlib import Path

import msgspec
import pytest
from builders.records import make
from rich.console import Console

from fastbench.cli.measuring import show
from fastbench.measure.agreement import compare_predictions
from fastbench.records.record import Record
from fastbench.records.speed import Throughput
from fastbench.report.formats import run_table


def lines_of(*records: Record, width: int = 80) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width).print(run_table.render(records))
    return [line.rstrip() for line in file.getvalue().splitlines()]


ROWS = [
    make(loader=loader, dtype=dtype, compile_mode=mode)
    for loader in ("torchvision", "torchvision-tensor")
    for dtype, mode in (("float32", None), ("bfloat16", "max-autotune-no-cudagraphs"))
]


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits(width: int) -> None:
    assert max(map(len, lines_of(*ROWS, width=width))) <= width


def test_names_break_where_their_parts_end() -> None:
    first_words = {line.split()[0] for line in lines_of(*ROWS) if line and line[0].isalpha()}
    assert {"torchvision-", "tensor", "bfloat16", "compile=max-", "eager"} <= first_words
    assert "torchvision-tens" not in first_words
    wide = lines_of(*ROWS, width=120)
    assert any(line.startswith("torchvision-tensor  ") for line in wide)


def test_hits_are_of_rows_that_can_be_told_apart() -> None:
    (first, *others), accuracy = ROWS, ROWS[0].accuracy
    assert accuracy is not None
    fewer = msgspec.structs.replace(accuracy, top1_correct=accuracy.top1_correct - 1)
    text = " ".join(lines_of(msgspec.structs.replace(first, accuracy=fewer), *others, width=200))
    hits = f"{fewer.top1_correct} / {accuracy.top5_correct}"
    assert f"torchvision · float32 · eager {hits}" in text
    assert text.count("torchvision · float32 · eager 9") == 1
    assert "in every row." in " ".join(lines_of(*ROWS))
    unread = make(loader="synthetic", accuracy=None, parity=None)
    assert "in every row that is scored." in " ".join(lines_of(*ROWS, unread, width=200))


def test_accuracy_by_random_weights_is_called_chance() -> None:
    assert "chance" not in " ".join(lines_of(make()))
    found = " ".join(lines_of(make(weights="none"), make(weights="none", loader="torchvision")))
    assert found.count("sample: its weights are random, so its accuracy is chance.") == 1


def text_of(*records: Record, width: int = 200) -> str:
    return "\n".join(lines_of(*records, width=width))


def test_the_ceiling_is_the_slower_of_two_whichever_it_was() -> None:
    # Both rows are model-bound: the loader was looked at all the same.
    said = "Of ceiling: end to end over the loader alone or the model alone, whichever is slower."
    assert said in text_of(make(), make(loader="b"))
    assert "Of ceiling: end to end over the model alone.\n" in text_of(make(loader_ceiling=None))


def test_the_device_is_that_of_the_run() -> None:
    its = {"cpu": None, "num_cores": 2, "gpus": [{"name": "GPU A"}, {"name": "GPU B"}]}
    assert "\nGPU B · 2 cores" in text_of(make(device="cuda:1", environment=its))
    assert "\nunknown cpu · 2 cores" in text_of(make(environment=its))


def test_threads_of_a_loader_s_own_stand_at_its_row() -> None:
    """As of --loader-option dali.num_threads=1."""
    text = text_of(make(loader="torchvision"), make(num_threads=1))
    assert "A CPU · 2 cores\n" in text
    for part in ("torchvision · 2 threads", "dali · 1 threads"):
        assert part in text
    assert "A CPU · 2 cores · 2 threads\n" in text_of(make())


def test_an_invalid_row_is_no_reason_for_advice() -> None:
    steps_s = [8.0 / 64] * 64
    sound = msgspec.structs.replace(make().throughput, step_times_s=steps_s, is_settled=False)
    broken = msgspec.structs.replace(sound, step_times_s=[2 * x for x in steps_s])
    assert "→ sample · dali: the step time had not settled" in text_of(make(throughput=sound))
    assert "→" not in text_of(make(throughput=broken))


def test_no_figure_is_cut_short_on_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    show([make()], tmp_path)
    out = capsys.readouterr().out
    assert "…" not in out
    assert "90.5–93.8" in out


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_is_whole(width: int) -> None:
    reference = compare_predictions([1], [1], [1], reference="torchvision", is_reference=True)
    slow = Throughput(
        num_images=1000, num_epochs=1, batch_size=32, wall_s=80.0, step_times_s=[2.5] * 700
    )
    text = text_of(
        make(loader="torchvision", parity=reference, throughput=slow), make(), width=width
    )
    assert "…" not in text
    for part in (
        "torchvision",
        "250",
        "12.5",
        "2,500 / 2,500",
        "92.30",
        "90.5–93.8",
        "reference",
        "66.67",
        "−33.33",
    ):
        assert part in text, part
    assert all(len(line) <= width for line in text.splitlines())


def test_the_table_says_what_differs_between_rows() -> None:
    text = text_of(make(), make(dtype="bfloat16", model="resnet18", weights="none"), width=80)
    assert "resnet18" in text
    assert "bfloat16" in text


def test_the_table_says_how_large_the_models_are() -> None:
    text = text_of(
        make(model="resnet50", num_parameters=25_557_032, num_macs=4_089_184_256),
        make(model="resnet50", loader="torchvision", num_parameters=25_557_032),
        make(model="timm:vit_base_patch16_clip_quickgelu_224.openai_ft_in1k", num_macs=17 * 10**9),
        make(model="old"),
        width=80,
    )
    assert "resnet50: 25.6 M parameters, 4.09 GMACs an image\n" in text
    assert "resnet50: 25.6 M parameters\n" in text
    assert "timm:vit_base_patch16_clip_quickgelu_224.openai_ft_in1k: 17 GMACs an image\n" in text
    assert "old:" not in text
    assert "…" not in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_the_table_says_why_something_is_missing() -> None:
    text = text_of(
        make(
            accuracy=None,
            parity=None,
            labels="no labels: the images are not read",
            config={"quick": True},
            notes=["hits differ"],
        ),
        width=80,
    )
    assert "No accuracy: the images are not read." in text
    assert "of JPEG" not in text
    assert "--quick" in text
    assert "p99 needs 662" in text
    assert "hits differ." in text
