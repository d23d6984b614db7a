"""Why an engine's logits differ from the model's: likely faults of an export, tried one at a time.

For each fault the float32 eager model gets the images as the wrong export would see them, or its
logits are changed as the wrong export would change them. The fault whose logits come nearest to the
engine's is named, if it explains nearly all of the difference, and nearly all of how the engine's
logits vary from image to image: logits that say nothing of the images are near many things. Two
faults at once are not found, but for softmax, which is tried once and twice.

Shape suffixes: N batch, C channels or classes, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastbench.loaders.base import Preprocess

_EXPLAINED: Final = 0.1
"""Share of the difference that a fault may leave unexplained and still be named."""
_FEWEST: Final = 8
"""Images by which classes can be told from each other: one image's logits are in some order."""


def find_cause(
    run: Callable[[torch.Tensor], torch.Tensor],
    images_NCHW: torch.Tensor,
    found_NC: torch.Tensor,
    preprocess: Preprocess,
) -> str | None:
    """The fault that explains the engine's logits `found_NC` for these images; None for none.

    `run` is the float32 eager model: normalised (N, 3, H, W) float32 images -> (N, C) logits.
    """
    expected_NC = run(images_NCHW)
    best, left = None, _EXPLAINED * _distance(found_NC, expected_NC)
    of_images = ((name, run(its_NCHW)) for name, its_NCHW in _of_images(images_NCHW, preprocess))
    for name, logits_NC in (*of_images, *_of_logits(expected_NC)):
        distance = _distance(found_NC, logits_NC)
        if distance < min(left, _EXPLAINED * _variation(logits_NC)):
            best, left = name, distance
    if best is None and _is_reordered(found_NC, expected_NC):
        return "its classes are in another order"
    return best


def _distance(a_NC: torch.Tensor, b_NC: torch.Tensor) -> float:
    return float((a_NC - b_NC).double().abs().mean())


def _variation(logits_NC: torch.Tensor) -> float:
    """How far logits are from the mean of their class over the images."""
    return _distance(logits_NC, logits_NC.mean(0))


def _is_reordered(found_NC: torch.Tensor, expected_NC: torch.Tensor) -> bool:
    """Whether each class's logits are those of another one, the same for all images."""
    num_images, num_classes = expected_NC.shape
    if num_images < _FEWEST:
        return False
    apart_CC = torch.cdist(found_NC.T, expected_NC.T, p=1) / num_images
    nearest = apart_CC.min(1)
    if len(nearest.indices.unique()) < num_classes:
        return False
    left = min(_distance(found_NC, expected_NC), _variation(expected_NC))
    return float(nearest.values.mean()) < _EXPLAINED * left


def _of_images(
    images_NCHW: torch.Tensor, preprocess: Preprocess
) -> Iterator[tuple[str, torch.Tensor]]:
    """The images as a wrong export would see them."""
    mean_C11 = torch.tensor(preprocess.mean).view(3, 1, 1)
    std_C11 = torch.tensor(preprocess.std).view(3, 1, 1)
    pixels_NCHW = images_NCHW * std_C11 + mean_C11
    N, C, H, W = images_NCHW.shape
    as_NHWC = images_NCHW.permute(0, 2, 3, 1).contiguous().view(N, C, H, W)
    for name, made_NCHW in (
        ("its channels are swapped: it takes BGR", images_NCHW.flip(1)),
        (
            "it normalises the images a second time: the export has the normalisation in it",
            (images_NCHW - mean_C11) / std_C11,
        ),
        ("it undoes the normalisation of the images", pixels_NCHW),
        ("it takes values of 0 to 255", images_NCHW / 255),
        ("it multiplies the images by 255", images_NCHW * 255),
        ("it takes height for width: its images are transposed", images_NCHW.transpose(2, 3)),
        ("it takes the channels of each pixel for its rows: the layout is NHWC", as_NHWC),
        ("its images are mirrored", images_NCHW.flip(3)),
        ("its images are upside down", images_NCHW.flip(2)),
    ):
        yield name, made_NCHW.contiguous(memory_format=torch.channels_last)


def _of_logits(expected_NC: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """The logits as a wrong export would give them."""
    once_NC = expected_NC.softmax(1)
    yield "it gives probabilities: a softmax is in it", once_NC
    yield "a softmax is in it twice", once_NC.softmax(1)
    yield "it gives logarithms of probabilities: a log-softmax is in it", once_NC.log()
    yield "it negates the logits", -expected_NC
