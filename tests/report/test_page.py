"""The page of a report, without a browser: it is whole, fetches nothing, and its data are safe."""

import base64
import gzip
import json
import os
import re
from pathlib import Path

import pytest
from builders.engines import MODELS, grid
from builders.many_records import made_up, write_made_up
from builders.pages import Parsed
from builders.plot_rows import real
from builders.runs import folder_of
from builders.sheets import sheet_of_files

from fastbench.cli.main import main
from fastbench.core.errors import RecordError
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.html import content, page
from fastbench.report.read import read_rows
from fastbench.report.sheet.table import Sheet

NAMESPACE = "http://www.w3.org/2000/svg"


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_made_up(tmp_path_factory.mktemp("report") / "records", 24)


@pytest.fixture(scope="module")
def sheet(records: Path) -> Sheet:
    return sheet_of_files(records)


def test_it_is_well_formed(sheet: Sheet) -> None:
    text = page.render(sheet)
    parsed = Parsed(text)
    assert text.startswith("<!doctype html>\n")
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {"data", "records"} < set(ids)
    for tag, attributes in parsed.tags:
        for name in ("aria-labelledby", "href"):
            if (value := attributes.get(name)) is not None:
                assert value.removeprefix("#") in ids, (tag, value)
    assert not re.findall(r"\{\{\w+\}\}", text)


