"""sesmail for Flask: settings from `app.config`, and a blueprint with the events of SES and the unsubscribe page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from sesmail import contrib, runtime
from sesmail.events.sns import BODY_LIMIT_BYTES
from sesmail.settings import ENVIRONMENT_PREFIX

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
        """Read the settings and register the doors."""
        ours = {name: value for name, value in app.config.items() if name.startswith(ENVIRONMENT_PREFIX)}
        runtime.configure(**{name.removeprefix(ENVIRONMENT_PREFIX).lower(): value for name, value in ours.items()})
        app.register_blueprint(self.blueprint, url_prefix=self.url_prefix)
        app.extensions["sesmail"] = self


def doors(intake: Intake | None = None, unsubscribe: UnsubscribeDoor | None = None, name: str = "sesmail") -> Blueprint:
    """A blueprint with `/events/` and `/unsubscribe/<token>`; what is not given is made by the settings."""
    blueprint = Blueprint(name, __name__)

    @blueprint.post("/events/")
    def events() -> Response:
        body = request.stream.read(BODY_LIMIT_BYTES + 1)
        answer = intake.answer(body, request.headers) if intake else contrib.answer(body, request.headers)
        return Response(answer.text, status=answer.status, mimetype="text/plain")

    @blueprint.route("/unsubscribe/<token>", methods=["GET", "POST"])
    def unsubscribed(token: str) -> Response:
        page = (unsubscribe or contrib.event_parts().unsubscribe_door).answer(request.method, token)
        return Response(page.html, status=page.status, headers=page.headers)

    return blueprint
