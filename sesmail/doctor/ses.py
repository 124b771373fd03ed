"""SES: whether it can be asked and by which rights, who may send, and under which configuration set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sesmail.doctor.patient import CannotLook
from sesmail.doctor.table import Level, Said, Section
from sesmail.errors import ConfigurationError, SesError, SesMisconfigured, in_a_line
from sesmail.message.addresses import bare_address
from sesmail.ses.inspection import Denied, NotThere

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesmail.doctor.patient import Patient

TOLD_OF_FAILURE = ("BOUNCE", "COMPLAINT")
EVIDENCE = ("SEND", "DELIVERY")
SHORTEST_DELIVERY_SECONDS = 3600


_of_ses = Section("SES", docs="ses.md")


@_of_ses("ses-unasked", Level.ERROR, "Mend what it says: Region, credentials, clock, network.")
def ses_unasked(of: Patient) -> str | None:
    """SES cannot be asked: no Region or one that is none, no or expired credentials, no way through the network."""
    try:
        of.aws.ask("sesv2", "get_account")
    except (SesError, ConfigurationError) as error:
        return in_a_line(error)
    except (Denied, NotThere):
        return None  # it has answered
    return None


RIGHTS = (
    ("ses:GetAccount", Level.WARNING, "the rate and quota are not known: set SESMAIL_MAX_SEND_RATE, or email crawls"),
    ("ses:GetEmailIdentity", Level.INFO, "this command cannot see whether the sender is verified"),
    ("ses:GetConfigurationSet", Level.INFO, "this command cannot see the configuration set"),
    ("ses:GetConfigurationSetEventDestinations", Level.INFO, "this command cannot see where events go"),
    ("ses:ListSuppressedDestinations", Level.INFO, "`sesmail suppress sync` cannot read SES's own list"),
)
"""What is asked, how much it matters where it is not allowed, and what then is not possible."""


@_of_ses("ses-right", Level.WARNING, "Allow the action to the workers' role, in IAM.", "ses.md")
def ses_right(of: Patient) -> Iterator[Said]:
    """A right in AWS is missing; each is tried by itself, by a call that changes nothing."""
    if _may_not_send(of):
        yield Said(
            what="AWS does not allow ses:SendEmail to this program: no email can be sent by it.", level=Level.ERROR
        )
    for action, level, consequence in RIGHTS:
        if _is_denied(of, action):
            yield Said(what=f"AWS does not allow {action} to this program: {consequence}.", level=level)


def _is_denied(of: Patient, action: str) -> bool:
    sender, configuration_set = of.settings.from_email, next(iter(of.settings.configuration_sets), None)
    arguments: dict[str, dict[str, Any] | None] = {
        "ses:GetEmailIdentity": {"EmailIdentity": bare_address(sender).lower()} if sender else None,
        "ses:GetConfigurationSet": {"ConfigurationSetName": configuration_set} if configuration_set else None,
        "ses:GetConfigurationSetEventDestinations": (
            {"ConfigurationSetName": configuration_set} if configuration_set else None
        ),
        "ses:ListSuppressedDestinations": {"PageSize": 1},
    }
    how = arguments.get(action, {})
    return how is not None and _refuses(of, CALLS[action], **how)


CALLS = {
    "ses:GetAccount": "get_account",
    "ses:GetEmailIdentity": "get_email_identity",
    "ses:GetConfigurationSet": "get_configuration_set",
    "ses:GetConfigurationSetEventDestinations": "get_configuration_set_event_destinations",
    "ses:ListSuppressedDestinations": "list_suppressed_destinations",
}


def _may_not_send(of: Patient) -> bool:
    """By an email to nobody and of nothing, which SES refuses: as not allowed, or for what it lacks."""
    if not of.settings.from_email:
        return False
    nothing = {"Raw": {"Data": b"\n"}}
    return _refuses(of, "send_email", FromEmailAddress=bare_address(of.settings.from_email), Content=nothing)


def _refuses(of: Patient, call: str, **arguments: Any) -> bool:
    try:
        of.aws.ask("sesv2", call, **arguments)
    except Denied:
        return True
    except (NotThere, SesError):
        return False
    return False


# -- The account ------------------------------------------------------------------------------------------------------


@_of_ses("account-paused", Level.ERROR, "The SES console, account dashboard, says why, and what AWS wants mended.")
def account_paused(of: Patient) -> Iterator[str]:
    """SES sends nothing for this account: AWS has shut it down, or its owner has paused it."""
    if of.account.get("EnforcementStatus") == "SHUTDOWN":
        yield "AWS has shut the account down for sending: SES refuses every email."
    elif not of.account.get("SendingEnabled", True):
        yield "Sending is paused for the account at SES: it refuses every email."


@_of_ses("account-probation", Level.WARNING, "Mend what AWS has written about: most often bounces or complaints.")
def account_probation(of: Patient) -> str | None:
    """AWS reviews the account; what it finds wanting leads to a pause."""
    on_probation = of.account.get("EnforcementStatus") == "PROBATION"
    return "AWS has the account under review (probation): the next step is a pause." if on_probation else None


@_of_ses("sandbox", Level.WARNING, "Ask AWS for production access: SES console, account dashboard.")
def sandbox(of: Patient) -> str | None:
    """The account is in the sandbox: SES sends to verified addresses alone, one a second, 200 in 24 hours."""
    if of.account.get("ProductionAccessEnabled", True):
        return None
    quota = of.account.get("SendQuota", {})
    return (
        f"The account is in the sandbox: SES sends to verified addresses alone, "
        f"{quota.get('Max24HourSend', 200):.0f} in 24 hours."
    )


@_of_ses(
    "suppression-off",
    Level.WARNING,
    "Switch on both reasons: SES console, suppression list, account-level settings.",
    "events-operate.md",
)
def suppression_off(of: Patient) -> Iterator[str]:
    """SES's own suppression list does not take who bounces or complains: the last net below ours is missing."""
    reasons = {"the account": of.account.get("SuppressionAttributes", {}).get("SuppressedReasons")}
    for name in of.settings.configuration_sets:
        reasons[f"the configuration set {name}"] = _options(of, name, "SuppressionOptions").get("SuppressedReasons")
    for who, given in reasons.items():
        missing = [] if given is None else [reason for reason in ("BOUNCE", "COMPLAINT") if reason not in given]
        if missing:
            yield f"SES's own suppression list does not take each {' and '.join(missing)} of {who}."


