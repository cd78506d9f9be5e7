"""Public holidays as they are offered for calendars."""

from datetime import date

import pytest

from api.public_holidays import HolidaysAreUnknown, PublicHoliday, public_holidays


def test_holidays_come_in_order_and_with_their_names() -> None:
    found = public_holidays("DE", [2027, 2026])
    assert list(found) == sorted(found, key=lambda holiday: holiday.date)
    assert {holiday.date.year for holiday in found} == {2026, 2027}
    assert PublicHoliday(date(2026, 5, 1), "Labor Day") in found


def test_a_part_of_a_country_may_have_more_of_them() -> None:
    womens_day = date(2026, 3, 8)
    assert womens_day in {holiday.date for holiday in public_holidays("DE", [2026], subdivision="BE")}
    assert womens_day not in {holiday.date for holiday in public_holidays("DE", [2026], subdivision="BY")}


@pytest.mark.parametrize(("country", "subdivision"), [("XX", None), ("DE", "XX")])
def test_what_no_law_is_known_of_is_said(country: str, subdivision: str | None) -> None:
    with pytest.raises(HolidaysAreUnknown):
        public_holidays(country, [2026], subdivision=subdivision)
