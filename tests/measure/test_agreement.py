"""Loaders in step: what is measured, and which fault is named."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import torch
from builders.command_line import main_here
from builders.images import draw
from builders.loaders import IMAGENET
from builders.plug_ins import PlugIn
from PIL import Image, ImageOps
from rich.console import Console
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from fastbench.core.errors import LoaderError, ModelError
from fastbench.loaders import registry
from fastbench.loaders.base import Batch, LoaderSpec
from fastbench.loaders.builtin.torchvision import make_transform
from fastbench.measure.agreement import Comparison, compare_in_step, compare_predictions
from fastbench.report.formats import parity_screen

pytestmark = pytest.mark.usefixtures("server")


class Faulty:
    """The reference with one thing wrong; a loader as a plug-in would be."""

    reads_images = True
    settings: dict[str, str] = {}  # noqa: RUF012
    prepare: Callable[[Image.Image, LoaderSpec], torch.Tensor]

    def __init__(self, spec: LoaderSpec) -> None:
        self.spec = spec

    def __iter__(self) -> Iterator[Batch]:
        paths, size = self.spec.paths, self.spec.batch_size
        for start in range(0, len(paths), size):
            ids = range(start, min(start + size, len(paths)))
            images = [type(self).prepare(Image.open(paths[i]), self.spec) for i in ids]
            images_NCHW = torch.stack(images).contiguous(memory_format=torch.channels_last)
            yield Batch(images_NCHW, torch.tensor(ids), len(ids))

    def close(self) -> None:
        pass


def normalised(
    image: Image.Image | torch.Tensor, spec: LoaderSpec, **changes: object
) -> torch.Tensor:
    p = dataclasses.replace(spec.preprocess, **changes)  # type: ignore[arg-type]
    pixels = image if isinstance(image, torch.Tensor) else transforms.pil_to_tensor(image)
    return transforms.normalize(pixels.float() / 255, p.mean, p.std)


def right(image: Image.Image, spec: LoaderSpec) -> torch.Tensor:
    return make_transform(spec.preprocess)(image.convert("RGB"))


def swapped(image: Image.Image, spec: LoaderSpec) -> torch.Tensor:
    red, green, blue = image.convert("RGB").split()
    return right(Image.merge("RGB", (blue, green, red)), spec)


def unfiltered(image: Image.Image, spec: LoaderSpec) -> torch.Tensor:
    pixels = transforms.pil_to_tensor(image.convert("RGB"))
    pixels = transforms.resize(pixels, [256], InterpolationMode.BILINEAR, antialias=False)
    return normalised(transforms.center_crop(pixels, [224]), spec)


def shifted(image: Image.Image, spec: LoaderSpec) -> torch.Tensor:
    small = transforms.resize(image.convert("RGB"), [256], InterpolationMode.BILINEAR)
    width, height = small.size
    top, left = round((height - 224) / 2) + 1, round((width - 224) / 2)
    return normalised(transforms.crop(small, top, left, 224, 224), spec)


def renormalised(image: Image.Image, spec: LoaderSpec) -> torch.Tensor:
    p = dataclasses.replace(spec.preprocess, mean=(0.5, 0.5, 0.5))
    return make_transform(p)(image.convert("RGB"))


def upright(image: Image.Image, spec: LoaderSpec) -> torch.Tensor:
    return right(ImageOps.exif_transpose(image), spec)


def squashed(image: Image.Image, spec: LoaderSpec) -> torch.Tensor:
    small = image.convert("RGB").resize((256, 256), Image.Resampling.BILINEAR)
    return normalised(transforms.center_crop(small, [224]), spec)


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """Register a loader `faulty` that prepares images in a given way."""

    def register(prepare: object) -> None:
        kind = type("Kind", (Faulty,), {"prepare": staticmethod(prepare)})
        resolve = registry.resolve
        monkeypatch.setattr("fastbench.loaders.registry.check_name", lambda _: None)
        monkeypatch.setattr(
            "fastbench.runner.prepare.resolve",
            lambda name: kind if name == "faulty" else resolve(name),
        )

    return register


def compare(data: Path, output: Path, *argv: str) -> int:
    return main_here(
        ["parity", "--data", str(data), "--model", "sample", "--device", "cpu",
         "--batch-size", "8", "--output", str(output), *argv]
    )  # fmt: skip


def stored(output: Path) -> dict[str, object]:
    (path,) = output.glob("parity-*.json")
    found: dict[str, object] = json.loads(path.read_text())["parity"]
    return found


@pytest.mark.parametrize(
    ("prepare", "cause"),
    [
        (swapped, "channel order: red and blue are swapped"),
        (unfiltered, "antialias: the image is resized without it"),
        (shifted, "crop offset: the crop is moved by 1 pixels down, 0 right"),
        (renormalised, "normalisation: another mean"),
        (upright, "orientation: the EXIF orientation is applied"),
        (squashed, "resize: squashed to 256x256"),
    ],
)
def test_a_planted_fault_fails_and_is_named(
    prepare: object,
    cause: str,
    images: Path,
    tmp_path: Path,
    faulty: Callable[[object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    faulty(prepare)
    assert compare(images, tmp_path / "out", "--loader", "faulty") == 3
    shown = " ".join(capsys.readouterr().out.split())
    assert "FAIL" in shown
    assert f"probable cause {cause}" in shown
    pixels = stored(tmp_path / "out")["pixels"]
    assert isinstance(pixels, dict)
    assert pixels["cause"].startswith(cause)
    with Image.open(tmp_path / "out/parity-sample-faulty.png") as picture:
        assert picture.size == (3 * 224 + 16, 224 + 18)


def test_the_reference_against_itself_passes(
    images: Path,
    tmp_path: Path,
    faulty: Callable[[object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    faulty(right)
    assert compare(images, tmp_path / "out", "--loader", "faulty") == 0
    assert "PASS" in capsys.readouterr().out
    found = stored(tmp_path / "out")
    assert found["num_agreeing"] == found["num_samples"] == 22
    assert found["pixels"]["mean_levels"] < 1e-4  # type: ignore[index]
    assert not list((tmp_path / "out").glob("*.png"))


@pytest.mark.parametrize("resize", ["fast", "exact"])
def test_dali_passes(resize: str, images: Path, tmp_path: Path) -> None:
    assert compare(images, tmp_path / "out", "--loader", "dali", "--resize", resize) == 0
    pixels = stored(tmp_path / "out")["pixels"]
    assert isinstance(pixels, dict)
    assert pixels["mean_levels"] < {"fast": 0.3, "exact": 0.02}[resize]


def test_a_row_that_is_wrong_ends_the_run_with_3(
    images: Path,
    tmp_path: Path,
    faulty: Callable[[object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    faulty(shifted)
    code = main_here(
        ["run", "--data", str(images), "--model", "sample", "--device", "cpu", "--quick",
         "--batch-size", "8", "--loader", "faulty", "--output", str(tmp_path / "out")]
    )  # fmt: skip
    assert code == 3
    shown = " ".join(capsys.readouterr().out.split())
    assert "faulty: different: pixels differ by" in shown
    assert "faulty: probable cause: crop offset" in shown


def test_nothing_to_compare(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(images, tmp_path / "out", "--loader", "torchvision") == 2
    assert "nothing to compare" in capsys.readouterr().err
    assert compare(images, tmp_path / "out", "--loader", "synthetic") == 1
    assert "does not read the images" in " ".join(capsys.readouterr().err.split())


def batches(*parts: tuple[list[int], float]) -> Iterator[Batch]:
    """Images of 2x2 pixels, all of one value, with the ids given."""
    for ids, value in parts:
        yield Batch(torch.full((len(ids), 3, 2, 2), value), torch.tensor(ids), len(ids))


UNIT = dataclasses.replace(IMAGENET, mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255))


def in_step(loader: Iterator[Batch], reference: Iterator[Batch], model_: object) -> Comparison:
    return compare_in_step(loader, reference, model_, UNIT, ["a.jpg", "b.jpg", "c.jpg"])


def model(images_NCHW: torch.Tensor) -> torch.Tensor:
    """Two logits: the mean level, and 10."""
    level_N = images_NCHW.mean((1, 2, 3))
    return torch.stack([level_N, torch.full_like(level_N, 10.0)], 1)


def test_differences_are_in_levels() -> None:
    found = in_step(batches(([0, 1], 9.0), ([2], 14.0)), batches(([0, 1], 9.5), ([2], 7.0)), model)
    pixels = found.pixels
    assert pixels.num_samples == 3
    assert pixels.max_levels == pytest.approx(7)
    assert pixels.mean_levels == pytest.approx((0.5 + 0.5 + 7) / 3)
    assert pixels.share_above_one == pytest.approx(1 / 3)
    assert (pixels.worst_sample, pixels.worst_mean_levels) == ("c.jpg", pytest.approx(7))
    assert (found.predictions, found.reference_predictions) == ([1, 1, 0], [1, 1, 1])
    assert pixels.num_agreeing == 2
    assert pixels.max_logits == pytest.approx(7)
    assert pixels.mean_logits == pytest.approx(8 / 6)
    assert [sample for sample, *_ in found.worst] == [2, 0, 1]


@pytest.mark.parametrize(
    "other", [batches(([0, 2], 1.0), ([1], 1.0)), batches(([0, 1], 1.0)), batches(([0, 1, 2], 1.0))]
)
def test_other_samples_cannot_be_compared(other: Iterator[Batch]) -> None:
    with pytest.raises(LoaderError, match="do not deliver the same samples"):
        in_step(batches(([0, 1], 1.0), ([2], 1.0)), other, model)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_told_whose_it_is(value: float) -> None:
    """It cannot be in a record, and the row's process ended with a traceback."""

    def broken(images_NCHW: torch.Tensor) -> torch.Tensor:
        return model(images_NCHW) * value

    def one(level: float) -> Iterator[Batch]:
        return batches(([0], level))

    with pytest.raises(ModelError, match="The model gives logits that are no numbers"):
        in_step(one(1.0), one(1.0), broken)
    with pytest.raises(LoaderError, match="The loader gives pixels that are no numbers"):
        in_step(one(value), one(1.0), model)
    with pytest.raises(LoaderError, match="The reference gives pixels that are no numbers"):
        in_step(one(1.0), one(value), model)


