"""Percentiles, rates and differences of medians, beside what others compute."""

import statistics
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.statistics import Interval, MedianRanks, Sample, difference_of_medians, mean, percentile, rank, wilson

TIMES = st.lists(st.integers(0, 10**14), min_size=2, max_size=60)


@given(times=TIMES, percent=st.sampled_from([50, 90, 99]))
def test_percentiles_are_those_of_type_7(times: list[int], percent: int) -> None:
    ordered = sorted(times)
    lower, upper = rank(len(ordered), percent)
    found = percentile(len(ordered), percent, ordered[lower - 1], ordered[upper - 1])
    assert found == pytest.approx(statistics.quantiles(times, n=100, method="inclusive")[percent - 1], abs=0.5 + 1e-2)


def test_the_percentile_of_one_number_is_that_number() -> None:
    assert (rank(1, 99), percentile(1, 99, 7, 7)) == ((1, 1), 7)


def test_halves_are_rounded_to_even() -> None:
    assert [percentile(2, 50, 0, upper) for upper in (1, 3, 5)] == [0, 2, 2]
    assert [mean(total, 2) for total in (1, 3, 5)] == [0, 2, 2]


# From the example of Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
@pytest.mark.parametrize(
    ("hits", "n", "lower", "upper"),
    [
        (81, 263, "0.2553", "0.3662"),
        (15, 148, "0.0624", "0.1605"),
        (0, 20, "0.0000", "0.1611"),
        (1, 29, "0.0061", "0.1718"),
    ],
)
def test_intervals_of_rates_are_those_of_wilson(hits: int, n: int, lower: str, upper: str) -> None:
    interval = wilson(hits, n)
    rounded = Interval(*(each.quantize(Decimal("0.0001")) for each in (interval.lower, interval.upper)))
    assert rounded == Interval(Decimal(lower), Decimal(upper))


def sample(times: list[int]) -> Sample:
    ranks, ordered = MedianRanks.of(len(times)), sorted(times)
    return Sample(ranks, [ordered[each - 1] for each in ranks.ranks])


def test_the_difference_of_medians_is_that_of_price_and_bonett() -> None:
    """The example of `ci.median2` in the R package statpsych: 34.5 - 43 with the interval -16.960 to -0.040."""
    first = [32, 39, 26, 35, 43, 27, 40, 37, 34, 29]
    second = [36, 44, 47, 42, 49, 39, 46, 31, 33, 48]
    in_millionths = [[each * 1_000_000 for each in times] for times in (second, first)]
    lower, upper = difference_of_medians(*(sample(times) for times in in_millionths))
    assert (lower / 1e6, upper / 1e6) == pytest.approx((-16.95977, -0.04022524), abs=2e-5)


@pytest.mark.parametrize(
    ("n", "lower"), [(1, 1), (4, 1), (8, 2), (11, 3), (16, 4), (20, 6), (25, 8), (100, 40), (101, 41)]
)
def test_the_ends_of_the_spread_are_those_of_the_paper(n: int, lower: int) -> None:
    """By c = (n + 1) / 2 - √n, as worked out by hand, rounded to the nearest whole number that is not 0."""
    ranks = MedianRanks.of(n)
    assert (ranks.lower, ranks.upper) == (lower, n + 1 - lower)
    assert float(ranks.z) == pytest.approx(statistics.NormalDist().inv_cdf(1 - _binomial(n, lower - 1)), abs=1e-6)


def test_the_variance_of_a_median_is_that_of_the_paper() -> None:
    """Of 11 numbers the third and the ninth; both formulas differ there. Below the third are 67 of 2048."""
    numbers = sample([each * 1_000_000 for each in (1, 4, 9, 16, 25, 36, 49, 64, 81, 100, 121)])
    z = statistics.NormalDist().inv_cdf(1 - 67 / 2048)
    assert float(numbers.variance()) == pytest.approx(((81e6 - 9e6) / (2 * z)) ** 2, rel=1e-5)


@pytest.mark.parametrize("n", [900, 1_000, 1_001, 5_000])
def test_beyond_a_thousand_the_normal_approximation_goes_on_where_the_binomial_ended(n: int) -> None:
    ranks = MedianRanks.of(n)
    exact = statistics.NormalDist().inv_cdf(1 - _binomial(n, ranks.lower - 1))
    assert float(ranks.z) == pytest.approx(exact, rel=5e-4)


def _binomial(n: int, most: int) -> float:
    """The probability of at most so many heads in n throws."""
    term, total = 1, 0
    for k in range(most + 1):
        total += term
        term = term * (n - k) // (k + 1)
    return total / (1 << n)
