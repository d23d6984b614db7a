"""The model `example-convnet`: how little a model needs to be benchmarked.

A factory takes nothing and returns a `torch.nn.Module` that turns (N, 3, H, W) images into
(N, classes) logits. This one has 24 outputs, as many as the sample data has classes, and weights
that are the same on every machine; they are not trained, so its predictions are worth nothing.
"""

from __future__ import annotations

import torch

__all__ = ["make_model"]


def make_model() -> torch.nn.Module:
    """Two convolutions, a mean over the image, and a linear layer."""
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 16, kernel_size=7, stride=4, padding=3),
            torch.nn.ReLU(),
            torch.nn.Conv2d(16, 32, kernel_size=3, stride=2, padding=1),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(32, 24),
        )
