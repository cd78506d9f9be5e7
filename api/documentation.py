"""Documentation over HTTP: the description of the interface for programs, and a page about it for people."""

from collections.abc import Iterator

from pydantic_core import to_json
from starlette.responses import HTMLResponse, Response

from api import VERSION
from api.docs_page import CONTENT_POLICY, docs_page
from api.operations import EVERYONE, Body, Operation
from api.requests import Request

_MEDIA_TYPE = "application/vnd.oai.openapi+json"


class DocumentationRoutes:
    """Makes the operations that describe all others, each when it is first asked for."""

    def __init__(self) -> None:
        self._json: bytes | None = None
        self._page: bytes | None = None

    def operations(self) -> Iterator[Operation]:
        """The description and the page."""
        yield Operation(
            name="read-openapi",
            method="GET",
            path="/openapi.json",
            tag="documentation",
            summary="Read this description",
            roles=EVERYONE,
            handler=self._describe,
            answers={200: Body({_MEDIA_TYPE: None}, "OpenAPI 3.1, as JSON.")},
        )
        yield Operation(
            name="read-documentation",
            method="GET",
            path="/docs",
            tag="documentation",
            summary="Read a page with all operations",
            roles=EVERYONE,
            handler=self._show,
            answers={200: Body({"text/html": None}, "A page that needs no script and nothing from elsewhere.")},
        )

    async def _describe(self, request: Request) -> Response:
        if self._json is None:
            self._json = to_json(request.app.openapi())
        return Response(self._json, media_type=f"{_MEDIA_TYPE};version=3.1")

    async def _show(self, request: Request) -> Response:
        if self._page is None:
            self._page = docs_page(request.app.operations, VERSION)
        return HTMLResponse(self._page, headers=CONTENT_POLICY)
