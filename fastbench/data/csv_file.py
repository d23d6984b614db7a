"""A CSV file that names images and their labels: which columns have them, by the header.

The columns are found by their names, in any case and however they are joined (`image_id`,
`ImageId`); the others are ignored. Where two could be meant, nothing is guessed. A file without a
header has the path in the first of two columns. Kaggle's `PredictionString` begins with the label.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fastbench.core.errors import DataError, first_line
from fastbench.data.folder_tree import has_jpegs_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

_PATH: Final = "path"
_LABEL: Final = "label"
_PREDICTION: Final = "predictionstring"
_OF_IMAGES: Final = ("image", "img", "file")
_PATHS: Final = frozenset(
    {_PATH, "id", *_OF_IMAGES}
    | {f"{of}{what}" for of in _OF_IMAGES for what in (_PATH, "name", "id", "file")}
)
_CLASS: Final = (_LABEL, "class", "category", "target")
_LABELS: Final = frozenset(
    {*_CLASS, "labels", "wnid", "synset", _PREDICTION}
    | {f"{of}{what}" for of in _CLASS for what in ("name", "id", "index", _LABEL)}
)
_DELIMITERS: Final = ",\t;"


class _Form(NamedTuple):
    """How a file is read: the column of paths, that of labels if there is one, and what parts them.

    `first` is the number of the first row with an image.
    """

    delimiter: str
    path: int
    label: int | None
    first: int
    is_prediction: bool = False


def read_table(text: str, file: Path) -> list[tuple[str, str | None]] | None:
    """Path and label of each row of a CSV file, or of a tab-separated one; None if `text` is none.

    A file that is not named `.csv` or `.tsv` is one if its first line names both columns.

    Raises `DataError` where a column could be meant twice or is missing, and for a row without it.
    """
    form = _form_of(text, file)
    if form is None:
        return None
    lines = _reader(io.StringIO(text, newline=""), form.delimiter)
    rows: list[tuple[str, str | None]] = []
    needed = max(form.path, form.label or 0) + 1
    try:
        for number, row in enumerate(row for row in lines if any(map(str.strip, row))):
            if number < form.first:
                continue
            if len(row) < needed or not row[form.path].strip():
                raise DataError(
                    f"Line {lines.line_num} of {file} lacks a path or a label. Complete it, or "
                    f"remove it."
                )
            word = None if form.label is None else row[form.label].strip()
            if form.is_prediction and word:
                word = word.split()[0]
            rows.append((row[form.path].strip(), word or None))
    except csv.Error as error:
        raise DataError(
            f"Line {lines.line_num} of {file} is not CSV ({first_line(error)}). Mend its quotes."
        ) from error
    return rows


def _reader(lines: Iterable[str], delimiter: str) -> Any:
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)


def _form_of(text: str, file: Path) -> _Form | None:
    is_named_so = file.suffix.lower() in (".csv", ".tsv")
    first = text.lstrip().partition("\n")[0].strip()
    if first.startswith("#") and not is_named_so:
        return None
    forms = {delimiter: _fields(first, delimiter) for delimiter in _DELIMITERS}
    for delimiter, fields in forms.items():
        names = [re.sub(r"[\W_]", "", field.lower()) for field in fields]
        path, label = ({*names} & known for known in (_PATHS, _LABELS))
        if not path or not (label or is_named_so):
            continue
        place = _column(names, fields, _PATH, _PATHS, file)
        assert place is not None
        labels = _column(names, fields, _LABEL, _LABELS, file)
        is_prediction = labels is not None and names[labels] == _PREDICTION
        return _Form(delimiter, place, labels, 1, is_prediction)
    if not is_named_so:
        return None
    for delimiter, fields in forms.items():
        if len(fields) == 2 and has_jpegs_name(fields[0].strip()):
            return _Form(delimiter, 0, 1, 0)
    if all(len(fields) < 2 for fields in forms.values()):
        return None  # a list, whatever its name
    raise DataError(
        f"The first line of {file} names no column of paths: {first!r}. Name the columns "
        f"{_PATH} and {_LABEL}."
    )


def _fields(line: str, delimiter: str) -> list[str]:
    """The fields of a line; none if its quotes are not those of this delimiter."""
    try:
        fields: list[str] = next(_reader([line], delimiter), [])
    except csv.Error:
        return []
    return fields


def _column(
    names: Sequence[str], fields: Sequence[str], meant: str, known: Collection[str], file: Path
) -> int | None:
    """The place of the column of paths or of labels; None if there is none."""
    found = [place for place, name in enumerate(names) if name in known]
    # A number of the row may stand beside the file's name.
    named = [place for place in found if names[place] != "id"]
    exact = [place for place in found if names[place] == meant]
    chosen = next((some for some in (exact, named, found) if some), [])
    if len(chosen) > 1:
        twice = " and ".join(repr(fields[place].strip()) for place in chosen[:2])
        raise DataError(
            f"Two columns of {file} may be the {meant}: {twice}. Name the one that is meant "
            f"{meant!r}, and the other otherwise."
        )
    return chosen[0] if chosen else None
