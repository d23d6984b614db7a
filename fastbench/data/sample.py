"""Which images can be measured where ImageNet is not at hand? Ones that are drawn here.

A benchmark of JPEG -> prediction needs files that cost a decoder what ImageNet's cost, and
whose labels notice wrong preprocessing. Both are made from `(split, index)` alone, so nothing
is downloaded and every machine measures the same work.

*What a decoder sees.* Half of the files are 500x375 or 375x500, the rest are spread from 70x60
to 2400x1600; the mean is about 110 KB. JPEG quality is 75-96; chroma is mostly 4:2:0, some 4:2:2
and 4:4:4; about 3 % of the files are grayscale, 6 % progressive, and 2 % carry an EXIF
orientation that their pixels do not follow: ImageNet's labels were given without it, so a
reader has to ignore it. 1/f clouds, an illumination gradient, blobs and photographic grain
give the entropy coder a photograph's work.

*What a model sees.* 24 classes in three families of eight, all defined in *resized pixels*: the
pixels after Resize(256) + CenterCrop(224), with the origin in the middle of the image.

    hue       balloons and flowers; exchanging R and B maps each hue onto another class's
    texture   cloth with a period of about 1.7 (fine) or 2.4 (coarse) resized pixels; without
              antialiasing the fine one aliases to the coarse one's period and contrast
    position  a strip of 13 resized pixels more or less at the crop's edge, a tower left or right
              of its middle, a bar that steps left or right: a shifted crop moves the boundary

Each image's parameters come from distributions that overlap, so no model reaches 100 %.

The bytes are the same for the same versions of numpy and Pillow on the same kind of CPU; others
may round a pixel differently. Lengths are in resized pixels where not said otherwise, intensities
in levels of 0..255, frequencies in cycles per resized pixel.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import io
import json
import os
import re
import selectors
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np
import platformdirs
from PIL import Image

from fastbench.errors import FastbenchError, OutputError, UnknownNameError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["CLASS_NAMES", "SAMPLE_VERSION", "draw_image", "ensure_sample"]

SAMPLE_VERSION: int = 2
"""Goes up whenever a drawn byte changes, so that no cache mixes two drawings."""

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

_SPLITS: Final = {"val": 0, "train": 1}
_MARKER: Final = "fastbench-sample.json"

_Plane: TypeAlias = "NDArray[np.float32]"

# --------------------------------------------------------------------------------------
# Drawing
# --------------------------------------------------------------------------------------

_RESIZE: Final = 256.0
_HALF_CROP: Final = 112.0
_TILE: Final = 1024

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


class _Box(NamedTuple):
    """Where a shape may lie on the canvas: row and column slices, in source pixels."""

    rows: slice
    cols: slice


@dataclass(frozen=True, slots=True)
class _Canvas:
    """An image being drawn: planar RGB, and its coordinates in resized pixels."""

    planes: _Plane
    """(3, H, W), levels 0..255, clipped only at the end."""
    u: _Plane
    """(W,): horizontal distance from the image's middle."""
    v: _Plane
    """(H,): vertical distance from the image's middle, down."""
    scale: float
    """Source pixels per resized pixel."""

    def box(self, left: float, top: float, right: float, bottom: float) -> _Box:
        """The part of the canvas inside these bounds (resized pixels)."""
        return _Box(
            slice(int(np.searchsorted(self.v, top)), int(np.searchsorted(self.v, bottom))),
            slice(int(np.searchsorted(self.u, left)), int(np.searchsorted(self.u, right))),
        )

    def coverage(self, distance: _Plane) -> _Plane:
        """Signed distance to an edge (resized pixels, inside > 0) -> opacity, one pixel soft."""
        opacity: _Plane = np.clip(distance * np.float32(self.scale) + np.float32(0.5), 0, 1)
        return opacity

    def blend(
        self, box: _Box, opacity: _Plane, colour: Sequence[float], shade: _Plane | float = 0.0
    ) -> None:
        """Lay `colour` (levels) plus `shade` (levels) over the box, as far as opaque."""
        for plane, level in zip(self.planes, colour, strict=True):
            part = plane[box.rows, box.cols]
            part += opacity * (np.float32(level) + shade - part)


