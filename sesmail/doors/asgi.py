"""The door for a burst: a bare ASGI app, to be served apart from the pages of a site.

    uvicorn sesmail.doors.asgi:app        or: sesmail webhook --port 8025

Posts that arrive while the store writes wait and are written together; each is answered after the write that it was
in. So the store is asked once for many, and nothing is acknowledged unsaved.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from sesmail.doors import site_client
from sesmail.errors import ConfigurationError, EventNotStored, MissingExtra, NotificationRefused
from sesmail.events.intake import STORED, Answer, answer_to
from sesmail.events.sns import BODY_LIMIT_BYTES
from sesmail.unsubscribe import Page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from sesmail.client import Client
    from sesmail.events.intake import Intake, Notification
    from sesmail.unsubscribe import UnsubscribeDoor

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_SECONDS = 10.0
"""SNS gives up after 15 s; whoever takes longer to post is not SNS, or would not hear the answer."""
GROUP_LIMIT = 500
"""Notifications in one write."""
WAITING_LIMIT = 10_000
"""Notifications that wait for the store; more are answered 503 at once, rather than after SNS has given up."""
FETCHES_LIMIT = 20
"""Notifications that wait for a certificate, so that made-up ones cannot fill the threads."""
_HEADER_OF_RAW_DELIVERY = (b"x-amz-sns-rawdelivery", b"true")  # ASGI has names in lower case
_RAW = {"x-amz-sns-rawdelivery": "true"}


class EventsApp:
    """Takes posts of SNS at any path."""

    def __init__(
        self,
        intake: Intake,
        *,
        body_seconds: float = BODY_SECONDS,
        answers_checks: bool = False,
        unsubscribe: UnsubscribeDoor | None = None,
    ) -> None:
        """`answers_checks`: where it is a server of its own, a load balancer asks by GET or HEAD whether it lives.

        `unsubscribe` is what is behind links whose path ends with /unsubscribe/ and their token; without it, nothing.
        """
        self._intake = intake
        self._unsubscribe = unsubscribe
        self._answers_checks = answers_checks
        self._body_seconds = body_seconds
        self._group = _GroupWriter(intake)
        self._fetches = asyncio.Semaphore(FETCHES_LIMIT)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection of ASGI."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http" and self._unsubscribe and (token := _token_in(scope["path"])):
            await _respond_with_page(send, scope, await self._page(self._unsubscribe, scope, receive, token))
        elif scope["type"] == "http":
            await _respond(send, await self._answer(scope, receive), with_body=scope["method"] != "HEAD")

    async def _page(
        self, door: UnsubscribeDoor, scope: MutableMapping[str, Any], receive: Receive, token: str
    ) -> Page | Answer:
        method = scope["method"]
        if method not in {"GET", "HEAD", "POST"}:
            return Answer(status=405, text="GET asks, POST unsubscribes")
        languages = dict(scope["headers"]).get(b"accept-language", b"").decode("latin-1")
        try:
            body = await self._body(receive) if method == "POST" else b""
            return await asyncio.to_thread(door.answer, method, token, languages=languages, body=body)
        except Exception as error:  # noqa: BLE001  whatever it is, a mail provider must be told to come again
            return answer_to(error)

    async def _answer(self, scope: MutableMapping[str, Any], receive: Receive) -> Answer:
        if self._answers_checks and scope["method"] in {"GET", "HEAD"}:
            return Answer(status=200, text="SNS posts here")
        if scope["method"] != "POST":
            return Answer(status=405, text="SNS posts here")
        try:
            body = await self._body(receive)
            notification = await self._read(body, _RAW if _HEADER_OF_RAW_DELIVERY in scope["headers"] else {})
            answer = await self._group.keep(notification)
            if answer is STORED and notification.is_about_the_subscription:
                await asyncio.to_thread(self._intake.follow_up, notification)
        except Exception as error:  # noqa: BLE001  whatever it is, SNS must be told to come again
            answer = answer_to(error)
        return self._intake.counted(answer)

    async def _body(self, receive: Receive) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise EventNotStored("The sender went away before all was there.")
                    body += message.get("body", b"")
                    if len(body) > BODY_LIMIT_BYTES:
                        raise NotificationRefused(f"The body is longer than {BODY_LIMIT_BYTES} bytes.", status=413)
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise EventNotStored("The body was too slow to come.") from None

    async def _read(self, body: bytes, headers: Mapping[str, str]) -> Notification:
        envelope = self._intake.open(body, headers)
        if not self._intake.verifier.needs_fetch(envelope):
            return self._intake.believe(envelope)
        if self._fetches.locked():
            raise EventNotStored("Too many notifications wait for a certificate.")
        async with self._fetches:
            return await asyncio.to_thread(self._intake.believe, envelope)


class _GroupWriter:
    """Writes what waits in groups, one group at a time; who waits gets the answer to its own group."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._waiting: list[tuple[Notification, asyncio.Future[Answer]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sesmail-events")

    async def keep(self, notification: Notification) -> Answer:
        if len(self._waiting) >= WAITING_LIMIT:
            raise EventNotStored("Too many notifications wait for the store.")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((notification, answer))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return await answer

    async def _write(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:GROUP_LIMIT], self._waiting[GROUP_LIMIT:]
            answer = await self._write_group([notification for notification, _ in group])
            for _, waiting in group:
                if not waiting.done():  # done: the client went away
                    waiting.set_result(answer)

    async def _write_group(self, notifications: list[Notification]) -> Answer:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._intake.keep, notifications)
        except Exception as error:  # noqa: BLE001  whatever it is, SNS must be told to come again
            return answer_to(error)
        return STORED