# -- The sender -------------------------------------------------------------------------------------------------------


def _identity(of: Patient) -> tuple[str, dict[str, Any]]:
    try:
        return of.identity
    except NotThere:
        raise CannotLook("SES does not know the sender") from None


@_of_ses("identity-unknown", Level.ERROR, "Verify the domain in the SES console, in this Region, or mend the sender.")
def identity_unknown(of: Patient) -> str | None:
    """SES knows neither the sender's address nor its domain in this Region: it refuses whatever is from there."""
    try:
        of.identity  # noqa: B018  it is asked
    except NotThere:
        domain = bare_address(of.settings.from_email or "").rpartition("@")[2]
        return f"SES does not know the sender's address nor its domain {domain} in this Region: it refuses every email."
    return None


@_of_ses("identity-unverified", Level.ERROR, "Put the records that the SES console names into the domain's DNS.")
def identity_unverified(of: Patient) -> str | None:
    """The sender's identity is not verified: SES refuses every email from it."""
    name, said = _identity(of)
    if said.get("VerifiedForSendingStatus", True):
        return None
    return f"The sender's identity {_shown(name)} is not verified: SES refuses every email from it."


@_of_ses("dkim-off", Level.WARNING, "Switch on Easy DKIM for the domain, and put its CNAME records into DNS.")
def dkim_off(of: Patient) -> str | None:
    """Email is not signed by DKIM: Gmail and Yahoo want it, and do not show one-click unsubscribe without."""
    name, said = _identity(of)
    dkim = said.get("DkimAttributes", {})
    status = "switched off" if not dkim.get("SigningEnabled", True) else dkim.get("Status", "SUCCESS")
    if status == "SUCCESS" or not said.get("VerifiedForSendingStatus", True):
        return None
    return f"DKIM of {_shown(name)} is {status.lower().replace('_', ' ')}: email goes out unsigned, much of it to spam."


@_of_ses("mail-from", Level.WARNING, "Put the MX and SPF records that the SES console names into DNS.")
def mail_from(of: Patient) -> Said | None:
    """The MAIL FROM domain has no MX record that SES finds: email is refused, or goes out without SPF of one's own."""
    name, said = _identity(of)
    attributes = said.get("MailFromAttributes", {})
    domain, status = attributes.get("MailFromDomain"), attributes.get("MailFromDomainStatus", "SUCCESS")
    if not domain or status == "SUCCESS":
        return None
    if attributes.get("BehaviorOnMxFailure") == "REJECT_MESSAGE":
        return Said(
            what=f"The MAIL FROM domain {domain} of {_shown(name)} is {status.lower()}: SES refuses every email.",
            level=Level.ERROR,
        )
    return Said(what=f"The MAIL FROM domain {domain} of {_shown(name)} is {status.lower()}: SES uses its own instead.")


