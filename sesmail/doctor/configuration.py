"""What settings say, and what they most likely do not mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesmail.doctor.table import Level, Section
from sesmail.errors import ConfigurationError, InvalidEmail, SesError
from sesmail.message.addresses import mailbox_of
from sesmail.settings import misspelt_variables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesmail.doctor.patient import Patient
    from sesmail.settings import Settings

SHORT_READ_SECONDS = 10.0


_named = Section("Configuration", docs="settings.md")


@_named(
    "settings-wrong",
    Level.ERROR,
    "Mend the setting that is named; docs/settings.md has all names and what they take.",
)
def settings_wrong(_of: Patient) -> None:
    """The settings, or the application that they are of, cannot be read. No email is accepted or sent by it.

    It is told in place of all others: the command finds it before there is anything to look at.
    """


@_named("misspelt-variable", Level.WARNING, "Rename it in the environment, or remove it.")
def misspelt_variable(_of: Patient) -> Iterator[str]:
    """A variable is spelt nearly as a setting is; nobody reads it, and the default holds."""
    for variable, meant in misspelt_variables():
        yield f"The variable {variable} is no setting and has no effect: is {meant} meant?"


@_named("misspelt-celery", Level.WARNING, "Rename it in Celery's configuration, or remove it.")
def misspelt_celery(of: Patient) -> Iterator[str]:
    """Celery's configuration has a name that Celery does not know; it says nothing, and its default holds."""
    for name, meant in of.broker.misspelt:
        yield f"Celery's configuration has {name}, which Celery does not know and leaves aside: is {meant} meant?"


@_named(
    "suppressed",
    Level.ERROR,
    "Set SESMAIL_SUPPRESS_SEND=0, or remove what is named, where email is to be sent.",
    "testing.md",
)
def suppressed(of: Patient) -> str | None:
    """Emails are kept in the memory of each process, as tests want it, and nobody gets one."""
    why = of.client.why_suppressed
    return f"Nothing is sent from here: email is kept in memory, so says {why}." if why else None


@_named("redirected", Level.WARNING, "Unset SESMAIL_REDIRECT_TO where mail is real.", "testing.md")
def redirected(of: Patient) -> str | None:
    """All email goes to a few addresses instead, as staging wants it."""
    count = len(of.settings.redirect_to)
    whom = "the address" if count == 1 else f"the {count} addresses"
    return f"All email goes to {whom} of SESMAIL_REDIRECT_TO instead of its readers." if count else None


@_named("sender-wrong", Level.ERROR, 'Write it as "Shop <shop@example.com>", of an identity that SES has verified.')
def sender_wrong(of: Patient) -> str | None:
    """The sender of emails that name none is no address; those are refused at the call."""
    if not of.settings.from_email:
        return None
    try:
        mailbox_of("sender", of.settings.from_email)
    except InvalidEmail as error:
        return f"{of.settings.said_as('from_email')} {error.problem}: emails that name no sender are refused."
    return None


@_named("sender-none", Level.INFO, "Set SESMAIL_FROM_EMAIL, or name from_email with each email.")
def sender_none(of: Patient) -> str | None:
    """No sender is set; an email that names none is refused at the call."""
    return None if of.settings.from_email else "No SESMAIL_FROM_EMAIL is set: emails that name no sender are refused."


@_named(
    "read-timeout-short",
    Level.WARNING,
    "Leave SESMAIL_SES_READ_TIMEOUT_SECONDS at 60: SES answers within a second, but not always.",
    "reliability.md",
)
def read_timeout_short(of: Patient) -> str | None:
    """SES's answers are waited for so briefly that slow ones become unknown outcomes, and emails may go out twice."""
    seconds = of.settings.ses_read_timeout_seconds
    if seconds >= SHORT_READ_SECONDS:
        return None
    return f"SES's answer is waited for only {seconds:g} s: what it answers later is unknown, and may go out twice."


@_named(
    "endpoint-elsewhere",
    Level.INFO,
    "Unset SESMAIL_ENDPOINT_URL and AWS_ENDPOINT_URL_SESV2 where mail is real.",
    "simulator.md",
)
def endpoint_elsewhere(of: Patient) -> str | None:
    """SES is looked for at another address than AWS's, such as a local simulator's: nobody gets an email."""
    url = _endpoint(of)
    return (
        None if ".amazonaws.com" in url or not url else f"SES is asked at {url}, not at AWS: nobody gets these emails."
    )


