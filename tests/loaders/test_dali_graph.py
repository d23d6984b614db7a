"""What DALI's graph for a GPU consists of, on a machine without one."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from builders.dali_graph import Operator, operators_of
from nvidia.dali import Pipeline, fn, types

from fastbench.loaders.base import IMAGENET, LoaderSpec, Setting
from fastbench.loaders.builtin.dali import buffers_for, make_graph
from fastbench.loaders.builtin.dali_resize import crop_window

OPTIONS: dict[str, Setting] = {
    "hw_decoder_load": 0.25,
    "fancy_upsampling": True,
    "hybrid_huffman_threshold": 300_000,
    "device_memory_padding": 3_000_000,
    "host_memory_padding": 2_000_000,
    "width_hint": 500,
    "height_hint": 375,
}


SPEC = LoaderSpec(
    paths=["/a.jpg"],
    batch_size=8,
    preprocess=IMAGENET,
    device="cuda:0",
    dtype="float16",
    num_threads=2,
    sizes=[(500, 375)],
)


def graph(
    size: int = 256,
    crop: int = 224,
    interpolation: str = "bilinear",
    options: dict[str, Setting] | None = OPTIONS,
    own: dict[str, Setting] | None = None,
    **changes: object,
) -> list[Operator]:
    """The operators of the GPU's graph; a pipeline for a device would ask for its driver.

    `options` are those of decoding, `own` those that a user gives.
    """
    preprocess = dataclasses.replace(IMAGENET, resize=size, crop=crop, interpolation=interpolation)
    spec = dataclasses.replace(SPEC, preprocess=preprocess, options=own or {})
    spec = dataclasses.replace(spec, **changes)  # type: ignore[arg-type]
    pipeline = Pipeline(batch_size=8, num_threads=2, device_id=None)
    with pipeline:
        pipeline.set_outputs(*make_graph(spec, {"files": ["/a.jpg"], "labels": [0]}, options))
    return operators_of(pipeline.serialize())


def named(operators: list[Operator], name: str) -> list[Operator]:
    return [each for each in operators if each.name == name]


@pytest.mark.parametrize(
    ("size", "crop", "interpolation", "mode", "most"),
    [
        (256, 224, "bilinear", "fast", 15),
        (232, 224, "bilinear", "fast", 15),
        (224, 224, "bilinear", "fast", 22),  # up to the border
        (256, 224, "bicubic", "fast", 15),
        (224, 224, "bicubic", "fast", 22),
        (256, 224, "bilinear", "exact", 28),
        (256, 224, "bicubic", "exact", 28),
        (224, 224, "bilinear", "exact", 34),
        (226, 224, "bicubic", "exact", 34),
        (224, 224, "bicubic", "exact", 34),
    ],
)
def test_few_operators_run_on_the_cpu(
    size: int, crop: int, interpolation: str, mode: str, most: int
) -> None:
    """DALI runs them one at a time, and each goes over all samples of a batch."""
    operators = graph(size, crop, interpolation, resize=mode)
    assert Counter(each.device for each in operators)["cpu"] <= most


def test_pixels_are_made_on_the_gpu_alone() -> None:
    for mode in ("fast", "exact"):
        operators = graph(224, 224, resize=mode)
        assert [each.device for each in named(operators, "decoders__Image")] == ["mixed"]
        for name in ("Resize", "Slice", "CropMirrorNormalize"):
            assert {each.device for each in named(operators, name)} == {"gpu"}, name


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_fast_is_one_pass_and_exact_two_in_8_bits(interpolation: str) -> None:
    filters = {"bilinear": types.INTERP_LINEAR, "bicubic": types.INTERP_CUBIC}
    for mode, num_passes in (("fast", 1), ("exact", 2)):
        passes = named(graph(interpolation=interpolation, resize=mode), "Resize")
        assert len(passes) == num_passes
        for each in passes:
            # `exact` rounds halves up, by arithmetic, as Pillow does.
            assert each.arguments["dtype"] == (types.UINT8 if mode == "fast" else types.FLOAT)
            assert each.arguments["min_filter"] == filters[interpolation]
            assert each.arguments["mag_filter"] == filters[interpolation]
            assert each.arguments["antialias"] is True
            assert each.arguments["subpixel_scale"] is False
            assert {"roi_start", "roi_end"} <= each.fed
        assert passes[-1].arguments["size"] == [224, 224]


def test_the_border_is_minded_where_a_filter_meets_it() -> None:
    def is_padded(*arguments: object, **changes: object) -> bool:
        return bool(named(graph(*arguments, **changes), "Slice"))  # type: ignore[arg-type]

    assert not is_padded(256, 224, "bicubic", resize="exact")
    assert is_padded(256, 224, "bicubic", resize="exact", sizes=[(500, 375), (40, 31)])
    assert not is_padded(256, 224, "bicubic", sizes=[(500, 375), (40, 31)])
    assert not is_padded(232, 224)
    assert is_padded(232, 224, sizes=[(57, 300)])
    assert is_padded(224, 224, "bicubic")


def test_what_the_decoder_is_told() -> None:
    (decoder,) = named(graph(), "decoders__Image")
    assert decoder.arguments["jpeg_fancy_upsampling"] is True
    assert decoder.arguments["adjust_orientation"] is False
    assert decoder.arguments["hw_decoder_load"] == 0.25
    assert decoder.arguments["preallocate_width_hint"] == 500
    assert decoder.arguments["preallocate_height_hint"] == 375
    assert decoder.arguments["hybrid_huffman_threshold"] == 300_000
    assert decoder.arguments["device_memory_padding"] == 3_000_000
    assert decoder.arguments["host_memory_padding"] == 2_000_000
    (plain,) = named(graph(options={**OPTIONS, "fancy_upsampling": False}), "decoders__Image")
    assert plain.arguments["jpeg_fancy_upsampling"] is False


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_how_many_images_a_kernel_resizes(mode: str) -> None:
    for given, expected in (({}, 32), ({"resize_minibatch_size": 256}, 256)):
        for each in named(graph(resize=mode, own=given), "Resize"):
            assert each.arguments["minibatch_size"] == expected


def test_dali_cpu_decodes_on_the_cpu_and_resizes_on_the_gpu() -> None:
    operators = graph(options=None)
    assert [each.device for each in named(operators, "decoders__Image")] == ["cpu"]
    assert [each.device for each in named(operators, "Resize")] == ["gpu"]


@pytest.mark.parametrize(
    ("dtype", "expected"), [("float16", types.FLOAT16), ("float32", types.FLOAT)]
)
def test_images_leave_normalised_in_the_models_dtype(dtype: str, expected: object) -> None:
    (last,) = named(graph(dtype=dtype), "CropMirrorNormalize")
    assert last.arguments["dtype"] == expected
    assert last.arguments["output_layout"] == "HWC"
    assert last.arguments["mean"] == pytest.approx([255 * value for value in IMAGENET.mean])
    assert last.arguments["std"] == pytest.approx([255 * value for value in IMAGENET.std])


@pytest.mark.parametrize(("size", "crop"), [(256, 224), (232, 224), (235, 223), (518, 518)])
def test_the_window_is_torchvisions_to_the_bit(size: int, crop: int) -> None:
    """Every parity of the margins, in both orientations, and sizes of 1 pixel to the largest."""
    preprocess = dataclasses.replace(IMAGENET, resize=size, crop=crop)
    sizes_N2 = [(375, 500), (500, 375), (1, 1), (1, 9000), (65535, 65535), (5000, 7000)]
    sizes_N2 += [(height, width) for height in (97, 300, 333) for width in range(300, 340)]
    shapes = [np.array([*each, 3], np.int32) for each in sizes_N2]
    pipeline = Pipeline(batch_size=len(shapes), num_threads=1, device_id=None)
    with pipeline:
        window = crop_window(fn.external_source(lambda: shapes), preprocess)
        pipeline.set_outputs(window.start, window.end)
    starts, ends = pipeline.run()
    for i, lengths in enumerate(sizes_N2):
        for axis, length in enumerate(lengths):
            resized = length * size // min(lengths)
            first = round((resized - crop) / 2)
            scale = np.float32(length) / np.float32(resized)
            assert starts.at(i)[axis] == np.float32(first) * scale
            assert ends.at(i)[axis] == np.float32(first + crop) * scale


def test_buffers_are_made_for_a_real_large_image() -> None:
    sizes = [(500, 375)] * 990 + [(600, 400)] * 5 + [(9000, 10), (20, 9000), *[(4000, 3000)] * 3]
    spec = dataclasses.replace(SPEC, batch_size=10, largest=(9000, 9000), sizes=sizes)

    def hint(spec: LoaderSpec, free: int) -> tuple[int, ...]:
        told = buffers_for(spec, free, has_engines=True)
        assert [*told] == ["width_hint", "height_hint"]
        return tuple(told.values())

    assert hint(spec, 2**40) == (500, 375)
    few = dataclasses.replace(spec, sizes=[(640, 480)])
    assert hint(few, 2**40) == (640, 480)
    # A quarter of what is free holds a batch of images a quarter as large.
    assert hint(few, 3 * 640 * 480 * 10) == (320, 240)
    assert hint(dataclasses.replace(spec, sizes=()), 2**40) == (9000, 9000)


def test_without_engines_each_thread_has_its_memory() -> None:
    spec = dataclasses.replace(SPEC, num_threads=4)

    def paddings(free: int, size: tuple[int, int]) -> tuple[int, ...]:
        told = buffers_for(dataclasses.replace(spec, sizes=[size]), free, has_engines=False)
        assert [*told] == ["device_memory_padding", "host_memory_padding"]
        return tuple(told.values())

    assert paddings(2**40, (500, 375)) == (2**24, 2**23)  # DALI's own are enough
    assert paddings(2**40, (6000, 4000)) == (144_000_000, 144_000_000)
    assert paddings(2**30, (6000, 4000)) == (2**26, 2**26)  # a quarter, for four threads
