"""The moments a site can listen to, as blinker signals (Flask's own).

    from sesmail.signals import email_bounced


    @email_bounced.connect
    def on_bounce(site, *, event, metadata): ...

The sender is the site's name, so `email_bounced.connect(on_bounce, sender="alpha")` hears of one site only. `event` is
a typed event (docs/event-types.md), `metadata` what the caller gave with the email: empty for email that sesmail
did not send or no longer remembers (SESMAIL_METADATA_RETENTION_SECONDS: 90 days). Receivers run in the worker that
processes events. They may be called more than once for the same event, after a crash; `event.key` is the same each
time. One that raises is called again later, with growing pauses; the others are not. A receiver may be an `async def`:
it is awaited, in a thread and a loop of its own.

One receiver may listen to several signals, and `email_event` tells of every event, whatever its kind:

    from sesmail.signals import email_bounced, email_complained, email_event, receiver


    @receiver(email_bounced, email_complained)
    def forget_address(site, *, event, metadata): ...


    @email_event.connect
    def log_all(site, *, event, metadata):
        print(type(event).__name__, event.message_id)

Receivers are held until they are disconnected, also those that nothing else refers to: methods, lambdas, functions that
are made in `AppConfig.ready`.

Two signals tell how a send ended, by whoever or whatever it was settled:

    from sesmail.signals import email_failed, email_sent


    @email_sent.connect
    def after(site, *, status, metadata):
        print(status.send_id, status.message_id)


    @email_failed.connect
    def not_sent(site, *, status, metadata):
        print(status.send_id, status.state, status.reason, status.code)

`batch_finished` tells, with a `sesmail.BatchStatus`, when everybody's send of a batch has ended.

Of a batch's recipients `email_failed` tells, and `email_sent` does not: that would keep a message id and a row of each.
SES's event `Send` tells the same, with the recipient's metadata: `email_accepted`.

`status` is a `sesmail.Status`. They are told within seconds by a worker of the site that has receivers for them, at
least once; of sends that ended before such a worker first ran, nothing is told.

blinker rather than Celery's or Django's signals: it works in every process, with or without either of them.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from blinker import ANY, NamedSignal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

log = logging.getLogger("sesmail")

Receiver = TypeVar("Receiver", bound="Callable[..., Any]")


class MailSignal(NamedSignal):
    """A signal that holds its receivers: blinker's own lets go of those that nothing else refers to, without a word."""

    def connect(self, receiver: Receiver, sender: Any = ANY, weak: bool = False) -> Receiver:
        """Have a receiver called for every site, or for that named as `sender`."""
        return super().connect(receiver, sender, weak)


ALL: dict[str, MailSignal] = {}
"""Each signal by its name."""


def _signal(name: str, meaning: str) -> MailSignal:
    ALL[name] = MailSignal(name, meaning)
    return ALL[name]


email_accepted = _signal("email_accepted", "SES took it, as SES's own event `Send` tells.")
email_delivered = _signal("email_delivered", "The recipient's server took it. It may bounce yet.")
email_bounced = _signal("email_bounced", "It did not arrive; `event.permanent` says whether it ever will.")
email_complained = _signal("email_complained", "The reader called it spam.")
email_unsubscribed = _signal("email_unsubscribed", "The reader opted out, through SES or one of our links.")
email_resubscribed = _signal("email_resubscribed", "The reader came back, at SES's own page of preferences.")
email_opened = _signal("email_opened", "Its images were loaded; `event.by_bot` says whether by a machine.")
email_clicked = _signal("email_clicked", "A link was followed; `event.by_bot` says whether by a machine.")
email_delayed = _signal("email_delayed", "The recipient's server asks SES to wait. No failure.")
email_rejected = _signal("email_rejected", "SES found a virus in it and did not send it.")
rendering_failed = _signal("rendering_failed", "SES could not fill its template and did not send it.")

OF_EVENTS = dict(ALL)
"""Each signal of SES's events, by its name."""

email_event = _signal("email_event", "Any event of SES about an email, whatever its kind; the kind's own is told, too.")
email_sent = _signal("email_sent", "SES took it and gave a message id.")
batch_finished = _signal("batch_finished", "The last of a batch has come to its end; `status` is its `BatchStatus`.")
email_failed = _signal("email_failed", "It is not sent and will not be by itself; `status.reason` says why.")


def heard_here(site: str) -> set[str]:
    """The names of the signals of SES's events that functions in this process listen to, for a site."""
    of_events = {**OF_EVENTS, email_event.name: email_event}
    return {name for name, signal in of_events.items() if signal.has_receivers_for(site)}


def receiver(*signals: MailSignal, site: str | None = None) -> Callable[[Receiver], Receiver]:
    """Connect the decorated function to several signals, for every site or for the one named."""

    def connect(function: Receiver) -> Receiver:
        for signal in signals:
            signal.connect(function, sender=ANY if site is None else site)
        return function

    return connect


def tell(
    signal: NamedSignal,
    site: str,
    *,
    also: NamedSignal | None = None,
    only: Collection[str] = (),
    on_failure: Callable[[Exception], object] | None = None,
    **said: Any,
) -> dict[str, str]:
    """Call those who listen to a signal of a site, or of them only those named; what went wrong, by receiver.

    Who listens to the signal `also` is called as well, and who listens to both once. `on_failure` is given what they
    raised: for tests.
    """
    signals = [signal] if also is None else [signal, also]
    connected = [receiver for one in signals for receiver in one.receivers_for(site)]
    listening = [receiver for place, receiver in enumerate(connected) if receiver not in connected[:place]]
    # One that failed and was renamed since is among those that have not failed before.
    receivers = [receiver for receiver in listening if name_of(receiver) in only] or listening
    problems = {name_of(receiver): _call(receiver, site, said, on_failure) for receiver in receivers}
    return {name: problem for name, problem in problems.items() if problem}


def name_of(receiver: Callable[..., object]) -> str:
    """How a receiver is called in the log, and told from others when it failed."""
    named = receiver if hasattr(receiver, "__qualname__") else type(receiver)
    return f"{named.__module__}.{named.__qualname__}"


def _call(
    receiver: Callable[..., object],
    site: str,
    said: dict[str, Any],
    on_failure: Callable[[Exception], object] | None,
) -> str:
    """Call a receiver; what went wrong, or nothing."""
    try:
        answer = receiver(site, **said)
        if inspect.isawaitable(answer):
            _await_in_a_thread(answer)
    except Exception as error:  # noqa: BLE001  a site's own code may raise anything
        # The text of the error stays out of the log: it may hold an address.
        name = name_of(receiver)
        log.warning("%s raised %s", name, type(error).__name__, extra={"action": "receiver_failed", "receiver": name})
        if on_failure:
            on_failure(error)
        return f"{type(error).__name__}: {error}"
    return ""


def _await_in_a_thread(answer: Any) -> None:
    """In a thread of its own: the worker's may have a loop already, and what async code leaves behind goes with it."""
    with ThreadPoolExecutor(1, thread_name_prefix="sesmail-receiver") as thread:
        thread.submit(asyncio.run, _done(answer)).result()


async def _done(answer: Any) -> None:
    await answer
