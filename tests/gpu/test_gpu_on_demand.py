"""Do loaders give the same images by request as in epochs, while the GPU is busy with others?

`decode` is called in threads of its own and `collate` here, as under load.
"""

import gc
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import loaders
from builders.images import draw

from fastbench.core.errors import CorruptImageError
from fastbench.data.dataset import Manifest, scan
from fastbench.loaders.base import LoaderSpec
from fastbench.loaders.guard_on_demand import CheckedOnDemand
from fastbench.loaders.registry import resolve

pytestmark = pytest.mark.gpu

NAMES = ("dali", "dali-cpu", "torchvision-tensor")
SIZE = 8


def spec_of(manifest: Manifest, **changes: object) -> LoaderSpec:
    on_gpu = {"device": "cuda:0", "num_threads": 4, "largest": manifest.largest}
    return loaders.spec_of(manifest, **{**on_gpu, "repeatable": True, **changes})


@pytest.fixture
def opened() -> Iterator[Callable[..., CheckedOnDemand]]:
    made: list[CheckedOnDemand] = []

    def open_(name: str, spec: LoaderSpec, in_memory: Any = None) -> CheckedOnDemand:
        made.append(CheckedOnDemand(name, resolve(name), spec, in_memory))
        return made[-1]

    yield open_
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("many")
    for i in range(96):
        draw(root / f"{i:02d}.jpg", [(500, 375), (375, 500), (333, 251), (640, 427)][i % 4])
    return root


def epoch_of(name: str, spec: LoaderSpec) -> torch.Tensor:
    loader = resolve(name)(spec)
    try:
        return torch.cat([batch.images_NCHW[: batch.num_valid].clone() for batch in loader])
    finally:
        loader.close()


def calls_of(samples: Sequence[int], side: CheckedOnDemand) -> list[Sequence[int]]:
    """Calls of 1 to as many samples as may be, which fill batches of `SIZE`."""
    if side.most_at_once == 1:
        return [[sample] for sample in samples]
    parts: list[Sequence[int]] = []
    for start in range(0, len(samples), SIZE):
        batch = samples[start : start + SIZE]
        cut = (start // SIZE) % SIZE  # 0: a whole batch is one call
        parts += [part for part in (batch[:cut], batch[cut:]) if part]
    return parts


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_the_pixels_are_the_epochs_while_the_gpu_is_busy(
    name: str, dtype: str, many: Path, opened: Callable[..., CheckedOnDemand]
) -> None:
    """Work on each batch is queued far behind the host: were its memory given to the next images
    too early, or read before it was decoded, images would change.
    """
    manifest = scan(many)
    spec = spec_of(manifest, dtype=dtype)
    wanted = epoch_of(name, spec)
    held = [np.fromfile(path, np.uint8) for path in manifest.paths]
    order = [*range(95, -1, -1)]
    for in_memory in (None, held):
        side = opened(name, spec, in_memory)
        for _ in range(3):
            kept, waiting = [], []
            with ThreadPoolExecutor(side.num_callers) as pool:
                # No more is decoded ahead than under load.
                calls = iter(calls_of(order, side))
                futures = [pool.submit(side.decode, x) for x in itertools.islice(calls, 2 * SIZE)]
                num = 0
                while futures:
                    made = futures.pop(0)
                    waiting.append(made.result())
                    futures += [pool.submit(side.decode, x) for x in itertools.islice(calls, 1)]
                    num += _num_images(waiting[-1])
                    if num == SIZE:
                        batch = side.collate(waiting, SIZE)
                        torch.cuda._sleep(20_000_000)  # about 10 ms of the GPU's time
                        kept.append(batch.clone())
                        waiting, num = [], 0
                        del batch
            assert torch.equal(torch.cat(kept), wanted[order])


def _num_images(decoded: Any) -> int:
    return len(decoded if isinstance(decoded, torch.Tensor) else decoded.images_NHWC)


@pytest.mark.parametrize("name", NAMES)
def test_padding_and_a_damaged_file(
    name: str,
    small: Path,
    damage: Callable[[Path], None],
    opened: Callable[..., CheckedOnDemand],
) -> None:
    manifest = scan(small)
    wanted = epoch_of(name, spec_of(manifest))
    damage(Path(manifest.paths[3]))
    side = opened(name, spec_of(manifest))
    with ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            with pytest.raises(CorruptImageError, match=Path(manifest.paths[3]).name):
                pool.submit(side.decode, [3]).result()
            parts = [pool.submit(side.decode, [i]).result() for i in (0, 4)]
            batch = side.collate(parts, SIZE)
            assert torch.equal(batch[:2], wanted[[0, 4]])
            assert bool(torch.isfinite(batch).all())


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_stable_and_freed(name: str, many: Path) -> None:
    spec = spec_of(scan(many))
    used = []
    for _ in range(4):
        side = CheckedOnDemand(name, resolve(name), spec)
        with ThreadPoolExecutor(side.num_callers) as pool:
            for _ in range(3):
                for part in pool.map(side.decode, [[i] for i in range(96)]):
                    side.collate([part], SIZE).sum()
        side.close()
        del side, part
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info()
        used.append(total - free)
    assert used[-1] <= used[0] + 64 * 2**20
