"""The batcher: each query is answered once, in batches as large as may be, whatever fails."""

import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
from builders.fake_requests import PATIENCE_S, FakeLoader, FakeModels, batching, until

from fastbench.core.errors import LoaderError, OutOfMemoryError
from fastbench.scenarios.batcher import (
    NO_CLASS,
    TURNED_AWAY,
    Batcher,
    Query,
    answers_of,
    seconds_to_answer,
)


def asked(num: int, first: int = 0) -> list[tuple[int, int]]:
    """Queries whose image is their number."""
    return [(i, i) for i in range(first, first + num)]


def threads() -> list[threading.Thread]:
    return [x for x in threading.enumerate() if x.name.startswith("fastbench-request")]


@pytest.mark.parametrize(("num_callers", "most_at_once"), [(1, 1), (3, 1), (2, 4)])
def test_each_query_is_answered_once_with_its_own_class(
    num_callers: int, most_at_once: int
) -> None:
    loader = FakeLoader(num_callers=num_callers, most_at_once=most_at_once)
    models = FakeModels(1, 2, 8)
    with batching(loader, models) as (batcher, answers):
        callers = [
            threading.Thread(target=batcher.take, args=(asked(100, first),))
            for first in (0, 100, 200)
        ]
        for caller in callers:
            caller.start()
        found = answers.wait_for(300)
    assert sorted(query.number for query in found) == [*range(300)]
    for query in found:
        assert query.error is None
        assert query.prediction == query.sample
        moments = (
            *(query.arrived_s, query.begun_s, query.decoded_s),
            *(query.batched_s, query.modelled_s),
        )
        assert sorted(moments) == list(moments)
    assert sum(batcher.batches) == loader.num_decoded == 300
    assert max(batcher.batches) <= 8
    assert max(map(len, loader.calls)) <= most_at_once
    assert models.sizes_seen == [models.size_for(num) for num in batcher.batches]
    assert answers_of(found).tolist() == [query.sample for query in found]


def test_what_is_scored_are_the_rows_of_the_queries_without_the_padding() -> None:
    found: list[tuple[list[int], list[int]]] = []

    def score(logits_NK: torch.Tensor, queries: Sequence[Query]) -> None:
        found.append((logits_NK.argmax(1).tolist(), [query.sample for query in queries]))

    with batching(FakeLoader(), FakeModels(8)) as (batcher, answers):
        batcher.scored = score
        batcher.take([(7, 42)])
        answers.wait_for(1)
    assert found == [([42], [42])]


# ---------------------------------------------------------------------------------- batches


def test_a_batch_is_formed_of_all_that_came_while_the_model_was_busy() -> None:
    models = FakeModels(4)
    models.gate.close()
    with batching(FakeLoader(), models) as (batcher, answers):
        batcher.take(asked(1))
        until(lambda: models.gate.num_came == 1)
        batcher.take(asked(5, 1))
        until(lambda: batcher._ready.qsize() == 5)
        models.gate.open()
        answers.wait_for(6)
    assert batcher.batches == [1, 4, 1]


def test_nothing_is_waited_for_unless_it_is_asked() -> None:
    with batching(FakeLoader(), FakeModels(8)) as (batcher, answers):
        batcher.take(asked(1))
        answers.wait_for(1)
        batcher.take(asked(1))
        answers.wait_for(2)
    assert batcher.batches == [1, 1]


def test_a_decoded_image_waits_for_others_as_long_as_it_is_asked() -> None:
    with batching(FakeLoader(), FakeModels(8), max_wait_s=0.05) as (batcher, answers):
        (query,) = batcher.take(asked(1))
        answers.wait_for(1)
    assert query.batched_s - query.decoded_s >= 0.05


def test_others_that_come_meanwhile_fill_its_batch_which_is_not_waited_for_when_full() -> None:
    start = time.monotonic()
    with batching(FakeLoader(), FakeModels(3), max_wait_s=10 * PATIENCE_S) as (batcher, answers):
        batcher.take(asked(2))
        until(batcher._ready.empty)
        time.sleep(0.05)
        assert not answers.queries
        batcher.take(asked(1, 2))
        answers.wait_for(3)
    assert batcher.batches == [3]
    assert time.monotonic() - start < 2 * PATIENCE_S


