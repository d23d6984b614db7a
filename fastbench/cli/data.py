"""`fastbench data`: drawing the sample, checking a data set, unpacking ImageNet and shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastbench.cli.output import complain, say
from fastbench.cli.parser import Parser, add_command
from fastbench.core.config import OPTIONS
from fastbench.core.errors import UsageError
from fastbench.core.reading import user_path

if TYPE_CHECKING:
    import argparse


def add(commands: Any) -> None:
    """Add the command and its sub-commands to the parser's commands."""

    def show_help(_: argparse.Namespace) -> int:
        say(parser.format_help().rstrip())
        return 0

    parser = add_command(commands, "data", show_help, "make data sets")
    sub_commands = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    text = "draw the sample data set: JPEGs of 24 classes, the same on every machine"
    sample = add_command(sub_commands, "sample", draw_sample, text)
    sample.add_argument("--num-images", type=int, default=1000, metavar="N", help="default: 1000")
    sample.add_argument("--output", metavar="DIR", help="default: the user's cache folder")
    text = "decode every image of a data set, and name those that are no sound JPEGs"
    verify = add_command(sub_commands, "verify", verify_images, text)
    verify.add_argument("data", metavar="DIR|FILE", help="a folder of JPEGs, a CSV file or a list")
    verify.add_argument("--data-root", metavar="DIR", help=OPTIONS["data_root"].help)
    text = "unpack ImageNet's validation set into class folders, for --data"
    imagenet = add_command(sub_commands, "imagenet", unpack_archive, text)
    images = imagenet.add_mutually_exclusive_group(required=True)
    images.add_argument("--archive", metavar="FILE", help="ILSVRC2012_img_val.tar")
    images.add_argument("--images", metavar="DIR", help="or a flat folder of its images")
    imagenet.add_argument(
        "--devkit",
        required=True,
        metavar="PATH",
        help="ILSVRC2012_devkit_t12.tar.gz, which has the labels, or the folder of it",
    )
    text = "unpack WebDataset shards of JPEGs into class folders, for --data"
    shards = add_command(sub_commands, "shards", unpack_webdataset, text)
    shards.add_argument("shards", nargs="+", metavar="FILE", help="a tar archive")
    for sub in (imagenet, shards):
        sub.add_argument("--output", required=True, metavar="DIR", help="where the folders go")


def draw_sample(arguments: argparse.Namespace) -> int:
    """Draw what the sample lacks, and print its folder."""
    if arguments.num_images < 1:
        raise UsageError(f"--num-images is {arguments.num_images}. Give a number of at least 1.")

    from fastbench.core.console import ConsoleProgress
    from fastbench.data.sample.draw_all import ensure_sample

    root = user_path(arguments.output) if arguments.output else None
    with ConsoleProgress() as progress:
        drawn = progress.count(
            "drawing the sample images", "Drew {total:,} sample images in {seconds:.0f} s."
        )
        folder = ensure_sample(arguments.num_images, root=root, on_progress=drawn)
    say(str(folder))
    return 0


def verify_images(arguments: argparse.Namespace) -> int:
    """Decode every image, and name those that are damaged."""
    from fastbench.core.console import ConsoleProgress
    from fastbench.data.dataset import check_all
    from fastbench.data.folder_tree import in_words

    with ConsoleProgress() as progress:
        shown = progress.count("decoding the images")
        root = Path(arguments.data_root) if arguments.data_root else None
        num_files, bad, not_used = check_all(Path(arguments.data), root, shown)
    for skipped in bad:
        say(f"{skipped.name} {skipped.why}")
    if not bad:
        say(f"{num_files:,} JPEG files, all of them sound.")
    if not_used:
        say(f"Not used: {in_words(not_used)}.")
    if not bad:
        return 0
    complain(
        f"{len(bad):,} of {num_files:,} files in {arguments.data} are no sound "
        f"JPEGs. Replace or remove them, or run with --on-error skip."
    )
    return 1


def unpack_archive(arguments: argparse.Namespace) -> int:
    """Unpack ImageNet's archive, or sort its images, and print what the folder has."""
    from fastbench.core.console import ConsoleProgress
    from fastbench.data.unpack.imagenet_archive import MARKER, unpack_imagenet

    with ConsoleProgress() as progress:
        output = unpack_imagenet(
            user_path(arguments.output),
            archive=user_path(arguments.archive) if arguments.archive else None,
            images=user_path(arguments.images) if arguments.images else None,
            devkit=user_path(arguments.devkit),
            on_progress=progress.count("unpacking the images"),
        )
    return _say_content(output, MARKER)


def unpack_webdataset(arguments: argparse.Namespace) -> int:
    """Unpack shards, and print what the folder has."""
    from fastbench.core.console import ConsoleProgress
    from fastbench.data.unpack.webdataset_shards import MARKER, unpack_shards

    shards = [user_path(shard) for shard in arguments.shards]
    with ConsoleProgress() as progress:
        output = unpack_shards(
            shards, user_path(arguments.output), progress.count("unpacking the images")
        )
    return _say_content(output, MARKER)


def _say_content(output: Path, marker: str) -> int:
    content = json.loads((output / marker).read_bytes())
    there, expected, classes = (
        content[key] for key in ("num_images", "num_expected", "num_classes")
    )
    of, part = ("", "") if there == expected else (f" of {expected:,}", " (a partial copy)")
    say(f"{there:,}{of} images in {classes:,} class folders{part}.\n{output}")
    return 0