def test_it_names_nothing_outside_of_itself(sheet: Sheet) -> None:
    text = page.render(sheet)
    assert re.findall(r"[a-z]+://[^\"'\s]*", text) == [NAMESPACE]
    assert "@import" not in text
    assert "url(" not in text
    assert not re.findall(r"""\b(?:src|srcset|href)\s*=\s*["'][^#"']""", text)
    for tag, attributes in Parsed(text).tags:
        assert tag not in ("link", "img", "iframe", "base", "object", "embed")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_its_policy_admits_its_own_script_and_no_other(sheet: Sheet) -> None:
    parsed = Parsed(page.render(sheet))
    policy = next(
        attributes["content"]
        for tag, attributes in parsed.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert f"script-src '{page._hash(parsed.scripts[None])}'" in policy
    assert "unsafe" not in policy


def test_the_data_come_back_as_they_were(sheet: Sheet) -> None:
    parsed = Parsed(page.render(sheet))
    assert json.loads(parsed.scripts["data"]) == json.loads(json.dumps(content.describe(sheet)))


def test_the_records_come_back_byte_for_byte(sheet: Sheet) -> None:
    lines = Parsed(page.render(sheet)).scripts["records"].split("\n")
    files = [gzip.decompress(base64.b64decode(line)) for line in lines]
    assert files == [line.row.path.read_bytes() for line in sheet.lines]


NASTY = [
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    "\u2028 and \u2029",
    "{{records}} {{title}}",
    "quotes \" ' ` and \\ &amp; &lt;",
    "not UTF-8: \udcff",
    "ünï — 图",
    "\x00\x1f",
]


@pytest.mark.parametrize("name", NASTY)
def test_embedded_text_cannot_leave_its_block(name: str) -> None:
    text = page.embed({name: [name]})
    assert text.isascii()
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {name: [name]}


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such folder names")
def test_nasty_names_of_folders_models_and_notes(tmp_path: Path) -> None:
    folder = tmp_path / "<script>alert(1)<" / "script>\u2028\udcff{{title}}"
    folder.mkdir(parents=True)
    for number, name in enumerate(NASTY):
        (record,) = made_up(1)
        record |= {"model": name.replace("\udcff", "?"), "notes": NASTY[:-3]}
        (folder / f"{number}.json").write_text(json.dumps(record))
    sheet = sheet_of_files(tmp_path)
    parsed = Parsed(page.render(sheet))
    assert [tag for tag, _ in parsed.tags].count("script") == 3
    data = json.loads(parsed.scripts["data"])
    models = next(column for column in data["columns"] if column["name"] == "model")
    assert sorted(models["values"]) == sorted(name.replace("\udcff", "?") for name in NASTY)
    path = tmp_path / "report.html"
    assert main(["report", str(tmp_path), "--html", str(path)]) == 0
    assert path.read_text("utf-8") == page.render(sheet)


def test_rows_are_marked(sheet: Sheet) -> None:
    data = content.describe(sheet)
    states = [row["status"] for row in data["rows"]]
    assert states.count("ok") == 21
    assert {"INVALID", "FAIL", "different"} < set(states)
    for row in data["rows"]:
        assert bool(row["problems"]) == (row["status"] != "ok")
    unranked = [row for row in data["rows"] if row["status"] == "ok" and not row["isRanked"]]
    assert len(unranked) == 3  # other images, cold files, --quick
    assert all(row["marks"] for row in unranked)
    assert {mark for row in data["rows"] for mark in row["marks"]} == {
        note["mark"] for note in data["footnotes"]
    }


def test_a_column_in_sight_is_a_reason_too(records: Path) -> None:
    """Where the digest is a column there is no footnote on it, and the row is not ranked."""
    sheet = sheet_of_files(records, columns="default,digest")
    data = content.describe(sheet)
    rows, notes = data["rows"], data["footnotes"]
    (row,) = (row for row in rows if any("image set" in why for why in row["unranked"]))
    assert not row["isRanked"]
    (unranked,) = row["unranked"]
    assert unranked == (
        f"image set ffffffffff (others: {real().data['digest'][:10]}); not ranked with the others"
    )
    for row in rows:
        apart = [note for note in notes if note["mark"] in row["marks"] and not note["is_doubt"]]
        assert row["isRanked"] == (row["status"] == "ok" and not row["unranked"] + apart)
    assert not any(row["unranked"] for row in content.describe(sheet_of_files(records))["rows"])


def test_what_is_said_of_a_row(sheet: Sheet) -> None:
    data = content.describe(sheet)
    invalid = next(row for row in data["rows"] if row["status"] == "INVALID")
    assert not invalid["advice"]  # figures that are none give reason for no advice
    assert "how it ran" not in dict(invalid["facts"])
    sound = dict(data["rows"][0]["facts"])
    assert "torch 2.15.0" in sound["software"]
    assert "MADE-UP GPU" in sound["machine"]
    assert "windows of" in sound["how it ran"]
    names = [advice["name"] for advice in data["advice"]]
    assert len(names) == len(set(names)) > 1
    for advice in data["advice"]:
        its = {name: advice[name] for name in ("name", "about", "seen", "remedy")}
        assert its in data["rows"][advice["row"]]["advice"]


def test_a_commit_that_was_edited_is_not_the_commit(tmp_path: Path) -> None:
    folder = write_made_up(tmp_path / "records", 1)
    (path,) = folder.iterdir()
    record = json.loads(path.read_text())
    record["environment"]["git"] = "0123456789" * 4 + "+changes"
    path.write_text(json.dumps(record))
    (row,) = content.describe(sheet_of_files(folder))["rows"]
    assert "commit 0123456789+changes" in dict(row["facts"])["software"]


def test_rows_are_called_by_what_tells_them_apart(tmp_path: Path) -> None:
    folder = write_made_up(tmp_path / "records", 1)
    (path,) = folder.iterdir()
    record = json.loads(path.read_text())
    record["num_threads"] = 2
    (folder / "two.json").write_text(json.dumps(record))
    record["data"]["page_cache"] = "cold"
    (folder / "cold.json").write_text(json.dumps(record))
    titles = [row["title"] for row in content.describe(sheet_of_files(folder))["rows"]]
    assert titles == [
        "resnet18 · torchvision · warm page cache · 16 threads",
        "resnet18 · torchvision · cold page cache",
        "resnet18 · torchvision · warm page cache · 2 threads",
    ]


def test_one_of_a_thing_is_no_several(tmp_path: Path) -> None:
    folder = write_made_up(tmp_path / "records", 1, num_steps=1)
    (path,) = folder.iterdir()
    record = json.loads(path.read_text())
    record |= {"num_threads": 1, "tuning": [{"settings": {}, "images_per_s": 1.0}]}
    record["environment"]["num_cores"] = record["data"]["num_classes"] = 1
    path.write_text(json.dumps(record))
    (row,) = content.describe(sheet_of_files(folder))["rows"]
    facts = dict(row["facts"])
    for topic, said in (
        ("configuration", ", 1 thread"),
        ("images", ", 1 class,"),
        ("machine", ", 1 core,"),
        ("loader", "; 1 setting tried"),
    ):
        assert said in facts[topic] + ",", topic


def test_columns_are_whole(sheet: Sheet) -> None:
    data = content.describe(sheet)
    names = [column["name"] for column in data["columns"]]
    assert set(data["shown"]) <= set(names)
    assert set(data["facets"]) <= set(names)
    assert names.index("pipeline") == names.index("images/s") + 1
    for column in data["columns"]:
        for part in ("values", "texts", "details", "bounds"):
            assert len(column.get(part, data["rows"])) == len(data["rows"])
        assert any(value is not None for value in column["values"])
    assert {"model", "loader", "status"} <= set(data["facets"])
    assert "dtype" not in data["facets"]  # one value is no choice


def test_a_grouped_report_keeps_its_column(records: Path) -> None:
    sheet = sheet_of_files(records, by=COLUMNS["loader"])
    assert "loader" not in [column.name for column in sheet.columns]
    assert "loader" in content.describe(sheet)["shown"]


def test_the_page_has_the_second_table_and_what_makes_a_point(tmp_path: Path) -> None:
    sheet = sheet_of_files(folder_of(tmp_path, **{str(i): x for i, x in enumerate(grid())}))
    data = content.describe(sheet)
    table = data["tradeOff"]
    assert [group["heading"].partition(":")[0] for group in table["groups"]] == list(MODELS)
    assert {len(group["rows"]) for group in table["groups"]} == {6}
    for group in table["groups"]:
        for row in group["rows"]:
            assert len(row["cells"]) == len(table["columns"])
    assert set(data["makes"]) == {"model", "engine", "quantize"}
    rows = [row["title"] for row in data["rows"]]
    made = list(zip(*data["makes"].values(), strict=True))
    assert ("resnet50", "openvino", "int8") in made
    assert ("resnet50", "openvino", "") in made  # that it is not quantised goes without saying
    for title, (model, engine, quantize) in zip(rows, made, strict=True):
        assert title == " · ".join(filter(None, (model, "dali", engine, quantize)))
    assert {"engine", "quantize"} <= set(data["facets"])


def test_a_page_without_a_second_table(sheet: Sheet) -> None:
    assert content.describe(sheet)["tradeOff"] is None


def test_one_record_is_enough(tmp_path: Path) -> None:
    write_made_up(tmp_path / "records", 1)
    Parsed(page.render(sheet_of_files(tmp_path)))


def test_the_command_writes_it(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [records.parent / name for name in ("a.html", "b.html", "c.md")]
    written = [str(path) for path in paths]
    assert main(["report", str(records), "--html", written[0]]) == 0
    assert capsys.readouterr().out == ""
    assert main(["report", str(records), "--output", written[1]]) == 0
    assert paths[0].read_text("utf-8") == paths[1].read_text("utf-8")
    options = ["--html", written[0], "--output", written[2], "--columns", "model,images/s"]
    assert main(["report", str(records), *options]) == 0
    assert "| model | status | images/s |" in paths[2].read_text("utf-8")
    data = json.loads(Parsed(paths[0].read_text("utf-8")).scripts["data"])
    assert data["shown"][-2:] == ["images/s", "pipeline"]
    paths[0].unlink()
    paths[0].mkdir()
    assert main(["report", str(records), "--html", written[0]]) == 1
    assert "cannot be written to" in capsys.readouterr().err


def test_what_is_damaged_or_gone(tmp_path: Path) -> None:
    folder = write_made_up(tmp_path / "records", 2)
    sheet = sheet_of_files(folder)
    first, second = (line.row.path for line in sheet.lines)
    first.unlink()
    with pytest.raises(RecordError, match="cannot be read any more"):
        page.render(sheet)
    record = json.loads(second.read_text())
    record["data"]["num_classes"] = "many"
    second.write_text(json.dumps(record))
    found = read_rows([folder])
    assert found.rows == []
    assert ["(data.num_classes should be a whole number" in text for text in found.complaints] == [
        True
    ]


@pytest.mark.parametrize("scheme", [0, 1])
def test_colours_stand_out_from_what_is_behind_them(scheme: int) -> None:
    """Text by 4.5 to 1, what is drawn by 3 to 1: WCAG 2.2, 1.4.3 and 1.4.11. Light, and dark."""
    found = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", page._part("page.css"))
    colours = {name: both[scheme] for name, *both in found}

    def luminance(colour: str) -> float:
        shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in shares]
        return sum(x * y for x, y in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    def contrast(a: str, b: str) -> float:
        low, high = sorted(luminance(colours[name]) for name in (a, b))
        return (high + 0.05) / (low + 0.05)

    for behind in ("paper", "raised", "hover"):
        for text in ("ink", "quiet", "accent", "bad", "doubt"):
            assert contrast(text, behind) >= 4.5, (text, behind)
    assert contrast("bad", "bad-paper") >= 4.5
    for behind in ("paper", "hover"):  # where the mouse is over a row
        for bar in ("loader", "model", "together"):
            assert contrast(bar, behind) >= 3, (bar, behind)
    groups = [name for name in colours if name.startswith("group-")]
    assert len(groups) == 8
    for group in groups:
        assert contrast(group, "paper") >= 3, group


def test_the_parts_of_the_script_hold_no_end_of_one() -> None:
    for name in page._SCRIPT:
        assert not re.search(r"</script|<!--", page._part(name), re.IGNORECASE)
