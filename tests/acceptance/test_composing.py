"""What used to crash a worker or to arrive unreadable, by `.delay`, a worker's process and the local SES."""

from __future__ import annotations

import json
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from urllib.request import urlopen

import pytest

from tests.acceptance.programs import eventually

SEND = """
import json
from email.message import EmailMessage
from django.conf import settings
settings.configure(DEFAULT_CHARSET="utf-8")
from django.core.mail import EmailMultiAlternatives
from django.utils.translation import gettext_lazy
settings._wrapped = __import__("django.utils.functional", fromlist=["empty"]).empty
from sesmail import InvalidEmail, send_ses_email

REPORT = b"Reporting-MTA: dns; mx.example.org\\n\\nFinal-Recipient: rfc822; a@example.org\\nAction: failed\\n"
inner = EmailMessage()
inner["Subject"] = "inner"
inner.set_content("Grüße")
django = EmailMultiAlternatives("of Django", "text", "shop@example.com", ["ann@example.org"])
django.attach_alternative("BEGIN:VCALENDAR", "text/calendar; method=REQUEST")
emails = {
    "report": dict(subject="report", text="t", attachments=[("delivery-status", REPORT, "message/delivery-status")]),
    "forwarded": dict(subject="forwarded", text="t", attachments=[("original.eml", inner.as_bytes())]),
    "alert": dict(subject="alert"),
}
ids = {name: send_ses_email.delay("ann@example.org", **email).id for name, email in emails.items()}
ids["django"] = send_ses_email.delay(django).id
try:
    send_ses_email.delay("ann@example.org", "s", body="t")
except InvalidEmail as error:
    ids["refused"] = str(error)
print(json.dumps(ids))
"""


@pytest.fixture(scope="module")
def ids(site) -> dict[str, str]:
    (site.folder / "celeryconfig.py").write_text('sesmail_from_email = "shop@example.com"\n')
    ids = json.loads(site.python(SEND).splitlines()[-1])
    site.start_worker()
    return ids


def received(site, send_id: str) -> EmailMessage:
    status = eventually(lambda: site.ledger.status(send_id).state == "sent" and site.ledger.status(send_id))
    with urlopen(f"{site.ses.url}/_sim/messages/{status.message_id}/source") as answer:
        return message_from_bytes(answer.read(), policy=default)


def test_a_report_of_delivery_is_sent_and_can_be_read(site, ids) -> None:
    (report,) = received(site, ids["report"]).iter_attachments()
    assert report.get_payload()[1]["Action"] == "failed"


def test_a_forwarded_email_can_be_opened(site, ids) -> None:
    (forwarded,) = received(site, ids["forwarded"]).iter_attachments()
    assert forwarded.get_content()["Subject"] == "inner"
    assert forwarded.get_content().get_content().strip() == "Grüße"


def test_an_alert_that_is_a_subject_alone_arrives(site, ids) -> None:
    assert received(site, ids["alert"])["Subject"] == "alert"


def test_a_message_of_django_s_arrives_with_its_invitation(site, ids) -> None:
    text, invitation = received(site, ids["django"]).iter_parts()
    assert (text.get_content().strip(), invitation.get_param("method")) == ("text", "REQUEST")


def test_another_library_s_word_is_told_what_it_is_here(ids) -> None:
    assert "did you mean text=?" in ids["refused"]
