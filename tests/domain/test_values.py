"""Values: what cannot be one."""

from decimal import Decimal

import pytest

from domain.values import Money


@pytest.mark.parametrize("currency", ["", "eur", "EU", "EURO", "E R", "€UR"])
def test_money_has_a_currency_of_three_capital_letters(currency: str) -> None:
    with pytest.raises(ValueError, match="three capital letters"):
        Money(amount=Decimal(1), currency=currency)
