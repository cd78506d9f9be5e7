"""The page about the interface, docs/reference/http.md: what holds for every request, and a table of all operations."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_HEAD = """# HTTP

<!-- Made by python -m tests.contracts.test_openapi; a test compares it with the program. -->

Everything is described in OpenAPI 3.1 at `/openapi.json`, and listed at `/docs`. This page says what holds for all of
it.

## Keys and roles

Every request under `/v1` carries `Authorization: Bearer` and a key (`rapport keys create`). A key has one role; the
table below says who may do what, and nothing else is allowed. A revoked key stops to work within two seconds.

## Commands

* What starts a stream is sent to its collection (`POST /v1/customers`); where several commands start one, each has
  its name below it (`POST /v1/sales-documents/post-invoice`). Every other command is sent to what it is about.
* `{id}` is our id, or `source:identifier`: `shop:4711`, or `number:C-1001` for our own number. A slash in it is
  written `%2F`.
* `Idempotency-Key` is required: 1 to 255 visible ASCII characters, chosen and kept by the sender. The same key with
  the same request gets the first answer again, for ever; with another request it is refused. Order of fields, white
  space and defaults that are spelled out make no other request. A refused command may be sent again with its key.
* `If-Match` with an ETag (`"3-<epoch>"`, or `"3"` as of the current epoch) lets the command through only at that
  version of that [epoch](../how-to/follow-the-log.md#when-the-log-was-restored). `Correlation-Id` and `Causation-Id`
  are UUIDs; without the first, the trace id of `traceparent` stands in. `On-Behalf-Of` is a pseudonymous id.
* HTTP/1.1 with one `Host`, and a body with its length or in chunks: another transfer coding below the chunks gets
  501. `Upgrade` is ignored, and what stands behind a body in chunks (trailers) is no header.
* Every command may carry `occurred_at`, `reason`, `source`, `source_recorded_at` and `dry_run`. Amounts are decimals
  as text, instants name their offset, days and instants are of the years 1900 to 2199, unknown fields are refused.
* A body is nested at most 20 deep and has at most 40,000 values, an object of it at most 100 members; how long each
  array may be, the description says. Of a body with more than 1,000 values each array is read up to its first error.
* Answers have `id`, `version` (with the epoch the `ETag`), `position`, `epoch`, `replayed`, `dry_run` and the `events`
  with their data: 201 and a `Location` where something was created, else 200.
* Whatever is not done is answered with a [problem](problems.md); the description names those of each operation.

## Many commands at once

`POST /v1/commands` takes `application/x-ndjson`, a line for each command:

    {"key": "R-1", "command": "post-invoice", "data": {...}}
    {"key": "B-1", "command": "block-customer", "target": "shop:4711", "if_match": 3, "data": {"reason": "..."}}

`if_match` is a version, or what stands in an ETag: `"3-<epoch>"`.

Each line is answered by a line, in order, while the body is still being sent; the last line counts them:

    {"line": 1, "key": "R-1", "status": 201, "id": "...", "version": 1, "position": 17, "epoch": "...", ...}
    {"line": 2, "key": "B-1", "status": 409, "problem": {...}}
    {"done": true, "lines": 2, "accepted": 1, "replayed": 0, "refused": 1, "invalid": 0, "failed": 0}

`atomic=true` stores all lines or none, `dry_run=true` decides them only, `events=true` answers with the events. Read
the answers while you send, or send in pieces: who sends without reading is waited for a minute, and then left. Of a
line that `failed`, and of one without an answer, send the same again.

## Reading

* Pages: the feed and histories go on with `after`, lists and reports with `cursor`. `limit` says how many. Whatever
  goes on has `Link: <…>; rel="next"`, beside what its body says.
* Reports in CSV are complete, however many rows they have, and arrive in pieces: all figures are of one position. Only
  with a `limit` they are cut, and `Rapport-Total-Rows` says how many rows there are.
* `at_position` and `known_at` ask for what was known then; the moment must be over. `valid_at` asks what holds on a
  day.
* `min_position`, with the `position` of a command's answer, waits until the read model has come so far; in vain, the
  answer is `read-model-behind`.
* Every answer names the epoch of the log in `Rapport-Epoch`; the feed and commands also in their bodies. Cursors
  belong to an epoch. Positions beyond the end of the log are refused, also in `after`, and with `wait`.
* The feed `GET /v1/events` waits for news with `wait=20s`. Positions have no gaps: who follows them misses nothing.
  It ends before an event of a type that only a newer version knows, and then answers `event-is-unknown` with position
  and type; whoever asks for other `types` passes it.
  With `epoch` of the page before, a log that was restored since says where to begin again.
* Reports answer in JSON, or in CSV with `Accept: text/csv` or `format=csv`. Its definition names the columns of
  the rows, and the description their types. `.../events` has the events behind a figure.
* What was erased shows as `[erased]`.

## Operations

| | | roles |
|---|---|---|
"""


def page(description: Mapping[str, Any]) -> str:
    """The page, from the description of the interface."""
    return _HEAD + "".join(_rows(description))


def _rows(description: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            said = operation["description"].rpartition("Roles: ")[2]
            roles = "everyone" if operation.get("security") == [] else ", ".join(re.findall(r"`(\w+)`", said))
            yield f"| `{method.upper()} {path}` | {operation['summary']} | {roles} |\n"
