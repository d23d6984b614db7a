"""The code blocks of README and docs, run in a folder of their own, page by page.

Left out are those that need data, a cluster, records of two GPUs or a container, which the comment
before them says; those of pages on GPUs; and what makes the environment.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from builders.documents import DOCUMENTS, ROOT, blocks, commands

LEFT_OUT = ("gpu.md", "scaling.md", "CONTRIBUTING.md", "comparing.md")
"""Pages whose blocks need GPUs, a cluster, or records from before and after a change."""
INSTALLS = r"^(pip|uv|docker) |^export |^\. "
TOO_LONG_S = 600


@pytest.mark.parametrize(
    "path",
    [x for x in DOCUMENTS if x.name not in LEFT_OUT and x.parent != ROOT / "benchmarks"],
    ids=lambda path: path.name,
)
def test_blocks_run(path: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    lines: list[list[str]] = []
    script = ""
    for block in blocks(path):
        if block.mark.startswith("file: "):
            (tmp_path / block.mark.removeprefix("file: ")).write_text(block.code)
        if block.mark:
            continue
        if block.language == "python":
            script += block.code
        elif block.language == "sh":
            found = [x for x in commands(block.code) if not re.search(INSTALLS, x)]
            lines += [["bash", "-c", command] for command in found]
    # A page's Python is one program, of which later blocks go on where earlier ones ended.
    lines += [[sys.executable, "-c", script]] if script else []
    for line in lines:
        run = subprocess.run(
            line, cwd=tmp_path, env=environment, capture_output=True, timeout=TOO_LONG_S
        )
        assert run.returncode == 0, f"{line[-1]}\n{run.stderr.decode()[-2000:]}"
