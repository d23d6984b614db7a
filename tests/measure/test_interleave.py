"""Two pipelines in turn: the order, the windows, and the ratio that comes out."""

import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from builders.broken_loaders import Right
from builders.command_line import main_here
from builders.runs import run
from rich.console import Console

from fastbench.cli.main import main
from fastbench.core.config import NOT_COMPARED, RunConfig
from fastbench.core.errors import UsageError
from fastbench.core.other_side import other_side
from fastbench.loaders.base import Batch, LoaderSpec, LoaderTraits
from fastbench.measure.clock import Clock
from fastbench.measure.interleave import Side, interleave
from fastbench.records.record import AbRecord, ratio_of_pairs
from fastbench.records.store import write_record
from fastbench.report.formats import ab_screen


class Endless:
    """A loader of batches of four, that writes down when one is asked for."""

    reads_images = True
    settings: dict[str, object] = {}  # noqa: RUF012

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(3):
            self.log.append(self.name)
            yield Batch(torch.zeros(4, 3, 2, 2), torch.arange(4), 4)

    def close(self) -> None:
        pass


class Model:
    batch_size = 4

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        return images_NCHW


class SteppingClock(Clock):
    """Every batch takes a tenth of a second, whoever's it is."""

    def start(self) -> None:
        self.marks = 0

    def mark(self) -> None:
        self.marks += 1

    def stop(self) -> float:
        return self.marks / 10


def test_the_order_alternates_and_queues_are_run_off() -> None:
    log: list[str] = []
    sides = [
        Side(Endless(name, log), Model(), num_queued, SteppingClock())
        for name, num_queued in (("a", 2), ("b", 5))
    ]  # type: ignore[arg-type]
    pairs = list(interleave(*sides, 4))
    assert pairs == [(40.0, 40.0)] * 4  # four images in a tenth of a second
    runs = [(name, len(list(group))) for name, group in itertools.groupby(log)]
    # A quarter of a second is two batches; what is queued and one more go before them.
    assert runs[-5:] == [("a", 5), ("b", 16), ("a", 10), ("b", 16), ("a", 5)]


def test_the_ratio_of_pairs() -> None:
    a = [100.0 + i for i in range(20)]
    ratio, interval = ratio_of_pairs(a, [0.9 * x for x in a])
    assert ratio == pytest.approx(0.9)
    assert interval == (pytest.approx(0.9), pytest.approx(0.9))
    assert ratio_of_pairs(a[:3], a[:3])[1] is None


def make(a: list[float], b: list[float], changes: list[str]) -> AbRecord:
    return AbRecord(
        schema_version=3, created="2026-01-02", command="fastbench run", loader="dali",
        model="sample", weights="embedded", device="cpu", dtype="float32", compile_mode=None,
        batch_size=32, config={}, environment={},
        data={"num_samples": 1000, "not_used": {".png": 3}}, preprocess={},
        loader_settings={}, changes=changes, other_config={}, other_loader_settings={},
        a_images_per_s=a, b_images_per_s=b,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (1.0, "no difference found, B is "),
        (1.1, "B is 1."),
        (0.5, "B is 0."),
    ],
)
def test_the_verdict(factor: float, said: str) -> None:
    a = [100 * math.exp(0.1 * math.sin(i)) for i in range(60)]
    b = [factor * 100 * math.exp(0.1 * math.sin(2.7 * i)) for i in range(60)]
    record = make(a, b, ["compile=true"])
    assert record.verdict.startswith(said)
    assert record.ratio == pytest.approx(factor, rel=0.02)
    low, high = record.interval or (0, 0)
    assert low < factor < high