def _shown(name: str) -> str:
    """An identity that is an address is not told."""
    return f"of an address at {name.rpartition('@')[2]}" if "@" in name else name


# -- The configuration set --------------------------------------------------------------------------------------------


def _options(of: Patient, configuration_set: str, name: str) -> dict[str, Any]:
    """Empty where there is no such set: another check says so."""
    try:
        return dict(of.configuration_set(configuration_set).get(name) or {})
    except (NotThere, CannotLook):
        return {}


@_of_ses(
    "configuration-set-missing",
    Level.ERROR,
    "Mend SESMAIL_CONFIGURATION_SET, or make the set: deploy/ses-events.yaml.",
    "events-setup.md",
)
def configuration_set_missing(of: Patient) -> Iterator[str]:
    """There is no such configuration set in this Region: SES refuses every email that names it."""
    for name in of.configuration_sets:
        try:
            of.configuration_set(name)
        except NotThere:
            yield f"There is no configuration set {name} in this Region: SES refuses every email."


@_of_ses("configuration-set-paused", Level.ERROR, "Switch its sending on: SES console, configuration sets.")
def configuration_set_paused(of: Patient) -> Iterator[str]:
    """Sending is switched off for the configuration set: SES refuses what names it."""
    for name in of.configuration_sets:
        if not _options(of, name, "SendingOptions").get("SendingEnabled", True):
            yield f"Sending is switched off for the configuration set {name}: SES refuses every email."


@_of_ses("delivery-short", Level.WARNING, "Raise MaxDeliverySeconds of its DeliveryOptions, or unset it.", "ses.md")
def delivery_short(of: Patient) -> Iterator[str]:
    """SES gives up so soon that a full mailbox or a greylist becomes a bounce, and not of transactional email alone."""
    for name in of.configuration_sets:
        seconds = _options(of, name, "DeliveryOptions").get("MaxDeliverySeconds")
        if seconds and seconds < SHORTEST_DELIVERY_SECONDS and not _is_for_transactional_alone(of, name):
            yield (
                f"SES gives up after {seconds} s under the configuration set {name}: servers that ask to be tried "
                "later count as bounces."
            )


def _is_for_transactional_alone(of: Patient, name: str) -> bool:
    settings = of.settings
    return name == settings.transactional_configuration_set != settings.configuration_set_of("bulk")


@_of_ses(
    "delivery-long",
    Level.INFO,
    "Set MaxDeliverySeconds of its DeliveryOptions, such as 600, where late ones are worth nothing.",
    "ses.md#configuration-sets",
)
def delivery_long(of: Patient) -> str | None:
    """Transactional email has a configuration set of its own, but SES tries for fourteen hours: codes come too late."""
    name = of.settings.transactional_configuration_set
    if not name or not _is_for_transactional_alone(of, name) or not _options(of, name, "SendingOptions"):
        return None  # or SES does not know it
    if _options(of, name, "DeliveryOptions").get("MaxDeliverySeconds"):
        return None
    return f"SES tries for 14 hours to deliver what goes out under {name}, also a code that is worth nothing by then."


@_of_ses("delivery-tls", Level.INFO, "Set TlsPolicy to OPTIONAL in its DeliveryOptions, unless it is meant.", "ses.md")
def delivery_tls(of: Patient) -> Iterator[str]:
    """SES sends to servers that speak TLS alone; to others, email bounces."""
    for name in of.configuration_sets:
        if _options(of, name, "DeliveryOptions").get("TlsPolicy") == "REQUIRE":
            yield f"The configuration set {name} requires TLS: email to servers without it bounces."


@_of_ses(
    "destination-none",
    Level.ERROR,
    "Add an event destination to the configuration set, to an SNS topic: deploy/ses-events.yaml.",
    "events-setup.md",
)
def destination_none(of: Patient) -> Iterator[str]:
    """The configuration set publishes to no SNS topic: bounces, complaints and unsubscribes go unheard."""
    for name in of.configuration_sets:
        if not _topics(of, name):
            off = any(each.get("SnsDestination") for each in _destinations(of, name))
            what = "has its event destination switched off" if off else "has no event destination that is an SNS topic"
            yield f"The configuration set {name} {what}: nobody hears of bounces and complaints."


