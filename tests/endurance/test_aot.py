"""AOTInductor compiles C++, which takes 10 s and more, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_aot_gives_eagers_logits_and_its_package_is_a_model(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "builders.aot_net", str(tmp_path)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "made\nloaded\n" in done.stderr  # and nothing of the runtime's between them
