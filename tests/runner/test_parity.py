"""A row's predictions and pixels against the reference's: what is compared, and what is told."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
import torch
from builders.command_line import main_here
from builders.images import draw
from builders.odd_jpegs import cmyk, mosaic, rgb
from builders.plug_ins import PlugIn
from PIL import Image

from fastbench.core.config import RunConfig
from fastbench.data.labels import Labels
from fastbench.data.sample.draw_all import ensure_sample
from fastbench.loaders.base import Batch, LoaderSpec
from fastbench.loaders.builtin.torchvision import make_transform
from fastbench.models.registry import load_model
from fastbench.records.accuracy import Pixels
from fastbench.records.record import Record
from fastbench.records.store import read_record
from fastbench.runner import measure_row, parity
from fastbench.runner.prepare import Bench, Workbench


def run(data: Path, output: Path, *argv: str) -> tuple[int, Record]:
    """`fastbench run` of one loader beside the reference: its exit code and its record."""
    code = main_here(
        ["run", "--data", str(data), "--model", "sample", "--device", "cpu", "--quick",
         "--passes", "end-to-end", "--batch-size", "8", "--output", str(output),
         "--model-threads", "1",  # threads that wait for each other are slower here
         *argv]
    )  # fmt: skip
    (path,) = output.glob("sample-[!t]*.json")
    return code, read_record(path)


def test_exchanged_images_are_measured_again_with_the_references_predictions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of equal names, sizes and times: one image's content is that of another class."""
    data, out = tmp_path / "data", tmp_path / "out"
    ensure_sample(8, root=data)
    a, *_, b = sorted(data.rglob("*.jpg"))
    contents = [path.read_bytes() for path in (a, b)]
    argv = ["--loader", "dali", "--loader-option", "torchvision.prefetch=0"]
    digests = []
    for number, (of_a, of_b) in enumerate((contents, contents[::-1])):
        for path, content in ((a, of_a), (b, of_b)):
            path.write_bytes(content.ljust(max(map(len, contents)), b"\0"))
            os.utime(path, ns=(0, 0))
        code, record = run(data, out, *argv, *["--resume"] * number)
        assert code == 0
        assert record.parity is not None
        assert record.parity.num_agreeing == 8
        digests.append(record.data["digest"])
        shown = capsys.readouterr().err
        assert ("1 finished row will be run again: not known to be" in shown) == bool(number)
        for path in out.glob("*.json"):
            path.rename(out / f"before-{number}-{path.name}")
    assert digests[0] == digests[1]
    assert len(list((out / ".kept").iterdir())) == 2


def test_rare_jpegs_are_compared_however_few_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for i in range(40):
        draw(data / f"{i:02d}.jpg", (100, 80))
    odd = {
        "inks": cmyk(None),
        "more inks": cmyk(0),
        "ycck": cmyk(2),
        "rgb": rgb(by_marker=True),
        "ids": rgb(by_marker=False),
        "411": mosaic(["41", "11", "11"]),
        "440": mosaic(["12", "11", "11"]),
        "chromas": mosaic(["22", "21", "11"]),
    }
    for name, content in odd.items():
        (data / f"{name}.jpg").write_bytes(content)
    code, record = run(data, tmp_path / "out", "--loader", "dali")
    assert code == 3
    parity = record.parity
    assert parity is not None
    assert parity.pixels is not None
    assert parity.stood_out is not None
    assert parity.stood_out.num_samples >= len(odd)
    assert parity.stood_out.worst_sample == "inks.jpg"
    shown = " ".join(capsys.readouterr().out.split())
    assert "different: " in shown
    assert "inks.jpg differs by" in shown
    assert "the inks of a CMYK JPEG are inverted" in shown


class Untrue:
    """Blank images while it is timed, the right ones while it is checked."""

    reads_images = True
    repeatable = True
    settings: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, spec: LoaderSpec) -> None:
        self.spec = spec

    def __iter__(self) -> Iterator[Batch]:
        spec = self.spec
        transform = make_transform(spec.preprocess)
        for start in range(0, len(spec.paths), spec.batch_size):
            ids = range(start, min(start + spec.batch_size, len(spec.paths)))
            images = [transform(Image.open(spec.paths[i]).convert("RGB")) for i in ids]
            images_NCHW = torch.stack(images).contiguous(memory_format=torch.channels_last)
            yield Batch(images_NCHW * spec.repeatable, torch.tensor(ids), len(ids))

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("repeatable", "failure"),
    [
        (True, "top-1 agrees with torchvision on"),
        (False, "the timed pass agrees with the scored one on"),
    ],
)
def test_what_is_timed_is_what_is_judged(
    repeatable: bool,
    failure: str,
    images: Path,
    tmp_path: Path,
    plug_in: PlugIn,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Untrue, "repeatable", repeatable)
    plug_in("untrue", Untrue)
    code, record = run(images, tmp_path / "out", "--loader", "untrue")
    assert code == 3
    assert record.parity is not None
    assert record.parity.pixels is not None
    assert record.parity.pixels.max_levels < 1.01  # which alone would be called exact
    assert (record.num_changed is None) == repeatable
    assert f"untrue: FAIL: {failure}" in " ".join(capsys.readouterr().out.split())


