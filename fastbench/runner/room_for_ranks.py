"""How many ranks there is room for: a child asks torch for the GPUs, as the rows' own do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from fastbench.core.child_process import ChildProcess
from fastbench.core.cores import num_cores
from fastbench.core.units import counted
from fastbench.runner import cluster

if TYPE_CHECKING:
    from fastbench.core.child_process import Channel

LIMIT_S: Final = 120.0
"""How long CUDA may take to count its devices."""


def room_for_ranks(device: str) -> tuple[int, str]:
    """How many ranks can have a GPU, or a core where the model runs on the CPU; and why, in words.

    As many as torchrun or srun has started, if one of them did.
    """
    if (ranks := cluster.here()) is not None:
        started = counted(ranks.size, "process", "processes")
        return ranks.size, f"{ranks.started.by} started {started}"
    with ChildProcess(_count, device) as child:
        try:
            message = child.next_message(LIMIT_S)
        except TimeoutError:
            message = None
    if message is None or message[0] != "room":
        return sys.maxsize, ""  # the rows will say what is wrong
    num, of = message[1:]
    return num, f"this machine has {counted(num, of)} for them"


def _count(device: str, channel: Channel) -> None:
    import torch

    is_on_gpu = device != "cpu" and torch.cuda.is_available()
    num_gpus = torch.cuda.device_count() if is_on_gpu else 0
    channel.send("room", num_gpus or num_cores(), "GPU" if num_gpus else "core")
