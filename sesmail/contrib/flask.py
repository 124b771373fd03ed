"""sesmail for Flask: settings from `app.config`, and a blueprint with the events of SES and the unsubscribe page."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, abort, current_app, request

from sesmail.contrib.flask_messages import Message, Recorded
from sesmail.doors import answer_by_settings, site_client
from sesmail.doors.live import STREAM, LivePage
from sesmail.events.sns import BODY_LIMIT_BYTES
from sesmail.frames import shows_no_email
from sesmail.hosts import know_flask_app
from sesmail.unsubscribe.door import FORM_LIMIT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

    from sesmail.events.intake import Intake
    from sesmail.unsubscribe import UnsubscribeDoor


class SESMail:
    """The Flask extension: `SESMail(app)`, or `init_app` in an application factory.

    Takes settings from `app.config`, as `SESMAIL_REGION`, and serves the doors below `url_prefix`. With Flask-WTF, pass
    its `blueprint` to `CSRFProtect.exempt`.
    """

    def __init__(self, app: Flask | None = None, *, url_prefix: str = "/sesmail") -> None:
        self.url_prefix = url_prefix
        self.blueprint = doors()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Make its settings known to its own Celery app, and register the doors."""
        know_flask_app(app)
        app.register_blueprint(self.blueprint, url_prefix=self.url_prefix)
        app.extensions["sesmail"] = self

    # -- for those who come from Flask-Mail ---------------------------------------------------------------------------

    @shows_no_email
    def send(self, message: Message) -> str:
        """Accept a message; the id of its send. A message without a sender is from SESMAIL_FROM_EMAIL.

        Raises `InvalidEmail`, `LedgerUnavailable`.
        """
        from sesmail.celery.tasks import send_ses_email  # noqa: PLC0415  Celery is slow to load

        if message.sender is None and (theirs := current_app.config.get("MAIL_DEFAULT_SENDER")):
            message.sender = theirs
        return send_ses_email.apply_async((message.as_email(),)).id

    def send_message(self, *args: Any, **kwargs: Any) -> str:
        """`send` what the arguments of `Message` say."""
        return self.send(Message(*args, **kwargs))

    @contextmanager
    def connect(self) -> Iterator[SESMail]:
        """Itself: there is no connection to be opened."""
        yield self

    @contextmanager
    def record_messages(self) -> Iterator[Recorded]:
        """For tests: what is sent meanwhile, by this or by `.delay`, is kept here and reaches nobody."""
        from sesmail.testing import outbox  # noqa: PLC0415  for tests

        with outbox() as box:
            yield Recorded(box)


__all__ = ["Message", "Recorded", "SESMail", "doors", "live_page"]


def doors(intake: Intake | None = None, unsubscribe: UnsubscribeDoor | None = None, name: str = "sesmail") -> Blueprint:
    """A blueprint with `/events/` and `/unsubscribe/<token>`; what is not given is made by the settings."""
    blueprint = Blueprint(name, __name__)

    @blueprint.post("/events/", strict_slashes=False)
    def events() -> Response:
        body = request.stream.read(BODY_LIMIT_BYTES + 1)
        answer = intake.answer(body, request.headers) if intake else answer_by_settings(body, request.headers)
        return Response(answer.text, status=answer.status, mimetype="text/plain")

    @blueprint.route("/unsubscribe/<token>", methods=["GET", "POST"], strict_slashes=False)
    def unsubscribed(token: str) -> Response:
        door, languages = unsubscribe or site_client().unsubscribe_door, request.headers.get("Accept-Language", "")
        body = request.stream.read(FORM_LIMIT_BYTES)
        page = door.answer(request.method, token, languages=languages, body=body)
        return Response(page.html, status=page.status, headers=page.headers)

    return blueprint


def live_page(
    allowed: Callable[[], bool], *, page: LivePage | None = None, streams: bool = False, name: str = "sesmail_live"
) -> Blueprint:
    """A blueprint of the page that shows how the sending goes, live, to those for whom `allowed()` says so.

        app.register_blueprint(live_page(lambda: current_user.is_admin), url_prefix="/sesmail/live")

    `allowed` is asked within each request. With `streams`, each browser that looks keeps a thread of the server busy;
    without, the page asks every two seconds.
    """
    shown = page or LivePage(streams=streams)
    blueprint = Blueprint(name, __name__)

    @blueprint.before_request
    def only_for_those_who_may() -> None:
        if not allowed():
            abort(403)

    @blueprint.get("/", defaults={"path": ""})
    @blueprint.get("/<path:path>")
    def live(path: str) -> Response:
        if path == STREAM and (events := shown.stream()):
            return Response(events, headers=shown.stream_headers())
        found = shown.answer(path)
        return Response(found.body, status=found.status, headers=found.headers)

    return blueprint
