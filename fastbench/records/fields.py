"""The types of a record's fields, with the ranges of their numbers.

msgspec checks a record against them when it is read and before it is written, not in between. JSON
has no NaN and no infinity, so no field may hold them.
"""

from __future__ import annotations

import sys
from typing import Annotated, Final

import msgspec

_MOST: Final = sys.float_info.max

Count = Annotated[int, msgspec.Meta(ge=0)]
Finite = Annotated[float, msgspec.Meta(ge=-_MOST, le=_MOST)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=_MOST)]
"""Seconds, watts, images/s."""
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record, or a part of one; unknown fields of the JSON object are refused."""
