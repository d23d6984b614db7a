"""What executed a model, and what it was calibrated with."""

from __future__ import annotations

from typing import Any

import msgspec

from fastbench.records.fields import Amount, Count, Stored


class Engine(Stored, frozen=True, kw_only=True):
    """What runs a model in place of torch, as it or the model states; None where it does not.

    `settings` are what the engine was set to (provider, opset, precision, hint), `setup_s` the
    seconds of each step to make it ready, by name, `weights_bytes` the size of the weights that it
    runs.
    """

    name: str | None = None
    number_format: str | None = None
    num_threads: Count | None = None
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    setup_s: dict[str, Amount] = msgspec.field(default_factory=dict)
    weights_bytes: Count | None = None


class Calibration(Stored, frozen=True, kw_only=True):
    """The images that a quantised model was calibrated with; none of them is scored.

    `digest` is the SHA-256 over their names and sizes, `names` their paths below `root`. `loader`
    read them.
    """

    root: str
    names: list[str]
    digest: str
    loader: str
