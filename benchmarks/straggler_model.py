"""A model that sleeps for a known time, and longer on rank 1: `--model straggler_model:make`.

It takes next to no CPU time, so that ranks do not slow each other down and what is lost is what was
planted. `STRAGGLER_SHARE` says how much longer rank 1 sleeps.
"""

from __future__ import annotations

import os
import time
from typing import Final

import torch
import torch.distributed as dist

STEP_S: Final = 0.05
NUM_CLASSES: Final = 10


class Sleeper(torch.nn.Module):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        time.sleep(self.seconds)
        return images_NCHW[:, 0, 0, :NUM_CLASSES].float()


def make() -> torch.nn.Module:
    is_slow = dist.is_initialized() and dist.get_rank() == 1
    share = float(os.environ["STRAGGLER_SHARE"]) if is_slow else 0.0
    return Sleeper(STEP_S * (1 + share))
