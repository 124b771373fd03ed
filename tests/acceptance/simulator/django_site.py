"""A Django site that mails through django-ses and django-anymail and takes their webhooks, unchanged but for two things that
only AWS's real hosts could give: SNS's certificate and the page behind a SubscribeURL come from the simulator.

Run as `python django_site.py SIMULATOR_URL`; prints its own address.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from unittest import mock
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

simulator = sys.argv[1]
received: list[list[str]] = []
open_url = urllib.request.urlopen

BACKENDS = {
    "django-ses": ("django_ses.SESBackend", {}),
    "django-ses-v2": ("django_ses.SESBackend", {"use_ses_v2": True}),
    "anymail": ("anymail.backends.amazon_ses.EmailBackend", {}),
}


def configure() -> None:
    settings.configure(
        SECRET_KEY="example",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["django_ses", "anymail"],
        DEFAULT_FROM_EMAIL="News <news@example.com>",
        AWS_ACCESS_KEY_ID="a",
        AWS_SECRET_ACCESS_KEY="b",
        AWS_SES_REGION_ENDPOINT_URL=simulator,
        AWS_SNS_EVENT_TRUSTED_TOPIC_ARNS=["arn:aws:sns:us-east-1:123456789012:django"],
        ANYMAIL={
            "WEBHOOK_SECRET": "sns:secret",
            "AMAZON_SES_CLIENT_PARAMS": {
                "endpoint_url": simulator,
                "region_name": "us-east-1",
                "aws_access_key_id": "a",
                "aws_secret_access_key": "b",
            },
        },
    )
    django.setup()


def send(request: HttpRequest) -> JsonResponse:
    backend, options = BACKENDS[request.GET["backend"]]
    email = EmailMultiAlternatives(
        "Grüße",
        "Good morning",
        to=["Reader <bounce+django@simulator.amazonses.com>"],
        connection=get_connection(backend, **options),
    )
    email.attach_alternative("<p>Good morning</p>", "text/html")
    email.attach("notes.txt", "some notes", "text/plain")
    return JsonResponse({"sent": email.send()})


def fetch_certificate(_url: str, **_options: object) -> mock.Mock:
    with open_url(f"{simulator}/_sim/certificate.pem") as answer:
        return mock.Mock(content=answer.read())


def visit(subscribe_url: str):
    return open_url(f"{simulator}/?{urlsplit(subscribe_url).query}")


def listen() -> None:
    from anymail.signals import tracking
    from django_ses import signals

    tracking.connect(lambda event, **_: received.append(["anymail", event.event_type, event.recipient]), weak=False)
    for name in ("send", "bounce", "delivery", "complaint"):
        note = lambda name=name, mail_obj=None, **_: received.append(["django-ses", name, mail_obj["messageId"]])  # noqa: E731
        getattr(signals, f"{name}_received").connect(note, weak=False)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


def urls() -> list:
    from django.views.decorators.csrf import csrf_exempt
    from django_ses.views import SESEventWebhookView

    return [
        path("send", send),
        path("received", lambda _request: JsonResponse(received, safe=False)),
        path("ses/", csrf_exempt(SESEventWebhookView.as_view())),
        path("anymail/", include("anymail.urls")),
    ]


if __name__ == "__main__":
    configure()
    sys.modules["__main__"].urlpatterns = urls()
    listen()
    with mock.patch("requests.get", fetch_certificate), mock.patch("django_ses.utils.urlopen", visit):
        server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet)
        print(json.dumps({"url": f"http://127.0.0.1:{server.server_port}"}), flush=True)
        server.serve_forever()
