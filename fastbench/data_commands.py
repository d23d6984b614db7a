"""`fastbench data imagenet` and `fastbench data shards`: options -> paths -> class folders.

The report lies above this room, so how progress and the result are shown is handed in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

__all__ = ["Made", "Make", "add_commands"]


@dataclass(frozen=True, slots=True)
class Made:
    """What a command made: the folder, and in a line what is in it."""

    folder: Path
    note: str


class Make(Protocol):
    """What a command does, but for showing it."""

    def __call__(
        self, arguments: argparse.Namespace, on_progress: Callable[[int, int], None]
    ) -> Made:
        """Make the folder that the arguments ask for."""


Command: TypeAlias = "Callable[[argparse.Namespace], int]"


def add_commands(
    data_commands: argparse._SubParsersAction[Any], shown: Callable[[Make], Command]
) -> None:
    """Add both commands; `shown` turns one into a function from arguments to an exit code."""

    def command(name: str, make: Make, help_: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = data_commands.add_parser(
            name, help=help_, description=help_[:1].upper() + help_[1:] + "."
        )
        sub.set_defaults(command=shown(make))
        return sub

    imagenet = command(
        "imagenet", _imagenet, "unpack ImageNet's validation set into class folders, for --data"
    )
    images = imagenet.add_mutually_exclusive_group(required=True)
    images.add_argument("--archive", metavar="FILE", help="ILSVRC2012_img_val.tar")
    images.add_argument("--images", metavar="DIR", help="or a flat folder of its images")
    imagenet.add_argument(
        "--devkit",
        required=True,
        metavar="PATH",
        help="ILSVRC2012_devkit_t12.tar.gz, which has the labels, or the folder of it",
    )
    shards = command(
        "shards", _shards, "unpack WebDataset shards of JPEGs into class folders, for --data"
    )
    shards.add_argument("shards", nargs="+", metavar="FILE", help="a tar archive")
    for sub in (imagenet, shards):
        sub.add_argument("--output", required=True, metavar="DIR", help="where the folders go")


def _imagenet(arguments: argparse.Namespace, on_progress: Callable[[int, int], None]) -> Made:
    from fastbench.data.unpack.imagenet_archive import MARKER, unpack_imagenet

    output = unpack_imagenet(
        Path(arguments.output).expanduser(),
        archive=Path(arguments.archive).expanduser() if arguments.archive else None,
        images=Path(arguments.images).expanduser() if arguments.images else None,
        devkit=Path(arguments.devkit).expanduser(),
        on_progress=on_progress,
    )
    return _made(output, MARKER)


def _shards(arguments: argparse.Namespace, on_progress: Callable[[int, int], None]) -> Made:
    from fastbench.data.unpack.webdataset_shards import MARKER, unpack_shards

    shards = [Path(shard).expanduser() for shard in arguments.shards]
    return _made(unpack_shards(shards, Path(arguments.output).expanduser(), on_progress), MARKER)


def _made(output: Path, marker: str) -> Made:
    content = json.loads((output / marker).read_bytes())
    there, expected, classes = (
        content[key] for key in ("num_images", "num_expected", "num_classes")
    )
    of = "" if there == expected else f" of {expected:,}"
    part = "" if there == expected else " (a partial copy)"
    return Made(output, f"{there:,}{of} images in {classes:,} class folders{part}.")
