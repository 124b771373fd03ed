"""One call over HTTP, the same for both APIs: who calls, what the call meets, its answer, and how long that takes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from seslocal import clock
from seslocal.account.faults import REFUSALS, Fault, Rule
from seslocal.account.identities import not_verified
from seslocal.api.connection import ConnectionReset
from seslocal.api.signature import check_signature
from seslocal.errors import Kind, Refused

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from seslocal.api.call import Call
    from seslocal.ses import Ses

SENDING = frozenset({"SendEmail", "SendRawEmail", "SendBulkEmail"})
"""Limited in recipients, not in calls. Whether AWS exempts the bulk calls from its limit on calls is not documented."""

AFTER_ACCEPTANCE = frozenset({Fault.RESET_AFTER, Fault.HANG_AFTER, Fault.ERROR_AFTER})


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
        ses.account.count_refusal(refused)
        response = api.refusal(refused)
    await _take_time(ses, fault)
    return response


def _admit(ses: Ses, call: Call) -> Rule | None:
    ses.account.check_right(call.action)
    if call.action in SENDING:
        return ses.account.faults.draw(clock.now())
    if call.limited:
        ses.account.admit_call(call.action)
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
        ses.account.faults.give_back(fault)
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
