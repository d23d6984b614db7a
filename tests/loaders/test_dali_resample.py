"""How far DALI's images on a GPU are from the reference, by an emulation of its kernels.

All else of the graph, the crop's window and what minds the border, is DALI's own, run on the CPU.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from builders.dali_resample import ORDERS, F, Window, emulated_resize, resample
from builders.images import photo
from nvidia.dali import Pipeline, fn, types
from PIL import Image
from torchvision.transforms import InterpolationMode, functional

from fastbench.loaders.base import IMAGENET, LoaderSpec, Preprocess
from fastbench.loaders.builtin import dali_resize

Size = tuple[int, int]
Off = Callable[..., np.ndarray]

REDUCED = [(500, 375), (375, 500), (500, 333), (333, 251), (1024, 768), (1024, 300)]
ODD = [(64, 91), (67, 71), (300, 57), (224, 224), (256, 257)]  # enlarged, or at a simple ratio
TALL = (300, 1024)

FAULTS: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "a scale off by one part in 1,000": lambda start, end: {
        "roi_end": start + (end - start) * 1.001
    },
    "half a pixel aside": lambda start, end: {"roi_start": start + 0.5, "roi_end": end + 0.5},
    "no antialiasing": lambda start, end: {"antialias": False},
}


@functools.cache
def picture(size: Size, soft: bool = False) -> np.ndarray:
    """Like a photograph with grain, and small squares in two corners; `soft` is of 64 to 191."""
    width, height = size
    grain = np.random.default_rng(width).integers(-30, 31, (height, width, 3), dtype=np.int16)
    levels_HWC = np.clip(np.asarray(photo(width, height)) + grain, 0, 255)
    squares = np.indices((height // 3, width // 3)).sum(0) // 5 % 2 == 0
    levels_HWC[: height // 3, : width // 3][squares] = 255
    levels_HWC[-(height // 3) :, -(width // 3) :][squares] = 0
    return (levels_HWC // 2 + 64 if soft else levels_HWC).astype(np.uint8)


def preprocess_of(interpolation: str, resize: int) -> Preprocess:
    return dataclasses.replace(IMAGENET, resize=resize, interpolation=interpolation)


def run(images: list[np.ndarray], make: Callable[[Any], Any]) -> np.ndarray:
    """What a graph of DALI's on the CPU makes of one batch."""
    pipeline = Pipeline(
        batch_size=len(images), num_threads=1, device_id=None, prefetch_queue_depth=1
    )
    with pipeline:
        pipeline.set_outputs(make(fn.external_source(lambda: images, layout="HWC")))
    return np.array(pipeline.run()[0].as_array())


def graph(images: list[np.ndarray], preprocess: Preprocess, mode: str) -> np.ndarray:
    """The images as the loader's graph resizes them, by what is `fn.resize` now."""
    spec = LoaderSpec(
        paths=[],
        batch_size=len(images),
        preprocess=preprocess,
        device="cpu",
        dtype="float32",
        num_threads=1,
        resize=mode,
        sizes=[image.shape[1::-1] for image in images],
    )

    def resize(levels: Any) -> Any:
        return dali_resize.resize_and_crop(levels, levels.shape(dtype=types.INT32), spec)

    return run(images, resize).astype(int)


def reference(image_HWC: np.ndarray, p: Preprocess) -> np.ndarray:
    method = InterpolationMode(p.interpolation)
    resized = functional.resize(Image.fromarray(image_HWC), [p.resize], method)
    return np.asarray(functional.center_crop(resized, [p.crop]), int)


