"""Reading a local checkpoint, and loading it into a model that it may not fit.

A `.safetensors` file may have class names and preprocessing in its metadata. A file of `torch.save`
may hold several sets of weights, such as averaged ones (EMA) beside the raw ones: which one is
taken is said, and `--weights FILE:KEY` takes another.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import torch

from fastbench.core.errors import WeightsError, did_you_mean
from fastbench.core.preprocess_option import INTERPOLATIONS
from fastbench.core.units import and_more, counted
from fastbench.loaders.base import Preprocess
from fastbench.models.base import FLOATS, dtype_notes, triple
from fastbench.models.weights_file import read_file

if TYPE_CHECKING:
    from pathlib import Path

_WRAPPERS: Final = ("state_dict", "model", "model_state_dict", "model_ema", "module", "")
"""Under which name programs save weights, the usual ones first; those of no name last."""
_PREFIXES: Final = ("module.", "_orig_mod.", "model.")
_NUM_AVERAGED: Final = "n_averaged"
"""The counter of torch's `AveragedModel`, which is no tensor of the model."""
_MOST_NAMED: Final = 6
_DEEPEST: Final = 4


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A file's tensors by name, and its metadata.

    `versions` is torch's note on each module, by the module's name, None where the file has none:
    by it modules know the names of the tensors of their older versions. `key` is the set of weights
    in the file that these are, empty for its only one; `others` are the sets that were not asked
    for.
    """

    path: Path
    tensors: dict[str, torch.Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, Any] | None = None
    key: str = ""
    others: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name, and the set's as `--weights` has it."""
        return f"{self.path.name}:{self.key}" if self.key else self.path.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What was chosen among several sets of weights, and what was converted, in sentences."""
        converted = dtype_notes(self.path.name, self.tensors.values())
        if not self.others:
            return converted
        return (
            *converted,
            f"the weights are {self.key or 'the outermost'} of {self.path.name}, which also holds "
            f"{and_more(self.others, _MOST_NAMED)}; to take it: --weights "
            f"{self.path}:{self.others[0]}",
        )

    def classes(self, num_outputs: int) -> tuple[str, ...] | None:
        """The class names that the file states, by index.

        Raises `WeightsError` where they are not a name for each of the model's outputs.
        """
        if "classes" not in self.metadata:
            return None
        names = self._stated("classes")
        if (
            not isinstance(names, list)
            or not all(isinstance(name, str) for name in names)
            or len(names) != num_outputs
        ):
            raise WeightsError(
                f"The classes in the metadata of {self.path} are not a name for each of the "
                f"model's {num_outputs:,} outputs. Save a JSON list of these names, or none."
            )
        return tuple(names)

    @property
    def preprocess(self) -> Preprocess | None:
        """The preprocessing that the file states.

        Raises `WeightsError` for anything that the loaders do not have.
        """
        if "preprocess" not in self.metadata:
            return None
        stated = self._stated("preprocess")
        try:
            triples = {key: triple(stated[key]) for key in ("mean", "std")}
            preprocess = Preprocess(**{**stated, **triples})
        except (KeyError, TypeError, ValueError):
            preprocess = None
        if preprocess is None or preprocess.interpolation not in INTERPOLATIONS:
            raise WeightsError(
                f"The preprocess in the metadata of {self.path} is not one that the loaders have. "
                f"Save a JSON object with the fields of fastbench.loaders.base.Preprocess, its "
                f"interpolation {' or '.join(INTERPOLATIONS)}, or none."
            )
        return preprocess

    def _stated(self, key: str) -> Any:
        """A value of the metadata, which is JSON; None where it is not."""
        try:
            return json.loads(self.metadata[key])
        except ValueError:
            return None


def read_checkpoint(path: Path, key: str = "") -> Checkpoint:
    """Read a `.safetensors`, `.pth` or `.pt` file; with `key` its set of weights of that name.

    Raises `WeightsError` where it is missing, is no checkpoint, lacks the key, or has several sets
    of which none is the usual one.
    """
    if not path.is_file():
        raise WeightsError(f"The weights file {path} does not exist. Check --weights.")
    loaded, metadata = read_file(path)
    sets = _sets(loaded)
    if not sets:
        raise WeightsError(
            f"{path} holds no tensors by name (it is a {type(loaded).__name__}). "
            f"Save the model's state_dict() and name that file."
        )
    name, prefix = _named(sets, key, path) if key else (_usual(sets, path), "")
    prefix += _prefix(
        [x.removeprefix(prefix) for x in _tensors(sets[name]) if x.startswith(prefix)]
    )
    versions = getattr(sets[name], "_metadata", None)
    return Checkpoint(
        path=path,
        tensors=_within(prefix, _tensors(sets[name])),
        metadata=metadata,
        versions=versions
        and {
            module.removesuffix("."): version
            for module, version in _within(
                prefix, {f"{module}.": version for module, version in versions.items()}
            ).items()
        },
        key=key or (name if len(sets) > 1 else ""),
        others=() if key else tuple(other for other in sets if other not in ("", name)),
    )


def load_into(module: torch.nn.Module, checkpoint: Checkpoint, name: str) -> None:
    """Load a checkpoint, every tensor of it and of the model.

    Raises `WeightsError`, with the first names that do not fit, for another model's checkpoint, and
    for integers, quantised numbers or float8 in the place of the model's floating-point numbers.
    """
    wanted = module.state_dict()
    # A model that wraps another one has a prefix before each name, too.
    prefix = _prefix(list(wanted))
    tensors: Any = OrderedDict((prefix + key, value) for key, value in checkpoint.tensors.items())
    differing = [
        key for key, value in tensors.items() if key in wanted and value.shape != wanted[key].shape
    ]
    for key in differing:
        del tensors[key]
    quantised = [
        key
        for key, value in tensors.items()
        if key in wanted and wanted[key].is_floating_point() and value.dtype not in FLOATS
    ]
    if quantised:
        first = quantised[0]
        raise WeightsError(
            f"The weights {checkpoint.path} are no plain floating-point numbers where the model "
            f"{name} has such: {counted(len(quantised), 'tensor')} (first: {first}, "
            f"{tensors[first].dtype}). Save them in float32, float16, bfloat16 or float64, or name "
            f"a callable that makes the quantised model."
        )
    if checkpoint.versions is not None:
        tensors._metadata = {
            (prefix + key).removesuffix("."): value for key, value in checkpoint.versions.items()
        }
    try:
        missing, unexpected = module.load_state_dict(tensors, strict=False)
    except (RuntimeError, ValueError) as error:  # ValueError: torchvision's MNASNet
        raise WeightsError(
            f"The weights {checkpoint.path} do not fit the model {name} "
            f"({' '.join(str(error).split())}). Name the model that they belong to with --model."
        ) from error
    # BatchNorm's step counters are not used in inference, and old checkpoints lack them.
    missing = [
        key for key in missing if key not in differing and not key.endswith("num_batches_tracked")
    ]
    if missing or unexpected or differing:
        problems = [
            f"{len(keys)} {what} (first: {keys[0]})"
            for what, keys in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", differing),
            )
            if keys
        ]
        fitting = [*_prefixes_that_fit(checkpoint.tensors, wanted), *checkpoint.others]
        instead = f", or other weights with --weights {checkpoint.path}:" if fitting else ""
        raise WeightsError(
            f"The weights {checkpoint.path} do not fit the model {name}: tensors "
            f"{', '.join(problems)}. Name the model that they belong to with --model"
            f"{instead}{' or :'.join(fitting[:_MOST_NAMED])}."
        )


def _prefixes_that_fit(tensors: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Parts of a set of weights that have every tensor of a model: a teacher, and a student."""
    needed = [key for key in wanted if not key.endswith("num_batches_tracked")]
    ending = f".{needed[0]}" if needed else ""
    prefixes = [key.removesuffix(ending) for key in tensors if ending and key.endswith(ending)]
    return [prefix for prefix in prefixes if all(f"{prefix}.{key}" in tensors for key in needed)]


