"""Do the GPU loaders deliver the reference's images, on every kind of JPEG, without a sync?"""

import dataclasses
import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from builders import loaders
from builders.images import draw
from builders.loaders import ids_of, pixels_of

from fastbench.core.errors import CorruptImageError
from fastbench.data.dataset import Manifest, scan
from fastbench.loaders.base import Loader, LoaderSpec
from fastbench.loaders.registry import resolve

pytestmark = pytest.mark.gpu

GPU_LOADERS = ["dali", "torchvision-gpu"]
EVERY_LOADER = [*GPU_LOADERS, "torchvision", "synthetic"]


def spec_of(manifest: Manifest, **changes: object) -> LoaderSpec:
    on_gpu = {"device": "cuda:0", "num_threads": 4, "largest": manifest.largest}
    return loaders.spec_of(manifest, **{**on_gpu, **changes})


@pytest.fixture
def open_loader() -> Iterator[Callable[[str, LoaderSpec], Loader]]:
    opened: list[Loader] = []

    def open_(name: str, spec: LoaderSpec) -> Loader:
        opened.append(resolve(name)(spec))
        return opened[-1]

    yield open_
    for loader in opened:
        loader.close()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 images of mixed sizes: enough batches for queues to fill and buffers to be used again."""
    root = tmp_path_factory.mktemp("many")
    for i in range(96):
        draw(root / f"{i:02d}.jpg", [(500, 375), (375, 500), (333, 251), (640, 427)][i % 4])
    return root


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", EVERY_LOADER)
def test_the_contract(
    name: str,
    dtype: str,
    prefetch: int,
    images: Path,
    open_loader: Callable[[str, LoaderSpec], Loader],
) -> None:
    loader = open_loader(name, spec_of(scan(images), prefetch=prefetch, dtype=dtype))
    epochs = []
    for _ in range(2):
        seen: list[int] = []
        kept = []
        for batch in loader:
            assert batch.images_NCHW.device == torch.device("cuda:0")
            assert batch.images_NCHW.dtype == getattr(torch, dtype)
            assert batch.images_NCHW.shape[1:] == (3, 224, 224)
            assert batch.images_NCHW.is_contiguous(memory_format=torch.channels_last)
            assert (batch.ids_N.device, batch.ids_N.dtype) == (torch.device("cuda:0"), torch.int64)
            seen += ids_of(batch)
            kept.append(batch.images_NCHW[: batch.num_valid].clone())
        assert seen == list(range(22))
        epochs.append(torch.cat(kept))
    assert torch.equal(*epochs)


@pytest.mark.parametrize(
    ("name", "options", "most", "mean"),
    [
        # nvJPEG's inverse DCT and colour conversion round otherwise than libjpeg's, by a level or
        # two; a wrong crop, filter or chroma would be tens of levels.
        ("dali", {"hw_decoder_load": 0.0}, 6.0, 0.6),
        ("dali", {"hw_decoder_load": 1.0}, 6.0, 0.6),
        # Plain chroma upsampling, which its API cannot change, is far off at coloured edges.
        ("torchvision-gpu", {}, 64.0, 1.5),
    ],
)
def test_parity_on_every_kind_of_jpeg(
    name: str,
    options: dict[str, float],
    most: float,
    mean: float,
    images: Path,
    open_loader: Callable[[str, LoaderSpec], Loader],
) -> None:
    """Grayscale, CMYK, progressive, 4:4:4, 4:2:2, EXIF-rotated, tiny and odd sizes."""
    manifest = scan(images)
    reference = pixels_of(open_loader("torchvision", spec_of(manifest, device="cpu")))
    pixels = pixels_of(open_loader(name, spec_of(manifest, options=options))).cpu()
    difference = (pixels - reference).abs()
    for i, path in enumerate(manifest.names):
        assert difference[i].max() < most, f"{path}: {difference[i].max():.1f} levels off"
        assert difference[i].mean() < mean, f"{path}: {difference[i].mean():.2f} levels off in mean"


def test_large_images(tmp_path: Path, open_loader: Callable[[str, LoaderSpec], Loader]) -> None:
    draw(tmp_path / "large.jpg", (7000, 5000))
    draw(tmp_path / "small.jpg", (17, 33))
    manifest = scan(tmp_path)
    reference = pixels_of(open_loader("torchvision", spec_of(manifest, device="cpu")))
    for name in GPU_LOADERS:
        pixels = pixels_of(open_loader(name, spec_of(manifest))).cpu()
        assert (pixels - reference).abs().mean() < 1.5, name


@pytest.mark.parametrize("name", EVERY_LOADER)
def test_no_synchronisation_in_the_loop(
    name: str, many: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    """torch raises on a call of its own that waits for the device."""
    from builders.classifiers import make_classifier

    from fastbench.measure.tally import Tally

    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=4), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    classifier = make_classifier(module, device="cuda:0", dtype="float16", batch_size=8)
    manifest = scan(many)
    tally = Tally(len(manifest), tuple(i % 8 for i in range(len(manifest))), "cuda:0")
    loader = open_loader(name, spec_of(manifest, dtype="float16"))
    for batch in loader:  # warm-up: allocators and cuDNN's search may wait
        tally.begin_epoch()
        tally.add(classifier(batch.images_NCHW), batch)
    tally.begin_epoch()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in loader:
            tally.add(classifier(batch.images_NCHW), batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert min(tally.read().times_seen) == 2


@pytest.mark.parametrize("name", GPU_LOADERS)
def test_slow_work_on_a_batch_sees_that_batch(
    name: str, many: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    """Work is queued far behind the host, which lets go of each batch at once: were its memory
    given to the next images too early, the sums would change.
    """
    spec = spec_of(scan(many), dtype="float16")
    expected = [b.images_NCHW.double().sum().item() for b in open_loader(name, spec)]
    loader = open_loader(name, spec)
    for _ in range(3):
        sums = []
        for batch in loader:
            torch.cuda._sleep(20_000_000)  # about 10 ms of the GPU's time
            sums.append(batch.images_NCHW.double().sum())
            del batch
        assert [value.item() for value in sums] == expected


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dali", {"hw_decoder_load": 0.0}),
        ("dali", {"hw_decoder_load": 1.0}),
        ("torchvision-gpu", {}),
    ],
)
def test_a_busy_gpu_changes_no_pixel(
    name: str,
    options: dict[str, float],
    many: Path,
    open_loader: Callable[[str, LoaderSpec], Loader],
) -> None:
    """nvJPEG's hardware engine writes when it is called, not when its stream comes to it: were it
    given memory that a late resize still reads, images would change.
    """
    spec = spec_of(scan(many), dtype="float16", options=options)
    loader = open_loader(name, spec)
    expected = torch.cat([batch.images_NCHW.clone() for batch in loader])
    matrix = torch.randn(8192, 8192, device="cuda:0", dtype=torch.float16)
    busy = torch.cuda.Stream()
    for _ in range(5):
        kept = []
        for batch in loader:
            with torch.cuda.stream(busy):
                for _ in range(8):  # about 15 ms of all the GPU on an H100
                    matrix @ matrix
            kept.append(batch.images_NCHW.clone())
        assert torch.equal(torch.cat(kept), expected)


@pytest.mark.parametrize("name", GPU_LOADERS)
def test_memory_is_stable_over_epochs(
    name: str, many: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    loader = open_loader(name, spec_of(scan(many)))

    def used_after_an_epoch() -> int:
        for _ in loader:
            pass
        torch.cuda.synchronize()
        gc.collect()
        free, total = torch.cuda.mem_get_info()
        return total - free

    for _ in range(3):
        settled = used_after_an_epoch()
    for _ in range(5):
        last = used_after_an_epoch()
    assert last <= settled + 64 * 2**20


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("name", GPU_LOADERS)
def test_a_damaged_file_is_named(
    name: str,
    prefetch: int,
    small: Path,
    damage: Callable[[Path], None],
    open_loader: Callable[[str, LoaderSpec], Loader],
) -> None:
    damage(small / "n02123045/3.jpg")
    loader = open_loader(name, spec_of(scan(small), batch_size=2, prefetch=prefetch))
    with pytest.raises(CorruptImageError, match=r"n02123045/3\.jpg cannot be decoded"):
        list(loader)


@pytest.mark.parametrize("name", GPU_LOADERS)
def test_close_in_mid_epoch_frees_the_gpu(name: str, many: Path) -> None:
    used = []
    for _ in range(4):
        loader = resolve(name)(spec_of(scan(many)))
        next(iter(loader))
        loader.close()
        loader.close()
        del loader
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info()
        used.append(total - free)
    assert used[-1] <= used[0] + 64 * 2**20


def test_a_shared_load_is_not_repeatable_and_can_be_told_to_be(
    many: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    spec = spec_of(scan(many), options={"hw_decoder_load": 0.6})
    loader = open_loader("dali", spec)
    assert loader.repeatable is False  # type: ignore[attr-defined]
    loader = open_loader("dali", dataclasses.replace(spec, repeatable=True))
    assert loader.repeatable is True  # type: ignore[attr-defined]
    assert loader.settings["hw_decoder_load"] == 1.0


def test_a_shared_load_gives_the_same_pixels_in_every_epoch(
    many: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    """By nvImageCodec's source the hardware gets the same images of the same batch, each time.

    Partial last batches are left out: 96 images are twelve batches of 8.
    """
    spec = spec_of(scan(many), batch_size=8, options={"hw_decoder_load": 0.5})
    loader = open_loader("dali", spec)
    epochs = [torch.cat([batch.images_NCHW.clone() for batch in loader]) for _ in range(2)]
    assert torch.equal(*epochs)
