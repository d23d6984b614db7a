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


@pytest.mark.parametrize("pairs", [(0, 0), (1, 2), (14, 2), (0, 9), (200, 260)])
def test_mcnemar_is_scipys_binomial_test(pairs: tuple[int, int]) -> None:
    from scipy.stats import binomtest

    expected = binomtest(pairs[0], sum(pairs), 0.5).pvalue if sum(pairs) else 1.0
    assert stats.mcnemar_p(*pairs) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_by_hand() -> None:
    assert stats.mcnemar_p(0, 5) == 2 / 32
    assert stats.mcnemar_p(3, 3) == 1.0
    with pytest.raises(ValueError, match="-1 and 2"):
        stats.mcnemar_p(-1, 2)


def test_the_interval_of_a_paired_difference() -> None:
    """b = 3.5, c = 8.5, n = 102 after the half observations: 5/102 +- 1.96 * 3.4286/102."""
    low, high = stats.paired_difference_interval(3, 8, 100)
    assert (low, high) == (pytest.approx(-0.016861, abs=1e-5), pytest.approx(0.114900, abs=1e-5))
    low, high = stats.paired_difference_interval(0, 0, 1000)
    assert low == pytest.approx(-high)
    assert 0 < high < 0.003
    with pytest.raises(ValueError, match="cannot be"):
        stats.paired_difference_interval(5, 6, 10)
