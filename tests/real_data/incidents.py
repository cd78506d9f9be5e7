"""The incident log, calculated with SQL from the raw file; nothing of Rapport has a part in it.

`log` has the rows of the file, in the order of their incident: by `sys_updated_at`, then as in the file. What a row
does not say, the row before it said; who is assigned, only while the team stays the same. `steps` says what each row
changed. `states` are the rows that say in which state the incident is: without those whose state is the meaningless
-100, and without those that leave Resolved or Closed while the file's own `reopen_count` says that nothing was
reopened. `spells` are the states from one change to the next, `incidents` what came of each incident.
Times are microseconds since 1970, durations microseconds.
"""

import csv
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

ARCHIVE = Path("uci_incident") / "incident_event_log.zip"
MEMBER = "incident_event_log/incident_event_log.csv"

LOG = """
CREATE TABLE log AS
WITH typed AS (
    SELECT rowid + 1 AS row, number, ident_state AS written_state, nullif(ident_state, '-100') AS state,
        reopen_count::int AS reopened, caller_id AS caller, opened_by, sys_updated_by AS updated_by, contact_type,
        priority, column16 || '/' || column17 AS classification, assignment_group AS team, assigned_to AS assignee,
        epoch_us(strptime(opened_at, '%d/%m/%Y %H:%M')) AS opened_at,
        epoch_us(strptime(sys_updated_at, '%d/%m/%Y %H:%M')) AS updated_at,
        epoch_us(strptime(resolved_at, '%d/%m/%Y %H:%M')) AS resolved_at,
        epoch_us(strptime(closed_at, '%d/%m/%Y %H:%M')) AS closed_at
    FROM raw
), said AS (
    SELECT * REPLACE (
            last_value(state IGNORE NULLS) OVER earlier AS state,
            last_value(team IGNORE NULLS) OVER earlier AS team,
            last_value(caller IGNORE NULLS) OVER earlier AS caller,
            last_value(classification IGNORE NULLS) OVER earlier AS classification
        ),
        row_number() OVER earlier AS line, greatest(updated_at, opened_at) AS happened_at
    FROM typed
    WINDOW earlier AS (PARTITION BY number ORDER BY updated_at, row ROWS UNBOUNDED PRECEDING)
), teams AS (
    SELECT *, team IS DISTINCT FROM lag(team) OVER earlier AS changes_team FROM said
    WINDOW earlier AS (PARTITION BY number ORDER BY line)
), numbered AS (
    SELECT *, count(*) FILTER (changes_team) OVER (PARTITION BY number ORDER BY line) AS nth_team FROM teams
)
SELECT * REPLACE (last_value(assignee IGNORE NULLS) OVER same_team AS assignee)
FROM numbered
WINDOW same_team AS (PARTITION BY number, nth_team ORDER BY line ROWS UNBOUNDED PRECEDING);
"""

STEPS = """
CREATE TABLE steps AS
WITH changes AS (
    SELECT *, line > 1 AS goes_on, lag(state) OVER earlier AS previous, state IS DISTINCT FROM previous AS moves,
        reopened <> lag(reopened) OVER earlier AS reopens, caller IS DISTINCT FROM lag(caller) OVER earlier AS recalls,
        changes_team AND line > 1 AS transfers, priority <> lag(priority) OVER earlier AS prioritises,
        assignee IS DISTINCT FROM lag(assignee) OVER earlier AS reassigns,
        classification IS DISTINCT FROM lag(classification) OVER earlier AS classifies
    FROM log WINDOW earlier AS (PARTITION BY number ORDER BY line)
)
SELECT *, list_filter([
        CASE WHEN line = 1 THEN 'opened' END,
        CASE WHEN reopens THEN 'reopened' END,
        CASE WHEN goes_on AND recalls AND caller IS NOT NULL THEN 'another caller' END,
        CASE WHEN transfers THEN 'transferred' END,
        CASE WHEN (reassigns OR transfers) AND assignee IS NOT NULL THEN 'assigned' END,
        CASE WHEN prioritises THEN 'another priority' END,
        CASE WHEN classifies AND classification IS NOT NULL THEN 'classified' END,
        CASE WHEN state = 'Active' AND previous LIKE 'Awaiting %' THEN 'resumed' END,
        CASE WHEN state = 'Awaiting User Info' AND moves THEN 'waiting for the customer' END,
        CASE WHEN state LIKE 'Awaiting %' AND state <> 'Awaiting User Info' AND moves THEN 'on hold' END,
        CASE WHEN state = 'Resolved' AND moves THEN 'resolved' END,
        CASE WHEN state = 'Closed' AND moves THEN 'closed' END
    ], lambda step: step IS NOT NULL) AS steps
FROM changes;
"""

