"""What `runner/test_rank_group.py` runs as ranks, without torch; the job says what one does."""

import os
import signal
import time
from typing import Any

from fastbench.core.child_process import Channel
from fastbench.core.errors import DataError, FastbenchError, OutOfMemoryError, RankLostError
from fastbench.records.record import FailedRow
from fastbench.runner.rank_group import give_signs_of_life


def rank(job: tuple[str, Any], channel: Channel) -> None:
    does, what = job
    give_signs_of_life(channel)
    channel.say(f"{what} is at work")
    if does == "die":
        os.write(2, b"the last words\n")
        os.kill(os.getpid(), signal.SIGKILL)
    elif does == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif does == "leave":
        os._exit(0)
    elif does == "wait":
        time.sleep(60)
    elif does == "lose":
        raise RankLostError("Another rank has ended.")
    elif does == "fail":
        error: FastbenchError = OutOfMemoryError("Out of memory.")
        channel.send("answer", FailedRow("a model", "a loader", error))
    elif does == "refuse":
        raise DataError("There are no images.")
    else:
        channel.send("answer", what)
    channel.send("finished")
