"""Every loader keeps the contract, and DALI computes the reference's pixels."""

import dataclasses
import importlib.metadata
import itertools
import multiprocessing
import os
import signal
import tempfile
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from builders.images import draw
from builders.loaders import IMAGENET, ids_of, pixels_of, presets, spec_of
from PIL import Image

from fastbench.core.errors import (
    CorruptImageError,
    LoaderError,
    LoaderMissingError,
    UnknownNameError,
    UsageError,
)
from fastbench.core.loader_facts import BUILT_IN
from fastbench.core.nvidia import JpegEngines
from fastbench.data.dataset import scan
from fastbench.loaders.base import Loader, LoaderSpec, Preprocess
from fastbench.loaders.builtin.torchvision import make_transform
from fastbench.loaders.registry import resolve
from fastbench.loaders.shared.cuda_streams import InFlight
from fastbench.models.torchvision import preprocess_of

ON_A_CPU = [name for name in BUILT_IN if name not in ("dali-cpu", "torchvision-gpu")]


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("name", ON_A_CPU)
def test_the_contract(
    name: str, prefetch: int, images: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    manifest = scan(images)
    assert len(manifest) == 22  # 8 + 8 + 6: the last batch is partial
    loader = open_loader(name, spec_of(manifest, prefetch=prefetch))
    epochs = []
    for _ in range(2):
        seen: list[int] = []
        kept = []
        for batch in loader:
            assert batch.images_NCHW.shape[1:] == (3, 224, 224)
            assert batch.images_NCHW.shape[0] in (8, batch.num_valid)
            assert batch.images_NCHW.dtype == torch.float32
            assert batch.images_NCHW.is_contiguous(memory_format=torch.channels_last)
            assert batch.ids_N.dtype == torch.int64
            assert batch.ids_N.shape == batch.images_NCHW.shape[:1]
            seen += ids_of(batch)
            kept.append(batch.images_NCHW[: batch.num_valid].clone())
        assert seen == list(range(22))
        epochs.append(torch.cat(kept))
    assert torch.equal(*epochs)


@pytest.mark.parametrize("name", ON_A_CPU)
def test_names_that_are_not_utf8_or_that_others_read_as_patterns(
    name: str, tmp_path: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    names = [
        b"\xff\xfe.jpg",
        b"a \xff 7 .jpg",
        b"\xff\t9.jpg",
        b"{0..9}#%d*.jpg",
        b"x" * 249 + b".jpg",
    ]
    for i, odd in enumerate(names):
        plain = draw(tmp_path / f"plain/{i}.jpg", (60, 50 + i))
        (tmp_path / "odd").mkdir(exist_ok=True)
        os.link(plain, tmp_path / "odd" / f"{i}{os.fsdecode(odd)}")
    odd, plain = (
        pixels_of(open_loader(name, spec_of(scan(tmp_path / folder), prefetch=0)))
        for folder in ("odd", "plain")
    )
    assert torch.equal(odd, plain)


def test_dali_names_a_file_that_it_cannot_open(
    tmp_path: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    draw(tmp_path / "two\nlines.jpg", (60, 50))
    assert len(pixels_of(open_loader("dali", spec_of(scan(tmp_path))))) == 1
    draw(tmp_path / "plain.jpg", (60, 50)).rename(tmp_path / os.fsdecode(b"\xff.jpg"))
    with pytest.raises(CorruptImageError, match=r"two\nlines\.jpg is read .* \(a line break in"):
        open_loader("dali", spec_of(scan(tmp_path)))


@pytest.mark.parametrize("folder", [b"\xff{a,b}", b"a#b"])
def test_a_temporary_folder_of_any_name(
    folder: bytes,
    tmp_path: Path,
    open_loader: Callable[[str, LoaderSpec], Loader],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw(tmp_path / "plain.jpg", (60, 50)).rename(tmp_path / os.fsdecode(b"\xff.jpg"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / os.fsdecode(folder)))
    Path(tempfile.tempdir).mkdir()
    assert len(pixels_of(open_loader("dali", spec_of(scan(tmp_path))))) == 1
    if b"#" not in folder:
        assert len(pixels_of(open_loader("webdataset", spec_of(scan(tmp_path))))) == 1
        return
    with pytest.raises(LoaderError, match=r"cannot open shards in .*a#b'.* Set TMPDIR to another"):
        open_loader("webdataset", spec_of(scan(tmp_path)))


@pytest.mark.parametrize("name", ON_A_CPU)
def test_an_epoch_left_early_is_finished_by_the_next(
    name: str, images: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    loader = open_loader(name, spec_of(scan(images), batch_size=4))
    stream = iter(loader)
    next(stream), next(stream)
    assert [i for batch in loader for i in ids_of(batch)] == list(range(22))


@pytest.mark.parametrize("name", ON_A_CPU)
def test_close_twice_and_in_mid_epoch(
    name: str, images: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    loader = open_loader(name, spec_of(scan(images)))
    next(iter(loader))
    loader.close()
    loader.close()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ON_A_CPU)
def test_other_dtypes(
    name: str, dtype: str, images: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    manifest = scan(images, limit=6)
    full = next(iter(open_loader(name, spec_of(manifest, prefetch=0)))).images_NCHW.clone()
    low = next(iter(open_loader(name, spec_of(manifest, prefetch=0, dtype=dtype)))).images_NCHW
    assert low.dtype == getattr(torch, dtype)
    assert low.is_contiguous(memory_format=torch.channels_last)
    # Half a unit in the last place; DALI's float16 is within a whole one.
    rtol = {"float16": 2**-10, "bfloat16": 2**-8}[dtype]
    torch.testing.assert_close(low.float(), full, rtol=rtol, atol=1e-3)


def test_the_reference_is_the_weights_own_transforms(
    images: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    weights = torchvision.models.ResNet50_Weights.IMAGENET1K_V2
    manifest = scan(images)
    spec = spec_of(manifest, preprocess=preprocess_of(weights.transforms()))
    batches = [b.images_NCHW for b in open_loader("torchvision", spec)]
    expected = torch.stack(
        [weights.transforms()(Image.open(path).convert("RGB")) for path in manifest.paths]
    )
    assert torch.equal(torch.cat(batches), expected)


def test_dali_computes_the_references_pixels(
    images: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    """Grayscale, CMYK, progressive, 4:4:4, 4:2:2, EXIF-rotated, tiny and odd sizes."""
    manifest = scan(images)
    reference = pixels_of(open_loader("torchvision", spec_of(manifest, prefetch=0)))
    dali = pixels_of(open_loader("dali", spec_of(manifest, prefetch=0)))
    difference = (dali - reference).abs().amax(dim=(1, 2, 3))
    worst = int(difference.argmax())
    assert difference.max() < 1.01, f"{manifest.names[worst]} is {difference[worst]:.2f} levels off"


@pytest.mark.parametrize(
    "preprocess", presets(), ids=lambda p: f"{p.resize}-{p.crop}-{p.interpolation}-{p.mean[0]}"
)
def test_dali_meets_every_preset(
    preprocess: Preprocess, few: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    """Up to the image's border, where DALI by itself repeats pixels and Pillow does not."""
    manifest = scan(few)
    spec = spec_of(manifest, prefetch=0, preprocess=preprocess, batch_size=4)
    reference = pixels_of(open_loader("torchvision", spec), preprocess)
    fast = pixels_of(open_loader("dali", spec), preprocess)
    exact = pixels_of(open_loader("dali", dataclasses.replace(spec, resize="exact")), preprocess)
    # Two rounded passes can be off by one each; a single one only by its own, and where bicubic
    # overshoots, which Pillow clips between its passes.
    assert (exact - reference).abs().max() < 2.01
    off = (fast - reference).abs()
    if preprocess.interpolation == "bilinear":
        assert off.max() < 1.01
    else:
        assert off.max() < 20
        assert off.mean() < 0.3
        assert (off > 4.01).float().mean() < 1e-3
    # At a simple ratio such as 29/32 many values lie half-way between two levels, where Pillow's
    # fixed-point weights round either way; enlarging makes more of them.
    off = (exact - reference).abs().mean(dim=(1, 2, 3))
    reduced = torch.tensor([min(size) >= preprocess.resize for size in manifest.sizes])
    assert reduced.all() or off[~reduced].max() < 0.1
    assert not reduced.any() or off[reduced].mean() < 0.01
    assert (fast - exact).abs().mean() > 0.01


def test_dali_rounds_tall_images_in_the_usual_order(
    tmp_path: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    """Pillow 13 does not: a quarter of a level in the mean, as docs/loaders.md says."""
    draw(tmp_path / "tall.jpg", (300, 700))
    spec = spec_of(scan(tmp_path), prefetch=0, resize="exact")
    reference, exact = (pixels_of(open_loader(name, spec)) for name in ("torchvision", "dali"))
    assert (exact - reference).abs().max() < 2.01
    assert (exact - reference).abs().mean() < 0.3


def test_dali_says_which_share_of_its_work_is_padding(
    images: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    manifest = scan(images)  # 22 images in 3 batches of 8
    ahead = open_loader("dali", spec_of(manifest))
    assert ahead.settings["padding_share"] == pytest.approx(2 / 24)
    assert open_loader("dali", spec_of(manifest, prefetch=0)).settings["padding_share"] == 0


def test_a_wrong_crop_would_be_noticed(
    tmp_path: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    """The bound of one level means something: one pixel of shift is far beyond it."""
    draw(tmp_path / "a.jpg", (500, 375))
    pixels = pixels_of(open_loader("dali", spec_of(scan(tmp_path), prefetch=0)))
    assert (pixels[..., 1:] - pixels[..., :-1]).abs().max() > 20


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("name", ["dali", "torchvision", "spdl", "timm", "webdataset"])
def test_a_damaged_file_is_named(
    name: str,
    prefetch: int,
    small: Path,
    damage: Callable[[Path], None],
    open_loader: Callable[[str, LoaderSpec], Loader],
) -> None:
    path = small / "n02123045/3.jpg"
    damage(path)
    loader = open_loader(name, spec_of(scan(small), batch_size=2, prefetch=prefetch))
    with pytest.raises(CorruptImageError, match=r"n02123045/3\.jpg cannot be decoded") as caught:
        list(loader)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGKILL, ", as when memory"), (signal.SIGSEGV, r": it was killed by SIGSEGV\. That")],
)
def test_a_worker_that_died_is_one_sentence_with_the_cause_where_it_is_known(
    number: signal.Signals,
    said: str,
    images: Path,
    open_loader: Callable[[str, LoaderSpec], Loader],
) -> None:
    before = set(multiprocessing.active_children())
    loader = open_loader("torchvision", spec_of(scan(images)))
    stream = itertools.chain.from_iterable(itertools.repeat(loader))
    next(stream)
    for child in set(multiprocessing.active_children()) - before:
        os.kill(child.pid or 0, number)
    what = f"A worker process of the loader 'torchvision' died{said}"
    with pytest.raises(LoaderError, match=what):
        deque(itertools.islice(stream, 50), maxlen=0)


def test_dali_refuses_an_interpolation_that_it_cannot_match(
    images: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    preprocess = dataclasses.replace(IMAGENET, interpolation="lanczos")
    with pytest.raises(LoaderError, match="cannot resize with 'lanczos'"):
        open_loader("dali", spec_of(scan(images), preprocess=preprocess))


def test_the_transform_is_rebuilt_as_it_was() -> None:
    weights = torchvision.models.ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1
    rebuilt = make_transform(preprocess_of(weights.transforms()))
    image = Image.fromarray(np.arange(90 * 70 * 3, dtype=np.uint8).reshape(90, 70, 3))
    assert torch.equal(rebuilt(image), weights.transforms()(image))


def test_options_of_dali(
    images: Path,
    open_loader: Callable[[str, LoaderSpec], Loader],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = spec_of(scan(images))
    for options, said in [
        ({"hw_decoder_lode": 1}, r"no option 'hw_decoder_lode'\. Did you mean 'hw_decoder_load'"),
        ({"hw_decoder_load": 1.5}, r"hw_decoder_load is 1\.5\. Give it from 0 to 1"),
        ({"hw_decoder_load": "all"}, "hw_decoder_load is 'all'; it must be a number"),
        ({"width_hint": True}, "width_hint is True; it must be of type int"),
    ]:
        with pytest.raises(UsageError, match=said):
            open_loader("dali", dataclasses.replace(spec, options=options))
    assert resolve("dali").search_space(spec) == {}  # type: ignore[attr-defined]
    on_gpu = resolve("dali").search_space(dataclasses.replace(spec, device="cuda:0"))  # type: ignore[attr-defined]
    assert on_gpu["num_threads"] == (2,)
    many = dataclasses.replace(spec, device="cuda:0", num_threads=64)
    for num_engines, first in ((7, "hw_decoder_load"), (0, "num_threads")):
        engines = JpegEngines(num_engines, 1)
        monkeypatch.setattr("fastbench.loaders.builtin.dali.jpeg_engines", lambda _, e=engines: e)
        space = resolve("dali").search_space(many)  # type: ignore[attr-defined]
        assert next(iter(space)) == first
        assert ("hybrid_huffman_threshold" in space) is (num_engines == 0)
        assert space["num_threads"] == (4, 8, 16, 24)
        assert space["prefetch"] == (2, 3, 4)


def test_torchvision_gpu_refuses_a_cpu(
    images: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    with pytest.raises(LoaderMissingError, match="this run is on the CPU"):
        open_loader("torchvision-gpu", spec_of(scan(images)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchvision_gpus_arithmetic_is_the_references(images: Path) -> None:
    """Its decoding and resizing, on a CPU: what nvJPEG refuses is decoded by Pillow."""
    from torchvision.io import ImageReadMode, decode_jpeg

    from fastbench.loaders.builtin.torchvision_gpu import _read_file, decode_all, prepare

    manifest = scan(images)
    sent = []

    def decode(files: list[torch.Tensor]) -> list[torch.Tensor]:
        sent.append(len(files))
        return [decode_jpeg(file, ImageReadMode.RGB) for file in files]

    files = [_read_file(path) for path in manifest.paths]
    pixels = decode_all(files, decode, torch.device("cpu"))
    assert sent == [21]  # all but the CMYK one
    batch = prepare(pixels, IMAGENET, torch.float32)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    transform = make_transform(IMAGENET)
    std = torch.tensor(IMAGENET.std).view(3, 1, 1)
    for path, image in zip(manifest.paths, batch, strict=True):
        expected = transform(Image.open(path).convert("RGB"))
        levels = 255 * std * (image - expected)
        assert levels.abs().max() < 2.01, path
        assert levels.abs().mean() < 0.02, path
    assert prepare(pixels[:3], IMAGENET, torch.float16).dtype == torch.float16


def test_a_gpu_batch_is_held_until_its_event_has_passed() -> None:
    class Event:
        def __init__(self) -> None:
            self.done = self.waited = False

        def query(self) -> bool:
            return self.done

        def synchronize(self) -> None:
            self.done = self.waited = True

    events: list[Event] = []
    in_flight = InFlight(
        torch.device("cuda"), 2, record_event=lambda _: events.append(Event()) or events[-1]
    )
    owners = [Event() for _ in range(4)]  # anything that can be referred to weakly
    alive = [weakref.ref(owner) for owner in owners]
    for _ in range(2):
        in_flight.hold(owners.pop(0))
    assert [ref() is not None for ref in alive[:2]] == [True, True]
    events[0].done = True
    in_flight.hold(owners.pop(0))  # the first is done and goes; two are left
    assert [ref() is not None for ref in alive[:3]] == [False, True, True]
    in_flight.hold(owners.pop(0))  # one too many: the oldest is waited for
    assert events[1].waited
    assert [ref() is not None for ref in alive] == [False, False, True, True]
    in_flight.drain()
    assert [ref() is not None for ref in alive] == [False] * 4


def test_an_unknown_loader() -> None:
    with pytest.raises(UnknownNameError, match=r"no loader 'daly'\. Did you mean 'dali'\?"):
        resolve("daly")


def test_a_plug_in_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint(
        "mine", "fastbench.loaders.builtin.synthetic:SyntheticLoader", "fastbench.loaders"
    )
    broken = importlib.metadata.EntryPoint("broken", "no_such_module:Loader", "fastbench.loaders")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry, broken])
    assert resolve("mine").__name__ == "SyntheticLoader"
    with pytest.raises(LoaderMissingError, match=r"'broken' \(no_such_module:Loader\) failed to"):
        resolve("broken")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "fastbench.loaders.builtin.dali", raising=False)
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(LoaderMissingError, match=r"'dali' cannot run here: .*nvidia\.dali"):
        resolve("dali")
