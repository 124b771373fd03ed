"""sesmail's signals as Django's own."""

from __future__ import annotations

import pytest
from django.dispatch import receiver

from sesmail import send_ses_email, signals
from sesmail.contrib.django import signals as django_signals


def test_each_signal_is_one_of_djangos_too():
    assert {*django_signals.__all__} == {*signals.ALL}


def test_a_receiver_of_djangos_hears_what_ses_tells_and_nothing_once_it_is_gone(box):
    heard = []

    @receiver(django_signals.email_bounced)
    def on_bounce(sender, *, site, event, metadata, **kwargs):
        heard.append((sender, site, event.recipient, metadata))

    send_ses_email.delay("ann@example.org", "s", "t", metadata={"order": 17})
    box.bounced(box.one())
    assert heard == [(None, "default", "ann@example.org", {"order": 17})]
    django_signals.email_bounced.disconnect(on_bounce)
    box.bounced(box.one())
    assert len(heard) == 1


def test_how_a_send_ended_is_told(box):
    heard = []

    @receiver(django_signals.email_sent)
    def on_sent(status, **kwargs):
        heard.append(status.state)

    send_ses_email.delay("ann@example.org", "s", "t")
    box.deliver()
    assert heard == ["sent"]
    django_signals.email_sent.disconnect(on_sent)


def test_a_receiver_that_raises_is_not_swallowed(box):
    @receiver(django_signals.email_complained)
    def on_complaint(**kwargs):
        raise ZeroDivisionError

    send_ses_email.delay("ann@example.org", "s", "t")
    with pytest.raises(ZeroDivisionError):
        box.complained(box.one())
    django_signals.email_complained.disconnect(on_complaint)
