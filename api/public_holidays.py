"""Public holidays: the dates to put into a service calendar when it is defined or revised.

They come from the `holidays` package, which knows the law of a country as of its release. Nothing reads them later: the
events of a calendar hold the dates, so that another release of the package changes no figure.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Annotated

import holidays
from pydantic import Field, StringConstraints
from pydantic_core import to_json
from starlette.responses import Response

from api.log_reading import wrong_parameter
from api.operations import ALL_ROLES, Body, Operation, QueryReader
from api.requests import Request
from api.responses import WrittenJson
from api.shapes import described

YEARS_MAX = 10
"""Calendars are revised more often than that, and laws change."""
Year = Annotated[int, Field(ge=1900, le=2200)]


class HolidaysAreUnknown(LookupError):  # noqa: N818 - it is the answer to whoever asks
    """There are no public holidays for this country or this part of it."""


@described
class PublicHoliday:
    """A local date on which offices are closed."""

    date: date
    name: str
    """What is celebrated, in English where that is known."""


@described
class WhoseHolidays:
    """Where, and in which years."""

    country: Annotated[str, StringConstraints(pattern="^[A-Z]{2}$")]
    """The country (ISO 3166-1): `DE`."""
    year: Year
    """The first year."""
    subdivision: Annotated[str, StringConstraints(pattern="^[A-Z0-9]{1,3}$")] | None = None
    """A part of the country (ISO 3166-2, without the country): `BE`."""
    to_year: Year | None = None
    """The last year, at most ten in all; absent: only that one."""


@described
class PublicHolidays:
    """Public holidays in the order of their dates. The dates go into `hours.holidays` of a calendar."""

    country: str
    subdivision: str | None
    holidays: tuple[PublicHoliday, ...]


def public_holidays(country: str, years: Sequence[int], *, subdivision: str | None = None) -> tuple[PublicHoliday, ...]:
    """The public holidays of a country (ISO 3166-1) and perhaps a part of it (ISO 3166-2, such as `BE`), in order."""
    try:
        # Without a language the names would follow the locale of the machine.
        found = holidays.country_holidays(country, subdiv=subdivision, years=years, language="en_US")
    except NotImplementedError as unknown:
        raise HolidaysAreUnknown(str(unknown)) from unknown
    return tuple(PublicHoliday(date=day, name=name) for day, name in sorted(found.items()))


class HolidayRoutes:
    """Makes the operation that offers public holidays."""

    def __init__(self) -> None:
        self._whose = QueryReader(WhoseHolidays)

    def operations(self) -> Iterator[Operation]:
        """The public holidays of some years."""
        yield Operation(
            name="list-public-holidays",
            method="GET",
            path="/v1/public-holidays",
            tag="service-calendars",
            summary="List public holidays, to put them into a calendar",
            description="As the law of the country is known to this release. A calendar keeps the dates that it was "
            "given: what is listed here later changes nothing.",
            roles=ALL_ROLES,
            handler=self._list,
            query=WhoseHolidays,
            answers={200: Body({"application/json": PublicHolidays}, "The holidays.")},
        )

    async def _list(self, request: Request) -> Response:
        asked: WhoseHolidays = self._whose(request)
        years = range(asked.year, (asked.to_year or asked.year) + 1)
        if not 1 <= len(years) <= YEARS_MAX:
            detail = f"it is not before `year`, and at most {YEARS_MAX} years are listed"
            raise wrong_parameter(parameter="to_year", detail=detail)
        try:
            found = public_holidays(asked.country, years, subdivision=asked.subdivision)
        except HolidaysAreUnknown:
            detail = "no public holidays are known of this country or this part of it"
            raise wrong_parameter(parameter="country", detail=detail) from None
        return WrittenJson(
            to_json(PublicHolidays(country=asked.country, subdivision=asked.subdivision, holidays=found))
        )
