"""The journal of erasures: who has been erased, kept apart from every backup, so that no restore brings anybody back.

A backup holds the wrapped keys of people who are erased later. Whoever restores it erases them again, as the journal
says. It lies beside the saved key-encryption keys, a file for each tenant, and only ever grows. It holds ids and
moments.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar
from uuid import UUID

import psycopg
from psycopg import sql
from pydantic import BaseModel, ConfigDict, ValidationError

from infrastructure.passwords import write_secret

Connection = psycopg.Connection[tuple[Any, ...]]


class JournalIsUnreadable(Exception):  # noqa: N818 - it names what is the matter
    """A journal of erasures or revocations cannot be read."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is no journal of erasures or revocations.")


class Erasures(BaseModel):
    """Keys that were destroyed, each with the moment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    until: datetime
    """When the database was asked; what was erased later is not here."""
    subjects: Mapping[UUID, datetime]
    texts: Mapping[UUID, datetime]
    """Free texts that were redacted alone; those of erased subjects go with them."""

    @classmethod
    def of(cls, connection: Connection, schema: str) -> Self:
        """All erasures of a tenant, as its database says."""
        subjects, texts = sql.Identifier(schema, "subject_keys"), sql.Identifier(schema, "text_keys")
        ((until,),) = connection.execute("SELECT clock_timestamp()").fetchall()
        erased = connection.execute(
            sql.SQL("SELECT subject_id, destroyed_at FROM {} WHERE wrapped IS NULL").format(subjects)
        ).fetchall()
        redacted = connection.execute(
            sql.SQL(
                "SELECT text_id, destroyed_at FROM {} AS t WHERE wrapped IS NULL "
                "AND NOT EXISTS (SELECT FROM {} AS s WHERE s.subject_id = t.subject_id AND s.wrapped IS NULL)"
            ).format(texts, subjects)
        ).fetchall()
        return cls(until=until, subjects=dict(erased), texts=dict(redacted))

    def and_those_of(self, other: Self | None) -> Self:
        """Both together: nobody who was erased once is forgotten."""
        if other is None:
            return self
        return type(self)(
            until=max(self.until, other.until),
            subjects={**self.subjects, **other.subjects},
            texts={**self.texts, **other.texts},
        )

    def repeat(self, connection: Connection, schema: str) -> int:
        """Erase all of them again, in the transaction of the caller; how many people could be read until now."""
        people, texts = list(self.subjects), list(self.texts)
        ((readable,),) = connection.execute(
            sql.SQL("SELECT count(*) FROM {} WHERE subject_id = ANY(%s) AND wrapped IS NOT NULL").format(
                sql.Identifier(schema, "subject_keys")
            ),
            [people],
        ).fetchall()
        for function, ids in (("destroy_subject", people), ("destroy_text", texts)):
            statement = sql.SQL("SELECT {}(id) FROM unnest(%s::uuid[]) AS ids(id)")
            connection.execute(statement.format(sql.Identifier(schema, function)), [ids])
        number: int = readable
        return number


Noted = TypeVar("Noted", bound="Together")


class Together(Protocol):
    """What is noted in a journal, and comes together with what was noted there before."""

    @classmethod
    def model_validate_json(cls, json_data: bytes) -> Self:
        """Read it."""
        ...

    def model_dump_json(self, *, indent: int) -> str:
        """Write it."""
        ...

    def and_those_of(self, other: Self | None) -> Self:
        """Both together."""
        ...


class JournalFile(Generic[Noted]):
    """A file that only ever grows."""

    def __init__(self, path: Path, kind: type[Noted]) -> None:
        self.path = path
        self._kind = kind

    def read(self) -> Noted | None:
        """What it says; None if there is no journal. Raises `JournalIsUnreadable`."""
        try:
            return self._kind.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise JournalIsUnreadable(self.path) from error

    def add(self, noted: Noted) -> Noted:
        """Have these in it, too; all that it says now."""
        together = noted.and_those_of(self.read())
        write_secret(self.path, together.model_dump_json(indent=1).encode() + b"\n")
        return together


class Journal(JournalFile[Erasures]):
    """The file with the erasures of one tenant."""

    def __init__(self, folder: Path, tenant: UUID) -> None:
        super().__init__(folder / f"erasures-{tenant}.json", Erasures)
