"""Units and statistics, against literals."""

import pytest

from fastbench import stats, units


def test_rates() -> None:
    given = [0.5, 9.876, 98.76, 987.6, 9876.0]
    assert [units.format_rate(x) for x in given] == ["0.50", "9.88", "98.8", "988", "9,876"]


def test_milliseconds() -> None:
    given = [0.001234, 0.01234, 0.1234, 1.234, None]
    assert [units.format_milliseconds(x) for x in given] == ["1.23", "12.3", "123", "1,234", "–"]


def test_seconds() -> None:
    assert [units.format_seconds(x) for x in (0.123, 12.34, 245)] == [
        "0.12 s", "12.3 s", "4 min 05 s",
    ]  # fmt: skip


def test_points_have_a_sign_only_where_they_differ() -> None:
    given = [0.001, -0.002, 0.0, -0.00001]
    assert [units.format_points(x) for x in given] == ["+0.10", "−0.20", "0.00", "0.00"]


def test_bytes() -> None:
    given = [512, 110_200, 6.3e6, 2.5e9, 3e12]
    assert [units.format_bytes(x) for x in given] == [
        "512 B", "110.2 kB", "6.3 MB", "2.5 GB", "3.0 TB",
    ]  # fmt: skip


def test_percentiles() -> None:
    samples = [4.0, 1.0, 3.0, 2.0]
    assert stats.percentile(samples, 0) == 1
    assert stats.percentile(samples, 50) == 2.5
    assert stats.percentile(samples, 90) == pytest.approx(3.7)
    assert stats.percentile(samples, 100) == 4
    assert stats.percentile([0.1] * 3, 50) == 0.1


def test_a_percentile_without_samples() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        stats.percentile([], 50)
    with pytest.raises(ValueError, match="not 101"):
        stats.percentile([1.0], 101)


@pytest.mark.parametrize(("pct", "needed"), [(50, 1), (90, 64), (95, 130), (99, 662)])
def test_a_percentile_needs_its_samples(pct: int, needed: int) -> None:
    assert stats.supported_percentile([1.0] * needed, pct) == 1.0
    assert stats.supported_percentile([1.0] * (needed - 1), pct) is None


def test_wilson_interval() -> None:
    """81 of 263: Newcombe, Statistics in Medicine 17 (1998), table I."""
    low, high = stats.wilson_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert stats.wilson_interval(0, 10)[0] == 0
    assert stats.wilson_interval(10, 10)[1] == 1
    with pytest.raises(ValueError, match="not a proportion"):
        stats.wilson_interval(11, 10)
