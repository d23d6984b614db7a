"""Is each fault of an export named, and nothing that is none?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from fastbench.loaders.base import IMAGENET
from fastbench.measure.wrong_export import find_cause

NUM_IMAGES = 16
NUM_CLASSES = 50
Logits = torch.Tensor


class Small(torch.nn.Sequential):
    """A net whose logits depend on everything in an image."""

    def __init__(self) -> None:
        super().__init__(
            torch.nn.Conv2d(3, 16, 5, stride=2),
            torch.nn.ReLU(),
            torch.nn.Conv2d(16, 16, 3, stride=2),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(4),
            torch.nn.Flatten(),
            torch.nn.Linear(256, NUM_CLASSES),
        )


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    torch.manual_seed(3)
    net = Small().eval()
    with torch.no_grad():  # as a trained one: logits of some units, not of tenths
        net[-1].weight *= 20
    return net.requires_grad_(False)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Smooth ones, normalised, as photographs are: noise has neither an up nor a left."""
    torch.manual_seed(4)
    coarse = torch.rand(NUM_IMAGES, 3, 6, 6)
    pixels = torch.nn.functional.interpolate(coarse, (48, 48), mode="bicubic").clamp(0, 1)
    return (pixels - MEAN) / STD


MEAN, STD = (torch.tensor(x).view(3, 1, 1) for x in (IMAGENET.mean, IMAGENET.std))


def as_nhwc(x: torch.Tensor) -> torch.Tensor:
    """The bytes of channels_last images, read as if they were in order."""
    last = x.contiguous(memory_format=torch.channels_last)
    return torch.frombuffer(bytearray(last.permute(0, 2, 3, 1).numpy().tobytes()),
                            dtype=torch.float32).view(x.shape)  # fmt: skip


OF_IMAGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "its channels are swapped": lambda x: x[:, [2, 1, 0]],
    "it normalises the images a second time": lambda x: (x - MEAN) / STD,
    "it undoes the normalisation": lambda x: x * STD + MEAN,
    "it takes values of 0 to 255": lambda x: x / 255,
    "it multiplies the images by 255": lambda x: x * 255,
    "its images are transposed": lambda x: x.transpose(2, 3),
    "the layout is NHWC": as_nhwc,
    "its images are mirrored": lambda x: x.flip(3),
    "its images are upside down": lambda x: x.flip(2),
}
OF_LOGITS: dict[str, Callable[[Logits], Logits]] = {
    "it gives probabilities: a softmax is in it": lambda x: x.softmax(1),
    "a softmax is in it twice": lambda x: x.softmax(1).softmax(1),
    "a log-softmax is in it": lambda x: x.log_softmax(1),
    "it negates the logits": lambda x: -x,
    "its classes are in another order": lambda x: x.roll(1, 1),
}


def found(net: torch.nn.Module, images: torch.Tensor, logits: Logits) -> str | None:
    return find_cause(net, images, logits, IMAGENET)


@pytest.mark.parametrize("digits", [torch.float32, torch.float16])
@pytest.mark.parametrize("fault", OF_IMAGES)
def test_a_fault_of_the_images(
    fault: str, digits: torch.dtype, net: torch.nn.Module, images: torch.Tensor
) -> None:
    """Also in float16, whose noise is not taken for something else."""
    cause = found(net, images, net(OF_IMAGES[fault](images)).to(digits).float())
    assert cause is not None
    assert fault in cause


@pytest.mark.parametrize("fault", OF_LOGITS)
def test_a_fault_of_the_logits(fault: str, net: torch.nn.Module, images: torch.Tensor) -> None:
    cause = found(net, images, OF_LOGITS[fault](net(images)))
    assert cause is not None
    assert fault in cause


def test_any_order_of_the_classes(net: torch.nn.Module, images: torch.Tensor) -> None:
    torch.manual_seed(5)
    logits = net(images)
    for _ in range(5):
        order = torch.randperm(NUM_CLASSES)
        assert found(net, images, logits[:, order]) == "its classes are in another order"
        # Of too few images any logits look like that.
        assert found(net, images[:2], logits[:2, order]) is None


def test_what_is_no_fault_of_these(net: torch.nn.Module, images: torch.Tensor) -> None:
    """Logits of the same spread, of other images, of other weights, and of none."""
    torch.manual_seed(6)
    logits = net(images)
    for seed in range(3):
        torch.manual_seed(seed)
        others = {
            "random": torch.randn_like(logits) * logits.std() + logits.mean(),
            "shuffled": logits.flatten()[torch.randperm(logits.numel())].view_as(logits),
            "each image in its own order": torch.stack(
                [row[torch.randperm(NUM_CLASSES)] for row in logits]
            ),
            "of the next image": logits.roll(1, 0),
            "of other weights": Small().eval()(images).detach(),
            "of a bias": torch.randn(NUM_CLASSES).expand_as(logits).clone(),
        }
        for name, its in others.items():
            assert found(net, images, its) is None, name
    for value in (0.0, 1 / NUM_CLASSES, 1.0):
        assert found(net, images, torch.full_like(logits, value)) is None


def test_a_thousand_random_classes_are_in_no_order() -> None:
    """Their sorted logits are all but the same."""
    torch.manual_seed(7)
    expected = torch.randn(64, 1000)
    images = torch.zeros(64, 3, 8, 8)
    assert find_cause(lambda _: expected, images, torch.randn(64, 1000), IMAGENET) is None


def test_the_noise_of_a_narrow_format_is_no_fault(
    net: torch.nn.Module, images: torch.Tensor
) -> None:
    narrow = Small().eval()
    narrow.load_state_dict(
        {name: torch.round(x / (s := x.abs().max() / 7)) * s for name, x in
         net.state_dict().items()}
    )  # fmt: skip
    logits = narrow(images).detach()
    assert (logits - net(images)).abs().max() > 0.05  # 4 bits are felt
    assert found(net, images, logits) is None


def test_one_image_tells_nothing(net: torch.nn.Module, images: torch.Tensor) -> None:
    assert found(net, images[:1], torch.zeros(1, NUM_CLASSES)) is None
