"""timm, SPDL and WebDataset through their own code: the reference's images, or how far off."""

import dataclasses
import importlib
import itertools
import multiprocessing
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import psutil
import pytest
from builders.images import draw
from builders.loaders import IMAGENET, ids_of, pixels_of, presets, spec_of

from fastbench.core.child_process import Channel, ChildProcess
from fastbench.core.errors import CorruptImageError, LoaderError, LoaderMissingError, UsageError
from fastbench.data.dataset import scan
from fastbench.loaders.base import Loader, LoaderSpec, Preprocess
from fastbench.loaders.registry import resolve, why_not

Open = Callable[[str, LoaderSpec], Loader]
NAMES = ["spdl", "timm", "webdataset"]


@pytest.fixture
def opened(open_loader: Open) -> Open:
    return open_loader


def photos(root: Path, **options: object) -> Path:
    """What ImageNet has: images larger than the crop."""
    for i, size in enumerate([(500, 375), (375, 500), (500, 333), (640, 480), (333, 251)]):
        draw(root / f"{i}.jpg", size, **options)
    return root


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("name", ["timm", "webdataset"])
def test_pil_gives_the_references_pixels(
    name: str, prefetch: int, images: Path, opened: Open
) -> None:
    """Grayscale, CMYK, progressive, 4:4:4, 4:2:2, EXIF-rotated, tiny and odd sizes."""
    spec = spec_of(scan(images), prefetch=0)
    reference = pixels_of(opened("torchvision", spec))
    found = pixels_of(opened(name, dataclasses.replace(spec, prefetch=prefetch)))
    assert (found - reference).abs().max() < 1e-3


@pytest.mark.parametrize(
    "preprocess", presets(), ids=lambda p: f"{p.resize}-{p.crop}-{p.interpolation}-{p.mean[0]}"
)
def test_timm_meets_every_preset(preprocess: Preprocess, few: Path, opened: Open) -> None:
    spec = spec_of(scan(few), prefetch=0, preprocess=preprocess)
    reference, found = (
        pixels_of(opened(name, spec), preprocess) for name in ("torchvision", "timm")
    )
    assert (found - reference).abs().max() < 1e-3


def test_timm_refuses_what_it_cannot_leave_out(few: Path, opened: Open) -> None:
    preprocess = dataclasses.replace(IMAGENET, antialias=False)
    with pytest.raises(LoaderError, match="cannot resize without antialias"):
        opened("timm", spec_of(scan(few), preprocess=preprocess))


