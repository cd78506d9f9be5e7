"""Files, read row by row and gathered into documents."""

import gzip
import zipfile
from pathlib import Path

import pytest

from api.importing.cells import CellFormat, CellReader, Row
from api.importing.rows import Carried, Column, Derived, Document, FileError, FileFormat, Gathering, Table

INVOICE = Column("invoice", "Invoice", CellReader("invoice", CellFormat()))
QUANTITY = Column("quantity", "Quantity", CellReader("quantity", CellFormat(type="integer")))
TWICE = Derived("twice", frozenset({"quantity"}), lambda row: row["quantity"] * 2)  # type: ignore[operator]  # an integer
FOUR_TIMES = Derived("four_times", frozenset({"twice"}), lambda row: row["twice"] * 2)  # type: ignore[operator]  # an integer

TEXT = "Invoice,Quantity\nR-1,6\nR-2,8\n"
READ = [{"invoice": "R-1", "quantity": 6, "row": 1}, {"invoice": "R-2", "quantity": 8, "row": 2}]


def table(path: Path, text: str = TEXT, file_format: FileFormat | None = None) -> Table:
    path.write_text(text, "utf-8")
    return Table(path, file_format or FileFormat(), [INVOICE, QUANTITY])


def rows(read: Table) -> list[Row]:
    return [row for row, problem in read.rows() if not problem]


def test_a_file_is_read_by_its_headers(tmp_path: Path) -> None:
    assert rows(table(tmp_path / "file.csv")) == READ


@pytest.mark.parametrize(
    ("text", "file_format"),
    [
        ("\ufeffInvoice,Quantity\nR-1,6\nR-2,8\n", FileFormat()),
        (" Invoice , Quantity \nR-1,6\n\n\nR-2,8\n", FileFormat()),
        ("Invoice;Quantity\n'R-1';6\n'R-2';8\n", FileFormat(delimiter=";", quote="'")),
        ("Quantity,Other,Invoice\n6,x,R-1\n8,x,R-2\n", FileFormat()),
    ],
    ids=["byte order mark", "spaces and empty lines", "semicolons", "another order"],
)
def test_files_are_written_in_many_ways(text: str, file_format: FileFormat, tmp_path: Path) -> None:
    assert rows(table(tmp_path / "file.csv", text, file_format)) == READ


def test_a_packed_file_is_read_as_it_is(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "file.csv.gz", "wt") as packed:
        packed.write(TEXT)
    with zipfile.ZipFile(tmp_path / "file.zip", "w") as archive:
        archive.writestr("folder/file.csv", TEXT)
    for name in ("file.csv.gz", "file.zip"):
        assert rows(Table(tmp_path / name, FileFormat(), [INVOICE, QUANTITY])) == READ


def test_of_several_files_in_a_zip_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", TEXT)
        archive.writestr("b.csv", "Invoice,Quantity\n")
    assert rows(Table(path, FileFormat(member="a.csv"), [INVOICE, QUANTITY])) == READ
    with pytest.raises(FileError, match=r"holds a\.csv, b\.csv; say which one in the mapping, file\.member"):
        rows(Table(path, FileFormat(), [INVOICE, QUANTITY]))


def test_columns_may_be_named_by_number(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text("R-1,6\nR-2,8\n")
    columns = [Column("invoice", 1, INVOICE.reader), Column("quantity", 2, QUANTITY.reader)]
    assert rows(Table(tmp_path / "file.csv", FileFormat(header=False), columns)) == READ


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("Invoice,Quality\n", "has no column Quantity; did you mean Quality?"),
        ("Invoice\n", "has no column Quantity; it has Invoice"),
        ("Invoice,Quantity,Quantity\n", "several columns are called Quantity: name quantity by its number, 2 and 3"),
        ('Invoice,Quantity\nR-1,6\nR-2,"8"x\n', r"the row after row 1 \(line 3 of the file\) is no CSV"),
        ('Invoice,Quantity\nR-1,6\nR-2,"8\n', r"the row after row 1 \(line 3 of the file\) is no CSV"),
    ],
)
def test_a_file_that_does_not_fit_its_mapping_says_why(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=why):
        rows(table(tmp_path / "file.csv", text))


