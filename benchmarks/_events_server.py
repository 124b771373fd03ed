"""One process that takes events in: python -m benchmarks._events_server DOOR STORE PORT PEM [CORE].

DOOR is asgi (uvicorn), or under gunicorn with one synchronous worker: django, flask, django-ses, django-ses-row (with a
receiver that writes one row, as sites have), anymail. STORE is none, or what `store_of` understands.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

from tests.signing import CERTIFICATE_URL, TOPIC


class Forgetful:
    """Verifies and throws away: what a store is compared with."""

    def put(self, events) -> int:
        return len(events)


def store_of(name: str):
    if name == "none":
        return Forgetful()
    if urlsplit(name).scheme == "redis":
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        from sesmail.events.stores.redis import RedisEventStore
        from sesmail.state.keys import Keys
        from sesmail.state.scripts import Scripts

        url, _, prefix = name.partition("#")
        redis = Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=5, socket_connect_timeout=1)
        return RedisEventStore(Scripts(redis, Keys(prefix or "bench")), most_events=1_000_000)
    from sesmail.events.stores.sql import SqlEventStore

    url, _, schema = name.partition("#")
    store = SqlEventStore(f"{url}?options=-csearch_path%3D{schema}" if schema else url)
    store.create_table()
    return store


def intake_of(store_name: str, pem: bytes):
    from sesmail.events.intake import Intake
    from sesmail.events.sns import Certificates, SnsVerifier

    return Intake(SnsVerifier({TOPIC: "alpha"}, Certificates(lambda _: pem)), store_of(store_name))


def django_app(door: str, store_name: str, pem: bytes):
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.urls import path

    folder = tempfile.mkdtemp()
    urls = ModuleType("urls")
    settings.configure(
        ROOT_URLCONF=urls,
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "sesmail.contrib.django", "django_ses"],
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="for benchmarks only",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/site.db"}},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        LOGGING_CONFIG=None,
        ANYMAIL={"WEBHOOK_SECRET": None},
        SILENCED_SYSTEM_CHECKS=["anymail.W001"],
    )
    django.setup()
    from django.apps import apps

    if door == "django":
        from sesmail.contrib.django.views import events as view

        apps.get_app_config("sesmail_django").intake = intake_of(store_name, pem)
    elif door == "anymail":
        from anymail.webhooks.amazon_ses import AmazonSESTrackingWebhookView
        from django.views.decorators.csrf import csrf_exempt

        view = csrf_exempt(AmazonSESTrackingWebhookView.as_view())
    else:
        view = django_ses_view(pem, with_row=door == "django-ses-row")
    urls.urlpatterns = [path("events/", view)]
    return get_wsgi_application()


def django_ses_view(pem: bytes, *, with_row: bool):
    from cryptography import x509
    from django.views.decorators.csrf import csrf_exempt
    from django_ses import signals, utils
    from django_ses.views import SESEventWebhookView

    utils._CERT_CACHE[CERTIFICATE_URL] = x509.load_pem_x509_certificate(pem)
    if with_row:
        from django.core.management import call_command
        from django_ses.models import SESStat

        call_command("migrate", verbosity=0)

        def write_a_row(_sender=None, **_) -> None:
            from django.utils import timezone

            SESStat.objects.update_or_create(
                date=timezone.now().date(),
                defaults={"delivery_attempts": 1, "bounces": 0, "complaints": 0, "rejects": 0},
            )

        for signal in (signals.send_received, signals.delivery_received, signals.open_received):
            signal.connect(write_a_row, weak=False)
    return csrf_exempt(SESEventWebhookView.as_view())


def flask_app(store_name: str, pem: bytes):
    from flask import Flask

    from sesmail.contrib.flask import doors

    app = Flask("bench")
    app.register_blueprint(doors(intake_of(store_name, pem)))
    return app


def serve_wsgi(app, port: int) -> None:
    from gunicorn.app.base import BaseApplication

    class Server(BaseApplication):
        def load_config(self) -> None:
            self.cfg.set("bind", f"127.0.0.1:{port}")
            self.cfg.set("loglevel", "critical")
            self.cfg.set("control_socket_disable", True)

        def load(self):
            return app

    Server().run()


def main(door: str, store_name: str, port: str, pem_file: str, core: str = "") -> None:
    if core:
        os.sched_setaffinity(0, {int(core)})
    pem = Path(pem_file).read_bytes()
    if door == "asgi":
        from sesmail.doors.asgi import listen, serve

        serve(intake_of(store_name, pem), listen("127.0.0.1", int(port)))
    elif door == "flask":
        serve_wsgi(flask_app(store_name, pem), int(port))
    else:
        serve_wsgi(django_app(door, store_name, pem), int(port))


if __name__ == "__main__":
    main(*sys.argv[1:])
