"""sesmail's signals as Django's: for `@receiver`.

    from django.dispatch import receiver
    from sesmail.contrib.django.signals import email_bounced


    @receiver(email_bounced)
    def on_bounce(sender, *, site, event, metadata, **kwargs): ...

Each tells what `sesmail.signals` tells under the same name, in the worker of the site; the site is an argument, and
`sender` is None. A receiver that raises is called again later, and all others of the same signal with it: connect to
those of `sesmail.signals` where that matters.
"""

from __future__ import annotations

from typing import Any

from django.dispatch import Signal

from sesmail import signals

__all__ = [
    "batch_finished",
    "email_accepted",
    "email_bounced",
    "email_clicked",
    "email_complained",
    "email_delayed",
    "email_delivered",
    "email_event",
    "email_failed",
    "email_opened",
    "email_rejected",
    "email_resubscribed",
    "email_sent",
    "email_unsubscribed",
    "rendering_failed",
]


class BridgedSignal(Signal):
    """One that hears of ours from its first receiver on: of what nobody hears, the workers need not tell."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def connect(self, *args: Any, **kwargs: Any) -> None:
        """Django's; and from now on it is told."""
        super().connect(*args, **kwargs)
        signals.ALL[self._name].connect(self._pass_on)

    def _pass_on(self, site: str, **told: Any) -> None:
        self.send(sender=None, site=site, **told)


email_accepted = BridgedSignal("email_accepted")
email_delivered = BridgedSignal("email_delivered")
email_bounced = BridgedSignal("email_bounced")
email_complained = BridgedSignal("email_complained")
email_unsubscribed = BridgedSignal("email_unsubscribed")
email_resubscribed = BridgedSignal("email_resubscribed")
email_opened = BridgedSignal("email_opened")
email_clicked = BridgedSignal("email_clicked")
email_delayed = BridgedSignal("email_delayed")
email_rejected = BridgedSignal("email_rejected")
rendering_failed = BridgedSignal("rendering_failed")
email_event = BridgedSignal("email_event")
email_sent = BridgedSignal("email_sent")
email_failed = BridgedSignal("email_failed")
batch_finished = BridgedSignal("batch_finished")
