"""What an application asks about its sends, by id: how they are; to take them back, change their time, send them again.

The id is that of the Celery task: `send_ses_email.delay(...).id`. All of it concerns the sends of the current client:
see `sesmail.current_client`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sesmail.celery.current import current_client
from sesmail.message.addresses import normal_address_of
from sesmail.unsubscribe import Unsubscription

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sesmail.message import Email
    from sesmail.sending.batches.batch import Batch
    from sesmail.sending.batches.queueing import Recipient
    from sesmail.sending.letters.letter import Letter
    from sesmail.vocabulary import Erased, Status


def send_batch(
    letter: Letter | Email | str,
    recipients: Iterable[Recipient],
    *,
    key: str,
    list: str | None = None,  # noqa: A002  the word of the field
    site: str | None = None,
    account: str | None = None,
    send_at: datetime | str | None = None,
    expires_at: datetime | str | None = None,
    weight: float = 1.0,
    rate: str | float | None = None,
    ramp: int | None = None,
    without_unsubscribe: bool = False,
    skip_bad: bool = False,
) -> Batch:
    """Queue a letter to many: `recipients` are addresses or `(address, values)`, of any iterable, read as a stream.

    `letter` is a `Letter`, an `Email` to `None`, whose texts may have `{{name}}` as a letter's, or the name of a
    template that SES keeps: what it says now is sent. Behind the values, `(address, values, own)`, may stand what
    else is the recipient's own: `{"tags": ..., "headers": ..., "metadata": ...}`, beside the letter's or instead.

    `{{name}}` in the letter stands for the recipient's value of that name, `{{email}}` for the address and
    `{{unsubscribe_url}}` for the link by which the reader leaves the `list`. Each row is checked before it is queued;
    nothing is sent before the last one was read. Where the call is cut off, by an error in a row, by a crash, the same
    call under the same `key` goes on: who was queued is not queued again, so that rows may be mended, added and come in
    another order. An address that stands twice gets it once.

        key                  a name for this mailing, of at most 256 characters; with another letter it is refused.
        list                 the name of the list that it goes to: opt-outs of it count, and with
                             SESMAIL_UNSUBSCRIBE_URL each email has the headers of one-click unsubscribe.
        send_at, expires_at  when it goes out at the earliest; when it is worth nothing any more.
        weight               its share of the lane beside other batches: 2 gets twice of what 1 gets.
        rate                 how fast it may go at most: `"5/s"`, `"300/m"`; beside the account's rate.
        ramp                 how many recipients on its first day, twice as many on each that follows: for a new sender.
        without_unsubscribe  let a bulk mailing go that readers cannot leave by a link.
        skip_bad             leave out bad rows, which are counted in `Batch.bad`, instead of raising at the first.

    Raises `InvalidEmail`, which names the place of a bad row, its kind `IdempotencyConflict`, `ConfigurationError`,
    `MoveRefused` where somebody else queues or has cancelled the same batch meanwhile, and `LedgerUnavailable`.
    """
    terms: dict[str, Any] = {"site": site, "account": account, "send_at": send_at, "expires_at": expires_at}
    terms |= {
        "weight": weight,
        "rate": rate,
        "ramp": ramp,
        "without_unsubscribe": without_unsubscribe,
        "skip_bad": skip_bad,
    }
    return current_client().send_batch(letter, recipients, key=key, list=list, **terms)


def preview_batch(
    letter: Letter | Email | str,
    recipient: Recipient,
    *,
    list: str | None = None,  # noqa: A002  the word of the field
    account: str | None = None,
) -> Email:
    """The email that `send_batch` would send to this recipient, to look at; nothing is queued.

    To send it to oneself: `send_ses_email.delay(preview_batch(...).replace(to="me@example.com"))`. Raises
    `InvalidEmail` and `ConfigurationError` as `send_batch`.
    """
    return current_client().composer.preview(letter, recipient, list=list, account=account)


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
