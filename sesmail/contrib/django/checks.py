"""What `manage.py check` says of email, before a request does; with `--deploy` Redis is asked, too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.urls import NoReverseMatch, reverse

from sesmail.contrib.django.outgoing import DJANGOS_OWN_SENDERS
from sesmail.errors import ConfigurationError, InvalidEmail
from sesmail.message.addresses import mailbox_of
from sesmail.settings import ENVIRONMENT_PREFIX
from sesmail.settings import Settings as OurSettings

if TYPE_CHECKING:
    from sesmail.celery.current import HostApp

Found = Iterator[checks.CheckMessage]

BACKEND = "sesmail.contrib.django"
"""What the path of our backend begins with."""


def register() -> None:
    """Have Django's checks call these; twice does no harm."""
    for each in (
        check_settings,
        check_installed,
        check_names,
        check_senders,
        check_error_handler,
        check_webhook,
        check_redirects,
    ):
        checks.register(_as_list(each))
    checks.register(_as_list(check_ledger), deploy=True)


_as_lists: dict[Any, Any] = {}


def _as_list(check: Callable[[], Found]) -> Callable[..., list[checks.CheckMessage]]:
    """As Django wants it; the same function each time, or it would be called twice."""

    def checked(**_: Any) -> list[checks.CheckMessage]:
        return [*check()]

    return _as_lists.setdefault(check, checked)  # type: ignore[no-any-return]


def check_settings() -> Found:
    """Whether the settings hold, and whether the project's Celery app is loaded. No Redis is asked."""
    from sesmail.celery.current import app_of_host, loaded_app, settings_of  # noqa: PLC0415  Celery is slow to load

    try:
        app = loaded_app()
        made = app_of_host() if app is None else None
        settings_of(app or made)
    except ConfigurationError as error:
        yield checks.Error(str(error), id="sesmail.E001")
        return
    if made is not None:
        yield _no_celery_app(made)


def _no_celery_app(made: HostApp) -> checks.CheckMessage:
    return checks.Warning(
        "The project's Celery app is not loaded, so tickets of emails go to the broker that the settings name.",
        hint=f"Write {made.missing}. Where a `celery -A sesmail worker` sends, nothing is missing: silence this check.",
        id="sesmail.W001",
    )


def check_installed() -> Found:
    """Whether all is installed that there is for Django."""
    if not apps.is_installed(BACKEND):
        yield checks.Info(
            'Of what there is for Django, "sesmail" in INSTALLED_APPS brings the tasks alone.',
            hint=f'Write "{BACKEND}" instead, for `manage.py sesmail`, the admin and the views of SES\'s events.',
            id="sesmail.I001",
        )


# -- Names ------------------------------------------------------------------------------------------------------------

OF_DJANGO_SES = {
    "AWS_SES_AUTO_THROTTLE": "the workers share one throttle, at the rate that SES allows (docs/throttle.md)",
    "AWS_SES_CONFIG": "SESMAIL has the timeouts; boto3 reads the rest of its own files and variables",
    "AWS_SES_FROM_ARN": "SESMAIL's SES says it as FromEmailAddressIdentityArn (docs/ses.md)",
    "AWS_SES_GLOBAL_ENDPOINT_ID": "SESMAIL's SES says it as EndpointId (docs/ses.md)",
    "AWS_SES_RETURN_PATH": "SESMAIL's SES says it as FeedbackForwardingEmailAddress (docs/ses.md)",
    "AWS_SES_RETURN_PATH_ARN": "SESMAIL's SES says it as FeedbackForwardingEmailAddressIdentityArn (docs/ses.md)",
    "AWS_SES_SOURCE_ARN": "SESMAIL's SES says it as FromEmailAddressIdentityArn (docs/ses.md)",
    "AWS_SES_USE_BLACKLIST": "who bounced or complained is left out in any case (`manage.py sesmail suppress`)",
    "DKIM_PRIVATE_KEY": "SES signs, where the identity has DKIM",
}
"""Settings of django-ses that have no effect here, with the reason."""


