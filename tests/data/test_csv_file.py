"""CSV files as people have them: whose column is whose, and what is refused in place of guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.images import draw

from fastbench.core.errors import DataError, DataNotFoundError
from fastbench.data.csv_file import read_table
from fastbench.data.dataset import scan


@pytest.mark.parametrize(
    "header",
    [
        "path,label", "filename,label", "image,class", "image_id,label", "ImageId,Class Name",
        "img_path,target", "File,WNID", "id,category", "FILE_NAME,class_id",
    ],
)  # fmt: skip
def test_headers_that_say_which_column_is_which(header: str) -> None:
    assert read_table(f"{header}\na.jpg,cat\n", Path("x.csv")) == [("a.jpg", "cat")]


@pytest.mark.parametrize(
    "text",
    [
        "label,width,path\ncat,40,a.jpg\n",
        "id,path,image,label,class\n7,a.jpg,b,cat,1\n",  # the plainest name is meant
        "id,image,class\n7,a.jpg,cat\n",
        '"path", "label"\r\n"a.jpg", "cat"\r\n\r\n',
        "path\tnotes\tlabel\na.jpg\t\tcat\n",
        "path;label\na.jpg;cat\n",
        "\n path , label \n a.jpg , cat \n",
        "a.jpg,cat\n",
        "ImageId,PredictionString\na.jpg,cat 85 1 499 272 cat 1 2 3 4 \n",
    ],
)
def test_other_columns_quotes_and_delimiters(text: str) -> None:
    assert read_table(text, Path("x.CSV")) == [("a.jpg", "cat")]


def test_fields_may_hold_what_parts_them() -> None:
    text = 'path,label\n"a, b.jpg","the ""big"" cat, say"\n'
    assert read_table(text, Path("x.csv")) == [("a, b.jpg", 'the "big" cat, say')]


def test_a_column_of_labels_may_be_missing_or_empty() -> None:
    assert read_table("path,width\na.jpg,40\n", Path("x.csv")) == [("a.jpg", None)]
    assert read_table("path,label\na.jpg,\n", Path("x.csv")) == [("a.jpg", None)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a.jpg 3\n", "x.csv"),  # a list that is named so
        ("a.jpg\n", "x.csv"),
        ("a,b.jpg 3\n", "x.txt"),
        ("image\nfile\n", "x.txt"),  # files of these names
        ("file,1.jpg 3\n", "x.txt"),
        ("# path, label\na.jpg 3\n", "x.txt"),
        ('"a.jpg 3\n', "x.txt"),
        ("x" * 200_000, "x.txt"),
        ("", "x.csv"),
    ],
)
def test_a_list_stays_a_list(text: str, name: str) -> None:
    assert read_table(text, Path(name)) is None


def test_a_header_in_a_file_of_another_name() -> None:
    assert read_table("path,label\na.jpg,3\n", Path("val.txt")) == [("a.jpg", "3")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "filename,image,label\n",
            "Two columns of x.csv may be the path: 'filename' and 'image'. Name the one that is "
            "meant 'path', and the other otherwise.",
        ),
        ("path,class_id,class_name\n", "may be the label: 'class_id' and 'class_name'. Name the"),
        ("path,label,Label\n", "may be the label: 'label' and 'Label'"),
        ("a,b\n1,2\n", "names no column of paths: 'a,b'. Name the columns path and label."),
        ("a.jpg,3,4\n", "names no column of paths"),
        ("path,label\na.jpg\n", "Line 2 of x.csv lacks a path or a label"),
        ('path,label\n"a.jpg,cat\n', "of x.csv is not CSV (unexpected end of data). Mend its"),
    ],
)
def test_what_is_not_guessed(text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read_table(text, Path("x.csv"))
    assert said in str(caught.value)


def test_files_are_found_in_the_order_of_the_rows_with_the_ending_that_ids_lack(
    tmp_path: Path,
) -> None:
    for name in ("0001.jpg", "0002.jpg"):
        draw(tmp_path / "train" / name, (40, 40))
    table = tmp_path / "train.csv"
    table.write_text("image_id,label\n0002,dog\n0001,cat\n")
    manifest = scan(table, tmp_path / "train")
    assert manifest.names == ("0002.jpg", "0001.jpg")
    assert manifest.words == ("dog", "cat")
    with pytest.raises(DataNotFoundError) as caught:
        scan(table)
    assert str(caught.value) == (
        f"{tmp_path}/0002 does not exist (2 of the 2 files in {table} do not, or are not regular "
        f"files, also with .JPEG or .jpg after it). Paths are relative to the list's own folder: "
        f"name another one with --data-root."
    )


def test_some_rows_without_a_label(tmp_path: Path) -> None:
    table = tmp_path / "x.csv"
    table.write_text("path,label\na.jpg,cat\nb.jpg,\n")
    with pytest.raises(DataError, match="has a label for some files and none for others"):
        scan(table)
