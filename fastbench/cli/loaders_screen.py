"""The table of loaders, and the lines of `loaders check`; from 80 columns up."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastbench.cli.listed import described, table_of
from fastbench.core.units import format_seconds
from fastbench.loaders.base import GENERAL_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.loaders.contract.finding import RuleFinding
    from fastbench.loaders.registry import Listed

_RULE_WIDTH: Final = 27
_STYLES: Final = {"ok": "green", "FAIL": "bold red", "skipped": "dim", "told": "cyan"}


def render_list(loaders: Sequence[Listed], *, is_asked: bool) -> RenderableType:
    """Each loader's name, whether it runs here, and in words what it does and what it lacks.

    Where it was not asked, a plug-in's answer is not known.
    """
    table = table_of("loader", [(loader, _describe(loader)) for loader in loaders], is_asked)
    general = " and ".join(GENERAL_OPTIONS)
    told = (
        [] if is_asked else ["By what is installed. Import and ask each: fastbench loaders --check"]
    )
    return Group(
        table,
        *map(Text, told),
        Text(f"Every loader has the options {general} too: --loader-option NAME.OPTION=VALUE."),
        Text("Hold one to the contract: fastbench loaders check NAME"),
    )


def render_head(name: str, num_images: int, batch_size: int) -> RenderableType:
    """Which loader is tried, and on what."""
    text = f"{name} held to the contract, on {num_images} images in batches of {batch_size}"
    return Text(text, style="bold")


def render_finding(finding: RuleFinding) -> RenderableType:
    """A rule's line; what was seen is wrapped in its column."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=max(map(len, _STYLES)))
    grid.add_column(width=_RULE_WIDTH)
    grid.add_column(overflow="fold")
    style = _STYLES[finding.outcome]
    grid.add_row(
        Text(finding.outcome, style=style),
        Text(finding.rule),
        Text(finding.text, style="" if finding.outcome == "FAIL" else "dim"),
    )
    return grid


def render_verdict(name: str, findings: Sequence[RuleFinding], seconds: float) -> RenderableType:
    """How many rules held, in one sentence."""
    counts: Counter[str] = Counter(finding.outcome for finding in findings)
    rest = "".join(f", {counts[key]} {key}" for key in ("skipped", "told") if counts[key])
    if counts["FAIL"]:
        text = f"{name} breaks the contract: {counts['FAIL']} FAIL, {counts['ok']} ok{rest}"
    else:
        text = f"{name} keeps the contract: {counts['ok']} ok{rest}"
    style = "bold red" if counts["FAIL"] else "bold green"
    return Text(f"{text}, in {format_seconds(seconds)}.", style=style)


def _describe(loader: Listed) -> Text:
    return described(
        loader,
        {
            "device": loader.device,
            "decoder": loader.decoder,
            "threads scale to about": loader.num_cores and f"{loader.num_cores} cores",
            "requests": loader.on_demand and "yes",
        },
    )