def check_names() -> Found:
    """Settings that are written where, or as, nobody reads them. Those within SESMAIL are told as wrong ones are."""
    for name in sorted(dir(settings)):
        if name.startswith(ENVIRONMENT_PREFIX) and (inner := _meant(name.removeprefix(ENVIRONMENT_PREFIX))):
            yield checks.Warning(
                f"{name} in Django's settings has no effect.",
                hint=f'Write SESMAIL = {{"{inner}": ...}}, or set {ENVIRONMENT_PREFIX}{inner} in the environment.',
                id="sesmail.W002",
            )
        if (why := OF_DJANGO_SES.get(name)) and getattr(settings, name, None) and _is_our_mail():
            yield checks.Info(f"{name} has no effect: {why}.", hint="Remove it.", id="sesmail.I002")


def _meant(name: str) -> str | None:
    names = [field.upper() for field in OurSettings.model_fields]
    return name if name in names else next(iter(get_close_matches(name, names, 1, 0.8)), None)


# -- Senders ----------------------------------------------------------------------------------------------------------


def check_senders() -> Found:
    """Whether SES could send from what Django's own mail is from."""
    if not _is_our_mail():
        return
    ours = _our_sender()
    for name, used_by in (("DEFAULT_FROM_EMAIL", "Email that names no sender"), ("SERVER_EMAIL", "Mail to the admins")):
        value = str(getattr(settings, name, "") or "")
        if value in DJANGOS_OWN_SENDERS:
            if name == "DEFAULT_FROM_EMAIL" or getattr(settings, "ADMINS", None) or getattr(settings, "MANAGERS", None):
                yield _nobody_set(name, value, used_by, ours)
        elif problem := _problem_with(value):
            yield checks.Error(
                f"{name} {problem}: what is sent from it is refused, and where it is sent silently, lost.",
                hint=f'Write {name} = "Shop <shop@example.com>", of a domain or an address that SES has verified.',
                id="sesmail.E002",
            )


def _nobody_set(name: str, value: str, used_by: str, ours: str | None) -> checks.CheckMessage:
    if ours:
        return checks.Info(
            f"{name} is {value}, Django's own: {_inner(used_by)} is from the sender of all other email.",
            hint=f"Set {name} to say so, or to have another sender.",
            id="sesmail.I003",
        )
    return checks.Error(
        f"{name} is {value}, Django's own, from which SES cannot send: {_inner(used_by)} is refused.",
        hint=f'Set {name}, or SESMAIL = {{"FROM_EMAIL": ...}}, to an address that SES has verified.',
        id="sesmail.E003",
    )


def _inner(words: str) -> str:
    return words[0].lower() + words[1:]


def _problem_with(value: str) -> str:
    try:
        mailbox_of("sender", value)
    except InvalidEmail as error:
        return error.problem
    return ""


def _our_sender() -> str | None:
    said = getattr(settings, "SESMAIL", None)
    found = said.get("FROM_EMAIL") or said.get("from_email") if isinstance(said, dict) else None
    default = settings.DEFAULT_FROM_EMAIL
    return (
        found or getattr(settings, "AWS_SES_FROM_EMAIL", None) or (None if default in DJANGOS_OWN_SENDERS else default)
    )


def _is_our_mail() -> bool:
    """Whether Django's own mail goes through us, by EMAIL_BACKEND or by one of MAILERS (Django 6.1)."""
    mailers = getattr(settings, "MAILERS", None)
    if mailers is not None:
        return any(str(each.get("BACKEND", "")).startswith(BACKEND) for each in mailers.values())
    return str(getattr(settings, "EMAIL_BACKEND", "")).startswith(BACKEND)


