"""A picture of the reference's image, the loader's, and their difference, side by side."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from fastbench.core.atomic_files import write_whole, writing

if TYPE_CHECKING:
    from pathlib import Path

    import torch

_GAP = 8
_CAPTION = 18


def draw_difference(reference: torch.Tensor, loaded: torch.Tensor, path: Path) -> None:
    """Draw reference | loader | amplified difference, each (3, H, W) in levels, as a PNG.

    The difference is multiplied so that its 99.9th percentile is white; the caption has the factor.
    Raises `OutputError` if the file cannot be written.
    """
    from PIL import Image, ImageDraw

    difference = (loaded - reference).abs()
    top = float(difference.flatten().quantile(0.999)) if difference.numel() < 2**24 else 255.0
    factor = 255 / max(top, 1.0)
    parts = (
        ("reference", reference),
        ("loader", loaded),
        (f"difference x {factor:.1f}", difference * factor),
    )
    height, width = reference.shape[1:]
    sheet = Image.new("RGB", (3 * width + 2 * _GAP, height + _CAPTION), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (caption, levels) in enumerate(parts):
        left = place * (width + _GAP)
        pixels = levels.round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
        sheet.paste(Image.fromarray(pixels), (left, _CAPTION))
        pen.text((left, 3), caption, fill="black")
    content = io.BytesIO()
    sheet.save(content, "PNG")
    with writing("The picture", path):
        write_whole(path, content.getvalue())
