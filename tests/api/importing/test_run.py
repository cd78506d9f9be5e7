"""Imports from end to end, against a service that is small enough to be seen at once."""

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.importing import run
from api.importing.client import BulkClient, ImportStopped
from api.importing.mapping import ImportMapping
from api.importing.plan import HELD_BACK, REFUSED, UNMATCHED, UNREADABLE, safe_key
from api.importing.run import Progress, run_import
from api.importing.summary import Account, CommandCounts, RowList, Summary
from tests.api.importing.mappings import HEADER, INVOICES, Mill, file_of, mapping_of

FLOUR = "R-1,flour,6,2.55,2026-04-01,ACME"
SUGAR = "R-1,sugar,1,0.005,2026-04-01,ACME"
YEAST = "R-2,yeast,2,1.10,2026-04-02,"
RETURNED = "C-1,flour,-1,2.55,2026-04-03,ACME"


def imported(
    mapping: ImportMapping, path: Path, mill: Mill, *, listed: Path | None = None, progress: Progress | None = None
) -> Summary:
    """Import a file; what the summary says then."""
    summary = Summary()
    with RowList(listed) as rows:
        client = BulkClient(mill.client(), pause=lambda _: None, patience_seconds=1)
        run_import(mapping, path, client, Account(mapping, summary, rows), progress or Progress())
    assert summary.rows_counted == summary.rows_read
    return summary


def test_rows_become_documents_and_documents_commands(tmp_path: Path) -> None:
    mill = Mill()
    summary = imported(mapping_of(tmp_path), file_of(tmp_path, FLOUR, YEAST, SUGAR, RETURNED), mill)
    assert summary.outcomes == {"invoice line": 3, "credit line": 1}
    assert summary.complete
    assert mill.data("mill/invoice/R-1") == {
        "number": "R-1",
        "customer": "mill:ACME",
        "posted_on": "2026-04-01",
        "lines": [
            {"line": 1, "product": "flour", "quantity": 6, "net": "15.30"},
            {"line": 2, "product": "sugar", "quantity": 1, "net": "0.01"},
        ],
    }
    assert mill.data("mill/credit/C-1") == {"number": "C-1", "amount": "-2.55"}


def test_what_documents_refer_to_is_registered_before_them_and_once(tmp_path: Path) -> None:
    mill = Mill()
    imported(mapping_of(tmp_path), file_of(tmp_path, FLOUR, YEAST, SUGAR), mill)
    assert mill.requests[0] == ["mill/customer/ACME", "mill/customer/walk-in"]
    assert all("customer" not in key for request in mill.requests[1:] for key in request)


def test_a_second_import_changes_nothing(tmp_path: Path) -> None:
    mill, mapping, path = Mill(), mapping_of(tmp_path), file_of(tmp_path, FLOUR, YEAST, SUGAR, RETURNED)
    first = imported(mapping, path, mill)
    done = json.dumps(mill.done)
    second = imported(mapping, path, mill)
    assert json.dumps(mill.done) == done
    assert second.outcomes == first.outcomes
    assert second.commands["post"] == CommandCounts(replayed=2)


