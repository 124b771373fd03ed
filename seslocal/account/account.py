"""The account itself: its limits and switches, what it keeps, and whether it takes an email."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from seslocal import clock
from seslocal.account.faults import Faults
from seslocal.account.identities import Identities, names_of, not_verified
from seslocal.account.limits import CallRate, DailyQuota, SendRate
from seslocal.account.mailbox import Mailbox
from seslocal.account.suppression import SuppressionList
from seslocal.errors import Kind, Refused
from seslocal.message.submission import is_to_mailbox_simulator
from seslocal.options import ACCOUNT_ID
from seslocal.typed import check_types

if TYPE_CHECKING:
    from collections.abc import Mapping

    from seslocal.account.configuration_sets import ConfigurationSet
    from seslocal.account.mailbox import Record
    from seslocal.account.templates import Template
    from seslocal.account.tenants import Tenant
    from seslocal.message.submission import Submission
    from seslocal.options import Options

Value = TypeVar("Value")

ENFORCEMENT_STATUSES = ("HEALTHY", "PROBATION", "SHUTDOWN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What can be changed while it runs; None leaves it as it is."""

    rate: float | None = None
    burst: int | None = None
    quota: int | None = None
    sent_last_24_hours: int | None = None
    sending_enabled: bool | None = None
    enforcement_status: str | None = None
    """SHUTDOWN is an account paused by AWS."""
    production_access: bool | None = None
    latency_seconds: tuple[float, float] | None = None
    denied_actions: list[str] | None = None
    """Actions that the caller has no right to, such as `GetAccount`: answered by AccessDenied."""

    def __post_init__(self) -> None:
        check_types(self)
        if self.enforcement_status not in (None, *ENFORCEMENT_STATUSES):
            raise ValueError(f"enforcement_status must be one of {', '.join(ENFORCEMENT_STATUSES)}")
        if (self.sent_last_24_hours or 0) < 0:
            raise ValueError("sent_last_24_hours must be at least 0")


