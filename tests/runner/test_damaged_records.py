"""Damaged records among good ones: each is named in a sentence, and the good ones go on."""

import copy
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builders.command_line import sentence
from builders.consistent_record import sound

from fastbench.cli.main import main
from fastbench.core.command_options import PlanOptions
from fastbench.core.errors import RecordError
from fastbench.models.registry import files_of
from fastbench.records.store import SCHEMA_VERSION, write_record
from fastbench.records.validity import find_contradictions
from fastbench.report.compare.pairing import pair_up
from fastbench.report.read import read_rows
from fastbench.runner import plan

OPTIONS = {"loader": ("torchvision", "dali")}
NUMBERS = (
    *("throughput.num_images", "throughput.batch_size", "throughput.wall_s"),
    *("throughput.windows.0.num_steps", "throughput.windows.0.wall_s", "loader_ceiling.wall_s"),
    *("accuracy.num_samples", "accuracy.per_class.num_samples", "data.num_samples"),
)
VALUES = {"words": "many", "zero": 0, "negative": -1, "null": None, "huge": 10**40}
VERSIONS = {
    "0": 0, "later": SCHEMA_VERSION + 1, "text": "6", "list": [6], "object": {}, "true": True,
    "half": 6.5,
    "10**4000": 10**4000,
}  # fmt: skip
OTHERS = {"list": [], "text": "x", "number": 7, "null": None, "true": True, "object": {}}


def with_value(record: dict[str, Any], name: str, value: object) -> bytes:
    changed = inner = copy.deepcopy(record)
    *way, last = [int(part) if part.isdigit() else part for part in name.split(".")]
    for part in way:
        inner = inner[part]
    inner[last] = value
    return json.dumps(changed).encode()


def nested(depth: int) -> Any:
    return json.loads("[" * depth + "]" * depth)


def damaged(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Names, and contents that were a record."""
    record = json.loads(content)
    for i in range(16):
        yield f"cut to {i}/16", content[: len(content) * i // 16]
    for name in NUMBERS:
        for what, value in VALUES.items():
            yield f"{name} {what}", with_value(record, name, value)
        if name.endswith("_s"):
            for constant in (b"NaN", b"Infinity"):
                marked = with_value(record, name, "HERE")
                yield f"{name} {constant!r}", marked.replace(b'"HERE"', constant)
    for what, value in VERSIONS.items():
        yield f"version {what}", with_value(record, "schema_version", value)
    for name in ("config.x", "config.model", "environment.gpus", "notes", "model", "throughput"):
        yield f"{name} nested", with_value(record, name, nested(400))
    yield "nested", b"[" * 100_000
    yield "digits", content.replace(b'"wall_s": 0.6', b'"wall_s": ' + b"9" * 5000, 1)
    yield "binary", bytes(range(256)) * 40
    yield "zeros", content[:200] + bytes(len(content) - 200)
    yield "utf-16", content.decode().encode("utf-16")
    yield "latin", content.replace(b"torchvision", b"t\xe4rchvision")
    yield "twice", content * 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the records of two rows; no image is looked for."""
    manifest = type("Manifest", (), {"identity": "of the images"})
    monkeypatch.setattr(plan, "find_images", lambda *_: manifest)
    for row in plan.expand(OPTIONS):
        record = sound(
            model=row.model,
            loader=row.loader,
            config=json.loads(json.dumps(row.config, default=vars)),
            data={"num_samples": 100, "identity": "of the images"},
            files=files_of(row.model, row.config.weights),
        )
        write_record(record, tmp_path)
    return tmp_path


def resume(folder: Path) -> plan.Plan:
    how = PlanOptions(resume=str(folder))
    return plan.make_plan(OPTIONS, how, lambda *_: lambda *_: None)


def only_dali_left(folder: Path) -> tuple[Path, bytes]:
    """Another file's path, and what the reference's record held, which is removed."""
    assert len(resume(folder).finished) == 2
    (path,) = folder.glob("*torchvision*")
    content = path.read_bytes()
    path.unlink()
    return folder / "damaged.json", content


def test_each_is_named_and_measured_again(folder: Path) -> None:
    path, content = only_dali_left(folder)
    (good,) = folder.glob("*.json")
    variants = dict(damaged(content))
    assert len(variants) >= 70
    for what, variant in variants.items():
        path.write_bytes(variant)
        resumed = resume(folder)
        assert len(resumed.finished) == 1, what
        (said,) = resumed.damaged
        assert said.startswith((str(path), f"The record {path}")), what
        assert len(said) < 400, what
        found = read_rows([folder])
        if "INVALID" in said:
            bad = next(row for row in found.rows if row.path == path)
            assert find_contradictions(bad.record), what
        else:
            assert found.complaints == [said]
            assert [row.path for row in found.rows] == [good], what
            for pair in ((path, good), (good, path)):
                with pytest.raises(RecordError, match=r"damaged\.json"):
                    pair_up(*pair)
        assert path.read_bytes() == variant


@pytest.mark.parametrize("what", OTHERS)
def test_json_of_other_things_is_no_row(
    what: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = only_dali_left(folder)
    path.write_text(json.dumps(OTHERS[what]))
    resumed = resume(folder)
    assert (len(resumed.finished), resumed.damaged) == (1, ())
    assert read_rows([folder]).passed_over == [path]
    (good,) = folder.glob("*dali*")
    assert main(["compare", str(path), str(good)]) == 1
    assert "damaged.json is not a record" in sentence(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (os.mkfifo, "it is not a regular file"),
        (Path.mkdir, "Is a directory"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
        (lambda path: path.symlink_to("gone"), "No such file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is not a regular file"),
    ],
)
def test_what_is_no_file_is_named(make: Callable[[Path], None], why: str, folder: Path) -> None:
    path, _ = only_dali_left(folder)
    make(path)
    (said,) = resume(folder).damaged
    assert f"{path} cannot be read ({why}" in said


def test_the_commands_say_it_once_for_each(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, content = only_dali_left(folder)
    cut = [path.with_name(f"cut-{i}.json") for i in range(3)]
    for each in cut:
        each.write_bytes(content[:-100])
    options = ["--loader", "torchvision", "--loader", "dali"]
    for argv, code in (
        (["run", "--resume", str(folder), "--dry-run", *options], 0),
        (["report", str(folder)], 1),
    ):
        assert main(argv) == code
        printed = capsys.readouterr()
        assert "dali" in printed.out
        lines = printed.err.splitlines()
        assert [sum(str(each) in line for line in lines) for each in cut] == [1, 1, 1]
