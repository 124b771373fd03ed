"""What recipients' servers and providers tell: deliveries, bounces, complaints, delays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sesmail.events.fields import Part, folded
from sesmail.events.model import Bounced, Complained, ComplainedBefore, Delayed, Delivered, Event, Unhandled
from sesmail.state.people.reputation import Counter
from sesmail.state.people.suppression import Scope
from sesmail.vocabulary import Delivery, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesmail.events.mail import EmailRead

# Permanent bounces: bounceSubType -> reason. General, NoEmail and what AWS may add mean that the address is not there.
_PERMANENT_REASONS = {
    "onaccountsuppressionlist": Reason.SES_LIST,
    "ontenantsuppressionlist": Reason.SES_LIST,
    "emailvalidationsuppressed": Reason.INVALID,
    "unsubscribedrecipient": Reason.UNSUBSCRIBED,
}
_ONLY_FOR_THE_SITE = {"ontenantsuppressionlist", "unsubscribedrecipient"}
_PASSING_COUNTERS = {"Undetermined": Counter.BOUNCED_UNDETERMINED}
_TYPES = {folded(name): name for name in ("Permanent", "Transient", "Undetermined")}
_PASSING_SUB_TYPES = {
    "mailboxfull",
    "messagetoolarge",
    "contentrejected",
    "attachmentrejected",
    "customtimeoutexceeded",
    "undetermined",
}


def delivered(email: EmailRead, details: Part) -> Iterator[Event]:
    """One for each whose server took it."""
    named = details.addresses("recipients") or [address for address in [email.only_recipient] if address]
    if not named:
        yield from _about_nobody(email, details, "Delivery")
    for reported in named:
        whose = email.addressed(reported, set(named))
        response = details.text("smtpResponse")
        yield Delivered(**_fields(email, details, whose, "delivered"), mta_response=response)


def bounced(email: EmailRead, details: Part) -> Iterator[Event]:
    """One for each who is listed: only they bounced, not all of mail.destination."""
    given, sub_type = details.text("bounceType"), details.text("bounceSubType")
    kind = _TYPES.get(folded(given), given)
    recipients = _named(email, details, "bouncedRecipients")
    if not recipients:
        yield from _about_nobody(email, details, "Bounce")
    if kind not in _TYPES.values():
        details.note("bounceType")
    for recipient, reported in recipients:
        permanent = _is_permanent(kind, sub_type, recipient)
        whose = email.addressed(reported, {address for _, address in recipients})
        # Neither feedbackId, of which it is not documented that the two spellings of one bounce share it, nor a time:
        # a second out-of-office answer is no second bounce. Another sub-type or status is another bounce.
        what = (kind, sub_type, recipient.text("status"), "" if permanent else "passing")
        yield Bounced(
            **_fields(email, details, whose, "bounced", *what),
            **(_after_permanent_bounce(sub_type, email.site) if permanent else _after_passing_bounce(kind)),
            bounce_type=kind,
            bounce_sub_type=sub_type,
            permanent=permanent,
            mta_response=recipient.text("diagnosticCode"),
        )


def _is_permanent(kind: str, sub_type: str, recipient: Part) -> bool:
    """Whether the address is to blame for good.

    Within a permanent bounce, the recipient's own action may be `delayed`: that one has not failed. Where SES's type
    cannot be read, by what else it says; and where that is nothing, it is permanent: a mailing to who has gone harms
    the account each time, and who was opted out wrongly can be let in again.
    """
    is_delayed = folded(recipient.text("action")) == "delayed"
    if kind in _TYPES.values():
        return kind == "Permanent" and not is_delayed
    if folded(sub_type) in _PERMANENT_REASONS:
        return True
    return not (
        folded(sub_type) in _PASSING_SUB_TYPES or recipient.text("status").strip().startswith("4") or is_delayed
    )


def _after_permanent_bounce(sub_type: str, site: str) -> dict[str, Any]:
    reason = _PERMANENT_REASONS.get(folded(sub_type), Reason.BOUNCED)
    return {
        "counter": Counter.BOUNCED_PERMANENT if reason is Reason.BOUNCED else Counter.BOUNCED_SUPPRESSED,
        "delivery": Delivery.BOUNCED,
        "suppresses": ((reason, Scope(site) if folded(sub_type) in _ONLY_FOR_THE_SITE else Scope()),),
    }


def _after_passing_bounce(kind: str) -> dict[str, Any]:
    return {
        "counter": _PASSING_COUNTERS.get(kind, Counter.BOUNCED_TRANSIENT),
        "delivery": Delivery.UNDELIVERED,
    }


def complained(email: EmailRead, details: Part) -> Iterator[Event]:
    """One for each who may have complained."""
    feedback_type = details.text("complaintFeedbackType")
    if folded(feedback_type) == "notspam":  # somebody took it out of the spam folder
        yield Unhandled(**email.fields(details, "not-spam"), what="Complaint/not-spam")
        return
    recipients = _named(email, details, "complainedRecipients")
    if not recipients:
        yield from _about_nobody(email, details, "Complaint")
    before = bool(details.get("complaintSubType"))  # OnAccountSuppressionList
    for number, (_, reported) in enumerate(recipients):
        whose = email.addressed(reported, {address for _, address in recipients})
        yield (ComplainedBefore if before else Complained)(
            **_fields(email, details, whose, "complained"),
            feedback_type=feedback_type,
            counter=None if before or number else Counter.COMPLAINED,  # one complaint, however many it may be from
            user_agent=details.text("userAgent"),
        )


def delayed(email: EmailRead, details: Part) -> Iterator[Event]:
    """One for each whose server asks SES to wait."""
    recipients = _named(email, details, "delayedRecipients")
    if not recipients:
        yield from _about_nobody(email, details, "DeliveryDelay")
    for recipient, reported in recipients:
        whose = email.addressed(reported, {address for _, address in recipients})
        yield Delayed(
            **_fields(email, details, whose, "delayed", str(details.get("timestamp"))),
            delay_type=details.text("delayType"),
            mta_response=recipient.text("diagnosticCode"),
        )


def _named(email: EmailRead, details: Part, name: str) -> list[tuple[Part, str]]:
    """Those whom SES names, once each; where it names nobody who can be read, the one whom the email went to."""
    found: dict[str, tuple[Part, str]] = {}
    for recipient, address in details.recipients(name):
        found.setdefault(address, (recipient, address))
    if not found and email.only_recipient:
        if details.get(name) is None:
            details.note(name)
        return [(Part(None, "", []), email.only_recipient)]
    return [*found.values()]


def _fields(email: EmailRead, details: Part, whose: dict[str, Any], *key: str) -> dict[str, Any]:
    fields = email.fields(details, *key, recipient=whose["recipient"] or whose["reported_address"])
    return fields | whose


def _about_nobody(email: EmailRead, details: Part, what: str) -> Iterator[Event]:
    """It names nobody who can be read; it still proves that SES took the email."""
    details.note("recipients")
    if email.is_there:
        yield Unhandled(**email.fields(details, what, "without recipients"), what=f"{what} without recipients")
