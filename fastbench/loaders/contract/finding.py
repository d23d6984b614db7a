"""The finding of one rule of the contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class RuleFinding:
    """What became of one rule, and what was seen or why nothing was; `told` is no verdict."""

    rule: str
    outcome: Literal["ok", "FAIL", "skipped", "told"]
    text: str

    @classmethod
    def of_the_rest(cls, why: str) -> RuleFinding:
        """None of the rules that are left can be tried."""
        return cls(rule="the other rules", outcome="skipped", text=why)