def test_timm_resizes_to_every_size() -> None:
    """timm floors a quotient of floats; it must not come out one short."""
    pytest.importorskip("timm")
    from timm.data import create_transform

    from fastbench.loaders.builtin.timm import crop_pct

    for resize in range(32, 600):
        for crop in {resize, resize - 1, resize * 7 // 8, 32}:
            preprocess = dataclasses.replace(IMAGENET, resize=resize, crop=crop)
            assert int(crop // crop_pct(preprocess)) == resize
    preprocess = dataclasses.replace(IMAGENET, resize=232)
    transform = create_transform(224, crop_pct=crop_pct(preprocess), crop_mode="center")
    assert transform.transforms[0].size == 232


def test_spdl_scales_and_crops_as_the_reference_does(tmp_path: Path, opened: Open) -> None:
    """Told from grey images, where FFmpeg's way with chroma does not matter."""
    spec = spec_of(scan(photos(tmp_path, mode="L")), prefetch=0)
    for interpolation, most in (("bilinear", 0.3), ("bicubic", 0.5)):
        preprocess = dataclasses.replace(IMAGENET, interpolation=interpolation)
        spec = dataclasses.replace(spec, preprocess=preprocess)
        reference, found = (pixels_of(opened(name, spec)) for name in ("torchvision", "spdl"))
        assert (found - reference).abs().max() < 3
        assert (found - reference).abs().mean() < most
        assert (found[..., 1:] - reference[..., :-1]).abs().mean() > 4  # a pixel of shift


def test_spdls_chroma_and_its_coarse_filter_are_off(tmp_path: Path, opened: Open) -> None:
    """By how much depends on the images: 0.3 levels on photographs, more on these, all grain."""
    spec = spec_of(scan(photos(tmp_path)), prefetch=0)
    reference = pixels_of(opened("torchvision", spec))
    off = []
    for flags in ("bilinear+full_chroma_int", "bilinear", "fast_bilinear"):
        loader = opened("spdl", dataclasses.replace(spec, options={"filter": flags}))
        off.append((pixels_of(loader) - reference).abs().mean())
    assert off == sorted(off)
    assert off[0] < 2.5
    assert off[2] > 1.5 * off[0]


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("name", NAMES)
def test_after_a_bad_file_the_next_epoch_begins_anew(
    name: str, prefetch: int, small: Path, damage: Callable[[Path], None], opened: Open
) -> None:
    """None drops it, and none puts another image in its place."""
    manifest = scan(small)
    path = Path(manifest.paths[3])
    sound = path.read_bytes()
    damage(path)
    loader = opened(name, spec_of(manifest, batch_size=2, prefetch=prefetch))
    for _ in range(2):
        with pytest.raises(CorruptImageError, match=rf"{path.name} cannot be decoded"):
            list(loader)
    path.write_bytes(sound)
    if name == "webdataset" or (name == "spdl" and prefetch):
        return  # it has read the file, or read ahead
    assert [i for batch in loader for i in ids_of(batch)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("content", [b"", b"not a picture\n" * 50, b"\xff\xd8\xff\xe0 and no more"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_image_is_named(name: str, content: bytes, small: Path, opened: Open) -> None:
    """timm skips such a file by itself, and SPDL and WebDataset can be told to."""
    manifest = scan(small)
    Path(manifest.paths[3]).write_bytes(content)
    loader = opened(name, spec_of(manifest, batch_size=2))
    with pytest.raises(CorruptImageError, match=Path(manifest.paths[3]).name):
        list(loader)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
@pytest.mark.parametrize("num_samples", [1, 8, 9])
@pytest.mark.parametrize("name", NAMES)
def test_few_batches_and_many_workers(
    name: str, num_samples: int, images: Path, opened: Open
) -> None:
    loader = opened(name, spec_of(scan(images, limit=num_samples), num_threads=3))
    for _ in range(3):
        assert [i for batch in loader for i in ids_of(batch)] == list(range(num_samples))


@pytest.mark.parametrize("name", NAMES)
def test_close_frees_all(
    name: str, images: Path, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spec = spec_of(scan(images))
    first = opened(name, spec)  # what starts once for the process stays
    next(iter(first))
    first.close()
    threads, processes = set(threading.enumerate()), set(psutil.Process().children(recursive=True))
    loader = opened(name, spec)
    next(iter(loader))
    busy = {*threading.enumerate(), *psutil.Process().children(recursive=True)}
    assert len(busy) >= len(threads) + len(processes) + 2
    assert bool(list(tmp_path.glob("fastbench-*"))) == (name == "webdataset")
    for _ in range(2):
        loader.close()
    psutil.wait_procs(set(psutil.Process().children(recursive=True)) - processes, timeout=5)
    assert set(psutil.Process().children(recursive=True)) <= processes
    for thread in set(threading.enumerate()) - threads:  # as a closed queue's, that is ending
        thread.join(5)
    assert set(threading.enumerate()) <= threads
    assert not list(tmp_path.glob("fastbench-*"))
    with pytest.raises(RuntimeError, match="closed"):
        next(iter(loader))


@pytest.mark.parametrize("name", ["timm", "webdataset"])
def test_an_open_loader_has_its_workers(name: str, images: Path, opened: Open) -> None:
    """Their start is no part of the first batch, and Ctrl-C is held back meanwhile."""
    before = len(multiprocessing.active_children())
    opened(name, spec_of(scan(images)))
    assert len(multiprocessing.active_children()) == before + 2


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["timm", "torchvision", "webdataset"])
def test_workers_end_though_their_error_is_kept(name: str, images: Path, opened: Open) -> None:
    before = set(multiprocessing.active_children())
    loader = opened(name, spec_of(scan(images)))
    stream = itertools.chain.from_iterable(itertools.repeat(loader))
    next(stream)
    (set(multiprocessing.active_children()) - before).pop().kill()
    with pytest.raises(LoaderError, match="died") as kept:
        deque(itertools.islice(stream, 50), maxlen=0)
    loader.close()
    del stream
    assert set(multiprocessing.active_children()) <= before
    assert kept.value.__cause__ is not None


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["timm", "torchvision", "webdataset"])
def test_workers_that_die_between_epochs_are_one_sentence(
    name: str, images: Path, opened: Open
) -> None:
    """Where the next epoch is asked for, which an iterator does outside of `next`."""
    before = set(multiprocessing.active_children())
    spec = spec_of(scan(images))
    stream = itertools.chain.from_iterable(itertools.repeat(opened(name, spec)))
    deque(itertools.islice(stream, spec.num_batches - 1), maxlen=0)
    for child in set(multiprocessing.active_children()) - before:
        child.kill()
        child.join()
    with pytest.raises(LoaderError, match=f"A worker process of the loader '{name}' died"):
        deque(itertools.islice(stream, 50), maxlen=0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["timm", "webdataset"])
def test_workers_that_died_are_one_sentence(name: str, images: Path, opened: Open) -> None:
    before = set(multiprocessing.active_children())
    loader = opened(name, spec_of(scan(images)))
    stream = itertools.chain.from_iterable(itertools.repeat(loader))
    next(stream)
    for child in set(multiprocessing.active_children()) - before:
        child.kill()
    with pytest.raises(LoaderError, match=f"A worker process of the loader '{name}' died"):
        deque(itertools.islice(stream, 50), maxlen=0)


@pytest.mark.parametrize("name", NAMES)
def test_importing_them_changes_no_start_method(name: str, images: Path, opened: Open) -> None:
    before = multiprocessing.get_start_method(allow_none=True)
    next(iter(opened(name, spec_of(scan(images, limit=2)))))
    assert multiprocessing.get_start_method(allow_none=True) == before


def test_webdataset_says_that_the_shards_do_not_fit(
    images: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("webdataset")
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(LoaderError, match=r"0\.\d GB of shards, for which .* has no room"):
        opened("webdataset", spec_of(scan(images)))


def test_spdls_filters(images: Path, opened: Open) -> None:
    spec = spec_of(scan(images, limit=2), prefetch=0)
    assert opened("spdl", spec).settings["filter"] == "bilinear+full_chroma_int"
    bicubic = dataclasses.replace(IMAGENET, interpolation="bicubic")
    loader = opened("spdl", dataclasses.replace(spec, preprocess=bicubic))
    assert loader.settings["filter"] == "bicubic+full_chroma_int"
    assert len(pixels_of(loader)) == 2
    for options, said in [
        ({"filter": "bilinaer"}, "spdl.filter has 'bilinaer', which is no flag"),
        ({"filter": "bilinear:x=1"}, "'bilinear:x=1', which is no flag"),
        ({"filtre": "bilinear"}, r"no option 'filtre'\. Did you mean 'filter'"),
    ]:
        with pytest.raises(UsageError, match=said):
            opened("spdl", dataclasses.replace(spec, options=options))
    nearest = dataclasses.replace(IMAGENET, interpolation="nearest")
    with pytest.raises(LoaderError, match="no filter of its own for 'nearest'"):
        opened("spdl", dataclasses.replace(spec, preprocess=nearest))


def without_ffmpeg(spec: LoaderSpec, channel: Channel) -> None:
    """Ask for and open SPDL's loader where none of its modules finds the libraries."""
    find = importlib.import_module

    def fail(name: str, package: str | None = None) -> ModuleType:
        if "_spdl_ffmpeg" in name:
            raise ImportError("libavcodec.so.59: cannot open")
        return find(name, package)

    importlib.import_module = fail
    channel.send("answer", why_not("spdl"))
    resolve("spdl")(spec)


def test_spdl_without_ffmpeg_says_what_to_install(images: Path, server: None) -> None:
    """In a process of its own: SPDL looks for FFmpeg once."""
    pytest.importorskip("spdl.io")
    with ChildProcess(without_ffmpeg, spec_of(scan(images))) as child:
        _, listed = child.next_message()
        _, error = child.next_message()
    assert isinstance(error, LoaderMissingError)
    for text in (listed, str(error)):
        assert "it finds no FFmpeg" in text
        assert "apt-get install ffmpeg" in text