@pytest.mark.parametrize("width", [80, 120])
def test_the_screen(width: int, tmp_path: Path) -> None:
    rates = [100.0 + i for i in range(12)]
    with (tmp_path / "shown").open("w") as file:
        Console(width=width, file=file).print(
            ab_screen.render(make(rates, rates, ["dtype=float16"]))
        )
    text = (tmp_path / "shown").read_text()
    assert all(len(line) <= width for line in text.splitlines())
    assert "Unlike: dtype=float16 changes what is computed" in " ".join(text.split())
    assert "No difference found, B is 1.000x A" in text
    assert "Not used of the data: 3 .png files." in text


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("compile=true", "compile", True),
        ("--batch-size=8", "batch_size", 8),
        ("num_threads=3", "num_threads", 3),
        ("loader=torchvision", "loader", ("torchvision",)),
        ("loader-option=dali.prefetch=4", "loader_option", ("dali.prefetch=4",)),
        ("dtype=float16", "dtype", "float16"),
    ],
)
def test_the_other_side(text: str, field: str, value: object) -> None:
    other = other_side(RunConfig(ab=(text,)))
    assert getattr(other, field) == value
    assert other.ab == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # The same but for one setting.
        (["loader-option=dali.num_threads=2"], ["dali.prefetch=3", "dali.num_threads=2"]),
        (["loader-option=dali.prefetch=5"], ["dali.prefetch=5"]),
        # Another loader has no use for the settings of the first.
        (["loader=spdl"], []),
        (["loader=spdl", "loader-option=spdl.prefetch=1"], ["spdl.prefetch=1"]),
        (["compile=true"], ["dali.prefetch=3"]),
    ],
)
def test_the_loaders_settings_on_the_other_side(changes: list[str], expected: list[str]) -> None:
    config = RunConfig(loader=("dali",), loader_option=("dali.prefetch=3",), ab=tuple(changes))
    assert list(other_side(config).loader_option) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("loader-option=spdl.prefetch=1", "--ab, the second side: --loader-option spdl.prefetch=1"),
        ("loader-option=prefetch", "--ab, the second side: --loader-option is 'prefetch'"),
        ("compile", "Write OPTION=VALUE"),
        ("compiled=true", "Did you mean 'compile'?"),
        *(
            (f"{name}=1", "its windows do not depend on that")
            for name in sorted(NOT_COMPARED - {"ranks"})
        ),
        ("ranks=2", "each of its sides is one rank. Give a row for each number: --ranks 1"),
        ("compile=yes", "--compile is 'yes'. Give true or false."),
        ("batch_size=many", "--batch-size is 'many'. Give a whole number"),
        ("batch_size=0", "--ab, the second side: --batch-size is '0'"),
        ("dtype=float8", "--ab, the second side: --dtype is 'float8'"),
    ],
)
def test_an_other_side_that_cannot_be(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        other_side(RunConfig(ab=(text,)))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"loader": ("dali", "torchvision")}, "a second --loader"),
        ({"predictions": "x.csv"}, "--predictions"),
        ({"running": 5}, "--running"),
        ({"latency_batch_size": (1,)}, "--latency-batch-size"),
        ({"page_cache": "cold"}, "--page-cache cold"),
    ],
)
def test_what_would_be_left_undone_is_refused(given: dict[str, Any], option: str) -> None:
    with pytest.raises(UsageError, match=f"Leave out {option}"):
        RunConfig(ab=("compile=true",), **given)


def test_every_batch_that_waits_is_run_off() -> None:
    spec = LoaderSpec(
        paths=["a"], batch_size=1, preprocess=None, device="cpu", dtype="float32",  # type: ignore[arg-type]
        num_threads=4, prefetch=2,
    )  # fmt: skip
    loader = Endless("a", [])
    assert LoaderTraits.of(loader).num_queued(spec.prefetch) == 2
    loader.settings = {"num_workers": 96}
    assert LoaderTraits.of(loader).num_queued(spec.prefetch) == 192