def _destinations(of: Patient, name: str) -> list[dict[str, Any]]:
    try:
        return of.event_destinations(name)
    except NotThere:
        raise CannotLook("there is no such configuration set") from None


def _topics(of: Patient, name: str) -> dict[str, set[str]]:
    """The topics that a configuration set publishes to, each with the types of events."""
    found: dict[str, set[str]] = {}
    for each in _destinations(of, name):
        arn = (each.get("SnsDestination") or {}).get("TopicArn")
        if arn and each.get("Enabled"):
            found.setdefault(arn, set()).update(each.get("MatchingEventTypes", ()))
    return found


@_of_ses(
    "destination-types",
    Level.WARNING,
    "Tick all types of events at the event destination.",
    "events-setup.md",
)
def destination_types(of: Patient) -> Iterator[Said]:
    """The event destination leaves out types of events that something rests on."""
    for name in of.configuration_sets:
        topics = _topics(of, name)
        told = set().union(*topics.values())
        if missing := [kind for kind in TOLD_OF_FAILURE if topics and kind not in told]:
            yield Said(
                what=f"SES does not publish {' and '.join(missing)} events: whom they are about is written to again.",
                level=Level.ERROR,
            )
        if topics and not told & set(EVIDENCE):
            yield Said(
                what="SES publishes neither SEND nor DELIVERY events: for want of evidence, unknown sends go out twice."
            )


@_of_ses(
    "topic-foreign",
    Level.ERROR,
    "Name the topic in SESMAIL_TOPICS with its site, or have the set publish to one that is named.",
    "events-setup.md#what-is-believed",
)
def topic_foreign(of: Patient) -> Iterator[str]:
    """SES publishes to a topic that is not in SESMAIL_TOPICS: its events are refused at the door."""
    if of.settings.topics:
        published_to = {arn for name in of.configuration_sets for arn in _topics(of, name)}
        for arn in sorted(published_to - set(of.settings.topics)):
            yield f"SES publishes to {arn}, which is not in SESMAIL_TOPICS: its events are refused."


@_of_ses(
    "both-mechanisms",
    Level.WARNING,
    "Remove the topics from the identity's notifications: SES console, identity, notifications.",
    "events-setup.md",
)
def both_mechanisms(of: Patient) -> str | None:
    """Event publishing and the older identity notifications are both on: each bounce comes twice."""
    name, _ = _identity(of)
    answer = of.ask("ses", "get_identity_notification_attributes", Identities=[name])
    said = answer.get("NotificationAttributes", {}).get(name, {})
    kinds = [kind for kind in ("Bounce", "Complaint", "Delivery") if said.get(f"{kind}Topic")]
    if not kinds or not any(_topics(of, each) for each in of.configuration_sets):
        return None
    each = " and ".join(kinds).lower()
    return f"SES tells of each {each} twice: by event publishing, and by the identity's notifications."


# -- How it is asked --------------------------------------------------------------------------------------------------


@_of_ses(
    "ses-call",
    Level.INFO,
    "Nothing need be done: boto3's own call costs more CPU, no more.",
    "ses.md#what-a-call-costs",
)
def ses_call(of: Patient) -> str | None:
    """SES is asked by boto3's own call, at eight times the CPU of the lean one; here is why."""
    if of.settings.ses_call == "boto3":
        return None
    try:
        why = of.client.account(of.account_name).transport().why_not_lean
    except SesMisconfigured:
        return None
    return f"SES is asked by boto3's own call, not by the lean one: {why}." if why else None


@_of_ses("clock-aws", Level.WARNING, "Have this host keep time by NTP.")
def clock_aws(of: Patient) -> Said | None:
    """This host's clock is off: past five minutes AWS refuses every signature, and so every email."""
    apart = of.aws.aws_is_ahead_seconds
    if apart is None or abs(apart) < 30:
        return None
    what = f"This host's clock is {abs(apart):.0f} s {'behind' if apart > 0 else 'ahead of'} AWS's"
    if abs(apart) < 270:
        return Said(what=f"{what}: past 300 AWS refuses every email.")
    return Said(what=f"{what}: AWS refuses signatures past 300, and so every email.", level=Level.ERROR)
