"""Rules of the contract for which a loader is opened anew, with other settings or on other files.

Shape suffixes: C channels, H height, W width.
"""

from __future__ import annotations

import itertools
import tempfile
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import FastbenchError
from fastbench.loaders.guard import BrokenContractError, in_words

if TYPE_CHECKING:
    from fastbench.loaders.contract.trial import Subject

CUT_OFF: Final = "cut-off.jpg"


def no_prefetch(subject: Subject) -> str:
    """Without prefetching the batches are the same."""
    return _as_before(subject, "with prefetch=0", prefetch=0)


def one_thread(subject: Subject) -> str:
    """With one thread the batches are the same."""
    return _as_before(subject, "with num_threads=1", num_threads=1)


def _as_before(subject: Subject, how: str, **changes: object) -> str:
    wanted = subject.epochs[0]
    with subject.open(**changes) as (loader, spec):
        epoch = subject.read(loader, spec)
    epoch.raise_faults()
    if epoch.ids != wanted.ids:
        raise BrokenContractError(f"{how} an epoch has other samples or another order")
    return subject.alike(epoch.images, wanted.images, how)


def dtypes(subject: Subject) -> str:
    """The values of the other dtypes are float32's, rounded once or twice."""
    full = subject.epochs[0].images
    for dtype, unit in (("float16", 2**-10), ("bfloat16", 2**-7)):
        with subject.open(dtype=dtype, prefetch=0) as (loader, spec):
            epoch = subject.read(loader, spec)
        epoch.raise_faults()
        for sample, image in epoch.images.items():
            off = (image - full[sample]).abs()
            if not bool((off <= unit * full[sample].abs() + 1e-3).all()):
                raise BrokenContractError(
                    f"sample {sample} in {dtype} is up to {float(off.max()):.3g} from float32"
                )
    return "float32's values, rounded"


def belong(subject: Subject) -> str:
    """With the list reversed each file gives the same pixels."""
    paths = subject.spec.paths
    with subject.open(paths=tuple(reversed(paths))) as (loader, spec):
        epoch = subject.read(loader, spec)
    images = {len(paths) - 1 - sample: image for sample, image in epoch.images.items()}
    return subject.alike(images, subject.epochs[0].images, "where the list is reversed")


def broken_file(subject: Subject) -> str:
    """A JPEG cut off in its middle, in the second batch, ends in an error that names it."""
    paths = list(subject.spec.paths)
    place = min(subject.spec.batch_size + 1, len(paths) - 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CUT_OFF
        data = Path(paths[place]).read_bytes()
        path.write_bytes(data[: len(data) // 2])
        paths[place] = str(path)
        try:
            with subject.open(paths=tuple(paths)) as (loader, spec):
                deque(itertools.islice(loader, spec.num_batches), maxlen=0)
        except FastbenchError as error:
            text = str(error)
        except Exception as error:  # noqa: BLE001 - any kind of error will do
            text = in_words(error)
        else:
            raise BrokenContractError(
                "a file that ends in its middle is delivered as an image, without a word"
            )
    if CUT_OFF not in text:
        raise BrokenContractError(f"the error does not name the file: {text}")
    return _first_sentence(text)


def _first_sentence(text: str) -> str:
    """An error's first sentence, without the file's temporary folder."""
    head, _, tail = text.partition(CUT_OFF)
    before = head.rpartition(" ")[0]
    return f"{before} {CUT_OFF}{tail.partition('. ')[0]}".strip()