@pytest.fixture
def off(monkeypatch: pytest.MonkeyPatch) -> Off:
    """Levels between the emulation and the reference, (image, order of the axes, value)."""

    def off(
        images: list[np.ndarray], preprocess: Preprocess, mode: str, fault: str = ""
    ) -> np.ndarray:
        def resize(order: tuple[int, int], levels: Any, **call: Any) -> Any:
            if fault:
                call |= FAULTS[fault](call["roi_start"], call["roi_end"])
            return emulated_resize(order)(levels, **call)

        on_the_cpu = graph(images, preprocess, mode)
        expected = np.array([reference(image, preprocess) for image in images])
        offs = []
        for order in ORDERS.values():
            with monkeypatch.context() as patch:
                patch.setattr(fn, "resize", functools.partial(resize, order))
                emulated = graph(images, preprocess, mode)
            if not fault:
                assert abs(emulated - on_the_cpu).max() <= 1
                assert (emulated != on_the_cpu).mean() < 1e-3
            offs.append(abs(emulated - expected).reshape(len(images), -1))
        return np.stack(offs, 1)

    return off


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("filter_", [types.INTERP_LINEAR, types.INTERP_CUBIC])
@pytest.mark.parametrize("size", [(500, 375), (67, 71)])
def test_the_emulation_computes_what_dali_does_on_the_cpu(
    size: Size, filter_: object, antialias: bool
) -> None:
    """Whatever the window, beyond the image too: both kinds of kernels have one set-up."""
    image_HWC = picture(size)
    height, width = image_HWC.shape[:2]
    for rows, columns in (
        (Window(F(5.3), F(height - 4.2), 224), Window(F(17.9), F(width - 3.1), 200)),
        (Window(F(-3.3), F(height + 4.6), 224), Window(F(0.7), F(width), width)),
    ):
        resize = functools.partial(
            fn.resize,
            dtype=types.FLOAT,
            size=[rows.size, columns.size],
            roi_start=[rows.start, columns.start],
            roi_end=[rows.end, columns.end],
            roi_relative=False,
            subpixel_scale=False,
            min_filter=filter_,
            mag_filter=filter_,
            antialias=antialias,
        )
        (on_the_cpu,) = run([image_HWC], resize)
        for order in ORDERS.values():
            emulated = resample(image_HWC, (rows, columns), filter_, antialias, order)
            np.testing.assert_allclose(emulated, on_the_cpu, rtol=0, atol=0.02)


@pytest.mark.parametrize("resize", [256, 232, 224])  # 224 is up to the border
def test_fast_bilinear_is_within_a_level(resize: int, off: Off) -> None:
    preprocess = preprocess_of("bilinear", resize)
    for sizes in ([*REDUCED, TALL], ODD):
        assert off([picture(size) for size in sizes], preprocess, "fast").max() <= 1


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_so_is_a_large_image(mode: str, off: Off) -> None:
    """At 4,000 pixels float32 has 12 bits left behind the point."""
    assert off([picture((4288, 2848))], preprocess_of("bilinear", 256), mode).max() <= 1


@pytest.mark.parametrize("resize", [256, 224])
def test_fast_bicubic_is_within_a_level_but_where_it_overshoots(resize: int, off: Off) -> None:
    """Pillow clips between its passes to 0..255, which images of less contrast do not reach."""
    preprocess = preprocess_of("bicubic", resize)
    for sizes in ([*REDUCED, TALL], ODD):
        soft = off([picture(size, soft=True) for size in sizes], preprocess, "fast")
        assert soft.max() <= 1
        hard = off([picture(size) for size in sizes], preprocess, "fast")
        assert hard.max() <= 25
        assert hard.mean() < 0.35
        assert (hard > 4).mean() < 0.01


@pytest.mark.parametrize("resize", [256, 224])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_exact_is_the_reference(interpolation: str, resize: int, off: Off) -> None:
    """Also where simple ratios make many halves, which are rounded up."""
    preprocess = preprocess_of(interpolation, resize)
    reduced = off([picture(size) for size in [*REDUCED, TALL]], preprocess, "exact")
    reduced, tall = reduced[:-1], reduced[-1]
    odd = off([picture(size) for size in ODD], preprocess, "exact")
    assert reduced.max() <= (1 if interpolation == "bilinear" else 2)
    assert odd.max() <= 2
    for each in (reduced, odd):
        assert (each > 1).mean() < 2e-4
        assert each.mean() < 0.02
    # Pillow 13 resizes the height of these first.
    assert tall.max() <= 5
    assert tall.mean() < 0.3


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_would_be_noticed(fault: str, mode: str, off: Off) -> None:
    faulty = off([picture((500, 375))], preprocess_of("bilinear", 256), mode, fault)
    assert (faulty.max(-1) > 10).all()
    assert (faulty.mean(-1) > 0.5).all()
