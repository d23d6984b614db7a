"""Every loader ends a run over odd and damaged JPEGs, and has valid images of the same number.

`uv run pytest -s tests/endurance/test_odd_jpegs.py` prints what became of the files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders.images import draw
from builders.many_odd_jpegs import make

from fastbench.core.loader_facts import BUILT_IN
from fastbench.loaders.ask import ask

REFERENCE = "torchvision"
NUM_PLAIN = 12


def test_every_loader_ends_with_the_same_count_or_a_named_difference(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    for i in range(NUM_PLAIN):
        draw(data / f"{i:02d}.jpg", (200 + i, 150))
    files = make()
    assert len(files) >= 100
    for name, content in files.items():
        (data / name).write_bytes(content)
    loaders = [
        listed.name
        for listed in ask([*BUILT_IN])
        if listed.why_not is None and listed.name != "synthetic"
    ]
    assert len(loaders) >= 6
    with open(tmp_path / "shown", "w+") as shown:
        subprocess.run(
            [sys.executable, "-P", "-m", "fastbench", "run", "--on-error", "skip",
             *(word for name in loaders for word in ("--loader", name)), "--reference", "none",
             "--data", str(data), "--model", "sample", "--device", "cpu", "--quick",
             "--passes", "end-to-end", "--batch-size", "8", "--output", str(out)],
            env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
            stdout=shown,
            stderr=shown,
            timeout=1800,
            check=False,
        )  # fmt: skip
    text = (tmp_path / "shown").read_text(errors="replace")
    records = {}
    for path in out.glob("*.json"):
        record = json.loads(path.read_text())
        records[record["loader"]] = record["data"]
    said = {
        name: next((x for x in text.splitlines() if f" · {name}: " in x), "")
        for name in loaders
        if name not in records
    }
    skipped = {
        name: {file["name"]: file["why"] for file in record["skipped"]}
        for name, record in records.items()
    }
    common = set.intersection(*map(set, skipped.values())) if skipped else set()
    lines = [f"{len(files) + NUM_PLAIN} files, of which {len(common)} are skipped by all"]
    lines.append(f"{'loader':20} {'counted':>8} {'skipped':>8}  skipped by it alone")
    for name in loaders:
        if name in said:
            lines.append(f"{name:20} {'-':>8} {'-':>8}  ended: {said[name]}")
            continue
        alone = {file: why for file, why in skipped[name].items() if file not in common}
        shown_alone = "; ".join(f"{file} {why}" for file, why in alone.items()) or "none"
        lines.append(
            f"{name:20} {records[name]['num_samples']:8} {len(skipped[name]):8}  {shown_alone}"
        )
        assert records[name]["num_samples"] + len(skipped[name]) == len(files) + NUM_PLAIN
        assert all(name in why for why in alone.values()), alone
    pytestconfig.get_terminal_writer().line("\n" + "\n".join(lines))
    assert "Traceback" not in text
    assert said == {}
