"""Units and statistics, against literals."""

import pytest

from fastbench.core import stats, units


def test_rates() -> None:
    given = [0.0, 0.5, 9.876, 98.76, 987.6, 9876.0]
    texts = ["0.00", "0.500", "9.88", "98.8", "988", "9,876"]
    assert [units.format_rate(x) for x in given] == texts


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


@pytest.mark.parametrize(
    "pairs", [(0, 0), (0, 9), (14, 2), (110, 140), (110, 141), (200, 260), (20_000, 21_000)]
)
def test_mcnemar_is_scipys_binomial_test(pairs: tuple[int, int]) -> None:
    from scipy.stats import binomtest

    expected = binomtest(pairs[0], sum(pairs), 0.5).pvalue if sum(pairs) else 1.0
    assert stats.mcnemar_p(*pairs) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_counts_that_no_run_has() -> None:
    """They are sums of coins: 3 standard deviations apart, by the normal distribution."""
    half = 5 * 10**17
    assert stats.mcnemar_p(half - 15 * 10**8, half + 15 * 10**8) == pytest.approx(0.0027, rel=1e-3)


def test_mcnemar_by_hand() -> None:
    """2 (C(8,0) + C(8,1)) / 2^8, and as many discordant pairs as there may be."""
    assert stats.mcnemar_p(7, 1) == stats.mcnemar_p(1, 7) == 18 / 256
    assert stats.mcnemar_p(3, 3) == 1.0
    assert stats.mcnemar_p_at_most(6, 8) == 18 / 256
    # With nine, one is left over: the sides differ by an even number.
    assert stats.mcnemar_p_at_most(6, 9) == 18 / 256
    assert stats.mcnemar_p_at_most(-6, 6) == 2 / 64
    with pytest.raises(ValueError, match="5 discordant pairs do not differ by 6"):
        stats.mcnemar_p_at_most(6, 5)
    with pytest.raises(ValueError, match="-1 and 2"):
        stats.mcnemar_p(-1, 2)


def test_p_grows_with_the_pairs_that_may_be_discordant() -> None:
    values = [stats.mcnemar_p_at_most(10, most) for most in range(10, 400)]
    assert values == sorted(values)


def test_the_interval_of_a_paired_difference() -> None:
    """b = 3.5, c = 8.5, n = 102 after the half observations: 5/102 +- 1.96 * 3.4286/102."""
    low, high = stats.paired_difference_interval(3, 8, 100)
    assert (low, high) == (pytest.approx(-0.016861, abs=1e-5), pytest.approx(0.114900, abs=1e-5))
    low, high = stats.paired_difference_interval(0, 0, 1000)
    assert low == pytest.approx(-high)
    assert 0 < high < 0.003
    with pytest.raises(ValueError, match="cannot be"):
        stats.paired_difference_interval(5, 6, 10)


def test_the_interval_of_a_ratio_by_hand() -> None:
    """Logs 0, 2 and 3, 5: means 1 and 4, variances 2 and 2; dof 2, t = 4.302653, half sqrt(2) t."""
    from math import exp, sqrt

    ratio, interval = stats.log_ratio_interval([1, exp(2)], [exp(3), exp(5)])
    half = sqrt(2) * 4.302652729911275
    assert ratio == pytest.approx(exp(3))
    assert interval == pytest.approx((exp(3 - half), exp(3 + half)))


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("sizes", [(2, 2), (3, 5), (10, 4), (50, 60)])
def test_the_interval_of_a_ratio_is_scipys(sizes: tuple[int, int], equal: bool) -> None:
    import numpy as np
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(sum(sizes))
    a, b = rng.normal(1000, 5, sizes[0]), rng.normal(1100, 30, sizes[1])
    expected = ttest_ind(np.log(b), np.log(a), equal_var=equal).confidence_interval(0.95)
    ratio, interval = stats.log_ratio_interval(a.tolist(), b.tolist(), equal_variances=equal)
    assert ratio == pytest.approx(np.exp(np.log(b).mean() - np.log(a).mean()))
    assert interval == pytest.approx((np.exp(expected.low), np.exp(expected.high)), rel=1e-9)