def listen(host: str, port: int) -> socket.socket:
    """A socket to `serve` at; port 0 takes a free one. Raises `ConfigurationError` when it cannot be had."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {host}:{port} ({error.strerror}), so no events are taken in here; SNS tries again for a "
            "while. Name another --port."
        ) from None


def serve(intake: Intake, listening: socket.socket, unsubscribe: UnsubscribeDoor | None = None) -> None:
    """Serve the doors by themselves until SIGTERM, with uvicorn (extra `server`), as lean as it can be."""
    try:
        import uvicorn  # noqa: PLC0415  who mounts the app elsewhere does not need it
    except ImportError as error:
        raise MissingExtra(
            "The door cannot be served: uvicorn is not installed. Install it with `pip install 'sesmail[server]'`, "
            "or serve sesmail.doors.asgi:app with an ASGI server of your own."
        ) from error

    config = uvicorn.Config(
        EventsApp(intake, answers_checks=True, unsubscribe=unsubscribe),
        backlog=2048,
        ws="none",
        log_level="warning",
        access_log=False,  # a line for each of a burst's posts
        proxy_headers=False,  # who posts is told by the signature, not by an address
        server_header=False,
        date_header=False,
    )
    uvicorn.Server(config).run(sockets=[listening])


def unsubscribe_door_of(client: Client) -> UnsubscribeDoor | None:
    """The one that its settings make; None where they say nothing of links. Raises `ConfigurationError`."""
    settings = client.settings
    return client.unsubscribe_door if settings.unsubscribe_url or settings.unsubscribe_secrets else None


def __getattr__(name: str) -> EventsApp:
    """`app`, by the settings, made when a server asks for it."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    client = site_client()
    return EventsApp(client.real_intake, answers_checks=True, unsubscribe=unsubscribe_door_of(client))


def _token_in(path: str) -> str:
    """What stands behind /unsubscribe/, with or without a slash; empty for other paths."""
    head, _, token = path.rstrip("/").rpartition("/")
    return token if head.endswith("/unsubscribe") else ""


async def _respond_with_page(send: Send, scope: MutableMapping[str, Any], page: Page | Answer) -> None:
    with_body = scope["method"] != "HEAD"
    if not isinstance(page, Page):
        await _respond(send, page, with_body=with_body)
        return
    body = page.html.encode()
    headers = [(name.lower().encode(), value.encode()) for name, value in page.headers.items()]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": page.status, "headers": headers})
    await send({"type": "http.response.body", "body": body if with_body else b""})


async def _respond(send: Send, answer: Answer, *, with_body: bool) -> None:
    body = answer.text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body if with_body else b""})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
