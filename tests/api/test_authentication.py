"""Who may do what: nobody without a key, everybody what the role of the key admits, and nothing by default."""

import re

import pytest

from api.app import create_app
from api.operations import EVERYONE, Access, Operation
from application.commands import Role
from tests.api.operations import nothing, operation
from tests.api.running import SECRETS, Clock, code, ports_on, running
from tests.asynchronous import asynchronous
from tests.in_memory import InMemoryLog


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has no good key need not wait here for being told so."""
    monkeypatch.setattr("application.keys.PAUSE_SECONDS", 0.0)


def operations() -> tuple[Operation, ...]:
    """Every operation of the service."""
    return create_app(ports_on(InMemoryLog(), Clock())).operations


# Deny by default


def test_an_operation_without_roles_is_refused_when_the_service_is_made() -> None:
    with pytest.raises(ValueError, match="has no roles"):
        operation(roles=frozenset())


def test_nobody_can_forget_the_roles() -> None:
    with pytest.raises(TypeError, match="roles"):
        Operation(name="x", method="GET", path="/x", tag="x", summary="x", handler=nothing, answers={})  # type: ignore[call-arg] # that is the point


def test_only_health_and_documentation_need_no_key() -> None:
    open_paths = {each.path for each in operations() if each.roles is EVERYONE}
    assert open_paths == {"/livez", "/readyz", "/metrics", "/openapi.json", "/docs"}


def admitted(each: Operation) -> frozenset[Role]:
    """The roles that an operation admits."""
    assert not isinstance(each.roles, Access)
    return each.roles


def filled(each: Operation) -> str:
    """The path of an operation with something in its open parts."""
    return re.sub(r"{\w+}", "number:C-1001", each.path)


each_closed_operation = pytest.mark.parametrize(
    "closed", [each for each in operations() if each.roles is not EVERYONE], ids=lambda each: each.name
)


@each_closed_operation
@asynchronous
async def test_without_a_good_key_nothing_is_answered(closed: Operation) -> None:
    async with running() as service:
        for authorization in ("", "Basic cmFwcG9ydDo=", "Bearer", "Bearer ", "Bearer rapport_nobody", "x" * 10_000):
            headers = {"authorization": authorization} if authorization else {}
            response = await service[None].request(closed.method, filled(closed), headers=headers)
            assert (response.status_code, code(response)) == (401, "not-authenticated")
            assert response.headers["www-authenticate"].startswith("Bearer ")
        assert service.log.recorded == []


@each_closed_operation
@asynchronous
async def test_a_role_may_do_what_it_is_admitted_to_and_nothing_else(closed: Operation) -> None:
    roles = admitted(closed)
    async with running() as service:
        for role in Role:
            response = await service[role].request(closed.method, filled(closed))
            is_refused = response.status_code == 403
            assert is_refused == (role not in roles), f"{role}: {response.status_code}"
            if is_refused:
                assert code(response) == "role-not-allowed"
                assert response.json()["facts"]["role"] == role
        assert service.log.recorded == []


def test_only_those_who_write_may_send_commands() -> None:
    writers = {Role.SERVICE, Role.IMPORTER, Role.STAFF}
    for each in operations():
        if each.method == "POST":
            assert admitted(each) <= writers, each.name


def test_those_who_only_count_see_no_events_and_no_customers() -> None:
    for each in operations():
        if each.tag in {"events", "customers"}:
            assert Role.REPORTING not in admitted(each), each.name


# Keys


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
@asynchronous
async def test_the_name_of_the_scheme_may_be_written_in_any_case(scheme: str) -> None:
    async with running() as service:
        headers = {"authorization": f"{scheme} {SECRETS[Role.AUDITOR]}"}
        assert (await service[None].get("/v1/events", headers=headers)).status_code == 200
