"""The contents of a file of weights: one of `torch.save`, or of safetensors.

A file of `torch.save` is a pickle, which can run code as it is read. Only tensors are read, and no
code is run. What training scripts save beside them (options, counters, numpy's numbers) is passed
over; anything else is refused.
"""

from __future__ import annotations

import pickle
import re
import warnings
from typing import TYPE_CHECKING, Any, Final

import torch

from fastbench.core.errors import (
    FastbenchError,
    OutOfMemoryError,
    WeightsError,
    first_line,
    kind_and_line,
)
from fastbench.core.system_errors import is_of_memory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PASSED_OVER: Final = (
    *("argparse.Namespace", "types.SimpleNamespace", "uuid.UUID", "decimal.Decimal"),
    *("builtins.dict", "builtins.list", "builtins.frozenset", "builtins.range", "builtins.slice"),
    *(f"datetime.{x}" for x in ("date", "datetime", "time", "timedelta", "timezone")),
    *("numpy.dtype", "numpy.ndarray"),
    *("numpy.core.multiarray.scalar", "numpy.core.multiarray._reconstruct"),
    *("numpy._core.multiarray.scalar", "numpy._core.multiarray._reconstruct"),
    *(
        f"{module}.{x}"
        for module in ("pathlib", "pathlib._local")
        for x in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
    ),
    *("torch.torch_version.TorchVersion", "torchvision.transforms.functional.InterpolationMode"),
)
"""Types of what training scripts save beside the weights."""
_NOT_TENSORS: Final = "it holds more than tensors, or no pickle at all"
"""In place of torch's text, which advises to run the code, and is in bold."""


def read_file(path: Path) -> tuple[Any, Mapping[str, str]]:
    """What was saved, and a safetensors file's metadata.

    Raises `WeightsError` where that is damaged, or cannot be read without running code.
    """
    return _read_safetensors(path) if path.suffix == ".safetensors" else (_read_pickle(path), {})


def _read_pickle(path: Path) -> Any:
    """What `torch.save` wrote, without what is passed over."""
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_stand_ins()):
            warnings.simplefilter("ignore")  # about pickle's protocols
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if (found := re.search(r"GLOBAL ([\w.]+)", str(error))) is None:
            raise _unreadable(path, _NOT_TENSORS) from error
        raise WeightsError(
            f"{path} holds {found[1]}, which only code from the file could read, and fastbench "
            f"runs none. Where the file was made, save the tensors alone: "
            f"torch.save(model.state_dict(), FILE)."
        ) from error
    except Exception as error:  # a damaged pickle can raise any
        reason = _NOT_TENSORS if "weights_only" in str(error) else error
        raise _unreadable(path, reason) from error


class _StandIn:
    """Made in place of an object that is passed over; keeps nothing of it."""

    def __new__(cls, *_: object, **__: object) -> _StandIn:
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None:
        """Keep nothing."""


def _stand_ins() -> list[Any]:
    """What torch makes in place of the types that are passed over; it knows each by its name."""

    def container(kind: type[Any], name: str) -> Any:
        def make(*_: object) -> Any:
            return kind()  # torch fills no others

        make.__module__, make.__qualname__ = "collections", name
        return make

    optim = (torch.optim, torch.optim.lr_scheduler)
    classes = [x for module in optim for x in vars(module).values() if isinstance(x, type)]
    names = {f"{x.__module__}.{x.__qualname__}" for x in classes if "optim" in x.__module__}
    return [
        container(dict, "defaultdict"),
        container(list, "deque"),
        *(
            type(name.rpartition(".")[2], (_StandIn,), {"__module__": name.rpartition(".")[0]})
            for name in sorted({*_PASSED_OVER, *names})
        ),
    ]


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], Mapping[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError, MemoryError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, reason: Exception | str) -> FastbenchError:
    if isinstance(reason, Exception) and is_of_memory(reason):
        return OutOfMemoryError(
            f"{path} does not fit into memory ({first_line(reason)}). Allow the process more "
            f"(ulimit -v, or the container's limit), or save the model's weights alone."
        )
    # A pickle that is none fails with all kinds of errors, such as a KeyError whose text is `101`.
    why = first_line(reason) if isinstance(reason, str) else kind_and_line(reason)
    return WeightsError(
        f"{path} is not a checkpoint that can be read ({why}). "
        f"Save the model's state_dict() with torch.save or safetensors."
    )
