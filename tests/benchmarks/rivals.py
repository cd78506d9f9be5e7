"""What Rapport is measured against, each an ASGI application: `uvicorn tests.benchmarks.rivals:do_nothing`."""

import hashlib
import os
from typing import Annotated, Any
from uuid import UUID, uuid4

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict

KEY = "benchmark-key"
_HASHES = {hashlib.sha256(KEY.encode()).digest()}
_BEARER = HTTPBearer()


class NewCustomer(BaseModel):
    """The same fields that Rapport's command has in the benchmark, validated by the same library."""

    model_config = ConfigDict(extra="forbid")

    customer_number: str
    kind: str
    relationship: str
    name: str
    language: str
    currency: str
    country: str


class Registered(BaseModel):
    """What both answer with."""

    id: UUID
    version: int


def authenticate(credentials: Annotated[HTTPAuthorizationCredentials, Depends(_BEARER)]) -> None:
    """Admit only the one key, by its hash, as Rapport does."""
    if hashlib.sha256(credentials.credentials.encode()).digest() not in _HASHES:
        raise HTTPException(401)


do_nothing = FastAPI()


@do_nothing.post("/customers", dependencies=[Depends(authenticate)], status_code=201)
async def accept(customer: NewCustomer, idempotency_key: Annotated[str, Header()]) -> Registered:  # noqa: ARG001 - it is only asked for
    """Authenticate, validate, answer; store nothing."""
    return Registered(id=uuid4(), version=1)


class StockCustomer(Aggregate):
    """The same customer, as the library's documentation writes aggregates."""

    @event("Registered")
    def __init__(self, fields: dict[str, str]) -> None:
        self.fields = fields


class StockApplication(Application[UUID]):
    """The library as it comes, with its own Postgres recorder."""

    def register(self, fields: dict[str, str]) -> UUID:
        """Register and save one customer."""
        customer = StockCustomer(fields)
        self.save(customer)
        return customer.id


def stock() -> FastAPI:
    """The stock library behind FastAPI, on the Postgres that the environment names (`uvicorn --factory`)."""
    application: Any = StockApplication(env=dict(os.environ))
    app = FastAPI()

    @app.post("/customers", dependencies=[Depends(authenticate)], status_code=201)
    def register(customer: NewCustomer, idempotency_key: Annotated[str, Header()]) -> Registered:  # noqa: ARG001 - it is only asked for
        return Registered(id=application.register(customer.model_dump()), version=1)

    return app