INCIDENTS = """
CREATE TABLE states AS
WITH known AS (
    SELECT *, lag(state) OVER earlier AS before, lag(reopened) OVER earlier AS reopened_before
    FROM log WHERE written_state <> '-100'
    WINDOW earlier AS (PARTITION BY number ORDER BY line)
)
SELECT * EXCLUDE (before, reopened_before), lag(state) OVER (PARTITION BY number ORDER BY line) AS previous
FROM known
WHERE NOT coalesce(
    before IN ('Resolved', 'Closed') AND state NOT IN ('Resolved', 'Closed') AND reopened = reopened_before, false
);

CREATE TABLE spells AS
SELECT number, state, line, happened_at AS began_at,
    lead(happened_at) OVER (PARTITION BY number ORDER BY line) AS ended_at
FROM states WHERE state IS DISTINCT FROM previous;

CREATE TABLE incidents AS
WITH moves AS (
    SELECT *, state IN ('Resolved', 'Closed') AND coalesce(previous NOT IN ('Resolved', 'Closed'), true) AS ends,
        coalesce(previous IN ('Resolved', 'Closed'), false) AND state NOT IN ('Resolved', 'Closed') AS goes_on,
        state = 'Closed' AND previous IS DISTINCT FROM 'Closed' AS closes
    FROM states
), changes AS (
    SELECT number,
        min(happened_at) FILTER (ends) AS first_resolved_at, max(happened_at) FILTER (ends) AS last_resolved_at,
        min(happened_at) FILTER (closes) AS first_closed_at, max(happened_at) FILTER (closes) AS last_closed_at,
        arg_max(updated_by, line) FILTER (closes) AS last_closed_by,
        max(updated_at) FILTER (state = 'Resolved') AS last_row_in_resolved,
        max(updated_at) FILTER (state = 'Closed') AS last_row_in_closed,
        count(*) FILTER (state = 'Resolved') AS rows_in_resolved, count(*) FILTER (goes_on) AS reopenings
    FROM moves GROUP BY number
), times AS (
    SELECT number,
        coalesce(sum(ended_at - began_at) FILTER (state = 'Awaiting User Info'), 0)::bigint AS waiting_on_customer,
        coalesce(sum(ended_at - began_at) FILTER (
            state IN ('Awaiting Vendor', 'Awaiting Problem', 'Awaiting Evidence')), 0)::bigint AS on_hold
    FROM spells GROUP BY number
), resolved AS (
    SELECT number, coalesce(sum(ended_at - began_at), 0)::bigint AS resolved_in_between
    FROM (SELECT *, max(line) FILTER (state NOT IN ('Resolved', 'Closed')) OVER (PARTITION BY number) AS last_worked
        FROM spells)
    WHERE state IN ('Resolved', 'Closed') AND line < last_worked GROUP BY number
), beginnings AS (
    SELECT number, any_value(opened_at) AS opened_at, any_value(resolved_at) AS resolved_at,
        any_value(closed_at) AS closed_at, max(reopened) AS reopened, min(updated_at) AS first_updated_at,
        arg_min(contact_type, line) AS contact_type, arg_min(opened_by, line) AS opened_by,
        arg_min(written_state, line) AS first_state, arg_min(updated_by, line) AS first_updated_by,
        last(team ORDER BY line) AS team, last(assignee ORDER BY line) AS assignee,
        last(priority ORDER BY line) AS priority, last(caller ORDER BY line) AS caller,
        last(classification ORDER BY line) AS classification,
        count(DISTINCT caller) > 1 AS changes_caller, count(*) FILTER (written_state = '-100') > 0 AS has_state_100
    FROM log GROUP BY number
)
SELECT *, opened_by IS NOT NULL AND contact_type = 'Phone' AS answered_live,
    coalesce(resolved_in_between, 0) AS resolved_time,
    row_number() OVER (ORDER BY number) AS nth
FROM beginnings JOIN changes USING (number) JOIN times USING (number) LEFT JOIN resolved USING (number);
"""


@dataclass(frozen=True, slots=True)
class IncidentLog:
    """The tables, to be asked in SQL."""

    file: Path
    """The whole file."""
    tables: duckdb.DuckDBPyConnection

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows that a query gives."""
        return self.tables.execute(query).fetchall()

    def row(self, query: str) -> tuple[Any, ...]:
        """The only row that a query gives."""
        (row,) = self.rows(query)
        return row

    def part(self, numbers: Iterable[str], file: Path) -> None:
        """Write a file with the rows of these incidents only, each as it is."""
        wanted = {number.encode() for number in numbers}
        with zipfile.ZipFile(self.file) as archive, archive.open(MEMBER) as whole, file.open("wb") as part:
            part.write(next(whole))
            part.writelines(line for line in whole if line.partition(b",")[0] in wanted)


def read_incidents(real_data: Path, folder: Path) -> IncidentLog:
    """The incident log in `real_data`; `folder` takes the unpacked file."""
    with zipfile.ZipFile(real_data / ARCHIVE) as archive:
        path = archive.extract(MEMBER, folder)
    with Path(path).open(newline="", encoding="utf-8") as file:
        header = next(csv.reader(file))
    # Two columns are called category; the second one is the subcategory.
    names = [f"column{place}" if name == "category" else name for place, name in enumerate(header)]
    tables = duckdb.connect()
    tables.execute("SET threads = 1")
    tables.execute(
        "CREATE TABLE raw AS SELECT * FROM read_csv(?, header = false, skip = 1, all_varchar = true, nullstr = '?', "
        f"names = {names!r}, parallel = false)",
        [path],
    )
    for statements in (LOG, STEPS, INCIDENTS):
        tables.execute(statements)
    return IncidentLog(real_data / ARCHIVE, tables)