def _sets(loaded: object) -> dict[str, Mapping[str, Any]]:
    """The sets of weights in what was saved, by name, the usual one first.

    A set has at least half as many matrices as the largest, or a usual name: the state of an
    optimizer is none.
    """
    found = dict(_holders(loaded, ""))
    sizes = {
        name: sum(tensor.ndim >= 2 for tensor in _tensors(each).values())
        for name, each in found.items()
    }
    most = max(sizes.values(), default=0)
    kept = [x for x in found if 2 * sizes[x] >= most or (x in _WRAPPERS and x and sizes[x])]
    return {name: found[name] for name in sorted(kept, key=_rank)}


def _holders(loaded: object, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The mappings, down to some depth, that hold tensors by name; one may hold itself."""
    if not isinstance(loaded, Mapping) or name.count(".") > _DEEPEST:
        return
    if _tensors(loaded):
        yield name, loaded
    for key, value in loaded.items():
        if isinstance(key, str):
            yield from _holders(value, f"{name}.{key}" if name else key)


def _tensors(holder: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {
        key: value
        for key, value in holder.items()
        if isinstance(key, str) and isinstance(value, torch.Tensor) and key != _NUM_AVERAGED
    }


def _rank(name: str) -> list[int]:
    """Less for a set with a more usual name."""
    parts = name.split(".")
    return [_WRAPPERS.index(x) if x in _WRAPPERS else len(_WRAPPERS) for x in parts]


def _usual(sets: Mapping[str, Mapping[str, Any]], path: Path) -> str:
    """The set that a file's weights are by default."""
    first, *others = sets
    if others and _rank(first) == _rank(others[0]):
        raise WeightsError(
            f"{path} has several sets of weights: {and_more(list(sets), _MOST_NAMED)}. "
            f"Name one: --weights {path}:{first}"
        )
    return first


def _named(sets: Mapping[str, Mapping[str, Any]], key: str, path: Path) -> tuple[str, str]:
    """The set that a key names, and the prefix of its tensors where it is a part of that set."""
    if key in sets:
        return key, ""
    for name, holder in sets.items():
        prefix = key.removeprefix(f"{name}.") + "."
        if any(x.startswith(prefix) for x in _tensors(holder)):
            return name, prefix
    parts = (x.partition(".")[0] for holder in sets.values() for x in _tensors(holder))
    known = [*filter(None, sets)] or list(dict.fromkeys(parts))
    raise WeightsError(
        f"{path} has no weights named {key!r}.{did_you_mean(key, known)} "
        f"It has: {and_more(known, _MOST_NAMED)}."
    )


def _within(prefix: str, named: Mapping[str, Any]) -> dict[str, Any]:
    """What has a name that begins with the prefix, by the rest of its name."""
    return {key.removeprefix(prefix): x for key, x in named.items() if key.startswith(prefix)}


def _prefix(names: list[str]) -> str:
    for prefix in _PREFIXES:
        if names and all(name.startswith(prefix) for name in names):
            return prefix + _prefix([name.removeprefix(prefix) for name in names])
    return ""
