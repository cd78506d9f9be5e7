"""The page docs/reference/metrics.md: what is measured, as an answer of `/metrics` names it."""

import re

_HEAD = """# Metrics

<!-- Made by python -m tests.contracts.test_metrics; a test compares it with the program. -->

`GET /metrics` needs no key and answers in Prometheus' text format. Lag and state of the read models are the same
whoever answers. Everything else is of the one process that answers: with several API processes
([`RAPPORT_API_PROCESSES`](settings.md)) behind one address, a scrape reaches any of them; whoever needs the sums runs
each on a port of its own.

| metric | type | what it is |
|---|---|---|
"""
_DESCRIBED = re.compile(r"^# HELP (\S+) (.+)\n# TYPE \1 (\w+)$", re.MULTILINE)


def page(metrics: str) -> str:
    """The page, from an answer of `/metrics`."""
    return _HEAD + "".join(
        f"| `{name}` | {kind} | {meaning} |\n" for name, meaning, kind in _DESCRIBED.findall(metrics)
    )
