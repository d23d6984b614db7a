"""Sheets as one HTML file that opens without a network: table, chart, pictures, the raw records.

`template.html`, `page.css` and the parts of the script go into the page as they are. So do two
blocks of data: what the page shows (see `content.py`) as JSON, and every record's file, byte for
byte, as a line of gzip in base64, unpacked only when somebody saves it.

Folder names and notes may hold anything. Within a <script> only `<` can end the block or open a
comment, so JSON has it as an escape; all that is not ASCII is escaped too. The script makes text of
it and never markup, and the page's content security policy lets no other script run, and nothing be
fetched.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import importlib.metadata
import importlib.resources
import json
import re
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.errors import RecordError, os_errors_as
from fastbench.core.reading import read_regular
from fastbench.report.html.content import describe
from fastbench.report.html.load_section import IMAGES, section_of

if TYPE_CHECKING:
    from pathlib import Path

    from fastbench.report.sheet.table import Sheet

TITLE: Final = "fastbench report"
_SCRIPT: Final = ("data.js", "table.js", "axes.js", "tip.js", "chart.js", "page.js")
_LEVEL: Final = 1
"""Digits of step times hardly shrink: level 6 takes four times as long for 8 % less."""


def render(*sheets: Sheet) -> str:
    """The page of the rows of `fastbench run`, of those under load, or of both.

    Raises `RecordError` for a damaged record, and where a row's file cannot be read any more.
    """
    run = [sheet for sheet in sheets if not sheet.is_under_load]
    under_load = [sheet for sheet in sheets if sheet.is_under_load]
    template = _part("template.html")
    of_run = "" if run else r".*?<!-- /run -->\n"
    template = re.sub(rf"<!-- /?run -->\n{of_run}", "", template, flags=re.DOTALL)
    style = _part("page.css")
    script = '"use strict";\n' + "".join(map(_part, _SCRIPT))
    parts = {
        "title": html.escape(TITLE),
        "version": html.escape(importlib.metadata.version("fastbench")),
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
        "data": "".join(embed(describe(sheet)) for sheet in run),
        "records": "\n".join(
            _packed(line.row.path) for sheet in (*run, *under_load) for line in sheet.lines
        ),
        "images": IMAGES if under_load else "",
        "under_load": "".join(map(section_of, under_load)),
    }
    # In one pass: what is put in is not searched again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def embed(data: Any) -> str:
    """JSON that may stand in a <script> of any page, and is the same data to a parser."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _packed(path: Path) -> str:
    with os_errors_as(RecordError, f"The record {path} cannot be read any more", "Report again."):
        content = read_regular(path)
    return base64.b64encode(gzip.compress(content, _LEVEL, mtime=0)).decode("ascii")


def _part(name: str) -> str:
    return importlib.resources.files("fastbench.report.html").joinpath(name).read_text("utf-8")


def _hash(source: str) -> str:
    """The name of an inline block in a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode("ascii")
