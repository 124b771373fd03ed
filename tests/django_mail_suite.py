"""Django's own tests of mail backends, run on ours; from Django's source, of which nothing is kept here.

    pip download --no-deps --no-binary :all: django==5.2.19 && tar xzf django-5.2.19.tar.gz
    python -m tests.django_mail_suite django-5.2.19

That of Django 6.1 needs Python 3.12.5 or newer.

They are those that Django asks of each of its backends: SMTP, locmem, files, console. A queueing backend answers some of
them in another way on purpose; those are named below with the reason, and fail here should they pass one day.
"""

from __future__ import annotations

import argparse
import sys
import unittest
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import django
from django.conf import settings

OTHERWISE_BEFORE_6_1 = {
    "test_lazy_addresses": "its address has no domain, which SES refuses; lazy texts are tried in test_django_backend.py",
    "test_recipient_without_domain": "SES knows no mailboxes of its own machine: such an address is refused at the call",
    "test_message_cc_header": "the date is left to SES, which writes it",
}
OTHERWISE = (
    {
        "test_fail_silently_arg_accepted": "it stays an OPTION of a mailer, and Django's argument is taken without a warning"
    }
    if django.VERSION >= (6, 1)
    else OTHERWISE_BEFORE_6_1
)
"""The tests that ours answers in another way, each with the reason."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the folder of Django's source, of the version that is installed")
    source = parser.parse_args().source.resolve()
    sys.path.insert(0, str(source / "tests"))
    settings.configure(
        USE_I18N=False,
        SECRET_KEY="not a secret",
        DEFAULT_FROM_EMAIL="from@example.com",
        INSTALLED_APPS=["sesmail.contrib.django"],
        SESMAIL={"REDIS_URL": "redis://127.0.0.1:1/0"},
        SILENCED_SYSTEM_CHECKS=["sesmail.W001"],
    )
    django.setup()
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(suite_of_ours())
    result = unittest.TextTestRunner(verbosity=1).run(suite)
    failed = {test.id().rpartition(".")[2].partition(" ")[0] for test, _ in [*result.failures, *result.errors]}
    for name, reason in OTHERWISE.items():
        print(f"{'otherwise' if name in failed else 'PASSES'}  {name}: {reason}")
    unexpected = failed ^ set(OTHERWISE)
    print(
        f"{result.testsRun} ran with Django {django.__version__}, {len(failed & set(OTHERWISE))} are answered otherwise"
    )
    if unexpected:
        sys.exit(f"Not as it should be: {', '.join(sorted(unexpected))}")


def as_django_encodes(raw: bytes) -> Any:
    """The message with its texts as plain as they can be: SES gets them as fields, and chooses the encoding itself."""
    message = message_from_bytes(raw, policy=policy.default)
    for part in message.walk():
        if part.get_content_maintype() == "text" and part.get_content_disposition() != "attachment":
            text = part.get_payload(decode=True).decode(part.get_content_charset("utf-8"))
            is_plain = text.isascii() and max(map(len, text.splitlines()), default=0) < 998
            part.set_content(text, subtype=part.get_content_subtype(), cte="7bit" if is_plain else "quoted-printable")
            if django.VERSION < (6, 1):
                part.set_payload(part.get_payload().removesuffix("\n"))
    return (
        message if django.VERSION >= (5, 2) else message_from_bytes(message.as_bytes())
    )  # headers as they are encoded


def suite_of_ours() -> type[unittest.TestCase]:
    """Django's class for each of its backends, of which ours is another."""
    from django.test import SimpleTestCase

    if django.VERSION >= (6, 1):
        from mail.test_backends import SharedEmailBackendTests
    else:
        from mail.tests import BaseEmailBackendTests as SharedEmailBackendTests

    from sesmail.contrib.django import EmailBackend
    from sesmail.testing import outbox

    class SesmailBackendTests(SharedEmailBackendTests, SimpleTestCase):
        backend_class = EmailBackend  # from Django 6.1 on
        email_backend = "sesmail.contrib.django.EmailBackend"

        def setUp(self) -> None:
            super().setUp()
            self.box = self.enterContext(outbox())

        def get_mailbox_content(self) -> list[Any]:
            return [as_django_encodes(email.as_bytes()) for email in self.box.emails]

        def flush_mailbox(self) -> None:
            self.box.clear()

    return SesmailBackendTests


if __name__ == "__main__":
    main()