class Account:
    """One account in one region. Not thread-safe: everything happens on the server's event loop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.random = random.Random(options.seed)  # noqa: S311 - chance, not secrecy
        self.mailbox = Mailbox(options)
        self.identities = Identities(options.identities)
        self.configuration_sets: dict[str, ConfigurationSet] = {}
        self.templates: dict[str, Template] = {}
        self.tenants: dict[str, Tenant] = {}
        self.suppression = SuppressionList()
        self.faults = Faults(options.seed)
        self.rate = SendRate(options.rate, options.burst)
        self.quota = DailyQuota(options.quota)
        self.calls = CallRate(options.calls_per_second)
        self.sending_enabled = True
        self.enforcement_status = "HEALTHY"
        self.production_access = not options.sandbox
        self.latency_seconds = options.latency_seconds
        self.denied_actions: frozenset[str] = frozenset()

    def accept(self, submission: Submission) -> Record:
        """Take an email, or raise `Refused`."""
        now = clock.now()
        self._check_account()
        submission = self._under_its_configuration_set(submission)
        self._check_tenant(submission)
        self._check_identities(submission)
        self._check_limits(submission, now)
        return self._keep(submission, now)

    def check_right(self, action: str) -> None:
        """Raise `Refused` for an action that the caller has no right to."""
        if action in self.denied_actions:
            raise Refused(
                Kind.ACCESS_DENIED,
                f"User: arn:aws:iam::{ACCOUNT_ID}:user/simulator is not authorized to perform: ses:{action} because no "
                f"identity-based policy allows the ses:{action} action",
            )

    def admit_call(self, action: str) -> None:
        """Count a call of an action that does not send; raise `Refused` if there were too many."""
        if not self.calls.admit(action, clock.now()):
            raise Refused(Kind.API_RATE)

    def count_refusal(self, refused: Refused) -> None:
        """Count a call, or an entry of a bulk call, that was refused."""
        self.mailbox.refuse(refused.kind, clock.now())

    def configuration_set(self, name: str) -> ConfigurationSet:
        """A configuration set by name, or SES's refusal."""
        if name not in self.configuration_sets:
            raise Refused(Kind.CONFIGURATION_SET_MISSING, f"Configuration set <{name}> does not exist.")
        return self.configuration_sets[name]

    def template(self, name: str) -> Template:
        """A template by name, or SES's refusal."""
        if name not in self.templates:
            raise Refused(Kind.TEMPLATE_MISSING, f"Template {name} does not exist.")
        return self.templates[name]

    def tenant(self, name: str) -> Tenant:
        """A tenant by name, or SES's refusal."""
        if name not in self.tenants:
            raise Refused(Kind.NOT_FOUND, f"Tenant {name} does not exist.")
        return self.tenants[name]

    def suppression_of(self, tenant: str | None, options: Mapping[str, Any]) -> tuple[SuppressionList, tuple[str, ...]]:
        """The list that holds for an email, and what puts an address on it.

        The configuration set, by its SuppressionOptions, goes before the tenant, that before the account.
        """
        of = self.tenants.get(tenant or "")
        scope = options.get("SuppressionScope") or (of.suppression_scope if of else "ACCOUNT")
        kept = of.suppression if of and scope == "TENANT" else self.suppression
        own = options.get("SuppressedReasons")
        if own is None and of:
            own = of.suppressed_reasons
        return kept, self.suppression.reasons if own is None else tuple(own)

    def arn(self, kind: str, name: str) -> str:
        """Of an identity, a configuration set or a template of this account."""
        return f"arn:aws:ses:{self.options.region}:{ACCOUNT_ID}:{kind}/{name}"

    def new_message_id(self) -> str:
        """In SES's form: the time in milliseconds, then chance."""
        letters = f"{self.random.getrandbits(128):032x}"
        middle = f"{letters[:8]}-{letters[8:12]}-{letters[12:16]}-{letters[16:20]}-{letters[20:]}"
        return f"0100{int(clock.now() * 1000):012x}-{middle}-000000"

    def send_quota(self) -> dict[str, float]:
        """The limits in the words of both APIs."""
        sent = float(self.quota.sent(clock.now()))
        return {"Max24HourSend": float(self.quota.limit), "MaxSendRate": float(self.rate.rate), "SentLast24Hours": sent}

    def change(self, changes: Changes) -> None:
        """Change limits and switches while it runs."""
        wanted = replace(  # refuses what makes no sense
            self.options,
            rate=_or_else(changes.rate, self.rate.rate),
            burst=_or_else(changes.burst, self.rate.burst),
            quota=_or_else(changes.quota, self.quota.limit),
            latency_seconds=_or_else(changes.latency_seconds, self.latency_seconds),
        )
        self.rate = self.rate.changed_to(wanted.rate, wanted.burst)
        self.quota.limit = wanted.quota
        self.latency_seconds = wanted.latency_seconds
        if changes.sent_last_24_hours is not None:
            self.quota.reset(changes.sent_last_24_hours, clock.now())
        self.sending_enabled = _or_else(changes.sending_enabled, self.sending_enabled)
        self.enforcement_status = _or_else(changes.enforcement_status, self.enforcement_status)
        self.production_access = _or_else(changes.production_access, self.production_access)
        self.denied_actions = frozenset(_or_else(changes.denied_actions, self.denied_actions))

    def report(self) -> dict[str, Any]:
        """The limits and all that was counted."""
        limits = {"rate": self.rate.rate, "burst": self.rate.burst, "quota": self.quota.limit}
        used = {"sent_last_24_hours": self.quota.sent(clock.now())}
        return limits | used | self.mailbox.report() | {"faults": dict(self.faults.injected)}

    def _check_account(self) -> None:
        if self.enforcement_status == "SHUTDOWN":
            raise Refused(Kind.PAUSED_BY_AWS)
        if not self.sending_enabled:
            raise Refused(Kind.PAUSED)

    def _under_its_configuration_set(self, submission: Submission) -> Submission:
        name = submission.configuration_set or self.options.default_configuration_set
        if not self.configuration_set(name).sending_enabled:
            raise Refused(Kind.CONFIGURATION_SET_PAUSED)
        return submission if submission.configuration_set else replace(submission, configuration_set=name)

    def _check_tenant(self, submission: Submission) -> None:
        if submission.tenant is None:
            return
        address, *domains = names_of(submission.sender)
        used = [("identity", *domains, address), ("configuration-set", submission.configuration_set or "")]
        if submission.template_name:
            used.append(("template", submission.template_name))
        self.tenant(submission.tenant).check([[self.arn(kind, name) for name in names] for kind, *names in used])

    def _check_identities(self, submission: Submission) -> None:
        failed = [] if self.identities.may_send(submission.sender) else [submission.source]
        for address, arn in submission.sent_as:
            self.identities.check_authorized(address, arn)
        if not self.production_access:
            failed += [address for address in submission.recipients if not self._may_receive_in_sandbox(address)]
        if failed:
            raise not_verified(failed, self.options.region)

    def _may_receive_in_sandbox(self, address: str) -> bool:
        return is_to_mailbox_simulator(address) or self.identities.verified(address)

    def _check_limits(self, submission: Submission, now: float) -> None:
        if submission.counted_in_quota and not self.quota.allows(now):
            raise Refused(Kind.DAILY_QUOTA)
        if not self.rate.allows(now):
            raise Refused(Kind.RATE)

    def _keep(self, submission: Submission, now: float) -> Record:
        self.rate.charge(len(submission.recipients), now)
        if counted := submission.counted_in_quota:
            self.quota.charge(counted, now)
        return self.mailbox.accept(submission, self.new_message_id(), now)


def _or_else(given: Value | None, otherwise: Value) -> Value:
    return otherwise if given is None else given
