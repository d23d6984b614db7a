"""README and docs: every command is one that there is, every link leads somewhere.

`tests/endurance/test_docs.py` runs the code blocks.
"""

import re
import shlex
from pathlib import Path

import pytest
from builders.documents import DOCUMENTS, ROOT, Block, blocks, commands, headings, prose, slug

from fastbench.cli.main import make_parser

EVERY = [block for path in DOCUMENTS for block in blocks(path)]
SPANS = [
    (path, " ".join(span.split()))
    for path in DOCUMENTS
    for span in re.findall(r"`(fastbench [^`]+)`", prose(path))
]


def parse(command: str) -> None:
    """Raises `UsageError` for a command or an option that there is not."""
    words = shlex.split(command)
    make_parser().parse_args(words[words.index("fastbench") + 1 :])


@pytest.mark.parametrize("block", [x for x in EVERY if x.language == "sh"], ids=str)
def test_commands_are_understood(block: Block) -> None:
    for command in commands(block.code):
        if re.search(r"(^|\s)fastbench\s+[a-z]", command) and "docker" not in command:
            parse(command)


@pytest.mark.parametrize(("path", "span"), SPANS, ids=[f"{a.name}: {b[:60]}" for a, b in SPANS])
def test_commands_and_options_within_sentences_are_there(path: Path, span: str) -> None:
    """Sentences name commands without what they need: `fastbench compare`."""
    words = shlex.split(span)[1:]
    parser = make_parser()
    while words and not words[0].startswith("-"):
        (commands,) = [x.choices for x in parser._actions if isinstance(x.choices, dict)] or [{}]
        if words[0] not in commands:
            break
        parser = commands[words.pop(0)]
    assert parser.prog != "fastbench" or words[0].startswith("-"), span
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in parser._option_string_actions, span


@pytest.mark.parametrize("block", [x for x in EVERY if x.language == "python"], ids=str)
def test_python_compiles(block: Block) -> None:
    compile(block.code, str(block), "exec")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), target
        assert there.is_relative_to(ROOT), target
        if anchor:
            assert anchor in map(slug, headings(there)), target


def test_the_readme_is_short_and_no_paragraph_has_more_than_three_numbers() -> None:
    readme = ROOT / "README.md"
    assert len(readme.read_text().split()) <= 900
    for paragraph in re.split(r"\n\s*\n|\n- |\n\|", prose(readme)):
        assert len(re.findall(r"(?<![\w.-])\d[\d,.]*", paragraph)) <= 3, paragraph


def test_every_page_is_named_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    pages = [f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")]
    assert [page for page in pages if page not in text] == []
