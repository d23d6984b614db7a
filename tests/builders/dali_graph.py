"""What a DALI pipeline consists of, read from its serialised form: no driver is needed for that.

`Pipeline.serialize` writes a protocol buffer, whose fields are numbered in DALI's `dali.proto`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_OPERATORS = 5  # of the pipeline
_NAME, _INPUTS, _ARGUMENTS = 1, 2, 4  # of an operator
_DEVICE, _IS_ARGUMENT, _ARGUMENT = 2, 3, 4  # of an input
_FLOATS, _INTS, _STRINGS, _BOOLS, _ITEMS = 3, 4, 5, 6, 7  # of an argument


class Operator(NamedTuple):
    """An operator: its schema's name, where it runs, and the arguments that are constants."""

    name: str
    device: str
    arguments: dict[str, Any]
    fed: frozenset[str]
    """The arguments that are outputs of other operators."""


def operators_of(serialised: bytes) -> list[Operator]:
    """The operators of a serialised pipeline."""
    found = []
    for number, message in _fields(serialised):
        if number == _OPERATORS:
            parts = list(_fields(message))
            arguments = dict(_argument(part) for number, part in parts if number == _ARGUMENTS)
            inputs = [dict(_fields(part)) for number, part in parts if number == _INPUTS]
            fed = {each[_ARGUMENT].decode() for each in inputs if each.get(_IS_ARGUMENT)}
            device = arguments.pop("device", "cpu")
            found.append(Operator(dict(parts)[_NAME].decode(), device, arguments, frozenset(fed)))
    return found


def _argument(message: bytes) -> tuple[str, Any]:
    fields = list(_fields(message))
    values: list[Any] = []
    for number, value in fields:
        if number == _FLOATS:
            values.append(struct.unpack("<f", value)[0])
        elif number == _INTS:
            values.append(value - 2**64 if value >= 2**63 else value)
        elif number == _STRINGS:
            values.append(value.decode())
        elif number == _BOOLS:
            values.append(bool(value))
        elif number == _ITEMS:
            values.append(_argument(value)[1])
    is_list = any(number == _ITEMS for number, _ in fields)
    return dict(fields)[_NAME].decode(), values if is_list or len(values) != 1 else values[0]


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protocol buffer: numbers, and bytes of what is longer."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind, number = key & 7, key >> 3
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        length, at = _varint(message, at) if kind == _BYTES else ({_FIXED64: 8}.get(kind, 4), at)
        yield number, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            return value, at
