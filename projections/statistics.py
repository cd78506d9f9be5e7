"""Statistics of exact numbers: percentiles, rates, differences of medians; rounded once, and everywhere the same.

Nothing here is a float but the quantiles of the normal distribution, which are rounded before anything is made of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from math import comb, isqrt
from statistics import NormalDist
from typing import Final

from projections.reports import RATIO_PLACES, ratio

Z_95: Final = Decimal("1.959964")
"""The 97.5 % quantile of the normal distribution, to six places: intervals of 95 %."""
_EXACT: Final = Context(prec=60)
_BINOMIAL_MAX: Final = 1_000
"""Up to so many times the binomial distribution is summed; beyond, its normal approximation is within 0.05 % of it."""


def rank(n: int, percent: int) -> tuple[int, int]:
    """Of n numbers in their order, counted from 1, the two between which a percentile lies (type 7)."""
    below = (n - 1) * percent // 100
    return below + 1, min(below + 2, n)


def percentile(n: int, percent: int, lower: int, upper: int) -> int:
    """The percentile between two neighbours that `rank` has named: `percentile_cont`, rounded half to even."""
    part = Fraction((n - 1) * percent % 100, 100)
    return round(lower + (upper - lower) * part)


def mean(total: int, n: int) -> int:
    """The mean of integers, rounded half to even; n is not zero."""
    return round(Fraction(total, n))


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of 95 %."""

    lower: Decimal
    upper: Decimal


def wilson(hits: int, n: int) -> Interval:
    """The interval of a rate by Wilson's score (1927), to six places; n is not zero."""
    z2 = _EXACT.multiply(Z_95, Z_95)
    share, size = _EXACT.divide(Decimal(hits), Decimal(n)), Decimal(n)
    spread = _EXACT.sqrt(
        _EXACT.add(
            _EXACT.divide(_EXACT.multiply(share, 1 - share), size),
            _EXACT.divide(z2, 4 * size * size),
        )
    )
    middle = _EXACT.add(share, _EXACT.divide(z2, 2 * size))
    width = _EXACT.multiply(Z_95, spread)
    divisor = _EXACT.add(Decimal(1), _EXACT.divide(z2, size))
    return Interval(*(_rounded(_EXACT.divide(each, divisor)) for each in (middle - width, middle + width)))


def rate(hits: int, n: int) -> Decimal:
    """A share, to six places; n is not zero."""
    return ratio(hits, n)


# Differences of medians


@dataclass(frozen=True, slots=True)
class MedianRanks:
    """Which numbers of a sample its median and the spread of its median are made of; ranks count from 1."""

    n: int
    median: tuple[int, int]
    lower: int
    upper: int
    z: Decimal
    """How many standard errors of the median lie between its two ends of the spread, halved."""

    @classmethod
    def of(cls, n: int) -> "MedianRanks":
        """The ranks of a sample of n numbers, after Price and Bonett (2002): c = (n + 1) / 2 - √n, at least 1."""
        lower = max(1, round(Fraction(n + 1, 2) - Fraction(isqrt(n * 10**12), 10**6)))
        return cls(n, rank(n, 50), lower, n - lower + 1, _z_of_rank(n, lower))

    @property
    def ranks(self) -> tuple[int, ...]:
        """All ranks that are needed, in the order in which `Sample` takes their numbers."""
        return (*self.median, self.lower, self.upper)


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known of a sample: the numbers of its `MedianRanks`."""

    ranks: MedianRanks
    numbers: Sequence[int]

    @property
    def median(self) -> int:
        """The median, rounded half to even."""
        return percentile(self.ranks.n, 50, *self.numbers[:2])

    def variance(self) -> Decimal:
        """The variance of the median."""
        lower, upper = self.numbers[2:]
        error = _EXACT.divide(Decimal(upper - lower), 2 * self.ranks.z)
        return _EXACT.multiply(error, error)


def difference_of_medians(before: Sample, after: Sample) -> tuple[int, int]:
    """The interval of 95 % for the median after less the median before (Price and Bonett 2002), in whole units."""
    difference = Decimal(after.median - before.median)
    width = _EXACT.multiply(Z_95, _EXACT.sqrt(_EXACT.add(before.variance(), after.variance())))
    return (
        int((difference - width).to_integral_value(ROUND_HALF_EVEN)),
        int((difference + width).to_integral_value(ROUND_HALF_EVEN)),
    )


def _z_of_rank(n: int, lower: int) -> Decimal:
    """The quantile at which a normal distribution has as much below as a median of n has below this rank."""
    if n <= _BINOMIAL_MAX:
        below = sum(comb(n, k) for k in range(lower)) / 2**n
        quantile = -NormalDist().inv_cdf(below)
    else:
        quantile = float((Fraction(n, 2) - lower + Fraction(1, 2)) / Fraction(isqrt(n * 10**12), 2 * 10**6))
    return Decimal(quantile).quantize(RATIO_PLACES, rounding=ROUND_HALF_EVEN)


def _rounded(value: Decimal) -> Decimal:
    return _EXACT.add(value.quantize(RATIO_PLACES, rounding=ROUND_HALF_EVEN, context=_EXACT), 0)
