"""The models that have a name, with what their package states of them; patterns of names.

Only the packages know: torchvision's and timm's import torch, which takes seconds. A child reads
each once, and a file in the user's cache keeps it, one for each version of the package. A file that
is missing or damaged is made anew; where none can be written, the next call reads it again.

Importing this module imports no torch.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import importlib.metadata
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fastbench.core.atomic_files import write_whole
from fastbench.core.child_process import ChildProcess
from fastbench.core.errors import (
    CrashError,
    FastbenchError,
    ModelError,
    UnknownNameError,
    did_you_mean,
)
from fastbench.core.reading import read_regular, user_path
from fastbench.models.registry import SAMPLE, TIMM, installed, torchvision_names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastbench.core.child_process import Channel

LIMIT_S: Final = 300.0
"""How long a package may take to be imported and to answer."""


class Named(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A model by name, with its default weights; None for what its package does not state.

    `num_macs` are multiply-accumulates of one image of `input_size` pixels a side; `top1` and
    `top5` are shares of ImageNet's validation set. `is_variant`: the name has a tag of weights.
    """

    name: str
    num_parameters: int | None = None
    num_macs: float | None = None
    input_size: int | None = None
    top1: float | None = None
    top5: float | None = None
    is_variant: bool = False


def is_pattern(name: str) -> bool:
    """Whether a `--model` has wildcards, and is no file's name."""
    return bool({*"*?["} & {*name}) and not user_path(name).exists()


def named(pattern: str = "*") -> list[Named]:
    """The models whose names match, the sample model first, plug-ins and timm's last.

    timm's match only a pattern that begins with `timm:`; those with a tag of weights only one with
    a dot. Raises as a package's import does, and `ModelError` if timm is asked for and missing.
    """
    if pattern.startswith(TIMM):
        has_tag = "." in pattern
        every = [each for each in _read("timm") if each.is_variant is has_tag]
    else:
        built_in = _read("torchvision")
        known = {each.name for each in built_in}
        every = [*built_in, *(Named(name=x) for x in sorted(installed()) if x not in known)]
    return [each for each in every if fnmatch.fnmatchcase(each.name, pattern)]


def matching(pattern: str) -> tuple[str, ...]:
    """The names that match a pattern. Raises `UnknownNameError` if there is none."""
    found = tuple(each.name for each in named(pattern))
    if not found:
        every = f"{TIMM}*" if pattern.startswith(TIMM) else "*"
        plain = pattern.translate({ord(x): None for x in "*?[]"})
        close = did_you_mean(plain, [each.name for each in named(every)])
        listed = f" '{every}'" if every != "*" else ""
        raise UnknownNameError(
            f"No model has a name like {pattern!r}.{close} List them: fastbench models{listed}"
        )
    return found


def check_known(name: str) -> None:
    """Raise `UnknownNameError` for a name of torchvision's or a plug-in's that there is not.

    A file, a callable and a model of timm's are not looked at.
    """
    if name == SAMPLE or {*":."} & {*name} or os.sep in name:
        return
    known = [each.name for each in named()]
    if name not in known:
        raise UnknownNameError(
            f"There is no model {name!r}.{did_you_mean(name, known)} List them: fastbench models"
        )


@functools.cache
def _read(package: str) -> tuple[Named, ...]:
    """What a package has, from the cache or from the package itself."""
    path = _cache_file(package)
    with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError):
        if path and (found := msgspec.json.decode(read_regular(path), type=tuple[Named, ...])):
            return found
    sys.stderr.write(f"Reading {package}'s models, once for this version.\n")
    found = _ask(package)
    if path is not None:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, msgspec.json.encode(found))
    return found


def _cache_file(package: str) -> Path | None:
    """Where what this version has is kept; None if no version can be told."""
    import platformdirs

    try:
        versions = [importlib.metadata.version(name) for name in ("fastbench", package)]
    except importlib.metadata.PackageNotFoundError:
        return None
    stem = "-".join((package, versions[1], "for", versions[0]))
    return platformdirs.user_cache_path("fastbench") / "models" / f"{stem}.json"


def _ask(package: str) -> tuple[Named, ...]:
    with ChildProcess(_answer, package) as child:
        try:
            message = child.next_message(LIMIT_S)
        except TimeoutError:
            message = None
        child.end()
        ending = child.ending
    if message is None:
        raise CrashError(
            f"{package} did not say which models it has: its process {ending}. "
            f'Try to import it: python -c "import {package}"'
        )
    kind, told = message
    if kind == "ends":
        raise told
    return msgspec.convert(told, tuple[Named, ...])


def _answer(package: str, channel: Channel) -> None:
    found = _of_timm() if package == "timm" else _of_torchvision()
    channel.send("answer", [msgspec.to_builtins(each) for each in found])


def _of_torchvision() -> Iterator[Named]:
    """The sample model, and torchvision's by what their default weights state."""
    from torchvision import models

    from fastbench.models.cost import count_cost
    from fastbench.models.torchvision import load_model, preprocess_of, published_of

    sample = load_model(SAMPLE)
    cost = count_cost(sample)
    yield Named(
        name=SAMPLE,
        num_parameters=cost.num_parameters,
        num_macs=cost.num_macs,
        input_size=sample.preprocess.crop,
    )
    for name in torchvision_names():
        weights: Any = models.get_model_weights(name).DEFAULT
        top1, top5 = published_of(weights) or (None, None)
        giga_macs = weights.meta.get("_ops")  # which torchvision calls GFLOPS
        yield Named(
            name=name,
            num_parameters=weights.meta.get("num_params"),
            num_macs=giga_macs and giga_macs * 1e9,
            input_size=preprocess_of(weights.transforms()).crop,
            top1=top1,
            top5=top5,
        )


def _of_timm() -> Iterator[Named]:
    """timm's that have weights and run here: a classifier, with a preprocessing of ours."""
    from fastbench.models.timm import classifier_size, package

    timm = package(f"{TIMM}*")
    for include_tags in (False, True):
        for bare in timm.list_models(pretrained=True, include_tags=include_tags):
            name = TIMM + bare
            with contextlib.suppress(ModelError):
                if size := classifier_size(name):
                    yield Named(name=name, input_size=size, is_variant=include_tags)


def expanded(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of `--model`, each pattern as what it matches."""
    every = [(name,) if not is_pattern(name) else matching(name) for name in names]
    return tuple(dict.fromkeys(name for names in every for name in names))


def unknown_of(names: tuple[str, ...]) -> list[str]:
    """What is wrong with the names of models, a sentence each."""
    said = []
    for name in dict.fromkeys(names):
        try:
            check_known(name)
        except FastbenchError as error:
            said.append(str(error))
    return said
