"""The page's section of rows under load, beside rows of `fastbench run` and alone."""

import base64
import gzip
import json
from pathlib import Path

import msgspec
import pytest
from builders.load_records import make_load_record
from builders.pages import Parsed
from builders.runs import run, written

from fastbench.cli.main import main
from fastbench.records.store import write_record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "records").mkdir()
    for record in (make_load_record(num=1000), make_load_record("single-stream", num=1000)):
        write_record(record, tmp_path / "records")
    return tmp_path / "records"


def page_of(folder: Path) -> str:
    out = folder.parent / "page.html"
    assert main(["report", str(folder), "--html", str(out)]) == 0
    return out.read_text("utf-8")


def test_rows_under_load_alone(folder: Path) -> None:
    text = page_of(folder)
    parsed = Parsed(text)
    assert "<td>single-stream</td>" in text
    assert [tag for tag, _ in parsed.tags].count("img") == 2
    assert "script-src" in text
    assert "img-src data:;" in text
    assert set(parsed.scripts) == {"records"}
    assert "<!--" not in text
    assert "<dt>time</dt><dd>at p50" in text


def test_cells_stand_below_their_heading_also_where_there_is_none(folder: Path) -> None:
    for rate in (200.0, 300.0):
        write_record(make_load_record(rate=rate, num=1000), folder)
    text = page_of(folder)
    assert '<th scope="col" class="plain" title="queries a second that were' in text
    assert "<td>–</td>" in text  # a stream has no rate


def test_beside_other_rows(folder: Path) -> None:
    written(folder, run(100))
    text = page_of(folder)
    parsed = Parsed(text)
    assert json.loads(parsed.scripts["data"])["rows"]
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {"under-load", "table", "advice"} < set(ids)
    files = [gzip.decompress(base64.b64decode(x)) for x in parsed.scripts["records"].split("\n")]
    assert [json.loads(x).get("scenario") for x in files] == [None, "server", "single-stream"]
    assert not [name for _, given in parsed.tags for name in given if name == "style"]


def test_without_them_the_page_admits_no_pictures(tmp_path: Path) -> None:
    written(tmp_path / "records", run(100))
    text = page_of(tmp_path / "records")
    assert "img-src" not in text
    assert "under-load-title" not in text


def test_a_name_is_no_markup(tmp_path: Path) -> None:
    record = make_load_record(num=1000)
    slow = msgspec.structs.replace(record.slowest[0], name="<script>alert(1)</script>.jpg")
    record = msgspec.structs.replace(record, slowest=[slow], model="<b>model</b>")
    (tmp_path / "records").mkdir()
    write_record(record, tmp_path / "records")
    text = page_of(tmp_path / "records")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.jpg" in text
    assert "<b>model" not in text