@functools.cache
def _clouds() -> _Plane:
    """(1024, 1024) periodic noise with a 1/f amplitude spectrum, mean 0, deviation 1."""
    rng = np.random.default_rng(20_240_501)
    spectrum = np.fft.rfft2(rng.standard_normal((_TILE, _TILE)))
    radius = np.hypot(np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None, :])
    radius[0, 0] = np.inf
    tile = np.fft.irfft2(spectrum / radius, s=(_TILE, _TILE))
    scaled: _Plane = (tile / tile.std()).astype(np.float32)
    return scaled


@functools.cache
def _grain() -> _Plane:
    """(1024, 1024) periodic, slightly blurred white noise, mean 0, deviation 1."""
    tile = np.random.default_rng(20_240_502).standard_normal((_TILE, _TILE))
    tile = tile + 0.35 * np.roll(tile, 1, axis=0)
    tile = tile + 0.35 * np.roll(tile, 1, axis=1)
    scaled: _Plane = ((tile - tile.mean()) / tile.std()).astype(np.float32)
    return scaled


def _window(tile: _Plane, rng: np.random.Generator, height: int, width: int) -> _Plane:
    """A random (height, width) part of a periodic tile, randomly mirrored; may be a view.

    Making noise afresh costs more than all the rest of an image, and a part of a large tile
    looks the same to a codec and to a model.
    """
    top, left = (int(start) for start in rng.integers(0, _TILE, 2))
    if rng.random() < 0.5:
        tile = tile[::-1]
    if rng.random() < 0.5:
        tile = tile[:, ::-1]
    if height <= _TILE and width <= _TILE:
        top = top * (_TILE - height) // _TILE
        left = left * (_TILE - width) // _TILE
        return tile[top : top + height, left : left + width]
    rows = (np.arange(height) + top) % _TILE
    cols = (np.arange(width) + left) % _TILE
    return tile[rows[:, None], cols[None, :]]


