"""The moments a site can listen to, as blinker signals (Flask's own).

    from sesmail.signals import email_bounced


    @email_bounced.connect
    def on_bounce(site, *, event, metadata): ...

The sender is the site's name, so `email_bounced.connect(on_bounce, sender="alpha")` hears of one site only. `event` is
a typed event (docs/event-types.md), `metadata` what the caller gave with the email: empty for email that sesmail
did not send or no longer remembers. Receivers run in the worker that processes events. They may be called more than
once for the same event, after a crash; `event.key` is the same each time. One that raises is called again later, with
growing pauses; the others are not.

blinker rather than Celery's or Django's signals: it works in every process, with or without either of them.
"""

from __future__ import annotations

from blinker import Namespace

_signals = Namespace()

email_delivered = _signals.signal("email_delivered", "The recipient's server took it. It may bounce yet.")
email_bounced = _signals.signal("email_bounced", "It did not arrive; `event.permanent` says whether it ever will.")
email_complained = _signals.signal("email_complained", "The reader called it spam.")
email_unsubscribed = _signals.signal("email_unsubscribed", "The reader opted out, through SES or one of our links.")
email_opened = _signals.signal("email_opened", "Its images were loaded; `event.by_bot` says whether by a machine.")
email_clicked = _signals.signal("email_clicked", "A link was followed; `event.by_bot` says whether by a machine.")
email_delayed = _signals.signal("email_delayed", "The recipient's server asks SES to wait. No failure.")
email_rejected = _signals.signal("email_rejected", "SES found a virus in it and did not send it.")
rendering_failed = _signals.signal("rendering_failed", "SES could not fill its template and did not send it.")

ALL = dict(_signals)
"""Each signal by its name."""
