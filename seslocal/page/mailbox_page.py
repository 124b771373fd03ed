"""The mailbox page: what the simulated account has sent, as a person wants to see it."""

from __future__ import annotations

import base64
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seslocal.api import query_api
from seslocal.message import mime

if TYPE_CHECKING:
    from starlette.requests import Request

    from seslocal.account.mailbox import Record
    from seslocal.message.submission import Submission
    from seslocal.ses import Ses

LISTED = 100

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
MAIL_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
"""A mail's HTML runs nothing, loads nothing and submits nothing; its own images come inside it."""

TYPES = {"page.js": "text/javascript", "page.css": "text/css", "icon.svg": "image/svg+xml"}


class MailboxPage:
    """The page and what it reads."""

    def __init__(self, ses: Ses) -> None:
        self._ses = ses

    def routes(self) -> list[Route]:
        """The page at the root, all else under /_sim."""
        message = "/_sim/messages/{message_id}"
        return [
            Route("/", self.index, methods=["GET"]),
            Route("/_sim/page/{name}", self.asset, methods=["GET"]),
            Route("/_sim/overview", self.overview, methods=["GET"]),
            Route(message, self.message, methods=["GET"]),
            Route(message + "/html", self.html, methods=["GET"]),
            Route(message + "/source", self.source, methods=["GET"]),
            Route(message + "/attachments/{number:int}", self.attachment, methods=["GET"]),
        ]

    async def index(self, request: Request) -> Response:
        """The page; or, at the same address as at AWS, the confirmation of a subscription."""
        if "Action" in request.query_params:
            return await query_api.confirm_by_url(self._ses, request)
        return _file("page.html", "text/html", {"Content-Security-Policy": PAGE_POLICY})

    async def asset(self, request: Request) -> Response:
        """The page's script and style."""
        name = request.path_params["name"]
        return _file(name, TYPES[name]) if name in TYPES else Response(status_code=404)

    async def overview(self, request: Request) -> Response:
        """The counts, the last ten minutes, the faults, and a page of the emails that match the search."""
        skip = request.query_params.get("skip", "0")
        if not skip.isdecimal():
            return JSONResponse({"error": "skip must be a whole number"}, 400)
        found = self._ses.account.mailbox.latest(search=request.query_params.get("search", ""))
        return JSONResponse(
            {
                "report": self._ses.report(),
                "per_second": self._ses.account.mailbox.per_second(),
                "faults": self._ses.account.faults.as_json(),
                "found": len(found),
                "messages": [record.as_json() for record in found[int(skip) : int(skip) + LISTED]],
            }
        )

    async def message(self, request: Request) -> Response:
        """One email; without content if that is too old to be kept."""
        message_id = request.path_params["message_id"]
        record = self._ses.account.mailbox.record(message_id)
        if record is None:
            return _gone()
        submission = self._ses.account.mailbox.submission(message_id)
        return JSONResponse(record.as_json() | (_described(submission, record) if submission else {"kept": False}))

    async def html(self, request: Request) -> Response:
        """The mail's HTML, harmless."""
        submission = self._submission(request)
        if submission is None:
            return _gone()
        content = mime.readable(submission.content)
        html = content.html or ""
        for attachment in content.attachments:
            if attachment.content_id:
                inside = f"data:{attachment.content_type};base64,{base64.b64encode(attachment.content).decode()}"
                html = html.replace(f"cid:{attachment.content_id.strip('<>')}", inside)
        return Response(html, media_type="text/html", headers=_safe({"Content-Security-Policy": MAIL_POLICY}))

    async def source(self, request: Request) -> Response:
        """The MIME message."""
        submission, record = (
            self._submission(request),
            self._ses.account.mailbox.record(request.path_params["message_id"]),
        )
        if submission is None or record is None:
            return _gone()
        text = mime.source(submission, record.message_id, record.accepted_at)
        return Response(text, media_type="text/plain", headers=_safe())

    async def attachment(self, request: Request) -> Response:
        """A file, to be saved, never shown."""
        submission = self._submission(request)
        attachments = mime.readable(submission.content).attachments if submission else ()
        number = request.path_params["number"]
        if number >= len(attachments):
            return _gone()
        name = quote(attachments[number].filename)
        headers = _safe({"Content-Disposition": f"attachment; filename*=UTF-8''{name}"})
        return Response(attachments[number].content, media_type="application/octet-stream", headers=headers)

    def _submission(self, request: Request) -> Submission | None:
        return self._ses.account.mailbox.submission(request.path_params["message_id"])


def _described(submission: Submission, record: Record) -> dict[str, Any]:
    content = mime.readable(submission.content)
    built = (*submission.addressing, ("Subject", record.subject), *content.headers)
    read = [(name, mime.decoded(value)) for name, value in built]
    return {
        "kept": True,
        "headers": content.headers if submission.content.raw is not None else read,
        "text": content.text,
        "has_html": content.html is not None,
        "rendering_failure": submission.rendering_failure,
        "attachments": [
            {"filename": one.filename, "content_type": one.content_type, "size": len(one.content)}
            for one in content.attachments
        ],
    }


def _file(name: str, media_type: str, headers: dict[str, str] | None = None) -> Response:
    content = resources.files(__package__).joinpath(name).read_bytes()
    return Response(content, media_type=media_type, headers=_safe(headers))


def _gone() -> Response:
    return JSONResponse({"error": "This email is not known, or too old to be kept."}, 404)


def _safe(headers: dict[str, str] | None = None) -> dict[str, str]:
    return {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} | (headers or {})
