"""Columns that say which row this is: what was run, on what machine, and which file says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.core.units import counted
from fastbench.report.columns.column import FILE, MACHINE, RUN, Column, Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastbench.report.columns.column import Row

__all__ = ["MACHINE_LABELS", "RUN_LABELS"]


def _label(name: str, meaning: str, read: Callable[[Row], Value], **more: Any) -> Column:
    """A column of words: left, and without a better direction."""
    given = {"heading": name, "topic": RUN, "align": "left"}
    return Column(name=name, meaning=meaning, read=read, **{**given, **more})


def _time(created: str) -> str:
    """To the second: rows that have the same configuration are told apart by it."""
    return created[:19].replace("T", " ")


RUN_LABELS: Final = (
    _label(
        "device",
        "the GPU that the model ran on, or the CPU where it ran there",
        lambda row: row.device,
        aliases=("gpu",),
    ),
    _label("model", "the model's name", lambda row: row.record.model),
    _label(
        "weights",
        "the model's weights",
        lambda row: row.record.weights,
        words=lambda value: "" if value == "embedded" else f"weights {value}",
    ),
    _label("loader", "what turned files into batches", lambda row: row.record.loader),
    _label(
        "decoder",
        "what the loader decoded JPEGs with",
        lambda row: row.record.loader_settings.get("decoder"),
        words="decoder {}".format,
    ),
    _label("dtype", "the model's number format", lambda row: row.record.dtype),
    _label(
        "batch",
        "images a batch",
        lambda row: row.record.batch_size,
        show="{:,}".format,
        align="right",
        words="batch {:,}".format,
    ),
    _label(
        "compile",
        "torch.compile's mode, or eager",
        lambda row: row.record.compile_mode or "eager",
        words=lambda value: value if value == "eager" else f"compile={value}",
    ),
    _label(
        "threads",
        "the loader's threads or worker processes",
        lambda row: row.record.num_threads,
        align="right",
        words=lambda number: counted(number, "thread"),
    ),
    _label(
        "images",
        "images of the data set that were used",
        lambda row: row.record.data["num_samples"],
        show="{:,}".format,
        align="right",
        words=lambda number: counted(number, "image"),
    ),
    _label(
        "digest",
        "which images these are: the first digits of their digest",
        lambda row: row.record.data.get("digest"),
        show=lambda value: value[:10],
        words=lambda value: f"digest {value[:10]}",
    ),
    _label(
        "page-cache",
        "whether the files were in memory: warm or cold",
        lambda row: row.record.data.get("page_cache"),
        heading="page cache",
        words="page cache {}".format,
    ),
)

MACHINE_LABELS: Final = (
    _label(
        "cpu",
        "the machine's CPU",
        lambda row: row.record.environment.get("cpu"),
        heading="CPU",
        topic=MACHINE,
    ),
    _label(
        "cores",
        "cores that the run could use",
        lambda row: row.record.environment.get("num_cores"),
        topic=MACHINE,
        align="right",
        words=lambda number: counted(number, "core"),
    ),
    _label(
        "torch",
        "the version of torch",
        lambda row: row.package("torch"),
        topic=MACHINE,
        words="torch {}".format,
    ),
    _label(
        "dali",
        "the version of DALI",
        lambda row: row.package("nvidia-dali-cuda120", "nvidia-dali-cuda130"),
        heading="DALI",
        topic=MACHINE,
        words="DALI {}".format,
    ),
    _label(
        "driver",
        "the version of NVIDIA's driver",
        lambda row: row.record.environment.get("driver"),
        topic=MACHINE,
        words="driver {}".format,
    ),
    _label(
        "date",
        "when it was measured, UTC",
        lambda row: row.record.created,
        topic=FILE,
        show=_time,
        words=_time,
    ),
    _label("file", "the record's file", lambda row: str(row.path), topic=FILE),
)