@pytest.mark.parametrize("stopped_at", [0, 1, 2, 3])
def test_an_import_that_was_stopped_goes_on_without_a_double(
    stopped_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CHUNK_COMMANDS_MAX", 1)
    mapping, path = mapping_of(tmp_path), file_of(tmp_path, FLOUR, YEAST, SUGAR, RETURNED)
    mill, whole = Mill(), Mill()
    mill.before = lambda number: httpx.Response(401) if number >= stopped_at else None
    with pytest.raises(ImportStopped):
        imported(mapping, path, mill)
    mill.before = lambda _number: None
    assert imported(mapping, path, mill).complete
    imported(mapping, path, whole)
    assert mill.done == whole.done


def test_an_answer_that_was_lost_is_no_second_document(tmp_path: Path) -> None:
    mill = Mill(after=lambda number, answer: httpx.Response(503) if number % 2 == 0 else answer)
    summary = imported(mapping_of(tmp_path), file_of(tmp_path, FLOUR, YEAST), mill)
    assert summary.complete
    assert len(mill.done) == 4


def test_a_document_with_an_unreadable_row_is_held_back_whole(tmp_path: Path) -> None:
    mill = Mill()
    listed = tmp_path / "listed.csv"
    path = file_of(tmp_path, FLOUR, "R-1,sugar,one,2.55,2026-04-01,ACME", YEAST, "R-3,too short")
    summary = imported(mapping_of(tmp_path), path, mill, listed=listed)
    assert summary.outcomes == {HELD_BACK: 1, UNREADABLE: 2, "invoice line": 1}
    assert not summary.complete
    assert "mill/invoice/R-1" not in mill.done
    with listed.open() as file:
        assert sorted(csv.reader(file)) == [
            ["2", "unreadable", "unreadable", "quantity: 'one' is not a whole number"],
            ["3", "no customer", "invoice line", "booked for the walk-in customer"],
            ["4", "unreadable", "unreadable", "has 2 cells instead of 6"],
            ["row", "remark", "outcome", "how"],
        ]


def test_rows_of_a_refused_command_are_refused_with_its_reason(tmp_path: Path) -> None:
    mill = Mill(refuse={"mill/invoice/R-1": "customer-is-blocked"})
    listed = tmp_path / "listed.csv"
    summary = imported(mapping_of(tmp_path), file_of(tmp_path, FLOUR, SUGAR, RETURNED), mill, listed=listed)
    assert summary.outcomes == {REFUSED: 2, "credit line": 1}
    assert not summary.complete
    (reason,) = summary.refused.values()
    assert (reason.problem, reason.rule, reason.commands, reason.rows) == ("customer-is-blocked", "No.", 1, 2)
    assert reason.examples == ["mill/invoice/R-1 /number"]
    assert "1,refused,refused,customer-is-blocked /number" in listed.read_text().splitlines()


def test_what_somebody_else_has_registered_is_there_already(tmp_path: Path) -> None:
    mill = Mill(refuse={"mill/customer/ACME": "number-is-taken"})
    summary = imported(mapping_of(tmp_path), file_of(tmp_path, FLOUR, YEAST), mill)
    assert summary.commands["register"] == CommandCounts(accepted=1, already_there=1)
    assert summary.complete


def test_what_a_longer_file_describes_differently_stays_as_it_was_registered(tmp_path: Path) -> None:
    mill, mapping = Mill(), mapping_of(tmp_path)
    mill.done["mill/customer/ACME"] = {"data": {"number": "ACME", "name": "Acme"}}
    summary = imported(mapping, file_of(tmp_path, FLOUR), mill)
    assert summary.commands["register"] == CommandCounts(already_there=1)
    assert summary.complete


@pytest.mark.parametrize(
    ("number", "key"),
    [
        ("BANK CHARGES", "mill/invoice/BANK%20CHARGES"),
        ("100%", "mill/invoice/100%25"),
        ("Éclair", "mill/invoice/%C3%89clair"),
        ("(x)/y:z", "mill/invoice/(x)/y:z"),
    ],
)
def test_keys_have_only_the_characters_that_keys_may_have(number: str, key: str, tmp_path: Path) -> None:
    mill = Mill()
    imported(mapping_of(tmp_path), file_of(tmp_path, FLOUR.replace("R-1", number)), mill)
    assert key in mill.done


def test_long_keys_stay_different() -> None:
    keys = {safe_key("x" * 300 + end) for end in "ab"}
    assert len(keys) == 2
    assert {len(key) for key in keys} == {255}


def test_what_cannot_be_registered_is_no_complete_import(tmp_path: Path) -> None:
    mill = Mill(refuse={"mill/customer/ACME": "something-else"})
    summary = imported(mapping_of(tmp_path), file_of(tmp_path, FLOUR), mill)
    assert summary.outcomes == {"invoice line": 1}
    assert not summary.complete


def test_a_document_that_has_changed_since_is_refused(tmp_path: Path) -> None:
    mill, mapping = Mill(), mapping_of(tmp_path)
    imported(mapping, file_of(tmp_path, FLOUR), mill)
    summary = imported(mapping, file_of(tmp_path, FLOUR, SUGAR), mill)
    assert summary.outcomes == {REFUSED: 2}
    assert list(summary.refused) == ["key-is-used-for-another-request"]


def test_rows_that_no_rule_takes_are_an_error_unless_the_mapping_names_them(tmp_path: Path) -> None:
    only_credits = INVOICES.replace('outcome = "invoice line"', 'outcome = "x"\nwhen = { invoice = "none" }')
    path = file_of(tmp_path, FLOUR, RETURNED)
    summary = imported(mapping_of(tmp_path, only_credits), path, Mill())
    assert summary.outcomes == {UNMATCHED: 1, "credit line": 1}
    assert not summary.complete
    named = only_credits.replace("[documents]", '[documents]\nunmatched = "no credit note"')
    summary = imported(mapping_of(tmp_path, named), path, Mill())
    assert summary.outcomes == {"no credit note": 1, "credit line": 1}
    assert summary.complete


def test_a_row_that_says_nothing_for_a_key_is_unreadable(tmp_path: Path) -> None:
    text = INVOICES.replace('default = "walk-in"', "trim = true").replace("mill/invoice/{invoice}", "mill/{customer}")
    text = text.replace('{ customer = "walk-in" }', "{ customer = { missing = true } }")
    summary = imported(mapping_of(tmp_path, text), file_of(tmp_path, YEAST), Mill())
    assert summary.outcomes == {UNREADABLE: 1}


SPECIAL = """
[[special]]
name = "repeat"
repeated = true
how = "again"

[[special]]
name = "two days"
several = "day"
how = "at the first"

[[special]]
name = "new product"
when = { product = { changed = true } }
how = "as it is"

[[special]]
name = "never"
when = { quantity = { more_than = 1000 } }
how = "not at all"
"""


def test_special_rows_are_counted_named_and_listed(tmp_path: Path) -> None:
    later = FLOUR.replace("04-01", "04-02")
    summary = imported(mapping_of(tmp_path, INVOICES + SPECIAL), file_of(tmp_path, FLOUR, FLOUR, later, YEAST), Mill())
    counted = {
        special.name: (special.rows, special.documents, special.examples) for special in summary.special.values()
    }
    assert counted == {
        "no customer": (1, 1, [4]),
        "repeat": (1, 1, [2]),
        "two days": (3, 1, [1, 2, 3]),
        "new product": (2, 2, [1, 4]),
        "never": (0, 0, []),
    }


CASES = """
name = "desk"
[columns]
number = "number"
team = "team"
state = "state"
at = { header = "at", type = "time", format = "%d/%m/%Y %H:%M", time_zone = "Europe/Berlin" }
[documents]
by = ["number"]
order = ["at"]
unmatched = "nothing new"

[[commands]]
outcome = "opened"
rows = "each"
when = { line = 1 }
command = "open-case"
key = "desk/{number}/open"
data = { number = "{number}", opened_at = "{at}" }

[[commands]]
outcome = "assigned"
rows = "each"
when = { team = { changed = true } }
command = "assign-case"
target = "desk:{number}"
key = "desk/{number}/{line}/assign"
data = { team = "{team}", occurred_at = "{at}" }

[[commands]]
outcome = "closed"
rows = "each"
when = { state = "Closed", last = true }
command = "close-case"
target = "desk:{number}"
key = "desk/{number}/close"
data = { occurred_at = "{at}" }
"""


def test_a_log_of_changes_becomes_the_commands_of_each_case_in_order(tmp_path: Path) -> None:
    mill = Mill()
    path = file_of(
        tmp_path,
        "1,blue,New,01/04/2026 09:00",
        "2,red,New,01/04/2026 09:01",
        "1,red,Closed,03/04/2026 09:00",
        "1,blue,Active,02/04/2026 08:00",
        "1,red,Active,02/04/2026 09:00",
        header="number,team,state,at\n",
    )
    summary = imported(mapping_of(tmp_path, CASES), path, mill)
    assert summary.outcomes == {"opened": 2, "nothing new": 1, "assigned": 1, "closed": 1}
    assert mill.requests == [
        [
            "desk/2/open",
            "desk/2/1/assign",
            "desk/1/open",
            "desk/1/1/assign",
            "desk/1/3/assign",
            "desk/1/close",
        ]
    ]
    assert mill.done["desk/1/close"]["target"] == "desk:1"
    assert mill.data("desk/1/close") == {"occurred_at": "2026-04-03T07:00:00Z"}


REOPENED = """
[[commands]]
outcome = "reopened"
rows = "each"
when = { state = { one_of = ["Active"], before = { one_of = ["Closed"] } }, team = { missing = false } }
command = "assign-case"
target = "desk:{number}"
key = "desk/{number}/{line}/reopen"
data = { team = "{team}", occurred_at = "{later}" }
"""


def test_a_row_may_be_told_by_the_row_before_it_and_say_what_that_one_said(tmp_path: Path) -> None:
    text = CASES.replace("[documents]", '[documents]\ncarry = ["team"]') + REOPENED
    text = text.replace(
        "[documents]",
        '[computed]\nlater = { most = ["at", "promised"] }\nsooner = { least = ["at", "promised"] }\n[documents]',
    )
    text = text.replace("at = {", 'promised = { header = "promised", type = "time" }\nat = {', 1)
    text = text.replace('opened_at = "{at}"', 'opened_at = "{sooner}"')
    path = file_of(
        tmp_path,
        "1,blue,Active,01/04/2026 09:00,2026-04-01T06:00",
        "1,,Closed,02/04/2026 09:00,2026-04-02T08:00",
        "1,,Active,03/04/2026 09:00,2026-04-03T08:00",
        "1,red,Active,04/04/2026 09:00,",
        header="number,team,state,at,promised\n",
    )
    mill = Mill()
    summary = imported(mapping_of(tmp_path, text), path, mill)
    assert summary.outcomes == {"opened": 1, "nothing new": 1, "reopened": 1, "assigned": 1}
    assert mill.requests == [["desk/1/open", "desk/1/1/assign", "desk/1/3/reopen", "desk/1/4/assign"]]
    assert mill.data("desk/1/open") == {"number": "1", "opened_at": "2026-04-01T06:00:00Z"}
    assert mill.data("desk/1/3/reopen") == {"team": "blue", "occurred_at": "2026-04-03T08:00:00Z"}


def test_a_row_is_refused_if_any_of_its_commands_is(tmp_path: Path) -> None:
    mill = Mill(refuse={"desk/1/1/assign": "team-not-found"})
    path = file_of(tmp_path, "1,blue,Closed,01/04/2026 09:00", header="number,team,state,at\n")
    assert imported(mapping_of(tmp_path, CASES), path, mill).outcomes == {REFUSED: 1}


ORDERS = """
name = "orders"
[columns]
order = "order_id"
product = "product_id"
price = { header = "unit_price", type = "decimal", places = 2 }
quantity = { header = "quantity", type = "integer" }
discount = { header = "discount", type = "decimal", places = 2 }

[lookups.orders]
file = "orders.csv"
key = "order_id"
by = "order"
[lookups.orders.columns]
customer = "customer_id"
ordered_on = { header = "order_date", type = "date" }

[computed]
kept = { difference = [1, "discount"] }
net = { product = ["quantity", "price", "kept"], places = 2 }
label = { text = "{order}/{product}" }
noon = { start_of_day = "ordered_on", time_zone = "Europe/Berlin" }

[documents]
by = ["order"]
gather = "consecutive"

[[commands]]
outcome = "line"
command = "post"
key = "orders/{order}"
[commands.data]
number = "{order}"
customer = "orders:{customer}"
posted_on = "{noon}"
lines.each_row = { product = "{label}", net = "{net}" }
"""


def test_another_file_may_say_more_about_a_row(tmp_path: Path) -> None:
    mill = Mill()
    file_of(tmp_path, "10248,VINET,1996-07-04", header="order_id,customer_id,order_date\n", name="orders.csv")
    path = file_of(
        tmp_path,
        "10248,11,14,12,0.150000006",
        "10248,42,9.80000019,10,0",
        "99999,42,9.8,10,0",
        header="order_id,product_id,unit_price,quantity,discount\n",
    )
    listed = tmp_path / "listed.csv"
    summary = imported(mapping_of(tmp_path, ORDERS), path, mill, listed=listed)
    assert summary.outcomes == {"line": 2, UNREADABLE: 1}
    assert mill.data("orders/10248") == {
        "number": "10248",
        "customer": "orders:VINET",
        "posted_on": "1996-07-03T22:00:00Z",
        "lines": [{"product": "10248/11", "net": "142.80"}, {"product": "10248/42", "net": "98.00"}],
    }
    assert "3,unreadable,unreadable,order: '99999' is not in orders.csv" in listed.read_text()


def test_what_another_file_does_not_say_may_be_left_out(tmp_path: Path) -> None:
    text = ORDERS.replace('by = "order"\n[lookups', 'by = "order"\noptional = true\n[lookups')
    text = text.replace("orders:{customer}", "orders:{customer|order}")
    file_of(tmp_path, header="order_id,customer_id,order_date\n", name="orders.csv")
    header = "order_id,product_id,unit_price,quantity,discount\n"
    mill = Mill()
    imported(mapping_of(tmp_path, text), file_of(tmp_path, "1,11,14,12,0", header=header), mill)
    assert mill.data("orders/1") == {
        "number": "1",
        "customer": "orders:1",
        "lines": [{"product": "1/11", "net": "168.00"}],
    }


OPTIONAL = ORDERS.replace('by = "order"\n[lookups', 'by = "order"\noptional = true\n[lookups').replace(
    "orders:{customer}", "orders:{customer|order}"
)
LINES = "order_id,product_id,unit_price,quantity,discount\n"
LOOKED_UP = "order_id,customer_id,order_date\n"


def listed_after(folder: Path, text: str, *looked_up: str, orders: Sequence[str] = ("1",)) -> tuple[Summary, str]:
    """The summary and the list of an import of orders of a line each."""
    file_of(folder, *looked_up, header=LOOKED_UP, name="orders.csv")
    path = file_of(folder, *(f"{order},11,14,12,0" for order in orders), header=LINES)
    summary = imported(mapping_of(folder, text), path, Mill(), listed=folder / "listed.csv")
    return summary, (folder / "listed.csv").read_text()


@pytest.mark.parametrize("text", [ORDERS, OPTIONAL], ids=["needed", "optional"])
@pytest.mark.parametrize("others", [("1,HANAR,1996-07-04",), ("1,VINET,1996-07-05", "1,VINET,1996-07-04")])
def test_of_two_rows_that_are_about_one_thing_none_is_taken(text: str, others: tuple[str, ...], tmp_path: Path) -> None:
    rows = ("1,VINET,1996-07-04", *others, "2,VINET,1996-07-04")
    summary, listed = listed_after(tmp_path, text, *rows, orders=("1", "2"))
    assert summary.outcomes == {UNREADABLE: 1, "line": 1}
    assert "several of its rows are about that, and row 2 says something else" in listed


def test_two_rows_that_say_the_same_are_as_good_as_one(tmp_path: Path) -> None:
    summary, _ = listed_after(tmp_path, ORDERS, "1,VINET,1996-07-04", "1,VINET,1996-07-04")
    assert summary.outcomes == {"line": 1}


@pytest.mark.parametrize("text", [ORDERS, OPTIONAL], ids=["needed", "optional"])
@pytest.mark.parametrize("rows", [("1,VINET,soon",), ("1,VINET,1996-07-04", "1,VINET,soon"), ("1,VINET,soon",) * 2])
def test_what_a_row_that_cannot_be_read_says_is_not_taken_for_nothing(
    text: str, rows: tuple[str, ...], tmp_path: Path
) -> None:
    summary, listed = listed_after(tmp_path, text, *rows, "2,VINET,1996-07-04", orders=("1", "2"))
    assert summary.outcomes == {UNREADABLE: 1, "line": 1}
    assert re.search(r"cannot be told from orders\.csv: its row \d cannot be read: ordered_on: 'soon'", listed)


def test_a_row_whose_key_cannot_be_read_may_be_that_of_whatever_is_not_found(tmp_path: Path) -> None:
    summary, listed = listed_after(tmp_path, OPTIONAL, "1,VINET", "2,VINET,1996-07-04", orders=("1", "2", ""))
    assert summary.outcomes == {UNREADABLE: 2, "line": 1}
    assert "order: '1' cannot be told from orders.csv: its row 1 cannot be read: has 2 cells instead of 3" in listed


def test_a_row_without_a_key_is_about_nothing(tmp_path: Path) -> None:
    summary, _ = listed_after(tmp_path, OPTIONAL, ",VINET,1996-07-04", ",HANAR,1996-07-05", "1,VINET,1996-07-04")
    assert summary.outcomes == {"line": 1}


def test_what_is_taken_over_all_rows_is_so_in_a_command_for_each_row_too(tmp_path: Path) -> None:
    text = INVOICES.replace(
        'outcome = "invoice line"\ncommand = "post"\nkey = "mill/invoice/{invoice}"',
        'outcome = "invoice line"\nrows = "each"\ncommand = "post"\nkey = "mill/invoice/{invoice}/{line}"',
    )
    text = text.replace('customer = "mill:{customer}"', 'customer = { sum = "net" }\nsource = { most = "price" }')
    mill = Mill()
    later = "R-1,salt,1,9.00,2026-04-09,ACME"
    summary = imported(mapping_of(tmp_path, text), file_of(tmp_path, SUGAR, FLOUR, later), mill)
    assert summary.outcomes == {"invoice line": 3}
    sent: list[Any] = [mill.data(f"mill/invoice/R-1/{line}") for line in (1, 2, 3)]
    assert [each["customer"] for each in sent] == ["24.31"] * 3
    assert [each["source"] for each in sent] == ["9.00"] * 3
    assert [each["posted_on"] for each in sent] == ["2026-04-01"] * 3
    assert all(len(each["lines"]) == 3 for each in sent)


def test_what_most_rows_say_describes_the_thing(tmp_path: Path) -> None:
    text = INVOICES.replace('by = ["customer"]', 'by = ["product"]\ntypical = ["customer"]')
    text = text.replace('data = { number = "{customer}" }', 'data = { number = "{product}", name = "{customer}" }')
    text = text.replace("mill/customer/{customer}", "mill/product/{product}")
    rows = ["R-1,flour,1,1,2026-04-01,?", "R-2,flour,1,1,2026-04-01,Flour", "R-3,flour,1,1,2026-04-01,Flour"]
    mill = Mill()
    imported(mapping_of(tmp_path, text), file_of(tmp_path, *rows), mill)
    assert mill.data("mill/product/flour") == {"number": "flour", "name": "Flour"}


def test_the_outcome_of_a_row_may_be_what_its_cells_say(tmp_path: Path) -> None:
    text = INVOICES.replace('"invoice line"', '"line of {product}"')
    summary = imported(mapping_of(tmp_path, text), file_of(tmp_path, FLOUR, YEAST, FLOUR), Mill())
    assert summary.outcomes == {"line of flour": 2, "line of yeast": 1}


def test_whoever_watches_sees_every_row_booked(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    progress = Progress(
        reading=lambda rows: seen.append(("reading", rows, 0)),
        registering=lambda done, of: seen.append(("registering", done, of)),
        booked=lambda rows, of: seen.append(("booked", rows, of)),
    )
    imported(mapping_of(tmp_path), file_of(tmp_path, FLOUR, YEAST), Mill(), progress=progress)
    assert seen == [("reading", 2, 0), ("registering", 2, 2), ("booked", 2, 2)]


CELLS = st.sampled_from(
    ["R-1", "R-2", "C-1", "", "1", "-1", "x", "0.5", "2026-04-01", "ACME", '"', "a,b", "é", "\udcff"]
)


@given(rows=st.lists(st.lists(CELLS, min_size=5, max_size=7), max_size=12))
def test_every_row_of_any_file_has_exactly_one_outcome(
    rows: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = folder / "file.csv"
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write(HEADER)
        csv.writer(file).writerows(rows)
    mill = Mill(refuse={"mill/invoice/R-2": "no"})
    summary = imported(mapping_of(folder), path, mill)
    assert summary.rows_read == len(rows)
    assert summary.outcomes.total() == len(rows)
