"""The gate of what an engine made of a model (see `ProgramCheck`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastbench.records.accuracy import ProgramCheck


def judge_program(check: ProgramCheck) -> list[str]:
    """What is wrong with it, in words."""
    if check.dtype == "float32" and check.max_logits > 0.05 * check.spread:
        return [f"logits differ by up to {check.max_logits:.2g}"]
    return []
