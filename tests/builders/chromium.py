"""A headless Chromium for tests, over the pipe of its DevTools protocol: no driver, no port.

A page's messages (console, exceptions, violated policies) are gathered from its first moment on; a
test asks that there are none. What it does not know: other browsers.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TIMEOUT_S = 60.0
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
KEYS = {
    "Enter": {"code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
    " ": {"code": "Space", "windowsVirtualKeyCode": 32, "text": " "},
    "Tab": {"code": "Tab", "windowsVirtualKeyCode": 9},
    "Escape": {"code": "Escape", "windowsVirtualKeyCode": 27},
    "End": {"code": "End", "windowsVirtualKeyCode": 35},
    "Home": {"code": "Home", "windowsVirtualKeyCode": 36},
    "ArrowLeft": {"code": "ArrowLeft", "windowsVirtualKeyCode": 37},
    "ArrowRight": {"code": "ArrowRight", "windowsVirtualKeyCode": 39},
}


def find() -> str | None:
    """The path of a Chromium; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page of a headless Chromium; `messages` is what its console and its errors said."""

    def __init__(self, program: str, home: Path, downloads: Path) -> None:
        to_child, self._to = _pipe()
        self._from, from_child = _pipe()
        actions = [
            (os.POSIX_SPAWN_DUP2, to_child, 3),
            (os.POSIX_SPAWN_DUP2, from_child, 4),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        argv = [program, *FLAGS, f"--user-data-dir={home}", "about:blank"]
        self._pid = os.posix_spawn(program, argv, os.environ, file_actions=actions, setpgroup=0)
        os.close(to_child)
        os.close(from_child)
        self._buffer = b""
        self._number = 0
        self._events: list[dict[str, Any]] = []
        self._session: str | None = None
        self.messages: list[str] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Browser.setDownloadBehavior",
            behavior="allow",
            downloadPath=str(downloads),
            eventsEnabled=True,
        )

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its answer."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session and not method.startswith(("Browser.", "Target.")):
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answer = self._read(lambda found: found.get("id") == number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next event of this name that has not been waited for."""
        for found in self._events:
            if found["method"] == event:
                self._events.remove(found)
                return found
        found = self._read(lambda message: message.get("method") == event)
        self._events.remove(found)
        return found

    def _read(self, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        until = time.monotonic() + TIMEOUT_S
        while True:
            while b"\0" not in self._buffer:
                left_s = until - time.monotonic()
                if left_s <= 0 or not select.select([self._from], [], [], left_s)[0]:
                    raise TimeoutError(f"Chromium said nothing for {TIMEOUT_S:g} s")
                if not (read := os.read(self._from, 1 << 20)):
                    raise RuntimeError("Chromium ended")
                self._buffer += read
            text, _, self._buffer = self._buffer.partition(b"\0")
            message = json.loads(text)
            if "method" in message:
                self._note(message)
            if is_wanted(message):
                return message

    def _note(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        said = event["params"]
        if event["method"] == "Runtime.consoleAPICalled":
            self.messages.append(f"console.{said['type']}: {said['args']}")
        elif event["method"] == "Runtime.exceptionThrown":
            details = said["exceptionDetails"]
            self.messages.append(
                f"exception: {details.get('exception', {}).get('description', details)}"
            )
        elif event["method"] == "Log.entryAdded":
            self.messages.append(f"log: {said['entry']}")

    def open(self, path: Path) -> None:
        """Open a file, and wait until it has loaded."""
        self._events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait_for("Page.loadEventFired")

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """The text of the first element."""
        text: str = self.run(f"document.querySelector({json.dumps(selector)}).textContent")
        return text

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements."""
        texts: list[str] = self.run(
            f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent)"
        )
        return texts

    def size(self, width: int, height: int) -> None:
        """Make the screen this large."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def prefer(self, scheme: str, media: str = "") -> None:
        """Make the user prefer `light` or `dark`; `media` may be `print`."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", media=media, features=[feature])

    def press(self, key: str) -> None:
        """A key of the keyboard, down and up, where the focus is."""
        known = {"key": key, **KEYS[key]}
        self.call(
            "Input.dispatchKeyEvent", type="keyDown" if "text" in known else "rawKeyDown", **known
        )
        known.pop("text", None)
        self.call("Input.dispatchKeyEvent", type="keyUp", **known)

    def type(self, text: str) -> None:
        """Text, where the focus is."""
        self.call("Input.insertText", text=text)

    def focus(self, selector: str) -> None:
        """Give an element the focus, as a keyboard does."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")

    def place(self, selector: str) -> tuple[float, float]:
        """Where the middle of an element is on the screen, once it has been brought there."""
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return x, y

    def hover(self, selector: str) -> None:
        """Move the mouse to an element."""
        x, y = self.place(selector)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        """Press the mouse's button on an element."""
        x, y = self.place(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def tap(self, x: float, y: float) -> None:
        """A finger on the screen for a moment, and the click that the browser makes of it."""
        self.call("Emulation.setTouchEmulationEnabled", enabled=True)
        self.run("void (clicked = new Promise((done) => addEventListener('click', done)))")
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.run("clicked.then(() => null)")

    def frame(self) -> None:
        """Wait until what was changed is drawn."""
        self.run("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")

    def close(self) -> None:
        """End the browser and its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._to)
        os.close(self._from)


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are above the numbers that the browser wants them to have."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high[0], high[1]


@contextlib.contextmanager
def browse(program: str) -> Iterator[tuple[Browser, Path]]:
    """A browser with an empty home, and the folder of its downloads."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home, downloads = Path(folder) / "home", Path(folder) / "downloads"
        downloads.mkdir()
        browser = Browser(program, home, downloads)
        try:
            yield browser, downloads
        finally:
            browser.close()
