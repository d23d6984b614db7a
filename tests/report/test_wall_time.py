"""The line that says where a run's wall time went."""

import pytest
from builders.records import make

from fastbench.records.stages import Stages
from fastbench.report.formats.wall_time import in_words


def test_the_shares_are_those_of_the_whole_run() -> None:
    """Two rows, of which 8 + 2 + 2 + 0.6 s each were timed, and 20 s that no record knows."""
    stages = Stages(start_s=3.0, model_s=2.0, passes_s=20.0, parity_s=5.0, images_s=0.1)
    rows = [make(stages=stages), make(stages=stages)]
    assert rows[0].measured_s == pytest.approx(12.6)
    assert in_words(rows, 80.2) == (
        "The run took 80.2 s: 31 % measuring, 25 % else, 18 % warming up, "
        "12 % comparing with the reference, 7 % starting processes, 5 % loading models."
    )


def test_a_record_of_an_older_version_says_nothing() -> None:
    assert in_words([make(stages=None)], 2.0) == "The run took 2.00 s: 0 % measuring, 100 % else."