def test_an_image_that_has_waited_for_the_model_does_not_wait_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models, past_s = FakeModels(8), 0.0
    models.gate.close()
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + past_s)
    monkeypatch.setattr("fastbench.scenarios.batcher.time", clock)
    with batching(FakeLoader(), models, max_wait_s=10 * PATIENCE_S) as (batcher, answers):
        batcher.take(asked(8))
        until(lambda: models.gate.num_came == 1)
        batcher.take(asked(1))
        until(lambda: batcher._ready.qsize() == 1)
        past_s = 20 * PATIENCE_S
        models.gate.open()
        answers.wait_for(9)
    assert batcher.batches == [8, 1]


# --------------------------------------------------------------------------------- decoding


def test_images_that_wait_are_decoded_together() -> None:
    """And what was decoded together is not torn apart: it begins the next batch."""
    loader, models = FakeLoader(most_at_once=4), FakeModels(6)
    loader.gate.close()
    models.gate.close()
    with batching(loader, models) as (batcher, answers):
        batcher.take(asked(1))
        loader.gate.let()
        until(lambda: models.gate.num_came == 1)
        batcher.take(asked(1, 1))
        until(lambda: loader.gate.num_came == 2)
        batcher.take(asked(3, 2))
        loader.gate.let()
        until(lambda: loader.gate.num_came == 3)
        batcher.take(asked(4, 5))
        loader.gate.open()
        until(lambda: batcher._ready.qsize() == 3)
        models.gate.open()
        answers.wait_for(9)
    assert [len(call) for call in loader.calls] == [1, 1, 3, 4]
    assert batcher.batches == [1, 4, 4]


def test_what_is_decoded_and_not_computed_is_bounded() -> None:
    loader, models = FakeLoader(num_callers=3, most_at_once=2), FakeModels(4)
    models.gate.close()
    with batching(loader, models) as (batcher, answers):
        batcher.take(asked(100))
        most = 2 * models.largest + loader.num_callers
        until(lambda: loader.num_decoded == most)
        time.sleep(0.05)
        assert loader.num_decoded == most
        models.gate.open()
        answers.wait_for(100)


# --------------------------------------------------------------------------------- failures


@pytest.mark.parametrize("most_at_once", [1, 4])
def test_an_image_that_cannot_be_decoded_is_named_and_the_others_are_answered(
    most_at_once: int,
) -> None:
    """More often than images may be decoded ahead: each gives back its room."""
    loader = FakeLoader(most_at_once=most_at_once, corrupt=(3,))
    with batching(loader, FakeModels(1, 4)) as (batcher, answers):
        batcher.take([(number, number % 10) for number in range(400)])
        found = answers.wait_for(400)
    assert sorted(query.number for query in found) == [*range(400)]
    assert list(batcher.errors) == [3]
    for query in found:
        if query.sample == 3:
            assert query.prediction == NO_CLASS
            assert query.error is not None
            assert query.error.startswith("3.jpg cannot be decoded")
        else:
            assert (query.error, query.prediction) == (None, query.sample)
    assert sum(batcher.batches) == 360
    assert answers.failure is None


def test_queries_beyond_the_limit_are_turned_away_at_once() -> None:
    loader, models = FakeLoader(), FakeModels(1)
    models.gate.close()
    with batching(loader, models, max_queued=2) as (batcher, answers):
        for first in range(4):  # one is computed, two are decoded, one waits for their room
            batcher.take(asked(1, first))
            until(batcher._arrivals.empty)
        taken = batcher.take(asked(5, 4))
        assert [query.number for query in answers.queries] == [6, 7, 8]
        assert {query.error for query in answers.queries} == {TURNED_AWAY}
        models.gate.open()
        found = answers.wait_for(9)
    assert [query.error for query in taken] == [None, None, *[TURNED_AWAY] * 3]
    assert sorted(query.number for query in found) == [*range(9)]
    assert batcher.batches == [1] * 6