def _endpoint(of: Patient) -> str:
    """Empty where boto3 cannot tell, which another check says."""
    try:
        return str(of.aws.endpoint())
    except (SesError, ConfigurationError):
        return ""


@_named(
    "certificate-elsewhere",
    Level.ERROR,
    "Unset SESMAIL_SNS_CERTIFICATE_URL; it is for tests with a simulator.",
    "events-setup.md#what-is-believed",
)
def certificate_elsewhere(of: Patient) -> str | None:
    """Mail is real, but what SNS signs is judged by a certificate of this machine: real events are refused."""
    if of.settings.sns_certificate_url and ".amazonaws.com" in _endpoint(of):
        return (
            f"Events are judged by the certificate at {of.settings.sns_certificate_url}, but SES is AWS's: each is "
            "refused, and who can write there can sign any."
        )
    return None


@_named("queues-not-verified", Level.WARNING, "Unset SESMAIL_VERIFY_QUEUES.", "events-setup.md#what-is-believed")
def queues_not_verified(of: Patient) -> str | None:
    """What comes through queues is believed without a signature."""
    if of.settings.verify_queues:
        return None
    return "SESMAIL_VERIFY_QUEUES is off: whoever may write to a queue can opt addresses out and settle sends."


@_named(
    "unsubscribe-unfit",
    Level.ERROR,
    "Set both SESMAIL_UNSUBSCRIBE_URL, by https, and SESMAIL_UNSUBSCRIBE_SECRETS, or neither.",
    "events-setup.md",
)
def unsubscribe_unfit(of: Patient) -> str | None:
    """Of what unsubscribe links need, the address or the secret is missing, or unfit; making one is an error."""
    url, secrets = of.settings.unsubscribe_url, of.settings.unsubscribe_secrets
    if not url and not secrets:
        return None
    try:
        of.client.unsubscribe_links.headers  # noqa: B018  made, and nothing more
    except ConfigurationError as error:
        return str(error)
    return None


@_named(
    "topics-elsewhere",
    Level.WARNING,
    "Set SESMAIL_SITE to the site that the topics name, or have a worker run that has it.",
    "events-setup.md",
)
def topics_elsewhere(of: Patient) -> str | None:
    """The topics give their events to other sites than this one: they wait until a worker of theirs runs."""
    return said_of_topics_elsewhere(of.settings)


def said_of_topics_elsewhere(settings: Settings) -> str | None:
    """In words; None where it is not so."""
    sites = sorted(set(settings.topics.values()))
    if not sites or settings.site in sites:
        return None
    return (
        f"SESMAIL_TOPICS give their events to {', '.join(sites)}, but this worker processes those of the site "
        f"{settings.site}: they wait until a worker has their site as SESMAIL_SITE."
    )


@_named(
    "configuration-set-none",
    Level.WARNING,
    "Name the one that publishes to your topic in SESMAIL_CONFIGURATION_SET.",
    "events-setup.md",
)
def configuration_set_none(of: Patient) -> str | None:
    """No configuration set is named: SES tells nothing of emails that name none themselves."""
    return said_of_no_configuration_set(of.settings)


def said_of_no_configuration_set(settings: Settings) -> str | None:
    """In words; None where one is named, or SES is a simulator, which has one by itself."""
    if settings.configuration_sets or settings.endpoint_url:
        return None
    topics = (
        "SESMAIL_TOPICS are set, but no SESMAIL_CONFIGURATION_SET"
        if settings.topics
        else ("No SESMAIL_CONFIGURATION_SET is set")
    )
    return (
        f"{topics}: SES tells nothing of emails that name no configuration set, so their bounces, complaints and "
        "unsubscribes go unheard. Set it to the one that publishes to the topic."
    )


@_named(
    "topics-none",
    Level.WARNING,
    "Name each topic in full, with its site, in SESMAIL_TOPICS.",
    "events-setup.md#what-is-believed",
)
def topics_none(of: Patient) -> str | None:
    """SES publishes events, but no topic is believed: whatever comes through a door is refused."""
    if of.settings.topics or not of.settings.configuration_sets or of.settings.raw_delivery_site:
        return None
    return "A configuration set is named, but no SESMAIL_TOPICS: no event of SES is believed, all are refused."
