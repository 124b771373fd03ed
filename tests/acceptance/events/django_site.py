"""A Django site with the doors, served by the standard library: python django_site.py EVENTS.db CERTIFICATE.pem."""

from __future__ import annotations

import sys
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.apps import apps
from django.conf import settings
from django.core.wsgi import get_wsgi_application

database, pem = sys.argv[1:]
settings.configure(
    ROOT_URLCONF="sesmail.contrib.django.urls",
    INSTALLED_APPS=["sesmail.contrib.django"],
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
    ALLOWED_HOSTS=["127.0.0.1"],
    SECRET_KEY="for tests only",
    APPEND_SLASH=False,
)
django.setup()

from sesmail.events.intake import Intake  # noqa: E402
from sesmail.events.sns import Certificates, SnsVerifier  # noqa: E402
from sesmail.events.stores.sql import SqlEventStore  # noqa: E402
from sesmail.unsubscribe import UnsubscribeDoor, UnsubscribeLinks  # noqa: E402
from tests.signing import TOPIC  # noqa: E402

store = SqlEventStore(f"sqlite:///{database}")
store.create_table()
certificate = Path(pem).read_bytes()
links = UnsubscribeLinks(["a secret for tests only"], "http://127.0.0.1/unsubscribe/")
app = apps.get_app_config("sesmail_django")
app.intake = Intake(SnsVerifier({TOPIC: "alpha"}, Certificates(lambda url: certificate)), store)
app.unsubscribe = UnsubscribeDoor(links, lambda who: print("opted out", who.site, who.list, flush=True))


class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass


with make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
