"""Every row of the file counted under exactly one outcome, and what else a reader wants to know about an import."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self, TypeVar

from api.importing.client import CommandAnswer
from api.importing.mapping import ImportMapping
from api.importing.plan import NOT_BOOKED, REFUSED, Parcel, PlannedCommand, Remark

EXAMPLES_MAX = 5
"""Of each kind of remark and refusal, as many rows are named in the summary; the list has all."""


@dataclass(slots=True)
class CommandCounts:
    """What became of the commands of one kind."""

    accepted: int = 0
    replayed: int = 0
    already_there: int = 0
    refused: int = 0


@dataclass(slots=True)
class Refused:
    """One reason for which commands were refused."""

    problem: str
    rule: str
    commands: int = 0
    rows: int = 0
    examples: list[str] = field(default_factory=list)
    """Keys of commands, each with the pointer to the field at fault."""


@dataclass(slots=True)
class Special:
    """One kind of special rows, and how they were booked."""

    name: str
    how: str
    rows: int = 0
    documents: int = 0
    examples: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Summary:
    """What an import did."""

    rows_read: int = 0
    documents: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    commands: dict[str, CommandCounts] = field(default_factory=dict)
    refused: dict[str, Refused] = field(default_factory=dict)
    special: dict[str, Special] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def rows_counted(self) -> int:
        """The rows of all outcomes; equal to the rows read when the import has come to its end."""
        return self.outcomes.total()

    @property
    def complete(self) -> bool:
        """Whether every row was booked as the mapping says and everything it refers to was registered."""
        return (
            self.rows_counted == self.rows_read
            and not any(self.outcomes[outcome] for outcome in NOT_BOOKED)
            and not any(counts.refused for counts in self.commands.values())
        )

    def as_json(self) -> dict[str, object]:
        """The summary for programs."""
        return {
            **asdict(self),
            "outcomes": dict(self.outcomes),
            "rows_counted": self.rows_counted,
            "complete": self.complete,
        }


R = TypeVar("R", bound="RowList")


class RowList:
    """A CSV file with every special row and every row that was not booked; without a path nothing is written."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("w", encoding="utf-8", newline="") if path is not None else None
        self._writer = csv.writer(self._file) if self._file is not None else None
        self._write(("row", "remark", "outcome", "how"))

    def __enter__(self) -> Self:
        """Open already; closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, remark: Remark, outcome: str) -> None:
        """List one row."""
        self._write((remark.row, remark.name, outcome, remark.how))

    def _write(self, cells: Sequence[object]) -> None:
        if self._writer is not None:
            self._writer.writerow(cells)


class Account:
    """Takes the answers of the service and keeps the summary."""

    def __init__(self, mapping: ImportMapping, summary: Summary, rows: RowList) -> None:
        self.summary = summary
        self._rows = rows
        # What was looked for and not found is worth knowing, too.
        summary.special |= {rule.name: Special(rule.name, rule.how) for rule in mapping.special}

    def register(self, command: PlannedCommand, answer: CommandAnswer) -> None:
        """Count the answer to a command that books no row."""
        self._count(command, answer)

    def book(self, parcel: Parcel, answers: Sequence[CommandAnswer]) -> None:
        """Count one document: its commands, its rows and what is special about them."""
        self.summary.documents += 1
        outcomes = dict(parcel.settled)
        remarks = list(parcel.remarks)
        for command, answer in zip(parcel.commands, answers, strict=True):
            done = self._count(command, answer)
            for row in command.rows:
                if not done:
                    outcomes[row] = REFUSED
                    remarks.append(Remark(row, REFUSED, f"{answer.problem} {answer.pointer}".strip()))
                else:
                    outcomes.setdefault(row, command.outcome)
        self.summary.outcomes.update(outcomes.values())
        for remark in remarks:
            self._rows.add(remark, outcomes[remark.row])
            if remark.name not in NOT_BOOKED:  # those have outcomes and reasons
                self._note(remark)
        for name in {remark.name for remark in remarks} & self.summary.special.keys():
            self.summary.special[name].documents += 1

    def _count(self, command: PlannedCommand, answer: CommandAnswer) -> bool:
        counts = self.summary.commands.setdefault(command.command, CommandCounts())
        if answer.accepted:
            if answer.replayed:
                counts.replayed += 1
            else:
                counts.accepted += 1
            return True
        if answer.problem in command.already_there:
            counts.already_there += 1
            return True
        counts.refused += 1
        reason = self.summary.refused.setdefault(answer.problem, Refused(answer.problem, answer.rule))
        reason.commands += 1
        reason.rows += len(command.rows)
        if len(reason.examples) < EXAMPLES_MAX:
            reason.examples.append(f"{command.key} {answer.pointer}".strip())
        return False

    def _note(self, remark: Remark) -> None:
        special = self.summary.special[remark.name]
        special.rows += 1
        if len(special.examples) < EXAMPLES_MAX:
            special.examples.append(remark.row)
