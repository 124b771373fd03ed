"""The older wire form, spoken by SES version 1 and SNS: a form with an Action, answered in XML."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from starlette.responses import Response
from starlette.routing import Route

from seslocal.api.answering import answer_call
from seslocal.api.call import Call, Handler
from seslocal.api.operations import sns, version_1
from seslocal.api.requests.form import Entries
from seslocal.errors import Kind, Refused

if TYPE_CHECKING:
    from starlette.requests import Request

    from seslocal.ses import Ses

HANDLERS: dict[str, tuple[str, Handler]] = {
    **{action: (version_1.NAMESPACE, handler) for action, handler in version_1.HANDLERS.items()},
    **{action: (sns.NAMESPACE, handler) for action, handler in sns.HANDLERS.items()},
}


class QueryApi:
    """How one call is read and answered; the action says which service is meant."""

    def __init__(self) -> None:
        self._namespace = version_1.NAMESPACE

    async def read(self, request: Request) -> Call:
        """The form's fields, as they are: `Destination.ToAddresses.member.1` and so on."""
        text = (await request.body()).decode(errors="replace") if request.method == "POST" else request.url.query
        fields = dict(parse_qsl(text, keep_blank_values=True))
        action = fields.get("Action", "")
        if action not in HANDLERS:
            raise Refused(Kind.UNKNOWN_OPERATION, f"The action {action} is not valid for this endpoint.")
        self._namespace, handler = HANDLERS[action]
        source_ip = request.client.host if request.client else "127.0.0.1"
        limited = self._namespace == version_1.NAMESPACE
        return Call(action=action, handler=handler, body=fields, source_ip=source_ip, limited=limited)

    def success(self, call: Call, answer: Any) -> Response:
        """The result's fields as elements."""
        result = f"<{call.action}Result>{_xml(answer)}</{call.action}Result>"
        request_id = str(uuid.uuid4())
        return _response(
            200,
            f'<{call.action}Response xmlns="{self._namespace}">{result}'
            f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{call.action}Response>",
            request_id,
        )

    def refusal(self, refused: Refused) -> Response:
        """The code and the words."""
        request_id = str(uuid.uuid4())
        side = "Receiver" if refused.wire.v1_status >= 500 else "Sender"
        code = refused.wire.v1_code
        if self._namespace == sns.NAMESPACE and refused.kind is Kind.INVALID:
            code = "InvalidParameter"
        return _response(
            refused.wire.v1_status,
            f'<ErrorResponse xmlns="{self._namespace}"><Error><Type>{side}</Type><Code>{code}</Code>'
            f"<Message>{escape(refused.message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
            request_id,
        )


def routes(ses: Ses) -> list[Route]:
    """All at the root, as AWS has it."""

    async def query(request: Request) -> Response:
        return await answer_call(ses, QueryApi(), request)

    return [Route("/", query, methods=["POST"])]


async def confirm_by_url(ses: Ses, request: Request) -> Response:
    """What following a SubscribeURL does; nobody signs such a request."""
    api = QueryApi()
    try:
        call = await api.read(request)
        return api.success(call, sns.confirm_subscription(ses, call))
    except Refused as refused:
        return api.refusal(refused)


def _xml(value: Any) -> str:
    if isinstance(value, Entries):
        return "".join(f"<entry>{_xml({'key': name, 'value': one})}</entry>" for name, one in value.items())
    if isinstance(value, dict):
        return "".join(f"<{name}>{_xml(one)}</{name}>" for name, one in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{_xml(one)}</member>" for one in value)
    return escape(str(value))


def _response(status: int, xml: str, request_id: str) -> Response:
    return Response(xml, status, {"x-amzn-RequestId": request_id}, "text/xml")
