"""Draws the sample images, for machines where ImageNet is not at hand.

A benchmark of JPEG -> prediction needs files that cost a decoder what ImageNet's cost, and
whose labels notice wrong preprocessing. Both are made from `(split, index)` alone, so nothing
is downloaded and every machine measures the same work.

*What a decoder sees.* Half of the files are 500x375 or 375x500, the rest are spread from 70x60
to 2400x1600; the mean is about 110 KB. JPEG quality is 75-96; chroma is mostly 4:2:0, some 4:2:2
and 4:4:4; about 3 % of the files are grayscale, 6 % progressive, and 2 % have an EXIF orientation
that a reader has to ignore, as ImageNet's labels do. 1/f clouds, an illumination gradient, blobs
and photographic grain give the entropy coder a photograph's work.

*What a model sees.* 24 classes in three families of eight, all defined in *resized pixels*: the
pixels after Resize(256) + CenterCrop(224), with the origin in the middle of the image.

    hue       balloons and flowers; exchanging R and B maps each hue onto another class's
    texture   cloth with a period of about 1.7 (fine) or 2.4 (coarse) resized pixels; without
              antialiasing the fine one aliases to the coarse one's period and contrast
    position  a strip of 13 resized pixels more or less at the crop's edge, a tower left or right
              of its middle, a bar that steps left or right: a shifted crop moves the boundary

Each image's parameters come from distributions that overlap, so no model reaches 100 %.

The bytes are the same for the same versions of numpy and Pillow on the same kind of CPU; others
may round a pixel differently. Lengths are in resized pixels unless stated otherwise, intensities
in levels of 0..255, frequencies in cycles per resized pixel.
"""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from PIL import Image

from fastbench.core.errors import UnknownNameError, did_you_mean
from fastbench.data.sample.canvas import Canvas, background, clouds, grain, muted, noise_window, rgb

SAMPLE_VERSION: int = 2
"""To be raised when a drawn byte changes, so that no cache mixes two drawings."""

CLASS_NAMES: tuple[str, ...] = (
    "balloon-azure",
    "balloon-blue",
    "balloon-orange",
    "balloon-red",
    "corduroy-coarse",
    "corduroy-fine",
    "curtain-narrow",
    "curtain-wide",
    "flower-lime",
    "flower-rose",
    "flower-teal",
    "flower-violet",
    "gauze-coarse",
    "gauze-fine",
    "lawn-low",
    "lawn-tall",
    "linen-coarse",
    "linen-fine",
    "step-left",
    "step-right",
    "tower-left",
    "tower-right",
    "twill-coarse",
    "twill-fine",
)
"""The folder names, sorted; a class index is a position in this tuple."""

SPLITS: Final = {"val": 0, "train": 1}

_HALF_CROP: Final = 112.0

# Mean hue and spread in degrees. Exchanging R and B maps hue h to 240 - h, and every hue below
# lands on another class of the same shape: red-blue, orange-azure, lime-teal, rose-violet.
_HUES: Final = {
    "balloon-red": (4.0, 7.5),
    "balloon-orange": (30.0, 7.5),
    "balloon-azure": (210.0, 7.5),
    "balloon-blue": (236.0, 7.5),
    "flower-lime": (100.0, 11.0),
    "flower-teal": (140.0, 11.0),
    "flower-rose": (318.0, 11.0),
    "flower-violet": (282.0, 11.0),
}

# Mean (horizontal, vertical) frequency. 0.59 lies above the resized Nyquist limit of 0.5: an
# antialiased resize leaves a quarter of its contrast, one without leaves half or more, and
# either shows it folded back to 0.41, where the coarse cloth lives.
_FINE: Final = 0.59
_COARSE: Final = 0.41
_CLOTHS: Final = {
    "corduroy-fine": (_FINE, 0.0),
    "corduroy-coarse": (_COARSE, 0.0),
    "gauze-fine": (0.0, _FINE),
    "gauze-coarse": (0.0, _COARSE),
    "linen-fine": (_FINE, _FINE),
    "linen-coarse": (_COARSE, _COARSE),
    "twill-fine": (0.56, 0.56),
    "twill-coarse": (0.33, 0.33),
}


