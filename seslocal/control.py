"""What is not SES: `/_sim`, where tests and people look at what happened and make trouble."""

from __future__ import annotations

import asyncio
import json
from itertools import islice
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from seslocal import clock
from seslocal.account.account import Changes
from seslocal.errors import Refused
from seslocal.events.publisher import Burst

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from starlette.requests import Request

    from seslocal.account.mailbox import Record
    from seslocal.ses import Ses

RECORDS_PER_CHUNK = 500


class Control:
    """The endpoints under /_sim, of one account."""

    def __init__(self, ses: Ses) -> None:
        self._ses = ses

    def routes(self) -> list[Route]:
        """What there is."""
        return [
            Route("/_sim/report", self.report, methods=["GET"]),
            Route("/_sim/messages", self.messages, methods=["GET"]),
            Route("/_sim/messages", _guarded(self.clear), methods=["DELETE"]),
            Route("/_sim/faults", self.faults, methods=["GET"]),
            Route("/_sim/faults", _guarded(self.set_faults), methods=["PUT"]),
            Route("/_sim/reset", _guarded(self.reset), methods=["POST"]),
            Route("/_sim/account", _guarded(self.change_account), methods=["PUT"]),
            Route("/_sim/identities/{name}", _guarded(self.verify_identity), methods=["PUT"]),
            Route("/_sim/outcomes", _guarded(self.set_outcomes), methods=["PUT"]),
            Route("/_sim/event-faults", _guarded(self.set_event_faults), methods=["PUT"]),
            Route("/_sim/events", _guarded(self.burst), methods=["POST"]),
            Route("/_sim/topics", self.topics, methods=["GET"]),
            Route("/_sim/dead-letters", self.dead_letters, methods=["GET"]),
            Route("/_sim/certificate.pem", self.certificate, methods=["GET"]),
        ]

    async def report(self, _request: Request) -> Response:
        """All counts."""
        return JSONResponse(self._ses.report())

    async def messages(self, request: Request) -> Response:
        """Accepted emails in order of acceptance, from the one after number `after`, at most `limit`."""
        after, limit = request.query_params.get("after", "0"), request.query_params.get("limit")
        if not after.isdecimal() or not (limit or "0").isdecimal():
            return JSONResponse({"error": "after and limit must be whole numbers"}, 400)
        most = self._ses.options.kept_records
        records = self._ses.account.mailbox.records(int(after), min(int(limit or most), most))
        return StreamingResponse(_json_list(records), media_type="application/json")

    async def clear(self, _request: Request) -> Any:
        """Forget the emails; counts, limits, faults and topics stay."""
        self._ses.account.mailbox.clear()
        return self._ses.report()

    async def faults(self, _request: Request) -> Response:
        """The faults in force, and how often each was met."""
        return JSONResponse(self._ses.account.faults.as_json())

    async def set_faults(self, request: Request) -> Any:
        """Replace the faults in force; `{}` clears them."""
        self._ses.account.faults.set(await _given(request), clock.now())
        return self._ses.account.faults.as_json()

    async def reset(self, _request: Request) -> Any:
        """Forget everything, as if just started."""
        await self._ses.reset()
        return self._ses.report()

    async def change_account(self, request: Request) -> Any:
        """Change limits and switches: see `Changes`."""
        self._ses.account.change(Changes(**await _given(request)))
        return self._ses.report()

    async def verify_identity(self, request: Request) -> Any:
        """`{"verified": true}` or false."""
        verified = (await _given(request))["verified"]
        if not isinstance(verified, bool):
            raise TypeError("verified must be true or false")
        self._ses.account.identities.known[request.path_params["name"].lower()] = verified
        return self._ses.account.identities.known

    async def set_outcomes(self, request: Request) -> Any:
        """What becomes of mail to addresses of a pattern: `{"*@example.net": "bounce"}`."""
        self._ses.publisher.set_outcomes(await _given(request))
        return self._ses.publisher.patterns

    async def set_event_faults(self, request: Request) -> Any:
        """Replace the trouble with events: see `EventFaults`; `{}` ends it."""
        self._ses.publisher.set_faults(await _given(request))
        return self._ses.publisher.report()

    async def burst(self, request: Request) -> Any:
        """Publish invented events: `{"count": 5000, "per_second": 1000, "events": ["delivery"], "topic_arn": ...}`."""
        burst = Burst(**await _given(request))
        self._ses.publisher.burst(burst.topic_arn or self._ses.options.topic_arn, burst)
        return self._ses.publisher.report()

    async def topics(self, _request: Request) -> Response:
        """Topics and their subscriptions, with the tokens of those that are not confirmed."""
        return JSONResponse(self._ses.sns.as_json())

    async def dead_letters(self, _request: Request) -> Response:
        """Notifications that SNS gave up, the last ones."""
        return JSONResponse(list(self._ses.sns.dead_letters))

    async def certificate(self, _request: Request) -> Response:
        """The certificate of SNS's signatures."""
        return Response(self._ses.signer.certificate_pem, media_type="application/x-pem-file")


async def _given(request: Request) -> dict[str, Any]:
    given = await request.json()
    if not isinstance(given, dict):
        raise TypeError("a JSON object is wanted")
    return given


def _guarded(change: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    """Answers 400 with the reason when what was sent makes no sense."""

    async def endpoint(request: Request) -> Response:
        try:
            return JSONResponse(await change(request))
        except KeyError as error:
            return JSONResponse({"error": f"{error} is missing"}, 400)
        except (TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, Refused) as error:
            return JSONResponse({"error": str(error)}, 400)

    return endpoint


async def _json_list(records: Iterator[Record]) -> AsyncIterator[str]:
    """In chunks, so that the server goes on answering other calls."""
    separator = "["
    while chunk := list(islice(records, RECORDS_PER_CHUNK)):
        yield separator + ",".join(json.dumps(record.as_json()) for record in chunk)
        separator = ","
        await asyncio.sleep(0)
    yield "[]" if separator == "[" else "]"
