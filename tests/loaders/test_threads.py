"""Loaders that decode in threads: the reference's pixels, in order, from buffers used in turn."""

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from builders.loaders import IMAGENET, ids_of, pixels_of, spec_of
from PIL import Image

from fastbench.core.errors import CorruptImageError, OutOfMemoryError, UsageError
from fastbench.data.dataset import scan
from fastbench.loaders.base import Loader, LoaderSpec, Preprocess
from fastbench.loaders.builtin.torchvision import make_transform
from fastbench.loaders.builtin.torchvision_tensor import make_levels_of, open_resizer
from fastbench.loaders.registry import resolve
from fastbench.loaders.shared.decoders import as_batch
from fastbench.loaders.shared.pixels import Normalizer
from fastbench.loaders.shared.threads import ThreadedLoader, borrow_file, read_file


@pytest.fixture
def opened() -> Iterator[list[Loader]]:
    loaders: list[Loader] = []
    yield loaders
    for loader in loaders:
        loader.close()


def draw(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * height)
    coarse = rng.integers(0, 256, (height // 24 + 2, width // 24 + 2, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    grain = rng.normal(0, 12, (height, width, 3))
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))


def resized(image: Image.Image, preprocess: Preprocess) -> np.ndarray:
    pixels_HWC = torch.from_numpy(np.array(image))
    levels_HP = open_resizer(preprocess)(as_batch(pixels_HWC, image.height, image.width))
    return levels_HP.view(preprocess.crop, preprocess.crop, 3).numpy().astype(float)


def levels_by_reference(
    image: Image.Image, interpolation: str, *, antialias: bool = True
) -> np.ndarray:
    preprocess = dataclasses.replace(
        IMAGENET,
        interpolation=interpolation,
        antialias=antialias,
        mean=(0, 0, 0),
        std=(1, 1, 1),
    )
    return (make_transform(preprocess)(image) * 255).round().permute(1, 2, 0).numpy()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    "size",
    [
        *[(500, 375), (375, 500), (1, 1), (257, 256), (224, 224), (1000, 301), (97, 640)],
        # The crop ends where the source does, in pixels: torch's kernel could leave a pass out.
        *[(350, 240), (240, 350), (240, 240), (298, 204), (196, 320), (258, 225), (256, 300)],
        # From Pillow 13 on the height of what is taller than twice its width is resized first.
        *[(257, 1000), (300, 601), (300, 600), (240, 700), (256, 700)],
    ],
)
def test_the_crop_is_the_reference_s(size: tuple[int, int], interpolation: str) -> None:
    image = draw(*size)
    preprocess = dataclasses.replace(IMAGENET, interpolation=interpolation)
    got = resized(image, preprocess)
    difference = np.abs(got - levels_by_reference(image, interpolation))
    assert difference.max() <= 2
    assert difference.mean() < 0.01


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_without_antialias_it_is_still_the_reference_s(interpolation: str) -> None:
    """Pillow always has it, so the reference leaves it out by resizing tensors."""
    image = draw(500, 375)
    preprocess = dataclasses.replace(IMAGENET, interpolation=interpolation, antialias=False)
    got = resized(image, preprocess)
    most = {"bilinear": 1, "bicubic": 4}[interpolation]  # the reference's is of float32 throughout
    assert np.abs(got - levels_by_reference(image, interpolation, antialias=False)).max() <= most
    assert np.abs(got - levels_by_reference(image, interpolation)).mean() > 1


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_both_ways_to_normalise_are_the_same(dtype: str) -> None:
    levels_NHWC = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    normalizer = Normalizer(IMAGENET, "cpu", dtype)
    together_NCHW = normalizer(levels_NHWC)
    apart_NHWC = torch.zeros(2, 224, 224, 3, dtype=getattr(torch, dtype))
    for levels_HP, image_HP in zip(levels_NHWC.flatten(2), apart_NHWC.flatten(2), strict=True):
        normalizer.into(levels_HP, image_HP)
    wanted_NHWC = (levels_NHWC / 255 - torch.tensor(IMAGENET.mean)) / torch.tensor(IMAGENET.std)
    tolerance = {"float32": 1e-6, "float16": 2e-3, "bfloat16": 2e-2}[dtype]
    assert together_NCHW.is_contiguous(memory_format=torch.channels_last)
    for images_NHWC in (together_NCHW.permute(0, 2, 3, 1), apart_NHWC):
        assert (images_NHWC.float() - wanted_NHWC).abs().max() <= tolerance


def test_memory_replays_what_the_tensor_loader_makes(images: Path, opened: list[Loader]) -> None:
    spec = spec_of(scan(images))
    opened += [resolve(name)(spec) for name in ("torchvision-tensor", "memory")]
    assert torch.equal(*(pixels_of(loader) for loader in opened))


