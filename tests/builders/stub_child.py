"""What `runner/test_row_in_child.py` runs in place of a row, without torch.

The loader's name says what becomes of it. `python -m builders.stub_child` is the child of a row
with another `_measure`. Its records are those in the file STUB_RECORD, with the row's own names.
"""

import dataclasses
import faulthandler
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fastbench.core.child_process import pack_error, serve
from fastbench.core.config import RunConfig
from fastbench.core.errors import (
    CorruptImageError,
    DataNotFoundError,
    LoaderMissingError,
    WeightsError,
)
from fastbench.runner import row_in_child


def measure(job: dict[str, Any], channel: Any) -> None:
    config = RunConfig.from_json(job["config"])
    name, folder = config.timed_loader, Path(job["folder"])
    with open(folder / "started.txt", "a") as file:
        print(*job["models"], "|", config.model[0], name, config.dtype, file=file)
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
    elif name == "buggy":
        raise RuntimeError("a bug")
    elif name == "silent":
        return
    elif name in ("slow", "stubborn"):
        if name == "stubborn":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        (folder / "child.pid").write_text(str(os.getpid()))
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            (folder / "ended.txt").write_text("interrupted")
            raise
    elif name in fail:
        error = pack_error(fail[name])
        channel.send(failed={"model": config.model[0], "loader": name, "error": error})
        return
    elif config.model[0] == "unloadable":
        error = pack_error(WeightsError("There are no weights."))
        channel.send(failed={"model": "unloadable", "loader": "every loader", "error": error})
        return
    elif name == "hopeless":
        channel.send(ends=pack_error(DataNotFoundError("There are no images.")))
        return
    record = json.loads(Path(os.environ["STUB_RECORD"]).read_text())
    record |= {"model": config.model[0], "loader": name, "config": dataclasses.asdict(config)}
    path = folder / f"{name}-{config.dtype}-{config.batch_size}.json"
    path.write_text(json.dumps(record))
    channel.send(record=str(path))
    if name == "lingering":
        (folder / "child.pid").write_text(str(os.getpid()))
        time.sleep(60)
    if name == "untidy":
        os.kill(os.getpid(), signal.SIGSEGV)


if __name__ == "__main__":
    row_in_child._measure = measure
    row_in_child._missing = lambda names: {n: "it is not installed" for n in names if n == "opencv"}
    sys.exit(serve(row_in_child.work))
