"""One call over HTTP, the same for both APIs: who calls, what the call meets, its answer, and how long that takes."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from starlette.responses import Response

from sesmail.simulator import clock
from sesmail.simulator.errors import Kind, Refused
from sesmail.simulator.faults import REFUSALS, Fault, Rule
from sesmail.simulator.identities import not_verified
from sesmail.simulator.ses import Ses
from sesmail.simulator.signature import check_signature

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

SENDING = frozenset({"SendEmail", "SendRawEmail", "SendBulkEmail"})
"""Limited in recipients, not in calls. Whether AWS exempts the bulk calls from its limit on calls is not documented."""

AFTER_ACCEPTANCE = frozenset({Fault.RESET_AFTER, Fault.HANG_AFTER, Fault.ERROR_AFTER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a caller asks for, read from the request."""

    action: str
    handler: Handler
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, list[str]] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    source_ip: str = "127.0.0.1"
    limited: bool = True
    """Whether SES's limit on calls counts it; SNS has other limits, which nobody here comes near."""


Handler = Callable[[Ses, Call], Any]


class Api(Protocol):
    """A wire form: SES v2's JSON or version 1's query and XML."""

    async def read(self, request: Request) -> Call:
        """What is asked; raises Refused if it cannot be understood."""

    def success(self, call: Call, answer: Any) -> Response:
        """An answer as the client expects it."""

    def refusal(self, refused: Refused) -> Response:
        """A refusal as the client expects it."""


async def answer_call(ses: Ses, api: Api, request: Request) -> Response:
    """The whole of a call."""
    fault: Rule | None = None
    try:
        await check_signature(ses.options, request)
        call = await api.read(request)
        fault = _admit(ses, call)
        response = _perform(ses, api, call, fault)
    except Refused as refused:
        ses.count_refusal(refused)
        response = api.refusal(refused)
    await _take_time(ses, fault)
    return response


def _admit(ses: Ses, call: Call) -> Rule | None:
    if call.action in SENDING:
        return ses.faults.draw(clock.now())
    if call.limited:
        ses.admit_call(call.action)
    return None


def _perform(ses: Ses, api: Api, call: Call, fault: Rule | None) -> Response:
    if fault is None:
        return api.success(call, call.handler(ses, call))
    if fault.fault in REFUSALS:
        raise _injected(ses, call, REFUSALS[fault.fault])
    if fault.fault is Fault.RESET_BEFORE:
        return ConnectionReset()
    return _perform_and_spoil(ses, api, call, fault)


def _injected(ses: Ses, call: Call, kind: Kind) -> Refused:
    sender = call.body.get("FromEmailAddress") or call.body.get("Source")
    if kind is Kind.UNVERIFIED and isinstance(sender, str):
        return not_verified([sender], ses.options.region)
    return Refused(kind)


def _perform_and_spoil(ses: Ses, api: Api, call: Call, fault: Rule) -> Response:
    try:
        success = api.success(call, call.handler(ses, call))
    except Refused:
        ses.faults.give_back(fault)
        raise
    if fault.fault is Fault.ERROR_AFTER:
        return api.refusal(Refused(Kind.INTERNAL))
    return ConnectionReset(fault.lasting_seconds) if fault.fault in AFTER_ACCEPTANCE else success


async def _take_time(ses: Ses, fault: Rule | None) -> None:
    seconds = ses.latency()
    if fault and fault.fault is Fault.SLOW:
        seconds += fault.lasting_seconds
    if seconds > 0:
        await asyncio.sleep(seconds)


class ConnectionReset(Response):
    """No answer: the connection hangs for a while, or until the client goes, and is then reset.

    Needs the connection itself, which `connection.Protocol` puts into the scope; under another server it is a 500.
    """

    def __init__(self, after_seconds: float = 0) -> None:
        super().__init__(status_code=500)
        self._after_seconds = after_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, then reset."""
        transport = scope.get("sesmail.transport")
        if transport is None:
            await super().__call__(scope, receive, send)
            return
        await _until_disconnected(receive, self._after_seconds)
        if not transport.is_closing():
            _send_reset_on_close(transport)
            transport.abort()
            await _until_disconnected(receive, 1)


async def _until_disconnected(receive: Receive, seconds: float) -> None:
    async def disconnected() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(disconnected(), seconds)
    except TimeoutError:
        return


def _send_reset_on_close(transport: asyncio.Transport) -> None:
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