@pytest.mark.parametrize("most_at_once", [1, 3])
@pytest.mark.parametrize("where", ["models", "loader"])
def test_what_ends_the_run_is_raised_while_images_wait_everywhere(
    where: str, most_at_once: int
) -> None:
    """To be decoded, for room, and to be computed."""
    loader, models = FakeLoader(num_callers=2, most_at_once=most_at_once), FakeModels(4)
    error = OutOfMemoryError("There is no more memory.")
    with batching(loader, models) as (batcher, answers):
        batcher.take(asked(1))
        answers.wait_for(1)
        models.gate.close()
        batcher.take(asked(100, 1))
        until(lambda: loader.num_decoded >= 2 * models.largest)
        (models if where == "models" else loader).error = error
        models.gate.open()
        assert answers.wait_for_failure() is error
        start = time.monotonic()
    assert time.monotonic() - start < 5
    assert not threads()
    assert not batcher.errors
    assert all(query.prediction == query.sample for query in answers.queries)


def test_a_broken_contract_is_no_matter_of_one_file() -> None:
    loader = FakeLoader()
    loader.error = LoaderError("It breaks the contract.")
    with batching(loader, FakeModels(1)) as (batcher, answers):
        batcher.take(asked(3))
        assert answers.wait_for_failure() is loader.error
        assert not batcher.errors


@pytest.mark.parametrize("num", [1, 5])
def test_a_loader_that_decodes_nothing_any_more_is_named(
    num: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also at the only image that is asked for."""
    monkeypatch.setattr("fastbench.scenarios.batcher._STUCK_S", 0.3)
    loader = FakeLoader()
    loader.gate.close()
    with batching(loader, FakeModels(1)) as (batcher, answers):
        time.sleep(0.35)  # while nothing is asked for nothing is missed
        batcher.take(asked(num))
        error = answers.wait_for_failure()
    assert isinstance(error, LoaderError)
    assert str(error).startswith("No image was decoded for ")


def test_the_threads_end_though_queries_wait() -> None:
    loader, models = FakeLoader(num_callers=3), FakeModels(1)
    models.gate.close()
    with batching(loader, models) as (batcher, answers):
        batcher.take(asked(500))
        until(lambda: loader.num_decoded == 2 * models.largest + 3)
        assert len(threads()) == 3
        batcher.close()
        assert not threads()
        assert not answers.queries


def test_they_end_while_others_still_ask() -> None:
    """As LoadGen does, which cannot be stopped."""
    is_over = threading.Event()
    with batching(FakeLoader(num_callers=3), FakeModels(2, takes_s=0.001)) as (batcher, _):

        def ask() -> None:
            while not is_over.is_set():
                batcher.take(asked(1))
                time.sleep(0)

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.02)
        start = time.monotonic()
    assert time.monotonic() - start < 5
    is_over.set()
    asking.join()
    assert not threads()


def test_close_while_nothing_waits() -> None:
    with batching(FakeLoader(num_callers=2), FakeModels(1)):
        assert len(threads()) == 2
    assert not threads()


def test_seconds_to_answer() -> None:
    """No limit of the queue is one then, and an image that cannot be decoded is an answer too."""
    loader = FakeLoader(corrupt=(5,))
    models = FakeModels(4, takes_s=0.01)
    batcher = Batcher(loader, models, max_wait_s=0.0, max_queued=1, answer=lambda _: None)
    try:
        assert seconds_to_answer(batcher, range(10)) > 0.02
        assert batcher.max_queued == 1
        assert list(batcher.errors) == [5]
        assert sum(batcher.batches) == 9
        models.error = OutOfMemoryError("There is no more memory.")
        with pytest.raises(OutOfMemoryError):
            seconds_to_answer(batcher, [1])
    finally:
        batcher.close()
