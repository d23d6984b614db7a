"""Why a loader's images differ from the reference's: likely faults, tried one at a time.

For an image that is off, the reference is computed again with one fault (channels swapped, no
antialias, the crop moved, another filter, the aspect ratio lost, EXIF obeyed). The fault whose
pixels come nearest to the loader's is named, if it explains most of the difference. Another
normalisation shows as a straight line between the levels, another decoder as a difference in colour
and not in brightness. Two faults at once are not found.

Shape suffixes: C channels, H height, W width.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import torch
from PIL import Image, ImageChops, ImageOps
from torchvision.transforms import functional as transforms
from torchvision.transforms.functional import InterpolationMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fastbench.loaders.base import Preprocess

_NOTICEABLE: Final = 0.3
"""Mean levels below which an image is ignored: rounding and decoders differ by as much."""
_EXPLAINED: Final = 0.5
"""Share of the difference that a fault may leave unexplained and still be named."""
_SHIFTS: Final = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if (dy, dx) != (0, 0)]

Fault = tuple[str, "Callable[[Image.Image], torch.Tensor]"]


def name_cause(
    images: Sequence[tuple[str, torch.Tensor, torch.Tensor]], preprocess: Preprocess
) -> str | None:
    """The fault that explains most of the given images, in words, or None.

    Each image is (path, the loader's levels, the reference's levels), both (C, H, W) float32.
    """
    named: Counter[str] = Counter()
    num_off = 0
    for path, levels, reference in images:
        if float((levels - reference).abs().mean()) < _NOTICEABLE:
            continue
        num_off += 1
        cause = _cause_of(path, levels, reference, preprocess)
        if cause is not None:
            named[cause] += 1
    if not named:
        return None
    cause, count = named.most_common(1)[0]
    return (
        f"{cause} (explains {count} of the {num_off} worst images)" if 2 * count > num_off else None
    )


def _cause_of(
    path: str, levels: torch.Tensor, reference: torch.Tensor, preprocess: Preprocess
) -> str | None:
    off = float((levels - reference).abs().mean())
    best, left = None, _EXPLAINED * off
    with Image.open(path) as file:
        turned = ImageOps.exif_transpose(file.convert("RGB"))
        image = file.convert("RGB")
        inverted = ImageChops.invert(file).convert("RGB") if file.mode == "CMYK" else None
    for name, make in _faults(preprocess, turned, inverted):
        made = make(image)
        if made.shape != levels.shape:
            continue
        distance = float((levels - made).abs().mean())
        if distance < left:
            best, left = name, distance
    if best is not None:
        return best
    return _normalisation(levels, reference, preprocess) or _colour(levels, reference)


def _faults(
    preprocess: Preprocess, turned: Image.Image, inverted: Image.Image | None
) -> Iterator[Fault]:
    p = preprocess
    right = InterpolationMode(p.interpolation)

    def resized(size: Any, mode: InterpolationMode = right) -> Callable[[Any], torch.Tensor]:
        return lambda image: middle(transforms.resize(image, size, mode))

    def middle(image: Any) -> torch.Tensor:
        return _levels(transforms.center_crop(image, [p.crop, p.crop]))

    def moved(dy: int, dx: int) -> Callable[[Any], torch.Tensor]:
        def move(image: Any) -> torch.Tensor:
            small: Any = transforms.resize(image, [p.resize], right)
            top = round((small.height - p.crop) / 2) + dy
            left = round((small.width - p.crop) / 2) + dx
            return _levels(transforms.crop(small, top, left, p.crop, p.crop))

        return move

    def unfiltered(image: Any) -> torch.Tensor:
        pixels = transforms.pil_to_tensor(image)
        return middle(transforms.resize(pixels, [p.resize], right, antialias=False))

    usual = resized([p.resize])
    yield "channel order: red and blue are swapped", lambda image: usual(image).flip(0)
    yield (
        "colour space: a JPEG that stores RGB is read as YCbCr",
        lambda image: usual(Image.merge("YCbCr", image.split()).convert("RGB")),
    )
    if inverted is not None:
        yield "colour space: the inks of a CMYK JPEG are inverted", lambda _: usual(inverted)
    yield (
        "orientation: the EXIF orientation is applied, which the reference ignores",
        lambda _: usual(turned),
    )
    yield "antialias: the image is resized without it", unfiltered
    for dy, dx in _SHIFTS:
        yield f"crop offset: the crop is moved by {dy} pixels down, {dx} right", moved(dy, dx)
    for mode in (
        InterpolationMode.NEAREST,
        InterpolationMode.BILINEAR,
        InterpolationMode.BICUBIC,
        InterpolationMode.BOX,
        InterpolationMode.LANCZOS,
    ):
        if mode != right:
            yield (
                f"resize filter: {mode.value} in place of {right.value}",
                resized([p.resize], mode),
            )
    yield (
        f"resize: squashed to {p.resize}x{p.resize}, the aspect ratio is lost",
        resized([p.resize, p.resize]),
    )
    yield (
        f"resize: squashed to {p.crop}x{p.crop} without a crop",
        resized([p.crop, p.crop]),
    )
    yield f"resize: the short side is {p.crop}, not {p.resize}", resized([p.crop])


def _levels(image: Any) -> torch.Tensor:
    pixels = image if isinstance(image, torch.Tensor) else transforms.pil_to_tensor(image)
    return pixels.float()


def _normalisation(
    levels: torch.Tensor, reference: torch.Tensor, preprocess: Preprocess
) -> str | None:
    """Whether each channel is a straight line of the reference's, by least squares.

    Another std turns the line about the mean; an offset beyond that is another mean.
    """
    wrong = set()
    channels = zip(levels.flatten(1).double(), reference.flatten(1).double(), strict=True)
    for (mine, theirs), mean in zip(channels, preprocess.mean, strict=True):
        centred = theirs - theirs.mean()
        spread = float((centred * centred).sum())
        if spread == 0:
            return None
        slope = float((centred * (mine - mine.mean())).sum()) / spread
        offset = float(mine.mean() - slope * theirs.mean())
        if float((mine - slope * theirs - offset).abs().mean()) > 1.0:
            return None
        if abs(slope - 1) >= 0.01:
            wrong.add("std")
        if abs(offset - 255 * mean * (1 - slope)) >= 1:
            wrong.add("mean")
    return f"normalisation: another {' and '.join(sorted(wrong))}" if wrong else None


def _colour(levels: torch.Tensor, reference: torch.Tensor) -> str | None:
    """Whether brightness agrees and colour does not, as with another upsampling of chroma."""
    difference = levels - reference
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    brightness = (difference * weights).sum(0)
    if float(brightness.abs().mean()) < 0.4 * float((difference - brightness).abs().mean()):
        return "decoder: colour differs and brightness does not (chroma upsampling)"
    return None
