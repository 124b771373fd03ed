"""The backend of Django's own mail: what Django, allauth or a handler of errors sends is accepted for the workers."""

from __future__ import annotations

import copy
import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.db import transaction

from sesmail.contrib.django.outgoing import emails_of
from sesmail.doors import site_client
from sesmail.errors import InvalidEmail, SesmailError
from sesmail.frames import shows_no_email
from sesmail.hosts import django_settings, runs_django_tests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sesmail.message import Email

log = logging.getLogger("sesmail")

_OPTIONS = ("account", "lane", "configuration_set", "tags")
_OF_SMTP = ("username", "password")
"""What `send_mail(auth_user=...)` gives; there is nobody to log in to."""


class EmailBackend(BaseEmailBackend):
    """`EMAIL_BACKEND = "sesmail.contrib.django.EmailBackend"`, or a `BACKEND` of MAILERS with these OPTIONS.

    account            The SES account, one of SESMAIL["ACCOUNTS"].
    lane               `transactional`, which goes first, or `bulk`.
    configuration_set  SES's, instead of SESMAIL["CONFIGURATION_SET"].
    tags               SES's message tags, as `Email` takes them.
    on_commit          Whether email goes when the current transaction commits, and not at all where it is rolled back;
                       else SESMAIL["MAIL_ON_COMMIT"].
    fail_silently      Whether what cannot be accepted is logged and counted instead of raised.

    A message may say more: `message.sesmail = {"lane": "bulk", "expires_at": ...}` takes every argument of `Email`.
    """

    def __init__(
        self,
        fail_silently: bool = False,
        *,
        on_commit: bool | None = None,
        **options: Any,
    ) -> None:
        self._options = {name: options.pop(name) for name in _OPTIONS if name in options}
        super().__init__(**{name: value for name, value in options.items() if name not in _OF_SMTP})
        self.alias = options.get("alias")
        self.fail_silently = fail_silently
        self.on_commit = on_commit

    @shows_no_email
    def send_messages(self, email_messages: Sequence[Any]) -> int:
        """Accept messages; how many. Each then has `sesmail_ids`, the ids of its sends: several for very many in `bcc`.

        All are looked at before the first is accepted, so that after `InvalidEmail` nothing is queued. Raises
        `LedgerUnavailable` where Redis is away, and `ConfigurationError`; those before have their ids. With
        `fail_silently` nothing is raised, the others are accepted, and what was not is logged and counted.
        """
        with_recipients = [message for message in email_messages or () if message.recipients()]
        read = [(message, self._attempt(self._read, message)) for message in with_recipients]
        return sum(self._hand_over(message, emails) for message, emails in read if emails)

    def _hand_over(self, message: Any, emails: list[Email]) -> bool:
        message.sesmail_ids = [str(uuid4()) for _ in emails]
        taken = zip(emails, list(message.sesmail_ids), strict=True)
        if not self._waits_for_commit():
            return self._attempt(self._accept, message, taken) is not None
        transaction.on_commit(lambda: self._attempt(self._accept, message, taken))
        return True

    def _waits_for_commit(self) -> bool:
        if self.on_commit is not None:
            return self.on_commit
        client = self._attempt(site_client)
        return client.settings.mail_on_commit if client else False

    def _read(self, message: Any) -> list[Email]:
        return emails_of(message, {**self._options, **_configuration_set(message)})

    def _accept(self, message: Any, taken: Any) -> list[str]:
        from sesmail.celery.tasks import send_ses_email  # noqa: PLC0415  Celery is slow to load

        accepted = [send_ses_email.apply_async((email,), task_id=send_id).id for email, send_id in taken]
        message.sesmail_ids = accepted  # of an idempotency key, the first send's
        if runs_django_tests() and site_client().is_suppressed:
            _show_to_tests(message, self.alias)
        return accepted

    def _attempt(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """What a step answers; None where it failed and that is not to be raised."""
        try:
            return step(*arguments)
        except SesmailError as error:
            if not self.fail_silently:
                raise
            _note(error)
            return None


def _configuration_set(message: Any) -> Mapping[str, Any]:
    """Of django-ses's AWS_SES_CONFIGURATION_SET where it is a function, which is asked for each message."""
    said = getattr(django_settings(), "AWS_SES_CONFIGURATION_SET", None)
    if not callable(said):
        return {}
    return {"configuration_set": said(message, dkim_domain=None, dkim_key=None, dkim_selector=None, dkim_headers=())}


_noting = threading.local()


def _note(error: SesmailError) -> None:
    """A message that vanishes is heard of by the log, which holds nothing of it, and counted where Redis is there.

    The line of the log may itself become a message to the admins, which is not accepted, either: that one is only
    counted.
    """
    if not getattr(_noting, "now", False):
        _noting.now = True
        try:
            log.error(
                "A Django message was not accepted, and whoever sent it wants to hear nothing (fail_silently). %s",
                error,
                extra={"action": "not_accepted", "error": type(error).__name__},
            )
        finally:
            _noting.now = False
    if not isinstance(error, InvalidEmail):
        return  # there is no Redis to count it in
    with suppress(SesmailError):
        client = site_client()
        if not client.is_suppressed:
            client.meters.count_not_accepted(type(error).__name__)


def _show_to_tests(message: Any, alias: str | None) -> None:
    """As Django's locmem backend does: in its test runner, `mail.outbox` has the messages."""
    shown = copy.copy(message)
    shown.sent_using = alias
    mail.outbox.append(shown)
