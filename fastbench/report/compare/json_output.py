"""`fastbench compare --format json`: the comparison for other programs; SI, nothing rounded.

`format` is the version of this form. In 2 figures have the names of the report's columns; 1 had
names of its own. What is not known is null.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fastbench.report.columns.column import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastbench.records.differences import Difference
    from fastbench.report.compare.ci_gate import Judgement
    from fastbench.report.compare.pairing import Lone, Run
    from fastbench.report.compare.set_comparison import ComparedPair, SetComparison


def render(found: SetComparison, judgement: Judgement, sort: str = "ratio") -> str:
    """All that is known of the comparison, with the command's exit code."""
    ratio, interval = found.mean or (None, None)
    return json.dumps(
        {
            "format": 2,
            "a": found.name_a,
            "b": found.name_b,
            "exit_code": judgement.code,
            "complaints": judgement.complaints,
            "headline": found.headline,
            "num_rows": len(found.rows),
            "counts": dict(found.counts),
            "geometric_mean": {
                "num_rows": len(found.comparable),
                "ratio": ratio,
                "interval": interval,
            },
            "differences": [
                {"name": x.name, "a": x.a, "b": x.b, "num_rows": x.num_rows}
                for x in found.differences
            ],
            "rows": [_row(row) for row in found.sorted_rows(sort)],
            "under_load": [row.as_json() for row in found.under_load.rows],
            "only_a": list(map(_lone, found.only_a)),
            "only_b": list(map(_lone, found.only_b)),
        },
        indent=1,
        allow_nan=False,
    )


def _row(row: ComparedPair) -> dict[str, Any]:
    comparison = row.comparison
    return {
        "configuration": row.configuration,
        "a": _runs(row.pair.a),
        "b": _runs(row.pair.b),
        "ratio": comparison.ratio,
        "interval": comparison.interval,
        "interval_has": "runs" if comparison.has_repeats else "windows",
        "verdict": comparison.word,
        "invalid": comparison.invalid,
        "unlike": _differences(comparison.unlike),
        "changed": _differences(comparison.changed),
        "worse_predictions": row.worse,
        "figures": [
            {"name": x.column.name, "unit": x.column.unit, "a": x.a, "b": x.b}
            for x in comparison.figures
        ],
    }


def _runs(runs: Sequence[Run]) -> list[dict[str, Any]]:
    return [
        {
            "file": str(run.path),
            "images_per_s": run.record.throughput.rates,
            "doubts": [doubt.name for doubt in Row(record=run.record).doubts],
        }
        for run in runs
    ]


def _lone(lone: Lone) -> dict[str, Any]:
    return {
        "configuration": lone.runs[0].configuration,
        "files": [str(run.path) for run in lone.runs],
        "differs_in": list(lone.differs_in),
    }


def _differences(differences: Iterable[Difference]) -> list[dict[str, Any]]:
    return [{"name": x.name, "a": x.a, "b": x.b} for x in differences]
