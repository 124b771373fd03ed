"""A Django site with the doors, served by the standard library: python django_site.py EVENTS.db CERTIFICATE.pem.

Every middleware that answers by a redirect or forbids forms is on, as in a site that is shut to strangers.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.apps import apps
from django.conf import settings
from django.core.wsgi import get_wsgi_application

database, pem = sys.argv[1:]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
if django.VERSION >= (5, 1):
    MIDDLEWARE.append("django.contrib.auth.middleware.LoginRequiredMiddleware")
if find_spec("django.middleware.csp"):  # from Django 6.0 on
    MIDDLEWARE.append("django.middleware.csp.ContentSecurityPolicyMiddleware")
settings.configure(
    ROOT_URLCONF="sesmail.contrib.django.urls",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "sesmail.contrib.django"],
    MIDDLEWARE=MIDDLEWARE,
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    LOGIN_URL="/login/",
    ALLOWED_HOSTS=["127.0.0.1"],
    SECRET_KEY="for tests only",
    APPEND_SLASH=True,
    SECURE_SSL_REDIRECT=True,
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    SECURE_CSP={"default-src": ["'none'"], "form-action": ["'none'"]},
    CSRF_USE_SESSIONS=True,
    DATA_UPLOAD_MAX_MEMORY_SIZE=1000,
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