def _rgb(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    """Hue in degrees, saturation and value in 0..1 -> levels 0..255."""
    # hsv_to_rgb by its closed form: channel n is value * (1 - saturation * ramp(n)).
    ramps = ((n + hue / 60.0) % 6.0 for n in (5.0, 3.0, 1.0))
    r, g, b = (255.0 * value * (1.0 - saturation * max(0.0, min(k, 4.0 - k, 1.0))) for k in ramps)
    return r, g, b


def _muted(rng: np.random.Generator) -> tuple[float, float, float]:
    """A colour that no hue class could be mistaken for."""
    return _rgb(rng.uniform(0, 360), rng.uniform(0.0, 0.25), rng.uniform(0.2, 0.85))


def _background(rng: np.random.Generator, height: int, width: int) -> _Canvas:
    """Clouds on a tinted ground, lit from one side, with a few muted blobs."""
    scale = min(height, width) / _RESIZE
    u = ((np.arange(width) + 0.5 - width / 2) / scale).astype(np.float32)
    v = ((np.arange(height) + 0.5 - height / 2) / scale).astype(np.float32)
    light = _window(_clouds(), rng, height, width) * np.float32(rng.uniform(16, 34))
    light += u * np.float32(rng.normal(0, 0.18))
    light += v[:, None] * np.float32(rng.normal(0, 0.18))
    tint = _window(_clouds(), rng, height, width)
    ground = _muted(rng)
    tints = rng.normal(0, 7, 3)
    planes = np.empty((3, height, width), np.float32)
    for channel in range(3):
        np.multiply(tint, np.float32(tints[channel]), out=planes[channel])
        planes[channel] += light
        planes[channel] += np.float32(0.8 * ground[channel] + 20)
    canvas = _Canvas(planes, u, v, scale)
    for _ in range(int(rng.integers(2, 6))):
        _blob(canvas, rng)
    return canvas


def _blob(canvas: _Canvas, rng: np.random.Generator) -> None:
    """A muted ellipse, sharp or out of focus, anywhere."""
    x, y = rng.uniform(-130, 130, 2)
    rx, ry = rng.uniform(6, 34, 2)
    box = canvas.box(x - rx, y - ry, x + rx, y + ry)
    across = (canvas.u[box.cols] - np.float32(x)) / np.float32(rx)
    down = (canvas.v[box.rows] - np.float32(y)) / np.float32(ry)
    inside = 1 - (across * across + (down * down)[:, None])
    softness = np.float32(rng.uniform(0.03, 0.6))
    densest = np.float32(rng.uniform(0.4, 0.9))
    opacity: _Plane = np.clip(inside / softness, np.float32(0), densest)
    canvas.blend(box, opacity, _muted(rng))


def _draw_hue(canvas: _Canvas, rng: np.random.Generator, name: str) -> None:
    """A shaded balloon, or a flower of 5-8 petals; only its hue says which class it is."""
    mean, spread = _HUES[name]
    colour = _rgb(rng.normal(mean, spread), rng.uniform(0.5, 0.9), rng.uniform(0.5, 0.95))
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
    canvas.blend(box, heart, _rgb(45, 0.25, rng.uniform(0.2, 0.9)))


def _draw_cloth(canvas: _Canvas, rng: np.random.Generator, name: str) -> None:
    """Cloth in soft folds over the whole frame; the weave's frequency says which class it is."""
    height, width = canvas.planes.shape[1:]
    for plane, level in zip(canvas.planes, _muted(rng), strict=True):
        plane *= np.float32(0.5)
        plane += np.float32(0.5 * level)
    # The thread wanders by about a period over the frame, as on no synthetic grating.
    wander = _window(_clouds(), rng, height, width) * np.float32(0.5)
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
    """How far past a class boundary an image lies: evenly up to `reach`, blurred by `blur`."""
    return float(sign * rng.uniform(0, reach) + rng.normal(0, blur))


def _draw_strip(canvas: _Canvas, rng: np.random.Generator, name: str) -> None:
    """A curtain at the crop's left, or a lawn at its foot; how much of it shows is the class."""
    sign = 1.0 if name.endswith(("wide", "tall")) else -1.0
    edge = 13.0 + _beyond(rng, sign, 10.0, 0.7) - _HALF_CROP
    wave, phase = rng.uniform(0.05, 0.3), rng.uniform(0, 6.28)
    if name.startswith("curtain"):
        along, across = canvas.v[:, None], canvas.u[None, :]
        hue, pleat = rng.uniform(0, 360), rng.uniform(0.3, 0.5)
        box = canvas.box(-np.inf, -np.inf, edge + 2, np.inf)
        colour = _rgb(hue, rng.uniform(0.2, 0.5), rng.uniform(0.3, 0.55))
    else:
        along, across = canvas.u[None, :], -canvas.v[:, None]
        pleat = rng.uniform(0.5, 0.9)
        box = canvas.box(-np.inf, -edge - 2, np.inf, np.inf)
        colour = _rgb(rng.uniform(70, 110), rng.uniform(0.35, 0.6), rng.uniform(0.3, 0.5))
    ripple = np.float32(0.6) * np.sin(along * np.float32(wave) + np.float32(phase))
    inside = (np.float32(edge) + ripple - across)[box.rows if along.shape[0] > 1 else slice(None)]
    inside = inside[:, box.cols] if along.shape[1] == 1 else inside[box.rows]
    folds = np.float32(16) * np.cos(np.float32(pleat) * inside)
    canvas.blend(box, canvas.coverage(inside), colour, folds)


def _draw_bar(canvas: _Canvas, rng: np.random.Generator, name: str) -> None:
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
    colour = _rgb(rng.uniform(0, 360), rng.uniform(0, 0.3), rng.choice((0.12, 0.95)))
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


def _draw_size(rng: np.random.Generator, index: int) -> tuple[int, int]:
    """(width, height) in source pixels, spread as ImageNet's are."""
    pick = float(rng.random())
    short = 375.0 * float(np.exp(rng.normal(0, 0.42)))
    aspect = float(np.exp(abs(rng.normal(0, 0.28))))
    landscape = bool(rng.random() < 0.7)
    # The extremes come once in each thousand, so that the default set is sure to hold them.
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


def _check_split(split: str) -> int:
    if split not in _SPLITS:
        raise UnknownNameError(
            f"The sample has no split {split!r}, only val and train."
            + did_you_mean(split, list(_SPLITS))
        )
    return _SPLITS[split]


def _class_of(split: str, index: int) -> int:
    """The class of one image: every block of 24 indices is one shuffled round of all classes."""
    block, place = divmod(index, len(CLASS_NAMES))
    rng = np.random.default_rng((SAMPLE_VERSION, _check_split(split), 1, block))
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
    label = _class_of(split, index)
    name = CLASS_NAMES[label]
    rng = np.random.default_rng((SAMPLE_VERSION, _SPLITS[split], 0, index))
    width, height = _draw_size(rng, index)
    canvas = _background(rng, height, width)
    _DRAWERS[name.partition("-")[0]](canvas, rng, name)
    canvas.planes[:] += _window(_grain(), rng, height, width) * np.float32(rng.uniform(5, 13))
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


# --------------------------------------------------------------------------------------
# The folder
# --------------------------------------------------------------------------------------

# Below this many missing files, starting worker processes costs more than it saves.
_FEW: Final = 48
_STOP_SECONDS: Final = 5.0
_TEMPORARY: Final = re.compile(r"\..+\.\d+\.tmp")


def _expected_names(split: str, num_images: int) -> list[str]:
    """Every image's path below the root, by index; as `_class_of` deals them, block by block."""
    names: list[str] = []
    for block in range(-(-num_images // len(CLASS_NAMES))):
        rng = np.random.default_rng((SAMPLE_VERSION, _SPLITS[split], 1, block))
        for label in rng.permutation(len(CLASS_NAMES)).tolist():
            names.append(f"{CLASS_NAMES[label]}/{split}_{len(names):05d}.jpg")
    return names[:num_images]


def _digest(sizes: dict[str, int]) -> str:
    """SHA-256 over the sorted (name, size in bytes) pairs."""
    text = "".join(f"{name}\t{size}\n" for name, size in sorted(sizes.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def _write_atomically(path: Path, data: bytes) -> None:
    """Write `data` under a temporary name in the same folder, then rename it into place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        _remove(temporary)
        raise


def _draw_file(root: Path, split: str, index: int) -> None:
    data, label = draw_image(split, index)
    _write_atomically(root / CLASS_NAMES[label] / f"{split}_{index:05d}.jpg", data)


def _listing(root: Path) -> tuple[dict[str, int], list[str]]:
    """What lies in the root: {name: size} of the classes' files, and the names of all else."""
    sizes: dict[str, int] = {}
    others: list[str] = []
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.name == _MARKER:
                continue
            if entry.name not in CLASS_NAMES or not entry.is_dir():
                others.append(entry.name)
                continue
            with os.scandir(entry.path) as files:
                for file in files:
                    if file.is_file(follow_symlinks=False):
                        sizes[f"{entry.name}/{file.name}"] = file.stat().st_size
                    else:
                        others.append(f"{entry.name}/{file.name}")
    return sizes, others


def _read_marker(root: Path) -> dict[str, object] | None:
    """The marker's content, or None if there is no readable one."""
    try:
        content = json.loads((root / _MARKER).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _is_complete(root: Path, split: str, num_images: int) -> bool:
    """Whether the marker vouches for this very set and the files are still those it saw."""
    marker = _read_marker(root)
    if marker is None:
        return False
    wanted = {"version": SAMPLE_VERSION, "split": split, "num_images": num_images}
    if any(marker.get(key) != value for key, value in wanted.items()):
        return False
    sizes, _ = _listing(root)
    return len(sizes) == num_images and marker.get("digest") == _digest(sizes)


def _ends_as_jpeg(path: Path, size: int) -> bool:
    """Whether the file has a JPEG's end-of-image marker, which a truncated one lacks."""
    if size < 4:
        return False
    with path.open("rb") as file:
        file.seek(-2, os.SEEK_END)
        return file.read(2) == b"\xff\xd9"


def _sweep(root: Path) -> None:
    """Remove what killed processes were writing; the caller holds the lock, so nobody still is."""
    sizes, others = _listing(root)
    for name in (*sizes, *others):
        if _TEMPORARY.fullmatch(Path(name).name):
            _remove(root / name)


def _missing(root: Path, split: str, num_images: int) -> list[int]:
    """The indices that have yet to be drawn, or drawn again.

    Raises:
        OutputError: The root holds something that no sample set of this kind holds.
    """
    names = _expected_names(split, num_images)
    expected = set(names)
    _sweep(root)
    sizes, others = _listing(root)
    foreign = sorted({*others, *sizes} - expected)
    if foreign:
        raise OutputError(
            f"{root} holds {foreign[0]!r}, which does not belong to a sample of {num_images} "
            f"{split} images. Name an empty or a new folder."
        )
    marker = _read_marker(root)
    if marker is not None and marker.get("version") != SAMPLE_VERSION:
        return list(range(num_images))
    seen = marker.get("sizes") if marker is not None else None
    if not isinstance(seen, dict):
        seen = {}
    missing = []
    for index, name in enumerate(names):
        size = sizes.get(name)
        # A rename is atomic, so without a marker only outside damage leaves half a file.
        if size is None or size != seen.get(name, size) or not _ends_as_jpeg(root / name, size):
            missing.append(index)
    return missing


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Let one process at a time draw into the root; the lock goes when its holder does."""
    handle = os.open(root, os.O_RDONLY)
    try:
        # Some network file systems know no locks. Two runs then draw the same bytes twice.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _start_worker(root: Path, split: str, indices: Sequence[int]) -> subprocess.Popen[bytes]:
    """A fresh interpreter that draws `indices` and prints one line for each.

    Not `multiprocessing`: that imports the caller's main module again (torch and all), and
    breaks scripts that lack a main guard.
    """
    package_parent = str(Path(__file__).resolve().parents[2])
    paths = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    worker = subprocess.Popen(
        [sys.executable, "-P", "-m", "fastbench.data.sample", str(root), split],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )
    assert worker.stdin is not None
    # A worker that died already says why on its output.
    with contextlib.suppress(BrokenPipeError), worker.stdin:
        worker.stdin.write(" ".join(map(str, indices)).encode())
    return worker


def _stop_workers(workers: Iterable[subprocess.Popen[bytes]]) -> None:
    """End every worker that still runs, and wait until all are gone."""
    workers = list(workers)
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    for worker in workers:
        try:
            worker.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        if worker.stdout is not None:
            worker.stdout.close()


def _raise_worker_error(lines: Sequence[str], code: int) -> None:
    """Turn what a worker printed before it ended badly into the exception it met."""
    for line in lines:
        if line.startswith("oserror "):
            number, _, path = line.removeprefix("oserror ").partition(" ")
            raise OSError(int(number), os.strerror(int(number)), path)
    last = lines[-1] if lines else f"exit code {code}"
    raise FastbenchError(
        f"A process that draws the sample images ended early ({last}). "
        "Run again: drawing continues where it stopped."
    )


def _draw_in_workers(
    root: Path, split: str, indices: Sequence[int], num_workers: int, on_drawn: Callable[[], None]
) -> None:
    """Draw `indices` in `num_workers` processes, calling `on_drawn` once for each file."""
    workers: list[subprocess.Popen[bytes]] = []
    printed: list[bytearray] = []
    try:
        with selectors.DefaultSelector() as selector:
            for start in range(num_workers):
                worker = _start_worker(root, split, indices[start::num_workers])
                workers.append(worker)
                printed.append(bytearray())
                assert worker.stdout is not None
                selector.register(worker.stdout, selectors.EVENT_READ, start)
            while selector.get_map():
                for key, _ in selector.select():
                    chunk = os.read(key.fd, 1 << 16)
                    if not chunk:
                        selector.unregister(key.fileobj)
                        if workers[key.data].wait() != 0:
                            lines = printed[key.data].decode(errors="replace").splitlines()
                            _raise_worker_error(lines, workers[key.data].returncode)
                        continue
                    # Whole lines are counted; the rest waits for its end to arrive.
                    printed[key.data] += chunk
                    for _ in range(printed[key.data].count(b"drawn\n")):
                        on_drawn()
                    printed[key.data] = printed[key.data].replace(b"drawn\n", b"")
    finally:
        _stop_workers(workers)
        # Where this fails, the next call sweeps again; the first error says more.
        with contextlib.suppress(OSError):
            _sweep(root)


def _work(root: Path, split: str) -> int:
    """What a worker process does: draw the indices that stdin names; returns the exit code."""
    # A terminal sends Ctrl-C to the whole process group. The parent ends the workers; should it
    # be gone, the next line printed meets a broken pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for index in map(int, sys.stdin.read().split()):
        try:
            _draw_file(root, split, index)
        except OSError as error:
            print(f"oserror {error.errno or errno.EIO} {error.filename or root}", flush=True)  # noqa: T201
            return 1
        print("drawn", flush=True)  # noqa: T201
    return 0


def ensure_sample(
    num_images: int = 1000,
    *,
    split: str = "val",
    root: Path | None = None,
    num_workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make sure that a complete sample set lies on disk, drawing what is missing.

    The layout is `<root>/<class>/<split>_00042.jpg`. The marker `fastbench-sample.json` is
    written last: a set with a valid one is returned at once, any other is completed first. An
    interrupted call leaves whole files only, and the next one goes on from there. Nothing but a
    sample's own files is ever replaced, and no image is deleted.

    Args:
        num_images: How many images, at least 1.
        split: "val" or "train".
        root: The folder; by default one for this version, split and number in the user's cache.
        num_workers: Processes that draw; by default one for each core this process may use.
        on_progress: Called in this process with (files that are there, `num_images`), first
            before any is drawn; not called for a set that is complete already.

    Returns:
        The root.

    Raises:
        UsageError: `num_images` or `num_workers` is below 1.
        UnknownNameError: There is no such split.
        OutputError: The root cannot be written, or holds something else.
        FastbenchError: A drawing process was killed.
    """
    _check_split(split)
    if num_images < 1:
        raise UsageError(f"A sample needs at least 1 image, not {num_images}. Ask for more.")
    if num_workers is None:
        num_workers = len(os.sched_getaffinity(0))
    if num_workers < 1:
        raise UsageError(f"Drawing needs at least 1 worker, not {num_workers}. Ask for more.")
    if root is None:
        cache = platformdirs.user_cache_path("fastbench")
        root = cache / f"sample-v{SAMPLE_VERSION}" / f"{split}-{num_images}"
    try:
        if root.is_dir() and _is_complete(root, split, num_images):
            return root
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root):
            # Another process may have finished the set while this one waited for the lock.
            if not _is_complete(root, split, num_images):
                _complete(root, split, num_images, num_workers, on_progress)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"The sample images cannot be written to {root}: {reason}. "
            "Free some space there, or name a folder that you may write to."
        ) from error
    return root


def _complete(
    root: Path,
    split: str,
    num_images: int,
    num_workers: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Draw what is missing, then write the marker; the caller holds the lock."""
    indices = _missing(root, split, num_images)
    done = num_images - len(indices)

    def report(drawn: int) -> None:
        nonlocal done
        done += drawn
        if on_progress is not None:
            on_progress(done, num_images)

    # While files change, no marker may vouch for them.
    _remove(root / _MARKER)
    for name in CLASS_NAMES:
        (root / name).mkdir(exist_ok=True)
    report(0)
    if num_workers == 1 or len(indices) < _FEW:
        for index in indices:
            _draw_file(root, split, index)
            report(1)
    else:
        num_workers = min(num_workers, len(indices))
        _draw_in_workers(root, split, indices, num_workers, lambda: report(1))
    sizes, _ = _listing(root)
    marker = {
        "version": SAMPLE_VERSION,
        "split": split,
        "num_images": num_images,
        "digest": _digest(sizes),
        # Which file is not the one that was drawn, should the digest disagree.
        "sizes": dict(sorted(sizes.items())),
    }
    _write_atomically(root / _MARKER, json.dumps(marker, indent=1).encode())


if __name__ == "__main__":
    sys.exit(_work(Path(sys.argv[1]), sys.argv[2]))