class Shaded(Untrue):
    """Darker by the option `shade`; the timed pass is told `share`, and others take 0 or 1."""

    def __init__(self, spec: LoaderSpec) -> None:
        super().__init__(spec)
        self.settings = {"share": 1.0 if spec.repeatable else 0.4}  # type: ignore[dict-item]

    def __iter__(self) -> Iterator[Batch]:
        shade = float(self.spec.options.get("shade") or 0)
        for batch in Untrue(dataclasses.replace(self.spec, repeatable=True)):
            yield Batch(batch.images_NCHW - shade, batch.ids_N, batch.num_valid)


def test_the_pixels_are_compared_with_the_settings_that_are_timed(
    images: Path, tmp_path: Path, plug_in: PlugIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in("shaded", Shaded)
    tuned = {"shade": 0.25}
    monkeypatch.setattr(
        measure_row,
        "search_loader",
        lambda _, name, spec: (spec.with_settings(tuned if name == "shaded" else {}), None),
    )
    _, record = run(images, tmp_path / "out", "--loader", "shaded")
    assert record.parity is not None
    assert record.parity.pixels is not None
    # Standard deviations of about 57 levels.
    assert record.parity.pixels.mean_levels == pytest.approx(0.25 * 57, abs=1)


def test_a_pass_of_its_own_says_what_it_has_in_place_of_the_timed_settings(
    images: Path, tmp_path: Path, plug_in: PlugIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shaded, "repeatable", False)
    plug_in("shaded", Shaded)
    _, record = run(images, tmp_path / "out", "--loader", "shaded")
    (note,) = (note for note in record.notes if "repeatable pass" in note)
    assert "are of a repeatable pass with share 1.0 in place of 0.4; 0 of 22 predictions" in note


def test_what_the_rows_of_a_model_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference is scored once, and the pixels of a loader are compared once.

    They are compared again where a setting may change them. What was found is told of every row.
    """
    for i in range(3):
        draw(tmp_path / "data" / f"{i}.jpg", (48, 32))
    right = Pixels(
        num_samples=3, max_levels=0.0, mean_levels=0.0, share_above_one=0.0, worst_sample="0.jpg",
        worst_mean_levels=0.0, max_logits=0.0, mean_logits=0.0, num_agreeing=3, cause=None,
    )  # fmt: skip
    wrong = msgspec.structs.replace(right, max_levels=99.0, mean_levels=50.0)
    quiet: Any = SimpleNamespace(say=print, note=print, count=lambda *_: lambda *_: None)
    scored, compared = list[int](), list[str]()

    def compare(_: object, __: object, loader: str, *rest: Any) -> tuple[None, Pixels, None]:
        compared.append(loader)
        if loader != "opencv":
            return None, right, None
        rest[-1].append("it was drawn")
        return None, wrong, None

    monkeypatch.setattr(parity, "shared_folder", lambda: tmp_path)
    monkeypatch.setattr(parity, "_score_reference", lambda *_: scored.append(1) or [0, 0, 0])
    monkeypatch.setattr(parity, "_compare", compare)
    model, classifier = load_model("sample"), cast(Any, None)
    labels = Labels(indices=None, how="no labels")

    def row(loader: str, **options: Any) -> None:
        data = str(tmp_path / "data")
        config = RunConfig(data=data, model=("sample",), loader=(loader,), device="cpu", **options)
        workbench = Workbench(config, tmp_path, quiet)
        bench, spec = Bench(model, labels, classifier), workbench.spec(model, loader)
        notes: list[str] = []
        found = parity.compare_with_reference(workbench, bench, loader, spec, [0, 0, 0], notes)
        assert found is not None
        assert notes == ["it was drawn"] * (loader == "opencv")
        assert found.pixels == (wrong if loader == "opencv" else right)

    for loader in ("torchvision-tensor", "opencv"):
        for batch_size in (1, 2):
            for dtype in ("bfloat16", "float32"):
                row(loader, batch_size=batch_size, dtype=dtype, num_threads=batch_size)
    assert len(scored) == 1
    assert compared == ["torchvision-tensor", "opencv"]
    row("torchvision-tensor", resize="exact")
    row("memory")
    assert compared[2:] == ["torchvision-tensor", "memory"]
