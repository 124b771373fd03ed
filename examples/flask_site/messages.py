"""For those who come from Flask-Mail: the same messages, sent by the workers."""

from app import celery_init_app
from flask import Flask

from sesmail.contrib.flask import Message, SESMail

mail = SESMail()


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.update(
        CELERY={"broker_url": "redis://127.0.0.1:6379/0"},  # the ledger is kept there, too
        SESMAIL_FROM_EMAIL="shop@example.com",
    )
    celery_init_app(app)
    mail.init_app(app)

    @app.post("/invite")
    def invite() -> dict[str, str]:
        return {"id": mail.send(welcome("Ann", "ann@example.org"))}

    return app


def welcome(name: str, address: str) -> Message:
    message = Message("Welcome", recipients=[(name, address)], body="Good to have you.")
    message.attach("house-rules.txt", "text/plain", "Be kind.")
    return message