def test_the_interval_of_a_ratio_to_one_value_by_hand() -> None:
    """Logs 0, 2 and 5: variance 2 with dof 1, t = 12.706205, half t sqrt(2 (1/2 + 1))."""
    from math import exp, sqrt

    half = 12.706204736174698 * sqrt(3)
    ratio, interval = stats.log_ratio_interval([1, exp(2)], [exp(5)], equal_variances=True)
    assert ratio == pytest.approx(exp(4))
    assert interval == pytest.approx((exp(4 - half), exp(4 + half)))
    assert stats.log_ratio_interval([2], [4], equal_variances=True) == (pytest.approx(2), None)


def test_the_interval_of_a_geometric_mean_by_hand() -> None:
    """Logs -1, 0, 1: variance 1, t(2) = 4.302653, half t / sqrt(3)."""
    from math import exp, sqrt

    half = 4.302652729911275 / sqrt(3)
    mean, interval = stats.geometric_mean_interval([exp(-1), exp(1), 1])
    assert mean == pytest.approx(1)
    assert interval == pytest.approx((exp(-half), exp(half)))
    assert stats.geometric_mean_interval([0.5]) == (pytest.approx(0.5), None)
    assert stats.geometric_mean_interval([2, 2])[1] == pytest.approx((2, 2))
    for values in ([], [0, 1], [-1]):
        with pytest.raises(ValueError, match="needs values above zero"):
            stats.geometric_mean_interval(values)


def test_ratios_without_an_interval() -> None:
    assert stats.log_ratio_interval([100], [125, 125]) == (pytest.approx(1.25), None)
    ratio, interval = stats.log_ratio_interval([100, 100], [125, 125])
    assert interval == (ratio, ratio)
    for a, b in (([], [1.0]), ([1.0], [0.0]), ([-1.0, 2.0], [1.0])):
        with pytest.raises(ValueError, match="above zero"):
            stats.log_ratio_interval(a, b)


def test_hodges_lehmann_by_hand() -> None:
    """n = 6: 2 P(W <= 0) = 2/64 is below 5 %, 2 P(W <= 1) = 4/64 is not: the outermost means."""
    centre, interval = stats.hodges_lehmann_interval([1, 2, 4, 8, 16, 32])
    assert centre == 8.5  # the 11th of 21 means
    assert interval == (1, 32)
    assert stats.hodges_lehmann_interval([1, 2, 3, 4, 6]) == (3, None)
    with pytest.raises(ValueError, match="at least one"):
        stats.hodges_lehmann_interval([])


@pytest.mark.parametrize("n", [6, 8, 13, 30, 50, 51, 200])
def test_hodges_lehmann_is_scipys_test_inverted(n: int) -> None:
    """The test keeps every centre within the interval and rejects every one outside."""
    import numpy as np
    from scipy.stats import wilcoxon

    differences = np.random.default_rng(n).normal(0.3, 1, n)
    options = {"method": "exact" if n <= 50 else "asymptotic", "correction": n > 50}
    centre, interval = stats.hodges_lehmann_interval(differences.tolist())
    assert interval is not None
    assert interval[0] < centre < interval[1]
    # A little beside each bound, for at a bound itself the ranks are tied.
    for bound, outwards in zip(interval, (-1e-9, 1e-9), strict=True):
        assert wilcoxon(differences - bound - outwards, **options).pvalue <= 0.05
        assert wilcoxon(differences - bound + outwards, **options).pvalue > 0.05


def test_the_normal_bound_is_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it takes over, counted out for once: at most one of 1,326 means or more apart."""
    sizes = range(51, 80)
    normal = [stats._signed_rank_bound(n, 0.025) for n in sizes]
    monkeypatch.setattr(stats, "EXACT_PAIRS", 80)
    exact = [stats._signed_rank_bound(n, 0.025) for n in sizes]
    assert max(abs(x - y) for x, y in zip(normal, exact, strict=True)) <= 1
