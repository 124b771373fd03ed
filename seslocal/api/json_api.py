"""SES v2: REST with JSON. One table says which path is which action and which function answers it."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import Route

from seslocal.api.answering import answer_call
from seslocal.api.call import Call, Handler, Operation
from seslocal.api.operations import (
    account,
    configuration_sets,
    identities,
    sending,
    suppression,
    templates,
    tenants,
)
from seslocal.api.requests import validation
from seslocal.errors import Kind, Refused, invalid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from seslocal.ses import Ses


OPERATIONS: tuple[Operation, ...] = (
    *sending.OPERATIONS,
    *account.OPERATIONS,
    *suppression.OPERATIONS,
    *identities.OPERATIONS,
    *configuration_sets.OPERATIONS,
    *templates.OPERATIONS,
    *tenants.OPERATIONS,
)


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def not_served(_ses: Ses, call: Call) -> dict[str, Any]:
    """Any other path: SES may have it, the simulator does not."""
    raise Refused(Kind.UNKNOWN_OPERATION, f"The simulator does not serve this operation: /v2/{call.path['path']}")


MAX_REQUEST_BYTES = 56 * 1024 * 1024
"""40 MB of email in base64, and what is around it."""


class JsonApi:
    """How one action of SES v2 is read and answered."""

    def __init__(self, action: str, handler: Handler) -> None:
        self._action = action
        self._handler = handler

    async def read(self, request: Request) -> Call:
        """The JSON body, the path's names and the query."""
        if int(request.headers.get("content-length", "0")) > MAX_REQUEST_BYTES:
            raise Refused(Kind.TOO_LARGE)
        return Call(
            action=self._action,
            handler=self._handler,
            path=request.path_params,
            query={name: request.query_params.getlist(name) for name in request.query_params},
            body=_json_object(await request.body()),
            source_ip=request.client.host if request.client else "127.0.0.1",
        )

    def success(self, _call: Call, answer: Any) -> Response:
        """200 and a JSON object."""
        return _json(200, answer)

    def refusal(self, refused: Refused) -> Response:
        """The model's status, the code in a header, the words in the body."""
        status = refused.wire.v2_status
        message = refused.message if status < 500 else ""  # servers in trouble say no more in this version
        return _json(status, {"message": message}, refused.wire.v2_code)


def routes(ses: Ses) -> list[Route]:
    """The table as Starlette's routes."""
    served = [
        Route(path, _endpoint(ses, JsonApi(action, handler)), methods=[method])
        for method, path, action, handler in OPERATIONS
    ]
    return [*served, Route("/v2/{path:path}", _endpoint(ses, JsonApi("", not_served)), methods=METHODS)]


def _endpoint(ses: Ses, api: JsonApi) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await answer_call(ses, api, request)

    return endpoint


def _json_object(body: bytes) -> dict[str, Any]:
    given = validation.json_value(body, "The request body") if body else {}
    if not isinstance(given, dict):
        raise invalid("The request body must be a JSON object.")
    return given


def _json(status: int, content: Any, error_type: str | None = None) -> Response:
    headers = {"x-amzn-RequestId": str(uuid.uuid4())}
    if error_type:
        headers["x-amzn-ErrorType"] = error_type
    return Response(json.dumps(content), status, headers, "application/json")
