"""A page with all operations, for people: it needs no script and nothing from elsewhere."""

import html
from collections.abc import Iterable
from http import HTTPStatus

from api.operations import Operation
from api.possible_problems import by_status

CONTENT_POLICY = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}


def docs_page(operations: Iterable[Operation], version: str) -> bytes:
    """The page, as HTML."""
    tags: dict[str, list[Operation]] = {}
    for operation in operations:
        tags.setdefault(operation.tag, []).append(operation)
    sections = "".join(_section(tag, among) for tag, among in tags.items())
    return _PAGE.format(version=html.escape(version), sections=sections).encode()


def _section(tag: str, operations: Iterable[Operation]) -> str:
    rows = "".join(
        f"<tr><td><code>{operation.method} {html.escape(operation.path)}</code></td>"
        f"<td>{html.escape(operation.summary)}<br>"
        f"<small>{html.escape(operation.meaning).replace('`', '')}</small></td>"
        f"<td><small>{', '.join(_shown(status) for status in by_status(operation))}</small></td></tr>"
        for operation in operations
    )
    return f"<h2>{html.escape(tag)}</h2><table>{rows}</table>"


def _shown(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Rapport {version}</title>
<meta name="viewport" content="width=device-width">
<style>body{{font-family:sans-serif;margin:2em auto;max-width:75em;padding:0 1em}}
table{{border-collapse:collapse;width:100%}}td{{border-top:1px solid #ccc;padding:.4em;vertical-align:top}}
small{{color:#555}}</style></head>
<body><h1>Rapport {version}</h1>
<p>The full description, with every schema and every problem: <a href="/openapi.json">/openapi.json</a>.</p>
{sections}</body></html>
"""