def check_error_handler() -> Found:
    """Whether a report of an error can become another error: with MAILERS, Django's handler is silent no more.

    https://docs.djangoproject.com/en/stable/ref/logging/#django.utils.log.AdminEmailHandler
    """
    mailers = getattr(settings, "MAILERS", None)
    if mailers is None or not getattr(settings, "ADMINS", None):
        return
    said = getattr(settings, "LOGGING", None) or {}
    djangos_own = {} if "django" in said.get("loggers", {}) else {"mail_admins": {"class": "AdminEmailHandler"}}
    handlers = {**said.get("handlers", {}), **djangos_own}
    for name, handler in handlers.items():
        mailer = mailers.get(handler.get("using") or "default", {})
        is_ours = str(mailer.get("BACKEND", "")).startswith(BACKEND)
        is_silent = mailer.get("OPTIONS", {}).get("fail_silently")
        if str(handler.get("class", "")).endswith("AdminEmailHandler") and is_ours and not is_silent:
            yield checks.Warning(
                f"The handler {name} of LOGGING mails the admins by a mailer that raises: when Redis is away, "
                "reporting an error fails with another one.",
                hint='Give the logger "django" a handler with "using": "errors", an alias that has fail_silently.',
                id="sesmail.W008",
            )


# -- Events -----------------------------------------------------------------------------------------------------------


def check_webhook() -> Found:
    """Whether the door of SES's events, where it is open, believes anybody."""
    from sesmail.celery.current import current_client  # noqa: PLC0415  Celery is slow to load

    try:
        if not _has_door() or current_client().settings.topics:
            return
    except ConfigurationError:
        return  # told by check_settings
    yield checks.Warning(
        "The door of SES's events is among the urls, but no SNS topic is believed: what is posted there is refused.",
        hint='Write SESMAIL = {"TOPICS": {"arn:aws:sns:...": "default"}}, or take sesmail.contrib.django.urls out.',
        id="sesmail.W003",
    )


def check_redirects() -> Found:
    """Whether what is posted to the door may be answered by a redirect, which no view can be exempt from."""
    secure = "django.middleware.security.SecurityMiddleware" in (settings.MIDDLEWARE or ())
    if not (secure and settings.SECURE_SSL_REDIRECT) or settings.SECURE_PROXY_SSL_HEADER or not _has_door():
        return
    path = reverse("sesmail:events").lstrip("/")
    if not any(re.search(pattern, path) for pattern in settings.SECURE_REDIRECT_EXEMPT):
        yield checks.Warning(
            "SECURE_SSL_REDIRECT answers by a redirect whatever comes by http, and neither SNS nor mail providers post "
            "again: behind a proxy that ends TLS, all events of SES and one-click unsubscribes would be lost.",
            hint="Behind such a proxy, set SECURE_PROXY_SSL_HEADER. Where SNS posts to http:// itself, add "
            f'r"^{path}" to SECURE_REDIRECT_EXEMPT. Where TLS ends in Django\'s own server, silence this check.',
            id="sesmail.W009",
        )


def _has_door() -> bool:
    if not getattr(settings, "ROOT_URLCONF", None):
        return False
    try:
        reverse("sesmail:events")
    except NoReverseMatch:
        return False
    return True


# -- Before a deploy --------------------------------------------------------------------------------------------------


OF_THE_DOCTOR = {"configuration-set-none": "W004", "broker-apart": "W005", "redis-forgets": "W007"}
"""Checks of `sesmail doctor` that matter before a deploy, each with its id in Django."""


def check_ledger() -> Found:
    """What matters where mail is real: that Redis keeps what it is given, and that SES tells what becomes of it."""
    from sesmail.celery.broker_setup import broker_setup  # noqa: PLC0415  Celery is slow to load
    from sesmail.celery.current import current_app, current_client  # noqa: PLC0415
    from sesmail.doctor import Patient, examine  # noqa: PLC0415

    try:
        report = examine(Patient(current_client(), broker_setup(current_app())), only=OF_THE_DOCTOR)
    except ConfigurationError:
        return  # told by check_settings
    for each in report.findings:
        yield checks.Warning(each.what, hint=f"{each.do} See {each.docs}.", id=f"sesmail.{OF_THE_DOCTOR[each.id]}")
    for why in {each.why for each in report.unseen}:
        yield checks.Warning(f"The ledger could not be looked at: {why}.", id="sesmail.W006")
