"""ILSVRC2012's development kit, of six images and four classes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from builders.archives import write_tar

# ILSVRC2012_IDs follow no order of wnids: ID 1 is a kit fox, class 278 of the models.
WNIDS = {1: "n02119789", 2: "n02100735", 3: "n15075141", 4: "n01440764"}
INNER = {5: "n00001740", 6: "n02083346"}
GROUND_TRUTH = [3, 1, 4, 2, 4, 1]
FOLDERS = [WNIDS[number] for number in GROUND_TRUTH]
DATA = "ILSVRC2012_devkit_t12/data"
TRUTH_NAME = "ILSVRC2012_validation_ground_truth.txt"


def image_name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def synsets(leaves: dict[int, str] = WNIDS, *, id_name: str = "ILSVRC2012_ID") -> Any:
    """The struct array of the real file: field names, shapes and the inner nodes at its end."""
    fields = [id_name, "WNID", "words", "gloss", "num_children", "children", "wordnet_height",
              "num_train_images"]  # fmt: skip
    rows = np.empty((len(leaves) + len(INNER), 1), [(name, object) for name in fields])
    for row, (number, wnid) in enumerate({**leaves, **INNER}.items()):
        children = list(leaves)[:2] if wnid in INNER.values() else []
        rows[row, 0] = (
            float(number), wnid, f"words of {wnid}", "a gloss", float(len(children)),
            np.array(children, float), float(bool(children)), 0.0 if children else 1300.0,
        )  # fmt: skip
    return rows


def meta_mat(array: Any = None, name: str = "synsets") -> bytes:
    file = io.BytesIO()
    savemat(file, {name: synsets() if array is None else array}, do_compression=True)
    return file.getvalue()


def truth(numbers: list[int] | None = None) -> bytes:
    return "".join(f"{number}\n" for number in numbers or GROUND_TRUTH).encode()


def write_devkit(folder: Path, meta: bytes | None = None, labels: bytes | None = None) -> Path:
    files = {"ILSVRC2012_devkit_t12/readme.txt": b"Introduction"}
    files[f"{DATA}/meta.mat"] = meta_mat() if meta is None else meta
    files[f"{DATA}/{TRUTH_NAME}"] = truth() if labels is None else labels
    return write_tar(folder / "ILSVRC2012_devkit_t12.tar.gz", files)
