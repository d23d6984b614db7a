"""A timed step on a GPU: what it is given and gives, and that the host reads nothing in it."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from builders import fake_gpu
from builders.classifiers import make_classifier
from builders.fake_gpu import GPU, HostReadError, Net
from builders.images import draw
from builders.loaders import spec_of

from fastbench.data.dataset import scan
from fastbench.engines.classifier import Classifier
from fastbench.loaders.base import IMAGENET, Batch
from fastbench.loaders.builtin.dali import DaliLoader
from fastbench.loaders.builtin.synthetic import SyntheticLoader
from fastbench.loaders.shared.pixels import Normalizer
from fastbench.measure.tally import Tally

DTYPES = ["float32", "float16", "bfloat16"]


def classifier(dtype: str, module: torch.nn.Module | None = None) -> Classifier:
    module = module or Net(getattr(torch, dtype))
    return make_classifier(module, device=GPU, dtype=dtype, batch_size=4)


@pytest.mark.parametrize(
    "read",
    [
        lambda logits: logits.sum().item(),
        lambda logits: logits.cpu(),
        lambda logits: bool((logits > 0).all()),
        lambda logits: logits[logits > 0],
        lambda logits: logits.nonzero(),
        lambda logits: torch.empty(4, 8).copy_(logits),
    ],
)
def test_a_planted_host_read_is_caught(read: Callable[[torch.Tensor], object]) -> None:
    with fake_gpu.fake_gpu():
        logits = torch.empty(4, 8, device=GPU)
        with pytest.raises(HostReadError):
            read(logits)


@pytest.mark.parametrize("num", [4, 3, 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_model_gets_whole_channels_last_batches(dtype: str, num: int) -> None:
    with fake_gpu.fake_gpu():
        net = Net(getattr(torch, dtype))
        logits = classifier(dtype, net)(fake_gpu.images(num, getattr(torch, dtype)))
        assert net.seen is not None
        assert net.seen.shape == (4, 3, 32, 32)
        assert net.seen.stride() == (3 * 32 * 32, 1, 3 * 32, 3)
        assert (str(net.seen.device), net.seen.dtype) == (GPU, getattr(torch, dtype))
        # Another kind of input would make torch.compile compile the model again.
        assert not net.seen.is_inference()
        assert (logits.shape, logits.dtype, str(logits.device)) == ((4, 8), net.seen.dtype, GPU)


@pytest.mark.parametrize("labels", [tuple(range(10)), None])
@pytest.mark.parametrize("num_classes", [3, 8])
def test_the_tally_stays_on_the_device(num_classes: int, labels: tuple[int, ...] | None) -> None:
    with fake_gpu.fake_gpu():
        tally = Tally(10, labels, GPU, probabilities=True)
        tally.begin_epoch()
        for num_valid in (4, 2):
            ids_N = torch.empty(4, dtype=torch.int64, device=GPU)
            logits = torch.empty(4, num_classes, dtype=torch.float16, device=GPU)
            tally.add(logits, Batch(fake_gpu.images(4, torch.float16), ids_N, num_valid))
        kept = [value for value in vars(tally).values() if isinstance(value, torch.Tensor)]
        assert {str(tensor.device) for tensor in [*kept, *tally._hits]} == {GPU}
        with pytest.raises(HostReadError):
            tally.read()  # once in a pass


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_whole_step_reads_nothing(dtype: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("step")
    for i in range(6):
        draw(root / f"{i}.jpg", (48, 32))
    spec = spec_of(scan(root), device=GPU, dtype=dtype, batch_size=4)
    with fake_gpu.fake_gpu():
        model, tally = classifier(dtype), Tally(6, None, GPU)
        loader = SyntheticLoader(spec)
        tally.begin_epoch()
        for batch in loader:
            assert batch.images_NCHW.is_contiguous(memory_format=torch.channels_last)
            assert (str(batch.ids_N.device), batch.ids_N.dtype) == (GPU, torch.int64)
            tally.add(model(batch.images_NCHW), batch)
        assert tally._place == 6
        loader.close()


@pytest.mark.parametrize("dtype", DTYPES)
def test_levels_are_handed_over_as_they_are_and_normalised_there(dtype: str) -> None:
    with fake_gpu.fake_gpu():
        images_NCHW = Normalizer(IMAGENET, GPU, dtype)(
            torch.empty(4, 224, 224, 3, dtype=torch.uint8)
        )
        assert (images_NCHW.shape, images_NCHW.dtype) == ((4, 3, 224, 224), getattr(torch, dtype))
        assert str(images_NCHW.device) == GPU
        assert images_NCHW.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("dtype", "copied"), [("float32", False), ("float16", False), ("bfloat16", True)]
)
def test_dalis_batches_are_viewed_and_not_copied(
    dtype: str, copied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "from_dlpack", lambda output: output)
    with fake_gpu.fake_gpu():
        loader = object.__new__(DaliLoader)
        loader._dtype = getattr(torch, dtype)
        from_dali = torch.float32 if copied else loader._dtype  # DALI has no bfloat16
        images_NHWC = torch.empty(4, 224, 224, 3, dtype=from_dali, device=GPU)
        ids_N = torch.empty(4, 1, dtype=torch.int64, device=GPU)
        taken = tuple(SimpleNamespace(as_tensor=lambda x=x: x) for x in (images_NHWC, ids_N))
        batch = loader._hand_over(taken, range(8, 11))  # type: ignore[arg-type]
        assert (batch.images_NCHW.shape, batch.images_NCHW.dtype) == (
            (4, 3, 224, 224),
            loader._dtype,
        )
        assert batch.images_NCHW.is_contiguous(memory_format=torch.channels_last)
        is_view = batch.images_NCHW.untyped_storage()._cdata == images_NHWC.untyped_storage()._cdata
        assert is_view is not copied
        assert (batch.ids_N.shape, batch.num_valid) == ((4,), 3)
