"""Every operation with every role, and without a good key, over HTTP to a running service: what is declared holds."""

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from http.client import HTTPConnection
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from api.roles_page import admitted
from application.commands import Role
from application.keys import new_secret
from infrastructure.principals import Principals
from infrastructure.server import databases_of
from infrastructure.settings import Settings
from tests.api.running import description
from tests.serving import Serving, serving

AT_ONCE = 50
"""Requests under way: those with a bad key wait together until the keys have been loaded again."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Asked:
    """Who asks for what."""

    method: str
    path: str
    who: str


@cache
def operations() -> Mapping[tuple[str, str], Any]:
    """Every operation, by method and path."""
    return {
        (method.upper(), path): operation
        for path, methods in description()["paths"].items()
        for method, operation in methods.items()
    }


def readable() -> list[str]:
    """The paths that are read with GET; HEAD does the same and sends no body."""
    return [path for method, path in operations() if method == "GET"]


@pytest.fixture(scope="module")
def service() -> Iterator[Serving]:
    """A running service on an empty log."""
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def authorizations(service: Serving) -> Mapping[str, str | None]:
    """What is sent by whom."""
    with psycopg.connect(databases_of(Settings(data=service.data)).operator) as operator:
        keys = Principals(operator, "main")
        good = {str(role): keys.create(f"the {role}", role)[0] for role in Role}
        revoked, _ = keys.create("revoked", Role.ADMIN)
        keys.revoke("revoked")
        expired, _ = keys.create("expired", Role.ADMIN, valid_for=timedelta(seconds=-1))
    sent = {who: f"Bearer {secret}" for who, secret in good.items()}
    bad = {"revoked": f"Bearer {revoked}", "expired": f"Bearer {expired}", "unknown": f"Bearer {new_secret()}"}
    return {**sent, **bad, "nobody": None, "another scheme": "Basic cmFwcG9ydDo="}


@pytest.fixture(scope="module")
def answers(service: Serving, authorizations: Mapping[str, str | None]) -> Mapping[Asked, int]:
    """The status of the answer to each operation by each of them, and to every other method of its path by an admin."""
    asked = [Asked(method, path, who) for method, path in operations() for who in authorizations]
    asked += [Asked("HEAD", path, who) for path in readable() for who in authorizations]
    others = {(method, path) for _, path in operations() for method in METHODS}
    others -= operations().keys() | {("HEAD", path) for path in readable()}
    asked += [Asked(method, path, Role.ADMIN) for method, path in sorted(others)]
    address = service.address.removeprefix("http://")

    def status(each: Asked) -> int:
        given = authorizations[each.who]
        connection = HTTPConnection(address, timeout=60)
        connection.request(each.method, filled(each.path), headers={} if given is None else {"Authorization": given})
        answered = connection.getresponse().status
        connection.close()
        return answered

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return dict(zip(asked, threads.map(status, asked), strict=True))


def filled(path: str) -> str:
    """A path with something in its open parts; nothing of that name exists."""
    return re.sub(r"{\w+}", f"number:{uuid4()}", path)


each_operation = pytest.mark.parametrize(
    ("method", "path"), operations(), ids=[" ".join(each) for each in operations()]
)


@each_operation
def test_each_role_may_do_what_is_declared_and_nothing_else(
    answers: Mapping[Asked, int], method: str, path: str
) -> None:
    roles = admitted(operations()[method, path])
    for role in Role:
        status = answers[Asked(method, path, role)]
        if roles is None or role in roles:
            assert status not in {401, 403}, role
            assert status < 500, role
        else:
            assert status == 403, role


@each_operation
def test_without_a_good_key_nothing_is_done(answers: Mapping[Asked, int], method: str, path: str) -> None:
    is_open = admitted(operations()[method, path]) is None
    for who in ("nobody", "another scheme", "unknown", "revoked", "expired"):
        assert answers[Asked(method, path, who)] == (200 if is_open else 401), who


@pytest.mark.parametrize("path", readable())
def test_who_may_not_read_something_may_not_ask_for_its_head(
    answers: Mapping[Asked, int], authorizations: Mapping[str, str | None], path: str
) -> None:
    heads = {who: answers[Asked("HEAD", path, who)] for who in authorizations}
    assert heads == {who: answers[Asked("GET", path, who)] for who in authorizations}


def test_no_method_answers_that_is_not_declared(answers: Mapping[Asked, int]) -> None:
    declared = operations().keys() | {("HEAD", path) for path in readable()}
    undeclared = {each: status for each, status in answers.items() if (each.method, each.path) not in declared}
    assert len(undeclared) > len(description()["paths"])
    assert set(undeclared.values()) == {405}


def test_nothing_was_recorded_by_all_that(service: Serving, answers: Mapping[Asked, int]) -> None:
    assert len(answers) > len(operations()) * len(Role)
    assert service.client("auditor").get("/v1/events").json()["events"] == []
