"""An email is composed before anybody may think that SES has it: what cannot be composed is rejected, with its reason."""

from __future__ import annotations

import pytest

from sesmail.message import Email
from sesmail.sending.delivery.outcomes import Rejected
from tests.contract.compose.conftest import Post


def test_1_what_cannot_be_composed_is_rejected_and_never_unknown_and_ses_is_not_asked(
    post: Post, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(email: Email, send_id: str) -> None:
        raise UnicodeEncodeError("ascii", f"{email.to} {email.subject}", 0, 1, "quotes the email")

    send_id = post.accept(Email("zebra@example.org", "zebra", "zebra"))
    post.client.transport.prepare()
    asked = post.ses.report()["accepted"]["calls"]
    with monkeypatch.context() as patch:
        patch.setattr("sesmail.ses.request.send_email_request", breaks)
        outcome = post.work(send_id)
    assert isinstance(outcome, Rejected)
    status = post.status(send_id)
    assert (status.state, status.code, status.attempts) == ("rejected", "not-composed", 0)
    assert "could not be put together (UnicodeEncodeError): SES was not asked" in status.reason
    assert post.ses.report()["accepted"]["calls"] == asked
    assert "in breaks" in caplog.text, "where the bug is, is shown"
    assert "zebra" not in caplog.text

    post.client.outbox.requeue(send_id)
    post.work(send_id)
    assert post.status(send_id).state == "sent", "it is only a rejection: once mended, it can be sent"