def _draw_hue(canvas: Canvas, rng: np.random.Generator, name: str) -> None:
    """A shaded balloon, or a flower of 5-8 petals; only its hue says which class it is."""
    mean, spread = _HUES[name]
    colour = rgb(rng.normal(mean, spread), rng.uniform(0.5, 0.9), rng.uniform(0.5, 0.95))
    radius = rng.uniform(26, 62)
    x, y = rng.uniform(-48, 48, 2)
    box = canvas.box(x - radius, y - radius, x + radius, y + radius)
    across = (canvas.u[box.cols] - np.float32(x))[None, :]
    down = (canvas.v[box.rows] - np.float32(y))[:, None]
    distance = np.hypot(across, down)
    if name.startswith("balloon"):
        edge = np.float32(radius) - distance
        shade = (across + down) * np.float32(-28 / radius)
        glint = np.hypot(across + np.float32(0.35 * radius), down + np.float32(0.4 * radius))
        shade += 70 * np.clip(1 - glint / np.float32(0.25 * radius), 0, 1)
        canvas.blend(box, canvas.coverage(edge), colour, shade)
        return
    petals = np.arctan2(down, across) * np.float32(rng.integers(5, 9))
    ripple = np.cos(petals + np.float32(rng.uniform(0, 6.28)))
    edge = np.float32(radius) * (np.float32(0.76) + np.float32(0.24) * ripple) - distance
    shade = ripple * np.float32(16) - distance * np.float32(20 / radius)
    canvas.blend(box, canvas.coverage(edge), colour, shade)
    heart = canvas.coverage(np.float32(0.22 * radius) - distance)
    canvas.blend(box, heart, rgb(45, 0.25, rng.uniform(0.2, 0.9)))


def _draw_cloth(canvas: Canvas, rng: np.random.Generator, name: str) -> None:
    """Cloth in soft folds over the whole frame; the weave's frequency says which class it is."""
    height, width = canvas.planes.shape[1:]
    for plane, level in zip(canvas.planes, muted(rng), strict=True):
        plane *= np.float32(0.5)
        plane += np.float32(0.5 * level)
    # The thread wanders by about a period over the frame, as on no synthetic grating.
    wander = noise_window(clouds(), rng, height, width) * np.float32(0.5)
    amplitude = 30.0 * float(np.exp(rng.normal(0, 0.22)))
    stretch = 1.0 + rng.normal(0, 0.022)
    slant = rng.normal(0, 0.03)
    along, down = (frequency * stretch for frequency in _CLOTHS[name])
    waves: tuple[tuple[float, float, float], ...]
    if name.startswith("linen"):
        waves = ((along, slant * along, 0.7), (-slant * down, down, 0.7))
    elif name.startswith("twill"):
        waves = ((along * (1 + slant), down * (1 - slant), 1.3),)
    else:
        waves = ((along - slant * down, down + slant * along, 1.0),)
    for fu, fv, weight in waves:
        # What the source's own pixels cannot hold fades out instead of aliasing here.
        room = 0.5 - max(abs(fu), abs(fv)) / canvas.scale
        level = amplitude * weight * min(1.0, max(0.0, room / 0.05))
        if level == 0.0:
            continue
        phase = wander + canvas.u * np.float32(2 * np.pi * fu)
        phase += canvas.v[:, None] * np.float32(2 * np.pi * fv)
        thread = np.cos(phase, out=phase)
        thread *= np.float32(level)
        canvas.planes[:] += thread


def _beyond(rng: np.random.Generator, sign: float, reach: float, blur: float) -> float:
    """How far past a class boundary an image lies: even up to `reach`, blurred by `blur`."""
    return float(sign * rng.uniform(0, reach) + rng.normal(0, blur))


def _draw_strip(canvas: Canvas, rng: np.random.Generator, name: str) -> None:
    """A curtain at the crop's left, or a lawn at its foot; how much of it shows is the class."""
    sign = 1.0 if name.endswith(("wide", "tall")) else -1.0
    edge = 13.0 + _beyond(rng, sign, 10.0, 0.7) - _HALF_CROP
    wave, phase = rng.uniform(0.05, 0.3), rng.uniform(0, 6.28)
    if name.startswith("curtain"):
        along, across = canvas.v[:, None], canvas.u[None, :]
        hue, pleat = rng.uniform(0, 360), rng.uniform(0.3, 0.5)
        box = canvas.box(-np.inf, -np.inf, edge + 2, np.inf)
        colour = rgb(hue, rng.uniform(0.2, 0.5), rng.uniform(0.3, 0.55))
    else:
        along, across = canvas.u[None, :], -canvas.v[:, None]
        pleat = rng.uniform(0.5, 0.9)
        box = canvas.box(-np.inf, -edge - 2, np.inf, np.inf)
        colour = rgb(rng.uniform(70, 110), rng.uniform(0.35, 0.6), rng.uniform(0.3, 0.5))
    ripple = np.float32(0.6) * np.sin(along * np.float32(wave) + np.float32(phase))
    inside = (np.float32(edge) + ripple - across)[box.rows if along.shape[0] > 1 else slice(None)]
    inside = inside[:, box.cols] if along.shape[1] == 1 else inside[box.rows]
    folds = np.float32(16) * np.cos(np.float32(pleat) * inside)
    canvas.blend(box, canvas.coverage(inside), colour, folds)


