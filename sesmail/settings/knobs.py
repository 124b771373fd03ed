"""The knobs themselves, and what follows from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from sesmail.accounts import DEFAULT, AccountSettings, checked, no_bool_as_a_number, of_any_email
from sesmail.settings.sources import ENVIRONMENT_PREFIX, Environment, KnownNames

Seconds = Annotated[float, Field(gt=0)]
DAY = 86_400.0


def rate_limit(text: str | float | None) -> float | None:
    """Recipients a second of a limit as Celery writes it: `6`, `6/s`, `300/m`, `5000/h`; None and 0 are no limit.

    Raises `ValueError` or `KeyError`.
    """
    if isinstance(text, bool):
        raise ValueError("true and false are no rates")  # noqa: TRY004  as for all that is no rate
    from celery.utils.time import rate  # noqa: PLC0415  Celery's own reading of it; only who sets a limit loads it

    return float(rate(text)) or None


def _is_rate_limit(limit: Any) -> str:
    try:
        rate_limit(limit)
    except (ValueError, KeyError):
        raise ValueError("write it as 6/s, 300/m or 5000/h") from None
    return str(limit)


RateLimit = Annotated[str, BeforeValidator(_is_rate_limit)]


SuppressionReason = Literal["soft-bounced", "unsubscribed", "ses-list", "invalid", "bounced", "manual", "complained"]


class Settings(BaseSettings):
    """All settings of one process. Immutable: a changed setting needs a restart, as with Celery's own."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    # Where things are
    redis_url: str = Field(
        repr=False,
        default="",
        description="The Redis that holds the ledger: `redis://`, `rediss://`, `unix://`, `sentinel://` or "
        "`redis+cluster://` (docs/redis.md); else Celery's broker, or the first of several, where that is one, "
        "with its `broker_use_ssl`; without either, nothing is queued or sent.",
    )
    redis_master_name: str = Field(
        default="", description="What Sentinels call the group of servers, where the address does not say it."
    )
    redis_credentials: str | None = Field(
        default=None,
        description="Who tells the ledger's Redis user and password anew for each connection, such as a token of IAM: "
        "`package.module.name` of a `redis.CredentialProvider`, or of a function that makes one. Over TLS only.",
    )
    key_prefix: str = Field(
        default="sesmail", pattern=r"^[A-Za-z0-9_.-]+$", description="What every key in Redis begins with."
    )
    global_key_prefix: str = Field(
        default="",
        pattern=r"^[^{}\s]*$",
        description="What stands before every key, as `shop:`; else `global_keyprefix` of Celery's "
        "`broker_transport_options`, where no SESMAIL_KEY_PREFIX is set.",
    )
    redis_timeout_seconds: Seconds = Field(default=5.0, description="How long one Redis command may take.")
    redis_connect_timeout_seconds: Seconds = Field(
        default=0.3,
        description="How long each step of connecting to Redis may take; more where a round trip takes 200 ms or more.",
    )
    accept_timeout_seconds: Seconds = Field(
        default=0.5,
        description="How long `.delay()` waits for Redis, once more on a new connection; "
        "with a megabyte of attachments or more, SESMAIL_REDIS_TIMEOUT_SECONDS.",
    )
    accept_waits_for: Literal["replica", "disk"] | None = Field(
        default=None,
        description="Who must have an email, too, before `.delay()` returns and before SES is asked: a replica of "
        "Redis, or its disk; see docs/redis.md for what that costs.",
    )
    accept_wait_seconds: Seconds = Field(
        default=2.0, description="How long that may take; then `LedgerUnavailable` says that it *may* be accepted."
    )
    redis_may_forget: bool = Field(
        default=False,
        description="Whether it is meant that the ledger's Redis may evict, or has no append-only file: then workers "
        "and `sesmail status` do not warn of it.",
    )
    region: str | None = Field(default=None, description="AWS Region of SES; without it boto3's own chain decides.")
    endpoint_url: str | None = Field(default=None, description="Another address for SES, such as a local simulator.")
    access_key_id: str | None = Field(
        default=None, description="The key that SES is asked with; without it boto3's own chain decides, as it should."
    )
    secret_access_key: str | None = Field(default=None, repr=False, description="The secret of that key.")
    session_token: str | None = Field(default=None, repr=False, description="The token of a key that is temporary.")
    profile: str | None = Field(default=None, description="A profile of AWS's own files, instead of a key.")
    role_arn: str | None = Field(
        default=None,
        description="A role that is taken on, by STS, to ask SES: such as one of the account that owns the identities.",
    )
    accounts: dict[str, AccountSettings] = Field(
        default={},
        description="Several SES accounts or Regions by their names, each with what is different for it: "
        '`{"marketing": {"region": "eu-west-1", "profile": "marketing", "lanes": ["bulk"]}}`; see docs/several.md. '
        "What the settings say without an account is the account `default`.",
    )
    transactional_queue: str | None = Field(
        default=None, description="Celery queue of transactional tickets; else the key prefix and `.transactional`."
    )
    bulk_queue: str | None = Field(
        default=None, description="Celery queue of bulk tickets; else the key prefix and `.bulk`."
    )

    # What is put into an email that does not say
    from_email: str | None = Field(default=None, description="Sender of emails that name none.")
    configuration_set: str | None = Field(default=None, description="SES configuration set of emails that name none.")
    transactional_configuration_set: str | None = Field(
        default=None,
        description="The same for transactional email alone, before the other: such as one whose `MaxDeliverySeconds` "
        "has SES give up on a code that is worth nothing any more, or that has IP addresses of its own.",
    )
    bulk_configuration_set: str | None = Field(
        default=None, description="The same for bulk alone; it goes before SESMAIL_CONFIGURATION_SET."
    )

    ses: dict[str, Any] = Field(
        default={},
        description="What else SES is to take with each email, by the names of its `SendEmail`: "
        '`{"FeedbackForwardingEmailAddress": "bounces@example.com"}`. An email\'s own `ses` goes before it.',
    )
    text_from_html: bool = Field(
        default=False,
        description='Whether emails that have HTML alone get the plain text that it makes, as by `text="auto"`; '
        "needs `pip install 'sesmail[text]'`.",
    )

    mail_on_commit: bool = Field(
        default=False,
        description="Whether Django's own mail goes when the current transaction commits, and not at all where it is "
        "rolled back; else at once.",
    )

    # Where no email should reach people
    suppress_send: bool | None = Field(
        default=None,
        description="Whether emails are kept in the process's memory instead of being sent (see docs/testing.md); "
        "by itself under Django's test runner and in a Flask app with `TESTING`.",
    )
    redirect_to: list[str] = Field(
        default=[],
        description="For staging: every email goes to these addresses instead; "
        "who it was for stands in the subject and in a header.",
    )
    redirect_except_domains: list[str] = Field(
        default=[], description="Domains whose addresses are not redirected, such as your own."
    )

    # The rate
    hourly_limit_per_address: int = Field(
        default=0,
        ge=0,
        description="A guard against loops: so many emails an hour may go to one address, of whatever lane; those "
        "beyond are set aside, whole: `sesmail failed` lists them (code `too-many`) and sends them again. 0: no limit.",
    )
    hourly_limit_exempt: list[str] = Field(
        default=[], description="Addresses to which any number may go, such as that of an archive in every `bcc`."
    )
    max_send_rate: float | None = Field(
        default=None,
        gt=0,
        description="Recipients a second, where SES cannot be asked (`ses:GetAccount` not permitted).",
    )
    max_24_hour_send: float | None = Field(
        default=None, description="Recipients in 24 hours, where SES cannot be asked; -1 is unlimited."
    )
    worker_rate_limit: RateLimit | None = Field(
        default=None,
        description="Recipients a second (or `6/s`, `300/m`) that one worker may send; the account's rate holds too.",
    )
    share: float = Field(
        default=1.0, gt=0, le=1, description="The part of the account's rate that is used; the rest is left to others."
    )
    quota_reserve: float = Field(
        default=0.1, ge=0, lt=1, description="The part of the 24-hour quota that bulk leaves to transactional email."
    )
    configuration_set_rate_limits: dict[str, RateLimit] = Field(
        default={},
        description='Recipients a second under a configuration set: `{"news": "5/s"}`; the account\'s rate holds too.',
    )
    tenant_rate_limits: dict[str, RateLimit] = Field(
        default={},
        description="Recipients a second for a tenant of SES's, by its `TenantName`; `*` is for each of the others by "
        'itself: `{"shop-17": "20/s", "*": "5/s"}`. The account\'s rate holds too.',
    )
    sender_rate_limits: dict[str, RateLimit] = Field(
        default={},
        description="Recipients a second from a sender's domain and those below it; `*` is for each of the others by "
        'itself: `{"news.example.com": "10/s"}`. The account\'s rate holds too.',
    )
    patience_seconds: Seconds = Field(
        default=10.0, description="How long a worker keeps a send that waits for its turn."
    )

    # How hard to try
    max_attempts: int = Field(
        default=5, ge=1, description="How often SES is asked with no clear answer before giving up."
    )
    max_age_seconds: Seconds = Field(default=7 * DAY, description="A send older than this is abandoned, not sent.")
    evidence_window_seconds: Seconds | None = Field(
        default=None,
        description="How long an event may still prove a send of unknown outcome; unless it is set, half an hour for "
        "bulk, and a minute for transactional email, or three times what events take where that is longer.",
    )
    transactional_evidence_window_seconds: Seconds | None = Field(
        default=None, description="The same for transactional email alone; it goes before the other."
    )
    bulk_evidence_window_seconds: Seconds | None = Field(
        default=None, description="The same for bulk alone; it goes before the other."
    )
    on_unknown: Literal["resend", "hold"] = Field(
        default="resend", description="After the window: send again, or leave it for an operator."
    )
    ses_connect_timeout_seconds: Seconds = Field(default=5.0, description="Bound on reaching SES.")
    ses_read_timeout_seconds: Seconds = Field(
        default=60.0, description="Bound on SES's answer; short ones make unknown outcomes."
    )
    ses_call: Literal["lean", "boto3"] = Field(
        default="lean",
        description="How SES is asked: `lean` on boto3's connections but written and read by sesmail, for an eighth of "
        "the CPU; by itself as `boto3` where something would be missed, such as a proxy or a tracer of boto3's calls.",
    )

    batch_call: Literal["single", "bulk"] = Field(
        default="single",
        description="How SES is asked for the recipients of a batch: one call each, or `bulk`: SendBulkEmail for up to "
        "50, for a fraction of the CPU, where the letter allows it; see docs/batches.md.",
    )

    # The brake
    brake: Literal["stop", "warn", "off"] = Field(
        default="stop",
        description="What becomes of bulk email to a list, of a site or of the account, of which too much bounces or "
        "is complained of: it is stopped, or only warned of, or not looked at.",
    )
    brake_bounce_warning: float = Field(
        default=0.02, gt=0, le=1, description="The part of emails that bounce for good from which on the brake warns."
    )
    brake_bounce_limit: float = Field(
        default=0.05, gt=0, le=1, description="And from which on it stops: AWS reviews accounts from 0.05 on."
    )
    brake_complaint_warning: float = Field(
        default=0.0005, gt=0, le=1, description="The part that is complained of, three or more, from which on it warns."
    )
    brake_complaint_limit: float = Field(
        default=0.001, gt=0, le=1, description="And from which on it stops: AWS reviews accounts from 0.001 on."
    )
    brake_window_seconds: Seconds = Field(default=7 * DAY, description="Over how long the brake looks back.")
    brake_short_window_seconds: Seconds = Field(
        default=3600.0, description="The same for what goes wrong now, after a good record."
    )
    brake_minimum_emails: int = Field(
        default=500, ge=1, description="Of fewer emails in a window the brake says nothing."
    )
    brake_trial_after_seconds: Seconds = Field(
        default=3600.0,
        description="How long what the brake has stopped waits for a trial; twice as long after each that fails, a day "
        "at most.",
    )
    brake_trial_recipients: int = Field(default=100, ge=1, description="How many recipients a trial lets through.")
    brake_trial_seconds: Seconds = Field(
        default=900.0, description="How long a trial takes at least, so that its bounces have come back."
    )

    # Workers
    lease_seconds: Seconds = Field(
        default=8.0, description="A worker silent for this long is dead; its claims go to others."
    )
    sweep_interval_seconds: Seconds = Field(default=3.0, description="How often each worker sweeps.")
    first_ticket: Literal["ledger", "celery"] = Field(
        default="ledger",
        description="How the ticket of an email gets into its queue: `ledger`, in the act that accepts the email, "
        "where the broker is the ledger's Redis; by itself as `celery` where something would be missed, such as a "
        "tracer of what Celery publishes (docs/reliability.md).",
    )
    tickets_in_groups: bool = Field(
        default=False,
        description="Whether workers take and acknowledge tickets in groups while many wait, for a third less of their "
        "CPU, where the broker is one Redis by kombu's own transport. New: read docs/reliability.md first.",
    )
    ticket_grace_seconds: Seconds = Field(
        default=15.0,
        description="How long a ticket that later ones overtook may be on its way before it counts as lost.",
    )

    # What SES tells back
    site: str = Field(
        default="default",
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="The name of this site: it gathers its own events, and opt-outs may be for it alone.",
    )
    topics: dict[str, str] = Field(
        default={},
        description="SNS topics whose events are believed, each with its site: "
        '`{"arn:aws:sns:eu-west-1:123456789012:ses-events": "shop"}`.',
    )
    event_store: str | None = Field(
        repr=False,
        default=None,
        description="Where events are kept: `redis://...`, `sqlite:////var/lib/site/events.db`, "
        "`postgresql+psycopg://...` or `dynamodb://TABLE?region=eu-west-1`; else the ledger's Redis.",
    )
    max_stored_events: int = Field(
        default=250_000,
        ge=1,
        description="How many events of one site Redis keeps, 2.2 KB each; other stores have no bound.",
    )
    sqs_queue_urls: list[str] = Field(
        default=[], description="The queues that `sesmail poll-sqs` reads when it is given none."
    )
    raw_delivery_site: str | None = Field(
        default=None,
        description="The site of what comes through queues by raw message delivery; without it that is refused.",
    )
    verify_queues: bool = Field(
        default=True, description="Whether the signature of what comes through queues is verified, too."
    )
    sns_certificate_url: str | None = Field(
        default=None,
        pattern=r"^http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?/",  # whoever serves it can sign anything
        description="Where SNS's certificate is in tests with a simulator, on this machine only: "
        "`http://127.0.0.1:8005/_sim/certificate.pem`. Never set it where mail is real.",
    )
    events_interval_seconds: Seconds = Field(
        default=5.0,
        description="How often the workers look for events that wait; what comes through a door of this site is "
        "processed within two seconds.",
    )
    transactional_ignores: list[SuppressionReason] = Field(
        default=["unsubscribed", "soft-bounced"],
        description="The opt-outs, by their reasons, that transactional email goes out despite.",
    )
    soft_bounce_limit: int = Field(
        default=5,
        ge=0,
        description="So many passing bounces of an address, with no delivery between, opt it out for a while; "
        "0: none do.",
    )
    soft_bounce_window_seconds: Seconds = Field(
        default=30 * DAY, description="Passing bounces further apart than this are not counted together."
    )
    soft_bounce_pause_seconds: Seconds = Field(
        default=30 * DAY, description="How long passing bounces opt an address out; a delivery ends it at once."
    )
    hard_bounce_expiry_seconds: Seconds | None = Field(
        default=None, description="How long a hard bounce opts an address out; without it for good."
    )
    share_opt_outs_with: list[str] = Field(
        default=[],
        description="Other sites of the same event store, with ledgers of their own, for whom hard bounces, complaints "
        "and other opt-outs of everything hold, too.",
    )
    unsubscribe_url: str | None = Field(
        default=None,
        description="Where readers reach the unsubscribe door: `https://example.com/sesmail/unsubscribe/`.",
    )
    unsubscribe_secrets: list[str] = Field(
        default=[],
        repr=False,
        description="Secrets of unsubscribe links, of 16 characters or more: the first signs, all can be read.",
    )

    unsubscribe_sender: str = Field(
        default="", description="How readers know whose list it is, for the unsubscribe page: `Example Shop`."
    )
    unsubscribe_template: str | None = Field(
        default=None,
        description="A file with HTML of your own for the unsubscribe page, with {{title}}, {{text}}, {{form}}, "
        "{{sender}} and {{language}}.",
    )

    require_unsubscribe: bool = Field(
        default=False,
        description="Whether `sesmail send` refuses letters in bulk from which nobody can unsubscribe; else it warns.",
    )

    # How long to remember
    search_by_address: bool = Field(
        default=True,
        description="Whether sends can be searched for by a recipient's address and by their list, in the admin and by "
        "`sesmail find`; costs about 0.25 KB of Redis for each recipient, for as long as the send may be kept. "
        "Recipients of batches can be in any case.",
    )
    sent_retention_seconds: Seconds = Field(default=7 * DAY, description="How long the record of a sent email is kept.")
    failed_retention_seconds: Seconds = Field(
        default=30 * DAY, description="How long an email that was not sent is kept, body and all."
    )
    metadata_retention_seconds: Seconds = Field(
        default=90 * DAY,
        description="How long receivers of events get the `metadata` of an email, from when it was due: complaints and "
        "opens come long after it is forgotten.",
    )
    idempotency_seconds: Seconds = Field(default=7 * DAY, description="How long an idempotency key is remembered.")
    event_retention_seconds: Seconds = Field(
        default=90 * DAY, description="How long a processed event is kept; in SQL until `sesmail purge`."
    )

    _said_as = PrivateAttr(default_factory=dict[str, str])

    def said_as(self, field: str) -> str:
        """An address as whoever said it spelt its setting, and where: `SESMAIL_REDIS_URL in the environment`."""
        return self._said_as.get(field, f"{ENVIRONMENT_PREFIX}{field.upper()}")

    @field_validator("*", mode="before")
    @classmethod
    def _no_bool_as_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        return no_bool_as_a_number(value, cls.model_fields[str(info.field_name)].annotation)

    @field_validator("ses")
    @classmethod
    def _of_any_email(cls, ses: dict[str, Any]) -> dict[str, Any]:
        return of_any_email(ses)

    @field_validator("accounts")
    @classmethod
    def _go_together(cls, accounts: dict[str, AccountSettings]) -> dict[str, AccountSettings]:
        return checked(accounts)

    @property
    def brake_windows_seconds(self) -> list[float]:
        """Over how long the brake looks back: what is too much in one of these is too much."""
        return [] if self.brake == "off" else [self.brake_short_window_seconds, self.brake_window_seconds]

    @property
    def asking_seconds(self) -> float:
        """The longest that asking SES can take; past it the outcome is unknown, even under a living worker."""
        return self.ses_connect_timeout_seconds + self.ses_read_timeout_seconds + 15

    @property
    def holding_seconds(self) -> float:
        """The longest that a worker may hold a send before it asks SES; past it something is wrong with the worker."""
        return self.patience_seconds + self.asking_seconds

    def evidence_window_of(self, lane: str) -> float | None:
        """The evidence window that somebody has set for a lane; None where it is the ledger's own."""
        of_lane: float | None = getattr(self, f"{lane}_evidence_window_seconds")
        return of_lane or self.evidence_window_seconds

    def configuration_set_of(self, lane: str) -> str | None:
        """The configuration set of a lane's emails that name none."""
        of_lane: str | None = getattr(self, f"{lane}_configuration_set")
        return of_lane or self.configuration_set

    @property
    def configuration_sets(self) -> tuple[str, ...]:
        """All that emails are sent under which name none."""
        sets = (self.configuration_set, self.transactional_configuration_set, self.bulk_configuration_set)
        return tuple(dict.fromkeys(filter(None, sets)))

    def queue_of(self, lane: str) -> str:
        """The name of the queue of a lane's tickets."""
        return getattr(self, f"{lane}_queue") or f"{self.key_prefix}.{lane}"

    @property
    def account_names(self) -> tuple[str, ...]:
        """All accounts, `default` first."""
        return tuple(dict.fromkeys((DEFAULT, *self.accounts)))

    def of_account(self, account: str) -> Settings:
        """These settings, with what is different for an account in place of what is said for all."""
        said = self.accounts.get(account)
        return self.model_copy(update=said.instead_of(self.ses)) if said else self

    @property
    def sweep_queue(self) -> str:
        """The name of the queue of sweeps."""
        return f"{self.key_prefix}.sweep"

    @property
    def batches_queue(self) -> str:
        """The name of the queue in which it is said that batches of this site wait."""
        return f"{self.key_prefix}.batches.{self.site}"

    @property
    def events_queue(self) -> str:
        """The name of the queue in which it is said that events of this site have come."""
        return f"{self.key_prefix}.events.{self.site}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Application, environment, then the names that others made known; no files are read."""
        return init_settings, Environment(settings_cls), KnownNames(settings_cls)
