"""Models in a file with their program: TorchScript, or an archive of `torch.export`.

The file's contents tell which. Its weights are in it, and no preprocessing: the usual one for
ImageNet is taken, at the size that an exported program is fixed to. For another preprocessing use
`--preprocess`, or a callable that returns a `Model` (callable.py).

A program of `torch.export` has its mode, its devices and often its shapes written into it. The
mode must be that of inference. Devices are rewritten when the module is moved. Sizes are read off
it, and a batch that it was not exported for is refused. A dtype that it insists on shows when it is
run.

Load only files that you trust: `torch.export` pickles parts of some models into its archive, and
reading those runs code. A pickled module is nothing but such code, and is refused.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from fastbench.core.errors import (
    ModelError,
    UnknownNameError,
    WeightsError,
    did_you_mean,
    errors_as,
)
from fastbench.core.reading import user_path
from fastbench.models.base import (
    LoadedModel,
    class_space,
    in_float32,
    num_outputs,
    usual_preprocess,
)
from fastbench.models.checkpoint import read_checkpoint
from fastbench.models.input_size import AS_STATED, AskedInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TORCHSCRIPT: Final = "TorchScript"
EXPORTED: Final = "torch.export"

_MODES: Final = {"batch_norm": 5, "_native_batch_norm_legit": 5, "dropout": 2, "native_dropout": 2}
"""Operations that training changes, and the place of the argument that says whether it is on."""


class ExportedModule(torch.nn.Module):
    """A program of `torch.export` as a usual module.

    By itself it refuses `eval()`, and keeps the devices written into it when it is moved.
    """

    def __init__(self, program: torch.fx.GraphModule) -> None:
        super().__init__()
        self.program = program

    def forward(self, images_NCHW: torch.Tensor) -> Any:
        """The program's output."""
        return self.program(images_NCHW)

    def train(self, mode: bool = True) -> ExportedModule:
        """Only note the mode: the program's is fixed."""
        self.training = mode
        return self

    def _apply(
        self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
    ) -> ExportedModule:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        device = fn(torch.empty(0)).device
        for graph_module in self.program.modules():
            if isinstance(graph_module, torch.fx.GraphModule):
                _move_constants(graph_module, device)
        return self


def check_name(name: str) -> None:
    """Raise `UnknownNameError` for a file that is not there, `ModelError` for another file."""
    _format_of(user_path(name), name)


def load_model(
    name: str,
    weights: str = "DEFAULT",
    *,
    seed: int = 0,  # noqa: ARG001
    asked: AskedInput = AS_STATED,
) -> LoadedModel:
    """Load a file's program and its weights; it is tried on images of the size that is asked for.

    Raises as `fastbench.models.registry.load_model` does.
    """
    path = user_path(name)
    kind = _format_of(path, name)
    if weights != "DEFAULT":
        raise UnknownNameError(
            f"The model {path.name} has its weights in its file, so there is no --weights "
            f"{weights}. Leave it out."
        )
    fixed_size, batch_sizes = None, None
    if kind == TORCHSCRIPT:
        module = _load_torchscript(path)
    else:
        program = _load_exported(path)
        fixed_size, batch_sizes = _input_sizes(program, path)
        module = ExportedModule(program.module())
    module, notes = in_float32(module, path.name)
    preprocess, source = usual_preprocess(*([fixed_size] if fixed_size else []))
    num_images = batch_sizes[0] if batch_sizes else 1
    num_classes = num_outputs(
        module,
        path.name,
        preprocess.crop,
        num_images,
        asked=AS_STATED if fixed_size else asked,
    )
    return LoadedModel(
        name=path.name,
        weights=kind,
        module=module,
        preprocess=preprocess,
        preprocess_source=source,
        classes=class_space(num_classes, None),
        batch_sizes=batch_sizes,
        fixed_size=fixed_size,
        notes=notes,
    )


def _load_torchscript(path: Path) -> torch.nn.Module:
    with _loading(path, TORCHSCRIPT):
        module: torch.nn.Module = torch.jit.load(str(path), map_location="cpu")
    for parameter in module.parameters():
        parameter.requires_grad_(False)  # else torch warns that a copy's are no leaves
    return module


def _load_exported(path: Path) -> torch.export.ExportedProgram:
    with _loading(path, EXPORTED):
        program = torch.export.load(path)
    for node in program.graph.nodes:
        operation = str(node.target).removeprefix("aten.").partition(".")[0]
        place = _MODES.get(operation)
        if place is not None and node.args[place : place + 1] == (True,):
            raise ModelError(
                f"The model {path.name} was exported in training mode ({node.target} is in it), "
                f"which would score every batch otherwise. Call eval() on it before "
                f"torch.export.export."
            )
    return program


