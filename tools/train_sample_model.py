"""Can a 1.5 MB model tell when the preprocessing is wrong? This trains the one that does.

    python tools/train_sample_model.py [--num-images N] [--epochs E] [--seed S] [--output FILE]

The method: a torchvision `shufflenet_v2_x0_5` with 24 outputs learns the sample's train split
(`fastbench.data.sample.drawing`) through torchvision's own reference preprocessing: Pillow decodes
to RGB, then `ImageClassification(crop_size=224, resize_size=256)`, bilinear and antialiased. The
val split of 1,000 images is never trained on; its top-1 and top-5 counts (float32, batch by
batch, on this CPU) go into the file's metadata.

There is no augmentation: a flip or a shift would teach the model to ignore what the classes are
made of, and more images cost only the milliseconds of drawing them. The seed fixes the initial
weights and the order of the images; on one machine the same command writes the same weights.
The defaults take about a quarter of an hour on two cores. With glibc, keeping freed memory makes
a step a third shorter: `MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision import models
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

import fastbench.models
from fastbench.data.sample.draw_all import ensure_sample
from fastbench.data.sample.drawing import CLASS_NAMES, SAMPLE_VERSION
from fastbench.loaders.base import IMAGENET
from fastbench.loaders.builtin.torchvision import make_transform

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ARCHITECTURE", "evaluate", "load_split", "main", "train"]

ARCHITECTURE: Final = "shufflenet_v2_x0_5"
VAL_IMAGES: Final = 1000

_BATCH: Final = 32
_PEAK_RATE: Final = 4e-3
_WEIGHT_DECAY: Final = 0.02
_SMOOTHING: Final = 0.05


def _load(path: Path) -> torch.Tensor:
    """One file -> (3, 224, 224) uint8: the reference up to its conversion to float."""
    with Image.open(path) as file:
        image: Any = file.convert("RGB")  # torchvision's annotations speak of tensors only
    image = transforms.resize(image, [IMAGENET.resize], InterpolationMode.BILINEAR, antialias=True)
    pixels: torch.Tensor = transforms.pil_to_tensor(transforms.center_crop(image, [IMAGENET.crop]))
    return pixels


def _normalize(images_NCHW: torch.Tensor) -> torch.Tensor:
    """Uint8 pixels -> what the reference hands to the model, float32, channels last."""
    floats: torch.Tensor = images_NCHW.to(torch.float32).div_(255.0)
    floats = transforms.normalize(floats, IMAGENET.mean, IMAGENET.std, inplace=True)
    return floats.contiguous(memory_format=torch.channels_last)


def load_split(root: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Preprocess a sample set into memory once, so that an epoch costs the model's time only.

    Args:
        root: A folder that `ensure_sample` returned.

    Returns:
        Images, (N, 3, 224, 224) uint8, and labels, (N,) int64, both in the images' index order.

    Raises:
        RuntimeError: The cached pixels do not give exactly what the reference preset gives.
    """
    paths = sorted(root.glob("*/*.jpg"), key=lambda path: path.name)
    images = torch.empty((len(paths), 3, IMAGENET.crop, IMAGENET.crop), dtype=torch.uint8)

    def fill(place: int) -> None:
        images[place] = _load(paths[place])

    # Threads do: Pillow decodes and resizes without the interpreter's lock.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(fill, range(len(paths))):
            pass
    with Image.open(paths[0]) as file:
        expected = make_transform(IMAGENET)(file.convert("RGB"))
    if not torch.equal(_normalize(images[:1])[0], expected):
        raise RuntimeError("the cached pixels are not the reference preset's; compare `_load`")
    labels = torch.tensor([CLASS_NAMES.index(path.parent.name) for path in paths])
    return images, labels


@torch.inference_mode()
def evaluate(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[int, int]:
    """Count the images whose label is the model's first, and among its first five, choices.

    Args:
        model: In any mode; left in eval mode.
        images: (N, 3, 224, 224) uint8.
        labels: (N,) int64.

    Returns:
        The top-1 and the top-5 count.
    """
    model.eval()
    parts = [images[start : start + 100] for start in range(0, len(images), 100)]
    top5 = torch.cat([model(_normalize(part)).topk(5).indices for part in parts])
    hits = top5 == labels[:, None]
    return int(hits[:, 0].sum()), int(hits.any(dim=1).sum())


def train(images: torch.Tensor, labels: torch.Tensor, epochs: int, seed: int) -> nn.Module:
    """Train the architecture from scratch: AdamW under a one-cycle schedule.

    Args:
        images: (N, 3, 224, 224) uint8.
        labels: (N,) int64.
        epochs: Passes over the images.
        seed: Of the initial weights and of the order of the images.

    Returns:
        The trained model, in train mode.
    """
    torch.manual_seed(seed)
    order = np.random.default_rng(seed)
    model: nn.Module = models.shufflenet_v2_x0_5(num_classes=len(CLASS_NAMES))
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_PEAK_RATE, weight_decay=_WEIGHT_DECAY)
    steps = math.ceil(len(images) / _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=_PEAK_RATE, epochs=epochs, steps_per_epoch=steps, pct_start=0.2
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=_SMOOTHING)
    begin = time.monotonic()
    for epoch in range(epochs):
        model.train()
        places = torch.from_numpy(order.permutation(len(images)))
        total = 0.0
        for start in range(0, len(places), _BATCH):
            batch = places[start : start + _BATCH]
            loss = loss_of(model(_normalize(images[batch])), labels[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        seconds = time.monotonic() - begin
        _say(f"epoch {epoch + 1}/{epochs}: loss {total / len(images):.3f}, {seconds:.0f} s")
    return model


def _say(text: str) -> None:
    print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, train, measure, save; returns the exit code.

    Args:
        arguments: The command line without the program; by default the process's own.
    """
    parser = argparse.ArgumentParser(
        prog="python tools/train_sample_model.py",
        description="Train the embedded model on the embedded sample's train split.",
    )
    parser.add_argument("--num-images", type=int, default=6000, help="images to train on")
    parser.add_argument("--epochs", type=int, default=9, help="passes over them")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(fastbench.models.__path__[0]) / "sample.safetensors",
        help="the file to write",
    )
    options = parser.parse_args(arguments)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(len(os.sched_getaffinity(0)))

    begin = time.monotonic()
    val = load_split(ensure_sample(VAL_IMAGES))
    images, labels = load_split(ensure_sample(options.num_images, split="train"))
    _say(f"{len(images)} train images drawn and preprocessed, {time.monotonic() - begin:.0f} s")
    model = train(images, labels, options.epochs, options.seed)
    top1, top5 = evaluate(model, *val)

    accuracy = {"top1_correct": top1, "top5_correct": top5, "num_samples": VAL_IMAGES}
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        options.output,
        metadata={
            "architecture": ARCHITECTURE,
            "num_classes": str(len(CLASS_NAMES)),
            "classes": json.dumps(CLASS_NAMES),
            "preprocess": json.dumps(dataclasses.asdict(IMAGENET)),
            "accuracy": json.dumps(accuracy),
            "sample_version": str(SAMPLE_VERSION),
            "made_by": (
                f"{parser.prog} --num-images {options.num_images} "
                f"--epochs {options.epochs} --seed {options.seed}"
            ),
        },
    )
    # safetensors writes files for their owner only; this one is shipped.
    options.output.chmod(0o644)
    _say(
        f"val top-1 {top1 / VAL_IMAGES:.1%}, top-5 {top5 / VAL_IMAGES:.1%} of {VAL_IMAGES}; "
        f"{options.output}, {time.monotonic() - begin:.0f} s in all"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