def test_a_class_that_a_model_rules_out_does_not_differ() -> None:
    def ruling_out(images_NCHW: torch.Tensor) -> torch.Tensor:
        logits_NK = model(images_NCHW).clone()
        logits_NK[:, -1] = float("-inf")
        return logits_NK

    found = in_step(batches(([0], 1.0)), batches(([0], 1.0)), ruling_out)
    assert (found.pixels.max_logits, found.pixels.mean_logits) == (0, 0)


def test_predictions_against_the_reference() -> None:
    found = compare_predictions(
        [1, 2, 3, 4], [1, 2, 4, 5], [1, 0, 3, 5], reference="torchvision", is_reference=False
    )
    assert found.num_agreeing == 2
    assert (found.only_row_correct, found.only_reference_correct) == (1, 1)
    assert found.mcnemar_p == 1.0
    low, high = found.difference_interval or (0, 0)
    assert low < 0 < high


def test_the_screen_fits_a_narrow_terminal(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from fastbench.records.record import ParityRecord

    seen: list[ParityRecord] = []
    monkeypatch.setattr(parity_screen, "render", lambda record: seen.append(record) or "")
    compare(images, tmp_path / "out", "--loader", "dali")
    monkeypatch.undo()
    skipped = {"name": "b.jpg", "why": "is cut off"}
    seen[0] = msgspec.structs.replace(seen[0], data={**seen[0].data, "skipped": [skipped]})
    with (tmp_path / "shown").open("w") as file:
        Console(width=80, file=file).print(parity_screen.render(seen[0]))
    text = (tmp_path / "shown").read_text()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "Skipped by every loader: b.jpg is cut off." in text


def test_an_unlabelled_folder(tmp_path: Path) -> None:
    for i in range(6):
        draw(tmp_path / f"images/{i}.jpg", (300 + i, 200))
    assert compare(tmp_path / "images", tmp_path / "out", "--loader", "dali") == 0
    found = stored(tmp_path / "out")
    assert found["only_row_correct"] is None
    assert found["num_agreeing"] == 6


def test_a_picture_of_a_loader_with_a_slash_in_its_name(
    images: Path, tmp_path: Path, plug_in: PlugIn
) -> None:
    plug_in("mine/faulty", type("Kind", (Faulty,), {"prepare": staticmethod(swapped)}))
    assert compare(images, tmp_path / "out", "--loader", "mine/faulty") == 3
    assert (tmp_path / "out/parity-sample-mine_faulty.png").exists()


def test_a_picture_that_cannot_be_written_costs_no_row(
    images: Path,
    tmp_path: Path,
    faulty: Callable[[object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    faulty(swapped)
    (tmp_path / "out/parity-sample-faulty.png").mkdir(parents=True)
    assert compare(images, tmp_path / "out", "--loader", "faulty") == 3
    assert stored(tmp_path / "out")["pixels"]
    assert "The picture cannot be written to" in capsys.readouterr().err