def _input_sizes(
    program: torch.export.ExportedProgram, path: Path
) -> tuple[int | None, tuple[int, int] | None]:
    """The image size and the batch sizes that a program is fixed to, None for any."""
    names = set(program.graph_signature.user_inputs)
    inputs = [
        node for node in program.graph.nodes if node.op == "placeholder" and node.name in names
    ]
    shapes = [tuple(getattr(node.meta.get("val"), "shape", ())) for node in inputs]
    # A size that is not fixed is a SymInt.
    if (
        len(shapes) != 1
        or len(shapes[0]) != 4
        or (isinstance(shapes[0][1], int) and shapes[0][1] != 3)
    ):
        shown = ", ".join("(" + ", ".join(map(str, shape)) + ")" for shape in shapes)
        raise ModelError(
            f"The model {path.name} was exported for inputs of shape {shown}. fastbench gives a "
            f"model one input, images of shape (N, 3, H, W): export a module that takes that."
        )
    batch, _, height, width = shapes[0]
    fixed = {size for size in (height, width) if isinstance(size, int)}
    if len(fixed) > 1:
        raise ModelError(
            f"The model {path.name} was exported for images of {width} x {height} pixels. "
            f"fastbench crops squares: export it for one."
        )
    return next(iter(fixed), None), _range_of(batch, program.range_constraints)


def _range_of(size: Any, constraints: Any) -> tuple[int, int] | None:
    """The least and the most of a dimension; None where it is not bounded."""
    if isinstance(size, int):
        return size, size
    bounds = constraints.get(size.node.expr)
    try:
        least, most = int(bounds.lower), int(bounds.upper)
    except (AttributeError, TypeError, OverflowError, ValueError):
        return None  # no bounds, or an infinite one
    return (least, most) if most < torch.iinfo(torch.int32).max else None


def _move_constants(graph_module: torch.fx.GraphModule, device: torch.device) -> None:
    """Replace the devices that a graph's nodes name."""

    def moved(argument: Any) -> Any:
        return device if isinstance(argument, torch.device) else argument

    for node in graph_module.graph.nodes:
        node.args = torch.fx.node.map_aggregate(node.args, moved)
        node.kwargs = torch.fx.node.map_aggregate(node.kwargs, moved)
    graph_module.recompile()


def _format_of(path: Path, name: str) -> str:
    """`TORCHSCRIPT` or `EXPORTED`, by what is in the file."""
    if not path.is_file():
        raise UnknownNameError(missing(path, name))
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        names = []
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return TORCHSCRIPT
    if "serialized_exported_program.json" in names or any(
        name.startswith("models/") for name in inner
    ):
        return EXPORTED
    raise ModelError(_what_else(path, inner))


def missing(path: Path, name: str) -> str:
    """The text of the error for a file that is not there, with the nearest name."""
    if path.exists():
        kind = "a folder" if path.is_dir() else "no regular file, but a pipe or a device"
        return f"The model {name!r} is {kind}. Check --model."
    if ".py:" in name:
        module = Path(name).name.replace(".py:", ":")
        return (
            f"There is no file {name!r}. Write a callable with its module as Python imports it, "
            f"such as {module} in the folder of that file."
        )
    if not path.parent.is_dir():
        return f"There is no folder {str(path.parent)!r}, for the model {name}. Check --model."
    known = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix == path.suffix)
    return f"There is no file {name!r}.{did_you_mean(path.name, known)} Check --model."


def _what_else(path: Path, inner: set[str]) -> str:
    """The error's text for a file without a program: what it is instead, and what to do."""
    is_checkpoint = path.suffix == ".safetensors"
    if "data.pkl" in inner:
        try:
            read_checkpoint(path)
            is_checkpoint = True
        except WeightsError as error:
            if isinstance(error.__cause__, pickle.UnpicklingError):
                return (
                    f"{path} is a pickled module, and unpickling one runs code from the file. "
                    f"Save it with torch.export.save, or name the callable that makes it, --model "
                    f"package.module:callable, with its state_dict() in --weights."
                )
    if is_checkpoint:
        return (
            f"{path} is a checkpoint: tensors without the model that they belong to. Give it with "
            f"--weights, and name its model with --model."
        )
    return (
        f"{path} is neither TorchScript nor an archive of torch.export. Save the model with "
        f"torch.export.save, or name a model: fastbench models"
    )


@contextlib.contextmanager
def _loading(path: Path, kind: str) -> Iterator[None]:
    """Silence torch's warnings that TorchScript ends, and its traceback of what is raised here."""
    what = f"The {kind} file {path} cannot be loaded by torch {torch.__version__}"
    log = logging.getLogger("torch.export")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with (
            errors_as(ModelError, what, "Save it again with this version of torch."),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
