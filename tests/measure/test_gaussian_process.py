"""What is believed of settings that were not tried."""

import numpy as np
import pytest

from fastbench.measure.gaussian_process import Axis, Process

THREADS = Axis("num_threads", (1, 2, 4, 8, 16, 32), 5, effect=0.4, reach=1.5)
BATCHES = Axis("batch_size", (8, 16, 32, 64), 2, effect=0.4, reach=1.5)
PLACES = np.array([(i, k) for i in range(6) for k in range(4)])


def test_what_was_measured_is_believed_up_to_its_noise() -> None:
    process = Process([THREADS, BATCHES], PLACES)
    known, values = np.array([2, 9, 20]), np.array([0.0, 0.3, -0.4])
    belief = process.believe(known, values, known)
    assert belief.weights.sum() == pytest.approx(1)
    assert belief.mean == pytest.approx(values, abs=0.02)
    assert (belief.spread < 0.05).all()


def test_far_from_what_was_measured_little_is_known() -> None:
    process = Process([THREADS, BATCHES], PLACES)
    belief = process.believe(np.array([0, 1]), np.array([0.0, 0.01]), np.array([1, 23]))
    near, far = belief.spread
    assert far > 5 * near


def test_an_axis_that_did_not_matter_is_believed_not_to() -> None:
    """Threads doubled what was measured each time, batches changed nothing."""
    process = Process([THREADS, BATCHES], PLACES)
    known = np.array([4 * i + k for i, k in ((0, 2), (2, 0), (2, 3), (4, 1), (5, 0), (5, 3))])
    values = np.log(2) * PLACES[known][:, 0]
    left = process.believe(known, values, np.array([4 * 3 + k for k in range(4)]))
    assert left.mean == pytest.approx(np.full(4, 3 * np.log(2)), abs=0.2)
    assert np.ptp(left.mean) < 0.15


def test_without_axes_all_places_are_one() -> None:
    process = Process([], PLACES[:, :0])
    belief = process.believe(np.array([0, 5]), np.array([0.02, -0.02]), np.arange(24))
    assert np.ptp(belief.mean) == 0
    assert abs(belief.mean[0]) < 0.02
