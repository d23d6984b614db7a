"""`--preprocess KEY=VALUE`: one field of a model's preprocessing, in place of what it states.

A file with its program states none, and other weights may state a wrong one. What is not given
stays as the model has it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

INTERPOLATIONS: Final = ("bilinear", "bicubic")
"""The interpolations that every loader has."""


def parse_preprocess(texts: Sequence[str]) -> dict[str, Any]:
    """The fields that are given, as a `Preprocess` has them.

    Raises `UsageError` for an unknown field, a value that it cannot have, and a field given twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, written = text.partition("=")
        if not equals or key not in _FIELDS:
            raise UsageError(
                f"--preprocess is {text!r}.{did_you_mean(key, [*_FIELDS])} Write KEY=VALUE, where "
                f"KEY is {', '.join([*_FIELDS][:-1])} or {[*_FIELDS][-1]}."
            )
        if key in found:
            raise UsageError(f"--preprocess sets {key} twice. Give it one value.")
        read, wanted = _FIELDS[key]
        try:
            found[key] = read(written)
        except ValueError:
            raise UsageError(f"--preprocess is {text!r}. Give {key} {wanted}.") from None
    resize, crop = found.get("resize"), found.get("crop")
    if resize is not None and crop is not None and crop > resize:
        raise UsageError(
            f"--preprocess cuts {crop} pixels out of images resized to {resize}. Give resize at "
            f"least {crop}."
        )
    return found


def read_fields(stated: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a file's JSON states, as a `Preprocess` has them.

    Raises `ValueError`, in words, for an unknown field, and for a value that it cannot have.
    """
    found = {}
    for key, value in stated.items():
        if key not in _FIELDS:
            raise ValueError(f"it has {key!r}, and a preprocessing has {', '.join(_FIELDS)}")
        read, wanted = _FIELDS[key]
        try:
            found[key] = read(_written(value))
        except ValueError:
            raise ValueError(f"{key} is {value!r}; give {wanted}") from None
    return found


def _written(value: Any) -> str:
    """A value of JSON as `--preprocess` has it."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def merged(texts: Sequence[str], changes: Sequence[str]) -> tuple[str, ...]:
    """What holds where fields of `texts` are given anew by `changes`."""
    given = {text.partition("=")[0] for text in changes}
    return (*(text for text in texts if text.partition("=")[0] not in given), *changes)


def _numbers(written: str) -> tuple[float, float, float]:
    values = [float(part) for part in written.split(",")]
    if len(values) == 1:
        values *= 3
    if len(values) != 3 or not all(map(math.isfinite, values)):
        raise ValueError
    red, green, blue = values
    return red, green, blue


def _above_zero(written: str) -> tuple[float, float, float]:
    values = _numbers(written)
    if min(values) <= 0:
        raise ValueError
    return values


def _pixels(written: str) -> int:
    if (value := int(written)) < 1:
        raise ValueError
    return value


def _one_of(**values: Any) -> Callable[[str], Any]:
    def read(written: str) -> Any:
        if written not in values:
            raise ValueError
        return values[written]

    return read


_FIELDS: Final[dict[str, tuple[Callable[[str], Any], str]]] = {
    "mean": (_numbers, "one number, or three with commas: of red, green, blue, from 0 to 1"),
    "std": (_above_zero, "one number above 0, or three with commas: of red, green, blue"),
    "interpolation": (
        _one_of(**{name: name for name in INTERPOLATIONS}),
        " or ".join(INTERPOLATIONS),
    ),
    "resize": (_pixels, "a whole number of at least 1"),
    "crop": (_pixels, "a whole number of at least 1"),
    "antialias": (_one_of(true=True, false=False), "true or false"),
}
"""How each field is read, and the words for what to give."""
