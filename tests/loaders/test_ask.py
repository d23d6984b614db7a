"""Plug-ins that misbehave when they are asked whether they run here, in packages of their own."""

from pathlib import Path

import pytest
from builders.packages import install

from fastbench.loaders import ask

MODULES = {
    "leaves": "import sys\nsys.exit(0)",
    "exits": """
        import os
        class Loader:
            @staticmethod
            def why_not():
                os._exit(0)
    """,
    "crashes": """
        import faulthandler
        class Loader:
            @staticmethod
            def why_not():
                faulthandler._sigsegv()
    """,
    "sleeps": "import time\ntime.sleep(60)",
    "garbles": """
        import gc, os
        from fastbench.core.child_process import Channel
        (channel,) = (each for each in gc.get_objects() if isinstance(each, Channel))
        os.write(channel.messages.fileno(), b"a library's text")
        class Loader: pass
    """,
    "odd": """
        class Text(str): pass
        class Loader:
            decoder = Text("of its own")
            @staticmethod
            def why_not():
                return {1: object}
    """,
    "right": """
        class Loader:
            "Reads."
    """,
}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each plug-in as an installed package."""
    install(tmp_path, MODULES)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("packages")
def test_each_has_its_line_whatever_the_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "LIMIT_S", 3.0)
    found = {listed.name: listed for listed in ask.ask(list(MODULES))}
    assert list(found) == list(MODULES)
    said = {name: listed.why_not for name, listed in found.items()}
    assert said == {
        "leaves": "its process ended with exit code 0 when it was asked",
        "exits": "its process ended with exit code 0 when it was asked",
        "crashes": "its process was killed by SIGSEGV when it was asked",
        "sleeps": "it did not answer within 3.00 s",
        "garbles": "its process wrote what is no message where its answers belong, and was ended "
        "when it was asked",
        "odd": "{1: <class 'object'>}",
        "right": None,
    }
    assert type(found["odd"].decoder) is str
    assert found["leaves"].origin == "leaves_plug_in:Loader, of leaves 1.0"
    assert found["right"].summary == "Reads"
