"""A module as a program that other engines read: torch.export, and ONNX by torch.onnx.

Files are kept in the cache under a digest of the program, its weights and the versions that made
it, so a changed model is exported anew and an unchanged one is not. The oldest leave it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import logging
import os
import secrets
import time
import warnings
from typing import TYPE_CHECKING, Any, Final

import torch

from fastbench.core.errors import CompileError, ModelError, OutputError, UsageError, errors_as
from fastbench.engines.ready_module import ready_module
from fastbench.models.logits import is_torchscript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from fastbench.engines.base import EngineSpec

IMAGES: Final = "images"
LOGITS: Final = "logits"
OPSET: Final = 18
"""Of ONNX: what torch.onnx makes without a conversion, since torch 2.6."""
_MOST_ONNX_BYTES: Final = 2_000_000_000
"""Of weights in one ONNX file, which is a message of protobuf and has less than 2 GiB."""
_MOST_BYTES: Final = 4 << 30
"""How large the cache may grow."""
_STILL_WRITTEN_S: Final = 3600
"""A file that is being written is not older; an older one is of a run that was killed."""
_NO_ROOM: Final = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES)


def export(spec: EngineSpec, *, dtype: str | None = None) -> torch.export.ExportedProgram:
    """The model as a program of torch.export, for the shapes of the spec, in its dtype.

    Raises `ModelError` where it cannot be exported.
    """
    name = spec.model.name
    if is_torchscript(spec.model.module):
        raise ModelError(
            f"The model {name} is TorchScript, which torch.export cannot take. Run it with "
            f"--engine eager, or save it with torch.export.save."
        )
    module = ready_module(spec)
    kind = getattr(torch, dtype or spec.dtype)
    images_NCHW = torch.zeros(
        (spec.batch_size, 3, spec.crop, spec.crop), device=spec.device, dtype=kind
    ).contiguous(memory_format=torch.channels_last)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    with (
        errors_as(ModelError, f"The model {name} cannot be exported", "Try --engine eager."),
        quiet(),
        torch.no_grad(),
    ):
        return torch.export.export(module.to(kind), (images_NCHW,))


def onnx_file(spec: EngineSpec, opset: int = OPSET) -> Path:
    """The model as an ONNX file with one input and one output, from the cache if it is there.

    Raises `ModelError` where it cannot be exported, `UsageError` for an opset that torch.onnx does
    not make, `OutputError` where it cannot be written.
    """
    if type(opset) is not int:  # `true` is none
        raise UsageError(
            f"--engine-option onnxruntime.opset is {opset!r}. Give a whole number, such as {OPSET}."
        )
    program = export(spec)
    if (size := weights_bytes(program)) > _MOST_ONNX_BYTES:
        raise ModelError(
            f"The model {spec.model.name} has {size / 1e9:.1f} GB of weights, and an ONNX file "
            f"holds {_MOST_ONNX_BYTES / 1e9:g} GB. Use --engine openvino or compile."
        )

    def write(path: Path) -> None:
        what = f"The model {spec.model.name} cannot be exported to ONNX"
        with errors_as(ModelError, what, "Try --engine compile."), quiet():
            made = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                input_names=[IMAGES],
                output_names=[LOGITS],
                verbose=False,
            )
            assert made is not None
            if made.model.opset_imports[""] != opset:  # it goes on without a word
                raise UsageError(
                    f"torch.onnx has no opset {opset} for the model {spec.model.name}. Leave out "
                    f"--engine-option onnxruntime.opset: it makes {OPSET}."
                )
            made.save(str(path))

    import onnxscript

    made_by = ("onnx", opset, torch.__version__, onnxscript.__version__)
    return cached(spec, program, made_by, ".onnx", write)


def weights_bytes(program: torch.export.ExportedProgram) -> int:
    """The size of a program's parameters, buffers and constants."""
    tensors = (*program.state_dict.values(), *program.constants.values())
    return sum(x.numel() * x.element_size() for x in tensors if isinstance(x, torch.Tensor))


def cached(
    spec: EngineSpec,
    program: torch.export.ExportedProgram,
    made_by: Sequence[object],
    suffix: str,
    write: Callable[[Path], None],
) -> Path:
    """The file that `write` makes of a program, which `made_by` says how; made once.

    Raises `OutputError` where it cannot be written.
    """
    path = spec.cache / f"{_digest(program, made_by)}{suffix}"
    # Another machine may have the folder too, and a process of the same number.
    partial = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    try:
        if path.is_file():
            with contextlib.suppress(OSError):
                os.utime(path)  # it is the last to leave
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        partial.replace(path)
    except (OSError, ModelError, CompileError) as error:
        reason = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(reason, OSError) or (reason != error and reason.errno not in _NO_ROOM):
            raise
        raise OutputError(
            f"The exported model cannot be written to {path.parent} "
            f"({reason.strerror or reason}). Set XDG_CACHE_HOME to a folder that can be written "
            f"and has space."
        ) from error
    finally:
        with contextlib.suppress(OSError):  # its folder may be none
            partial.unlink()
    _make_room(path.parent, path)
    return path


def _digest(program: torch.export.ExportedProgram, made_by: Sequence[object]) -> str:
    """Of the operations with their shapes, the weights, and how the file is made."""
    digest = hashlib.sha256(repr(made_by).encode())
    digest.update(str(program.graph_module.code).encode())
    for node in program.graph.nodes:
        value = node.meta.get("val")
        its = [str(getattr(value, fact, "")) for fact in ("shape", "dtype")]
        digest.update(f"{node.name} {its}".encode())
    for name, tensor in (*program.state_dict.items(), *program.constants.items()):
        digest.update(name.encode())
        if isinstance(tensor, torch.Tensor):
            digest.update(f"{tensor.dtype} {tensor.stride()}".encode())
            digest.update(_bytes_of(tensor))
    return digest.hexdigest()[:32]


def _bytes_of(tensor: torch.Tensor) -> Any:
    flat = tensor.detach().cpu().contiguous().view(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else b""


def _make_room(folder: Path, newest: Path) -> None:
    """Remove the oldest files, where they take more than the cache may.

    Also what killed runs have left, but not what another run is writing.
    """
    with contextlib.suppress(OSError):  # another run may tidy up at the same time
        files = [(file, file.stat()) for file in folder.iterdir()]
        total = 0
        for file, status in sorted(files, key=lambda each: -each[1].st_mtime):
            if file.name.startswith("."):
                if time.time() - status.st_mtime > _STILL_WRITTEN_S:
                    file.unlink()
                continue
            total += status.st_size
            if total > _MOST_BYTES and file != newest:
                file.unlink()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep exporters from printing and logging: what fails, they raise."""
    names = ("torch.export", "torch.onnx", "torch.fx", "onnxscript", "onnx_ir", "nncf")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
