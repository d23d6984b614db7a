"""README and docs, block by block."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from builders.paths import REPOSITORY as ROOT

DOCUMENTS = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
        *(ROOT / "docs").glob("*.md"),
    ]
)


@dataclass(frozen=True)
class Block:
    """A fenced block. `mark` is the comment before it: `needs ...`, or `file: NAME`."""

    path: Path
    line: int
    language: str
    mark: str
    code: str

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line}"


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    text = path.read_text()
    pattern = (
        r"(?:<!-- (?P<mark>.*?) -->\n)?^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^ *```$"
    )
    return [
        Block(
            path=path,
            line=text[: found.start("code")].count("\n"),
            language=found["language"],
            mark=found["mark"] or "",
            code=re.sub(f"^{found['indent']}", "", found["code"], flags=re.M),
        )
        for found in re.finditer(pattern, text, flags=re.S | re.M)
    ]


def commands(code: str) -> list[str]:
    """The commands of a shell block, without comments; continued lines are joined."""
    joined = re.sub(r"\\\n\s*", " ", code)
    lines = [re.sub(r"(^|\s)#.*", "", line) for line in joined.splitlines()]
    parts = [part for line in lines for part in re.split(r"&&|;", line)]
    return [re.sub(r"^\s*(do\s+)?", "", part).strip() for part in parts if part.strip()]


def prose(path: Path) -> str:
    """A document without its blocks."""
    return re.sub(r"```.*?```", "", path.read_text(), flags=re.S)


def headings(path: Path) -> list[str]:
    """The headings of a document."""
    return re.findall(r"^#+ (.+)$", prose(path), re.M)


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
