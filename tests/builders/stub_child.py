"""What `runner/test_row_in_child.py` runs in place of a row, without torch.

The loader's name says what becomes of it. Its records are those in the file STUB_RECORD, with the
row's own names.
"""

import dataclasses
import faulthandler
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from builders.records import consistent
from fastbench.core import watchdog
from fastbench.core.config import RunConfig
from fastbench.core.errors import (
    CorruptImageError,
    DataNotFoundError,
    LoaderMissingError,
    WeightsError,
)
from fastbench.loaders.registry import Listed
from fastbench.records.record import FailedRow, Record
from fastbench.records.store import read_record


def measure(
    config: RunConfig,
    folder: Path,
    channel: Any,
    models: Sequence[str],
    since: float,
    called: Sequence[str],
) -> Iterator[Record | FailedRow]:
    name = config.timed_loader
    with open(folder / "started.txt", "a") as file:
        print(*models, "|", config.model[0], name, config.dtype, file=file)
    logging.getLogger("fastbench.stub").debug("%s is logged", name)
    channel.say(f"{name} is at work")
    channel.note("said by every row")
    fail = {
        "damaged": CorruptImageError("a.jpg", "is damaged"),
        "absent": LoaderMissingError("Its package is not here."),
    }
    if name == "killed":
        worker = subprocess.Popen(["sleep", "60"])
        (folder / "worker.pid").write_text(str(worker.pid))
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "segfault":
        os.write(2, b"the last words\n")
        faulthandler._sigsegv()  # type: ignore[attr-defined]
    elif name == "hungry":
        raise MemoryError
    elif name == "stuck":
        with watchdog.limited("a batch of the loader 'stuck'", -1):
            watchdog.start(often_s=0.01)
            time.sleep(60)
    elif name == "mute":
        os.closerange(0, 100)
        time.sleep(60)
    elif name == "buggy":
        raise RuntimeError("a bug")
    elif name == "silent":
        sys.exit(0)
    elif name in ("slow", "stubborn", "parting"):
        if name == "stubborn":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        (folder / "child.pid").write_text(str(os.getpid()))
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            (folder / "ended.txt").write_text("interrupted")
            if name != "parting":  # which has something to keep, and then ends
                raise
    elif name in fail:
        yield FailedRow(config.model[0], name, fail[name])
        return
    elif config.model[0] == "unloadable":
        yield FailedRow("unloadable", "every loader", WeightsError("There are no weights."))
        return
    elif name == "hopeless":
        raise DataNotFoundError("There are no images.")
    record: Record = read_record(Path(os.environ["STUB_RECORD"]))
    changes = {"model": config.model[0], "loader": name, "config": dataclasses.asdict(config)}
    given = {"data": record.data, "batch_size": config.batch_size or record.batch_size}
    record = consistent(msgspec.structs.replace(record, **changes, **given), given)
    path = folder / f"{name}-{config.dtype}-{config.batch_size}.json"
    path.write_bytes(msgspec.json.encode(record))
    yield read_record(path)
    if name == "lingering":
        (folder / "child.pid").write_text(str(os.getpid()))
        time.sleep(60)
    if name == "untidy":
        os.kill(os.getpid(), signal.SIGSEGV)


def half(config: RunConfig, folder: Path, channel: Any) -> Iterator[FailedRow]:
    """A row that crashes, and others that fail."""
    if (config.model[0], config.loader[0]) == ("sample", "dali"):
        os.kill(os.getpid(), signal.SIGSEGV)
    yield FailedRow(config.model[0], config.loader[0], DataNotFoundError("There are no images."))


def ask(names: Sequence[str]) -> list[Listed]:
    why_not = {"opencv": "it is not installed"}
    return [Listed(name=name, summary="", why_not=why_not.get(name)) for name in names]
