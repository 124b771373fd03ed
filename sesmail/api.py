"""What an application asks about its sends, by id: how they are; to take them back, change their time, send them again.

The id is that of the Celery task: `send_ses_email.delay(...).id`. All of it concerns the sends of the current client:
see `sesmail.current_client`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesmail.celery.current import current_client
from sesmail.message.addresses import normal_address_of
from sesmail.unsubscribe import Unsubscription

if TYPE_CHECKING:
    from datetime import datetime

    from sesmail.vocabulary import Erased, Status


def status(send_id: str) -> Status:
    """What is known of a send: its state and why, its attempts, SES's message id; nothing of the email's text.

    `deliveries` tells, by SES's events, how far it got with each recipient. Raises `UnknownSend`, `LedgerUnavailable`.
    """
    return current_client().outbox.status(send_id)


def cancel(send_id: str) -> None:
    """Take a send back before SES is asked. Once this returns, it does not go out; doing it twice does nothing more.

    Raises `MoveRefused` when it is too late: it is sent, or may be. Raises `UnknownSend`, `LedgerUnavailable`.
    """
    current_client().outbox.cancel(send_id)


def reschedule(send_id: str, when: datetime) -> None:
    """Give a waiting send another time; one that has passed means now.

    Raises `InvalidEmail` for a time without a time zone, `MoveRefused` when the send is not waiting, `UnknownSend`,
    `LedgerUnavailable`.
    """
    current_client().outbox.reschedule(send_id, when)


def requeue(send_id: str) -> None:
    """Send again what was rejected, suppressed, cancelled, expired, abandoned or is unknown: a new start, all attempts.

    An unknown send may go out twice by this: SES may have it. Raises `MoveRefused`, `UnknownSend`, `LedgerUnavailable`.
    """
    current_client().outbox.requeue(send_id)


def erase(address: str, *, why: str = "", dry_run: bool = False) -> Erased:
    """Remove what is kept of a person, by one address: email that waits or has failed, events, deliveries, metadata.

    Nothing that waited is sent to the address; an email to several goes to the others. Its opt-outs hold as before, but
    are kept under a keyed hash. Email that is accepted afterwards is sent as any, unless an opt-out holds. What SES
    still tells of earlier email, within 30 days, is kept without the address.

    It is for all sites that share the ledger, and can be repeated. It looks through the whole ledger and all stored
    events: minutes, where they are millions; so do it in a task or a command rather than in a request. `why` is for
    `sesmail audit`. With `dry_run`, it says what it would remove. Where email is kept in memory, for tests, nothing is
    looked through.

    Answers what was removed. Raises `InvalidEmail` for what is no bare address, `LedgerUnavailable`,
    `EventStoreUnavailable`: then do it again.
    """
    return current_client().erase(address, why=why, dry_run=dry_run)


def unsubscribe_headers(recipient: str, list_name: str = "") -> dict[str, str]:
    """The headers of one-click unsubscribe (RFC 8058), for an email to this one address; of a list, or of everything.

    Give the email the tag `sesmail-list` of the same name. Raises `InvalidEmail` when it is not one address, and
    `ConfigurationError` where SESMAIL_UNSUBSCRIBE_URL or its secrets are missing.
    """
    client = current_client()
    who = Unsubscription(site=client.settings.site, recipient=normal_address_of("recipient", recipient), list=list_name)
    return client.unsubscribe_links.headers(who)


def record_evidence(send_id: str, message_id: str) -> str:
    """Tell that SES took a send, and under which message id: an event of SES says so, or its console.

    It counts as sent from now and is not sent again. Answers `settled`; `kept` for when SES's answer, for which a
    worker is waiting, does not come; `known`, if it was; `copy`, if it had gone out under another message id: twice; or
    `gone`, if there is no such send. Raises `LedgerUnavailable`.
    """
    return current_client().outbox.record_evidence(send_id, message_id)
