"""Public holidays as they are offered for calendars."""

from datetime import date

import pytest

from api.public_holidays import HolidaysAreUnknown, PublicHoliday, public_holidays
from tests.api.running import running
from tests.asynchronous import asynchronous


def test_holidays_come_in_order_and_with_their_names() -> None:
    found = public_holidays("DE", [2027, 2026])
    assert list(found) == sorted(found, key=lambda holiday: holiday.date)
    assert {holiday.date.year for holiday in found} == {2026, 2027}
    assert PublicHoliday(date=date(2026, 5, 1), name="Labor Day") in found


def test_a_part_of_a_country_may_have_more_of_them() -> None:
    womens_day = date(2026, 3, 8)
    assert womens_day in {holiday.date for holiday in public_holidays("DE", [2026], subdivision="BE")}
    assert womens_day not in {holiday.date for holiday in public_holidays("DE", [2026], subdivision="BY")}


@pytest.mark.parametrize(("country", "subdivision"), [("XX", None), ("DE", "XX")])
def test_what_no_law_is_known_of_is_said(country: str, subdivision: str | None) -> None:
    with pytest.raises(HolidaysAreUnknown):
        public_holidays(country, [2026], subdivision=subdivision)


@asynchronous
async def test_who_defines_a_calendar_can_ask_for_them() -> None:
    async with running() as service:
        answer = await service.shop.get("/v1/public-holidays?country=DE&subdivision=BE&year=2026&to_year=2027")
    assert answer.status_code == 200
    listed = answer.json()
    assert {"date": "2026-03-08", "name": "Women's Day"} in listed["holidays"]
    assert (listed["country"], listed["subdivision"]) == ("DE", "BE")


@asynchronous
@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("country=XX&year=2026", "country"),
        ("country=DE&subdivision=XX&year=2026", "country"),
        ("country=Germany&year=2026", "country"),
        ("country=DE", "year"),
        ("country=DE&year=26", "year"),
        ("country=DE&year=2026&to_year=2025", "to_year"),
        ("country=DE&year=2026&to_year=2036", "to_year"),
    ],
)
async def test_what_cannot_be_listed_is_refused(query: str, parameter: str) -> None:
    async with running() as service:
        answer = await service.shop.get(f"/v1/public-holidays?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, parameter)
