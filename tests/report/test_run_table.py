"""The table that `fastbench run` prints: it fits, and its rows are told apart."""

import dataclasses
import io
from pathlib import Path

import pytest
from builders.records import make
from rich.console import Console

from fastbench.cli.measuring import show
from fastbench.records.record import Record
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
    fewer = dataclasses.replace(accuracy, top1_correct=accuracy.top1_correct - 1)
    text = " ".join(lines_of(dataclasses.replace(first, accuracy=fewer), *others, width=200))
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
    sound = dataclasses.replace(make().throughput, step_times_s=steps_s, is_settled=False)
    broken = dataclasses.replace(sound, step_times_s=[2 * x for x in steps_s])
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
