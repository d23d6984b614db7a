"""The GPU loaders have the reference's pixels at other image sizes, too."""

from pathlib import Path

import pytest
from builders.images import draw
from builders.loaders import IMAGENET, pixels_of, spec_of

from fastbench.data.dataset import scan
from fastbench.loaders.registry import resolve
from fastbench.models.input_size import AskedInput

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("size", [160, 192, 224, 256])
@pytest.mark.parametrize(
    ("name", "mean"),  # the bounds of test_gpu_loaders.py
    [("dali", 0.6), ("dali-cpu", 0.6), ("torchvision-gpu", 1.5)],
)
def test_the_pixels_are_the_reference_s(name: str, mean: float, size: int, tmp_path: Path) -> None:
    for i, drawn in enumerate([(500, 375), (333, 500), (640, 427), (301, 300)]):
        draw(tmp_path / f"{i}.jpg", drawn)
    manifest = scan(tmp_path)
    preprocess = AskedInput(image_size=size).change(IMAGENET)
    found = []
    for loader, device in (("torchvision", "cpu"), (name, "cuda:0")):
        spec = spec_of(
            manifest, preprocess=preprocess, device=device, prefetch=0, largest=manifest.largest
        )
        opened = resolve(loader)(spec)
        try:
            found.append(pixels_of(opened, preprocess).cpu())
        finally:
            opened.close()
    reference, pixels = found
    assert pixels.shape == (4, 3, size, size)
    assert (pixels - reference).abs().mean(dim=(1, 2, 3)).max() < mean