def test_a_column_beyond_the_last_is_named(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text(TEXT)
    with pytest.raises(FileError, match="column invoice is number 3, and the file has 2 columns"):
        rows(Table(tmp_path / "file.csv", FileFormat(), [Column("invoice", 3, INVOICE.reader)]))


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.csv.gz").write_bytes(b"no gzip")
    (tmp_path / "broken.zip").write_bytes(b"no zip")
    for name in ("absent.csv", "broken.csv.gz", "broken.zip"):
        with pytest.raises(FileError, match=f"{name} cannot be read"):
            rows(Table(tmp_path / name, FileFormat(), [INVOICE]))


def test_a_row_that_cannot_be_read_costs_itself_only(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_bytes(b"Invoice,Quantity\nR-1,six\nR-2\nR-\xff3,1\nR-4,4\n")
    read = Table(tmp_path / "file.csv", FileFormat(), [INVOICE, QUANTITY], [TWICE])
    assert list(read.rows()) == [
        ({"row": 1, "invoice": "R-1"}, "quantity: 'six' is not a whole number"),
        ({"row": 2}, "has 1 cells instead of 2"),
        (
            {"row": 3, "quantity": 1, "twice": 2},
            "invoice: 'R-\\\\udcff3' holds bytes that are no text in the file's encoding",
        ),
        ({"row": 4, "invoice": "R-4", "quantity": 4, "twice": 8}, ""),
    ]


def test_only_wanted_columns_are_read_and_what_they_are_made_of(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text(TEXT)
    read = Table(tmp_path / "file.csv", FileFormat(), [INVOICE, QUANTITY], [TWICE, FOUR_TIMES])
    wanted = [row for row, _ in read.rows(frozenset({"four_times"}))]
    assert wanted[0] == {"row": 1, "quantity": 6, "twice": 12, "four_times": 24}
    assert [row for row, _ in read.rows(frozenset())] == [{"row": 1}, {"row": 2}]


def documents(gathering: Gathering, *keys: str) -> list[tuple[list[object], list[object]]]:
    """Rows and lines of each document that these invoices make."""
    read: list[tuple[Row, str]] = [({"row": n, "invoice": key, "x": -n}, "") for n, key in enumerate(keys, 1)]
    for row, _ in read:
        gathering.count(row)
    found = list(gathering.documents(iter(read)))
    return [([row["row"] for row in each.rows], [row["line"] for row in each.rows]) for each in found]


def test_scattered_rows_come_together() -> None:
    gathered = documents(Gathering(["invoice"], consecutive=False), "a", "b", "a", "c", "b")
    assert gathered == [([1, 3], [1, 2]), ([4], [1]), ([2, 5], [1, 2])]


def test_a_run_of_rows_is_a_document_where_the_mapping_says_so() -> None:
    gathered = documents(Gathering(["invoice"], consecutive=True), "a", "a", "b", "a")
    assert gathered == [([1, 2], [1, 2]), ([3], [1]), ([4], [1])]


def test_without_a_key_each_row_is_a_document() -> None:
    assert documents(Gathering([], consecutive=False), "a", "a") == [([1], [1]), ([2], [1])]


def test_rows_are_brought_into_order() -> None:
    assert documents(Gathering(["invoice"], consecutive=False, order=["x"]), "a", "a") == [([2, 1], [1, 2])]


def test_what_a_row_does_not_say_may_be_carried_from_the_row_before() -> None:
    gathering = Gathering(["invoice"], consecutive=True, order=["x"], carry=[Carried("team")])
    said = [(4, "b", None), (3, "a", "red"), (2, "a", None), (1, "a", None), (5, "c", "blue")]
    read: list[tuple[Row, str]] = [({"row": -x, "invoice": key, "x": x, "team": team}, "") for x, key, team in said]
    teams = [[row["team"] for row in document.rows] for document in gathering.documents(iter(read))]
    assert teams == [[None], [None, None, "red"], ["blue"]]


def test_what_is_carried_may_end_where_another_column_changes() -> None:
    carry = [Carried("team"), Carried("staff", while_same="team")]
    gathering = Gathering(["invoice"], consecutive=True, carry=carry)
    said = [("red", "Ada"), (None, None), ("blue", None), ("blue", "Grace"), ("blue", None)]
    read: list[tuple[Row, str]] = [
        ({"row": row, "invoice": "a", "team": team, "staff": staff}, "") for row, (team, staff) in enumerate(said)
    ]
    (document,) = gathering.documents(iter(read))
    assert [row["staff"] for row in document.rows] == ["Ada", "Ada", None, "Grace", "Grace"]


def test_the_last_row_of_a_document_knows_it() -> None:
    gathering = Gathering(["invoice"], consecutive=True)
    (document,) = gathering.documents(iter([({"row": 1, "invoice": "a"}, ""), ({"row": 2, "invoice": "a"}, "")]))
    assert [row["last"] for row in document.rows] == [False, True]


def test_an_unreadable_row_belongs_to_its_document_if_its_key_can_be_read() -> None:
    gathering = Gathering(["invoice"], consecutive=True)
    read: list[tuple[Row, str]] = [
        ({"row": 1, "invoice": "a"}, ""),
        ({"row": 2, "invoice": "a"}, "no number"),
        ({"row": 3}, "too short"),
    ]
    assert list(gathering.documents(iter(read))) == [
        Document(("a",), rows=[{"row": 1, "invoice": "a", "line": 1, "last": True}], unreadable=[(2, "no number")]),
        Document(3, unreadable=[(3, "too short")]),
    ]
