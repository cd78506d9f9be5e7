"""Public holidays: the dates to put into a service calendar when it is defined or revised.

They come from the `holidays` package, which knows the law of a country as of its release. Nothing reads them later: the
events of a calendar hold the dates, so that another release of the package changes no figure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import holidays


class HolidaysAreUnknown(LookupError):  # noqa: N818 - it is the answer to whoever asks
    """There are no public holidays for this country or this part of it."""


@dataclass(frozen=True, slots=True)
class PublicHoliday:
    """A local date on which offices are closed, and what is celebrated, in English where the package knows it."""

    date: date
    name: str


def public_holidays(country: str, years: Sequence[int], *, subdivision: str | None = None) -> tuple[PublicHoliday, ...]:
    """The public holidays of a country (ISO 3166-1) and perhaps a part of it (ISO 3166-2, such as `BE`), in order."""
    try:
        # Without a language the names would follow the locale of the machine.
        found = holidays.country_holidays(country, subdiv=subdivision, years=years, language="en_US")
    except NotImplementedError as unknown:
        raise HolidaysAreUnknown(str(unknown)) from unknown
    return tuple(PublicHoliday(day, name) for day, name in sorted(found.items()))