def test_memory_says_that_the_images_do_not_fit(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Little:
        available = 1_000_000

    monkeypatch.setattr(psutil, "virtual_memory", Little)
    with pytest.raises(OutOfMemoryError, match=r"22 images in 3\.3 MB.*1\.0 MB are.*--limit"):
        resolve("memory")(spec_of(scan(images)))


def test_pillow_decodes_what_the_fast_decoder_refuses(tmp_path: Path) -> None:
    draw(300, 260).save(tmp_path / "really.png")
    path = (tmp_path / "really.png").rename(tmp_path / "named.jpg")
    _, levels_of = make_levels_of(
        LoaderSpec(
            paths=[str(path)],
            batch_size=1,
            preprocess=IMAGENET,
            device="cpu",
            dtype="float32",
            num_threads=1,
        )
    )
    wanted = levels_by_reference(draw(300, 260), "bilinear")
    assert np.abs(levels_of(0).view(224, 224, 3).numpy() - wanted).max() <= 2


def test_a_bad_file_fails_its_own_batch_and_the_next_goes_on(
    small: Path, damage: Callable[[Path], None], opened: list[Loader]
) -> None:
    manifest = scan(small)
    damage(Path(manifest.paths[3]))
    opened.append(loader := resolve("torchvision-tensor")(spec_of(manifest, batch_size=2)))
    stream = iter(loader)
    assert ids_of(next(stream)) == [0, 1]
    with pytest.raises(CorruptImageError, match=Path(manifest.paths[3]).name):
        next(stream)
    # The epoch that failed is finished, its last batch unseen, and the next begins.
    assert ids_of(next(iter(loader))) == [0, 1]


def made_of_threads(
    spec: LoaderSpec, make: Callable[[int], torch.Tensor], opened: list[Loader]
) -> ThreadedLoader:
    opened.append(loader := ThreadedLoader(spec, make, {}))
    return loader


def test_a_batch_is_whole_until_the_next_but_one_is_asked_for(
    images: Path, opened: list[Loader]
) -> None:
    def make(sample: int) -> torch.Tensor:
        return torch.full((224, 3 * 224), sample, dtype=torch.uint8)

    spec = spec_of(scan(images), batch_size=2)
    loader = made_of_threads(spec, make, opened)
    held: list[tuple[torch.Tensor, torch.Tensor]] = []
    for batch in loader:
        kept = batch.images_NCHW
        held.append((kept, kept.clone()))
        time.sleep(0.02)  # the threads are ahead by now, as far as they may be
        assert all(torch.equal(kept, then) for kept, then in held[-2:])


def test_without_prefetch_nothing_is_made_before_it_is_asked_for(
    images: Path, opened: list[Loader]
) -> None:
    made: list[int] = []

    def make(sample: int) -> torch.Tensor:
        made.append(sample)
        return torch.zeros((224, 3 * 224), dtype=torch.uint8)

    stream = iter(made_of_threads(spec_of(scan(images), prefetch=0), make, opened))
    time.sleep(0.05)
    assert made == []
    next(stream)
    time.sleep(0.05)
    assert sorted(made) == list(range(8))


def test_close_ends_the_threads(images: Path) -> None:
    before = set(threading.enumerate())  # another test may have left some that are stuck
    loader = resolve("torchvision-tensor")(spec_of(scan(images)))
    next(iter(loader))
    assert any(t.name.startswith("fastbench-decode") for t in {*threading.enumerate()} - before)
    loader.close()
    loader.close()
    assert not {*threading.enumerate()} - before
    with pytest.raises(RuntimeError, match="closed"):
        next(iter(loader))


def test_opencv_has_filters_by_name(images: Path, opened: list[Loader]) -> None:
    pytest.importorskip("cv2")
    manifest = scan(images)
    opened += [
        resolve("opencv")(spec_of(manifest, options={"filter": name}))
        for name in ("linear", "area")
    ]
    linear, area = (pixels_of(loader) for loader in opened)
    assert not torch.equal(linear, area)
    with pytest.raises(UsageError, match=r"opencv\.filter is 'linaer'\. Did you mean 'linear'"):
        resolve("opencv")(spec_of(manifest, options={"filter": "linaer"}))


def test_a_thread_of_ours_starts_no_threads_of_torch(images: Path, opened: list[Loader]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        torch.zeros(1_000_000).add_(1)  # this thread's own helpers are there from here on
        others = {*os.listdir("/proc/self/task")}  # of which some may end meanwhile
        spec = spec_of(scan(images))
        opened.append(loader := resolve("torchvision-tensor")(spec))
        assert sum(batch.num_valid for batch in loader) == len(spec.paths)
        assert len({*os.listdir("/proc/self/task")} - others) == spec.num_threads
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 4
    finally:
        torch.set_num_threads(before)


def test_a_file_that_was_read_stays_as_another_is_read(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    first, second = (read_file(str(tmp_path / name)) for name in "ab")
    assert (first.tobytes(), second.tobytes()) == (b"a", b"b")


def test_a_file_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)) * 1000)
    assert read_file(str(path)).tobytes() == path.read_bytes()
    readv = os.readv
    monkeypatch.setattr(os, "readv", lambda file, data: readv(file, [data[0][:100_000]]))
    assert read_file(str(path)).tobytes() == path.read_bytes()
    path.write_bytes(bytes(range(256)) * 10_000)  # more than the memory for files holds at first
    assert read_file(str(path)).tobytes() == path.read_bytes()
    assert borrow_file(str(path)).tobytes() == path.read_bytes()
    with pytest.raises(FileNotFoundError, match="nothing here"):
        read_file(str(tmp_path / "nothing here"))
