"""sesmail for Flask: settings from `app.config`, and a blueprint with the events of SES and the unsubscribe page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from sesmail.doors import answer_by_settings, site_client
from sesmail.events.sns import BODY_LIMIT_BYTES
from sesmail.hosts import know_flask_app

if TYPE_CHECKING:
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
        page = (unsubscribe or site_client().unsubscribe_door).answer(request.method, token)
        return Response(page.html, status=page.status, headers=page.headers)

    return blueprint
