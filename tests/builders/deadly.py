"""What kills the process that imports it, as a library that does not fit the machine does."""

import os
import signal

os.kill(os.getpid(), signal.SIGKILL)