def test_two_sides_that_are_the_same(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main_here(
        ["run", "--data", str(images), "--model", "sample", "--device", "cpu", "--ab",
         "dtype=auto", "--output", str(tmp_path / "out")]
    )  # fmt: skip
    assert code == 2
    assert "--ab changes nothing" in capsys.readouterr().err


def pairs_then(end: type[BaseException], num: int) -> Any:
    def interleave(*_: object) -> Iterator[tuple[float, float]]:
        yield from [(100.0, 200.0)] * num
        raise end("out of memory")

    return interleave


@pytest.mark.parametrize("num", [0, 1, 20])
@pytest.mark.parametrize("end", [KeyboardInterrupt, torch.OutOfMemoryError, SystemExit])
def test_pairs_are_kept_whatever_ends_them(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    end: type[BaseException],
    num: int,
) -> None:
    monkeypatch.setattr("fastbench.runner.ab.interleave", pairs_then(end, num))
    out = tmp_path / "out"
    argv = ["run", "--data", str(images), "--model", "sample", "--device", "cpu", "--batch-size",
            "4", "--loader", "synthetic", "--ab", "loader-option=synthetic.prefetch=1"]  # fmt: skip
    if end is SystemExit:  # the process ends at once: what was saved is there
        with pytest.raises(SystemExit):
            main_here([*argv, "--output", str(out)])
    else:
        code = main_here([*argv, "--output", str(out)])
        shown = capsys.readouterr()
        assert code == (130 if end is KeyboardInterrupt else 1)
        told = "the pairs so far" if end is KeyboardInterrupt else "The pairs before that are in"
        assert (told in shown.err) == (num > 0)
    files = list(out.glob("*.json")) if out.exists() else []
    assert len(files) == (num > 0)
    capsys.readouterr()
    if num:
        kept = 1 if end is SystemExit else num
        assert len(json.loads(files[0].read_text())["a_images_per_s"]) == kept
        assert main(["report", str(out)]) == 0
        result = "B is 2.000x A (95 %: 2.000 to 2.000, " if kept > 1 else "no result, "
        pairs = "pair" if kept == 1 else "pairs"
        assert f"{result}{kept} {pairs} of the 120 planned" in capsys.readouterr().out


class Searched(Right):
    """Its threads are searched for."""

    def __init__(self, spec: LoaderSpec) -> None:
        super().__init__(spec)
        self.settings = {"num_threads": spec.num_threads, "prefetch": spec.prefetch}

    @staticmethod
    def search_space(spec: LoaderSpec) -> dict[str, tuple[int, ...]]:
        return {"num_threads": (1, 5, 9)}


@pytest.mark.parametrize(
    ("change", "of_b"),
    [
        ("loader-option=mine.prefetch=1", {"num_threads": 5, "prefetch": 1}),
        ("num-threads=3", {"num_threads": 3, "prefetch": 2}),
    ],
)
def test_both_sides_have_the_settings_of_a_row(
    change: str,
    of_b: dict[str, int],
    images: Path,
    tmp_path: Path,
    plug_in: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched = []

    def sample_loader(loader: Any, *_: object) -> float:
        searched.append(loader.settings["num_threads"])
        return 100.0 - abs(loader.settings["num_threads"] - 5)

    plug_in("mine", Searched)
    monkeypatch.setattr("fastbench.runner.search_loader.sample_loader", sample_loader)
    monkeypatch.setattr("fastbench.runner.ab.interleave", pairs_then(KeyboardInterrupt, 2))
    code = main_here(
        ["run", "--data", str(images), "--model", "sample", "--device", "cpu", "--batch-size",
         "4", "--loader", "mine", "--ab", change, "--output", str(tmp_path)]
    )  # fmt: skip
    assert code == 130
    (path,) = tmp_path.glob("*.json")
    record = json.loads(path.read_text())
    assert record["loader_settings"] == {"num_threads": 5, "prefetch": 2}
    assert record["other_loader_settings"] == of_b
    assert searched == [1, 5, 9]  # once for both


def test_a_record_of_pairs_is_read_by_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = [100.0 + i for i in range(24)]
    write_record(make(a, [2 * x for x in a], ["compile=true"]), tmp_path)
    row = tmp_path / "row.json"
    words = "sample · dali (A) and the same with compile=true (B), in turn: B is 2.000x A (95 %"
    assert main(["report", str(tmp_path)]) == 0
    assert words in capsys.readouterr().out
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 1
    assert f"has compared two already, by --ab: {words}" in capsys.readouterr().err
    row.write_bytes(msgspec.json.encode(run(100)))
    for form in ("table", "markdown", "latex", "html", "csv", "jsonl"):
        assert main(["report", str(tmp_path), "--format", form]) == 0
        shown = capsys.readouterr()
        text = " ".join((shown.err if form in ("csv", "jsonl") else shown.out).split())
        assert "in turn: B is 2.000x A" in text, form
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 0
    capsys.readouterr()
    for damage in ([], [0.0] * 24, [1.0] * 3):
        stored = json.loads((tmp_path / "ab-sample-dali.json").read_text())
        stored["a_images_per_s"] = damage
        (tmp_path / "ab-sample-dali.json").write_text(json.dumps(stored))
        assert main(["report", str(tmp_path)]) == 1
        assert "is a damaged record" in capsys.readouterr().err


def test_the_command(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("fastbench.measure.interleave.WINDOW_SECONDS", 0.01)
    code = main_here(
        ["run", "--data", str(images), "--model", "sample", "--device", "cpu", "--quick",
         "--batch-size", "4", "--loader", "synthetic", "--ab", "loader=dali", "--output",
         str(tmp_path / "out")]
    )  # fmt: skip
    assert code == 0
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "ab-sample-synthetic.json"
    stored = json.loads(path.read_text())
    assert len(stored["a_images_per_s"]) == len(stored["b_images_per_s"]) == 12
    assert stored["other_config"]["loader"] == ["dali"]
    assert stored["other_loader_settings"]["decoder"] == "cpu"
    assert "the same with loader=dali" in capsys.readouterr().out