def _draw_bar(canvas: Canvas, rng: np.random.Generator, name: str) -> None:
    """A tower left or right of the middle, or a bar whose lower half steps left or right."""
    sign = 1.0 if name.endswith("right") else -1.0
    half = rng.uniform(7, 13)
    if name.startswith("tower"):
        upper = lower = _beyond(rng, sign, 40.0, 1.2)
        joint, top, bottom = 0.0, rng.uniform(-100, -20), np.inf
    else:
        upper = rng.uniform(-60, 60)
        lower = upper + 0.5 * sign + _beyond(rng, sign, 9.0, 0.5)
        joint = rng.uniform(-40, 40)
        top, bottom = joint - rng.uniform(40, 70), joint + rng.uniform(40, 70)
    colour = rgb(rng.uniform(0, 360), rng.uniform(0, 0.3), rng.choice((0.12, 0.95)))
    reach = half + 8
    box = canvas.box(min(upper, lower) - reach, top, max(upper, lower) + reach, bottom)
    down = canvas.v[box.rows][:, None]
    middle = np.where(down < joint, np.float32(upper), np.float32(lower))
    across = canvas.u[box.cols][None, :] - middle
    opacity = canvas.coverage(np.float32(half) - np.abs(across))
    canvas.blend(box, opacity, colour, across * np.float32(10 / half))


_DRAWERS: Final = {
    "balloon": _draw_hue,
    "flower": _draw_hue,
    "corduroy": _draw_cloth,
    "gauze": _draw_cloth,
    "linen": _draw_cloth,
    "twill": _draw_cloth,
    "curtain": _draw_strip,
    "lawn": _draw_strip,
    "step": _draw_bar,
    "tower": _draw_bar,
}


def draw_size(rng: np.random.Generator, index: int) -> tuple[int, int]:
    """(width, height) in source pixels, spread as ImageNet's are."""
    pick = float(rng.random())
    short = 375.0 * float(np.exp(rng.normal(0, 0.42)))
    aspect = float(np.exp(abs(rng.normal(0, 0.28))))
    landscape = bool(rng.random() < 0.7)
    # The extremes come once in each thousand, so that the default set has them.
    if index % 1000 == 404:
        return 2400, 1600
    if index % 1000 == 717:
        return 70, 60
    for share, size in (
        (0.38, (500, 375)),
        (0.15, (375, 500)),
        (0.12, (500, 333)),
        (0.05, (333, 500)),
    ):
        if pick < share:
            return size
        pick -= share
    low = round(min(1500.0, max(80.0, short)))
    high = round(min(2200.0, low * min(2.2, aspect)))
    return (high, low) if landscape else (low, high)


def check_split(split: str) -> int:
    """The number that seeds a split. Raises `UnknownNameError` where there is no such split."""
    if split not in SPLITS:
        raise UnknownNameError(
            f"The sample has no split {split!r}, only val and train."
            + did_you_mean(split, list(SPLITS))
        )
    return SPLITS[split]


def class_of(split: str, index: int) -> int:
    """The class of one image: every block of 24 indices is one shuffled round of all classes."""
    block, place = divmod(index, len(CLASS_NAMES))
    rng = np.random.default_rng((SAMPLE_VERSION, check_split(split), 1, block))
    return int(rng.permutation(len(CLASS_NAMES))[place])


def draw_image(split: str, index: int) -> tuple[bytes, int]:
    """Draw one image.

    Args:
        split: "val" or "train"; the two share no image.
        index: Which image of the split, from 0; any first N are balanced to within 1 per class.

    Returns:
        The JPEG file's bytes, and the class: an index into `CLASS_NAMES`.

    Raises:
        UnknownNameError: There is no such split.
        ValueError: The index is negative.
    """
    if index < 0:
        raise ValueError(f"an image's index is 0 or more, not {index}")
    label = class_of(split, index)
    name = CLASS_NAMES[label]
    rng = np.random.default_rng((SAMPLE_VERSION, SPLITS[split], 0, index))
    width, height = draw_size(rng, index)
    canvas = background(rng, height, width)
    _DRAWERS[name.partition("-")[0]](canvas, rng, name)
    canvas.planes[:] += noise_window(grain(), rng, height, width) * np.float32(rng.uniform(5, 13))
    levels = np.clip(canvas.planes, 0, 255, out=canvas.planes).astype(np.uint8)
    image = Image.merge("RGB", [Image.fromarray(plane) for plane in levels])
    return _encode(image, rng), label


def _encode(image: Image.Image, rng: np.random.Generator) -> bytes:
    """Write a JPEG with settings as mixed as a photo site's."""
    quality = 75 + int(22 * rng.beta(3.0, 1.0))
    subsampling = ("4:2:0", "4:2:2", "4:4:4")[int(rng.choice(3, p=(0.84, 0.07, 0.09)))]
    gray, progressive, turned = (rng.random(3) < (0.03, 0.06, 0.02)).tolist()
    exif = Image.Exif()
    if turned:
        exif[0x0112] = int(rng.integers(2, 9))
    file = io.BytesIO()
    if gray:
        image = image.convert("L")
    image.save(
        file,
        "JPEG",
        quality=quality,
        subsampling=subsampling,
        progressive=progressive,
        exif=exif.tobytes() if turned else b"",
    )
    return file.getvalue()
