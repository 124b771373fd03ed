"""The SES accounts of a site, as its settings say them: each has a way to SES, a rate, a quota and a line of its own.

An email names its account; else its sender's domain does, else its lane; else it goes through the account `default`,
which is what the settings say without an account.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from sesmail.errors import InvalidEmail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT = "default"
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_CREDENTIALS = ("access_key_id", "secret_access_key", "session_token", "profile", "role_arn")
_SETS_OF_LANES = ("transactional_configuration_set", "bulk_configuration_set")
_WHICH_EMAILS = ("lanes", "domains", "fallback", "identity_arn", "ses")


class AccountSettings(BaseModel):
    """One account, or one Region of it. What it does not say, the setting of the same name says for all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str | None = None
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = Field(default=None, repr=False)
    session_token: str | None = Field(default=None, repr=False)
    profile: str | None = None
    role_arn: str | None = None
    from_email: str | None = None
    configuration_set: str | None = None
    transactional_configuration_set: str | None = None
    bulk_configuration_set: str | None = None
    identity_arn: str | None = None
    """`FromEmailAddressIdentityArn`: of an identity in another account that may be sent from by this one."""
    ses: dict[str, Any] = {}
    max_send_rate: float | None = Field(default=None, gt=0)
    max_24_hour_send: float | None = None
    share: float = Field(default=1.0, gt=0, le=1)
    quota_reserve: float = Field(default=0.1, ge=0, lt=1)
    lanes: tuple[Literal["transactional", "bulk"], ...] = ()
    """The lanes whose emails go through it."""
    domains: tuple[str, ...] = ()
    """The senders' domains, with those below them, whose emails go through it; they go before the lane."""
    fallback: str | None = None
    """The account that transactional email goes through while this one is stopped, out of reach or out of quota."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_bool_as_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        return no_bool_as_a_number(value, cls.model_fields[str(info.field_name)].annotation)

    @field_validator("ses")
    @classmethod
    def _of_any_email(cls, ses: dict[str, Any]) -> dict[str, Any]:
        return of_any_email(ses)

    def instead_of(self, ses: Mapping[str, Any]) -> dict[str, Any]:
        """The settings for all that are others for this account; `ses` is what they say of SES's other members.

        Credentials are taken as a whole: those of one account are never mixed with another's.
        """
        said = {name: getattr(self, name) for name in self.model_fields_set if name not in _WHICH_EMAILS}
        if {"access_key_id", "profile"} & said.keys():
            said = {**dict.fromkeys(_CREDENTIALS), **said}
        if "configuration_set" in said:  # a set of one account is unknown in another
            said = {**dict.fromkeys(_SETS_OF_LANES), **said}
        arn = {"FromEmailAddressIdentityArn": self.identity_arn} if self.identity_arn else {}
        return {**said, "ses": {**ses, **arn, **self.ses}}


def no_bool_as_a_number(value: Any, kind: Any) -> Any:
    """Raises `ValueError` for True or False where a number is meant: Python, and pydantic, would take it for 1 or 0."""
    if isinstance(value, bool) and not _takes(kind, bool) and (_takes(kind, int) or _takes(kind, float)):
        raise ValueError("is true or false: write a number")
    return value


def _takes(kind: Any, wanted: type) -> bool:
    return kind is wanted or any(_takes(one, wanted) for one in get_args(kind))


def of_any_email(ses: dict[str, Any]) -> dict[str, Any]:
    """Members of SendEmail that emails may have which do not say. Raises `ValueError`."""
    if "Content" in ses:
        raise ValueError("what an email says (Content) no setting can say for all")
    return ses


def checked(accounts: dict[str, AccountSettings]) -> dict[str, AccountSettings]:
    """Raises `ValueError` for accounts that do not go together."""
    names = {DEFAULT, *accounts}
    for name, account in accounts.items():
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an account: 1 to 64 letters, digits, _ . and -")
        if account.fallback is not None and account.fallback not in names - {name}:
            raise ValueError(f"{name} falls back to {account.fallback!r}, which is no other account of these")
    for what in ("lanes", "domains"):
        named = Counter(each.lower() for account in accounts.values() for each in getattr(account, what))
        if twice := [each for each, times in named.items() if times > 1]:
            raise ValueError(f"several accounts have {', '.join(twice)} among their {what}")
    return accounts


def domains_above(domain: str) -> Iterator[str]:
    """The domain itself, and those that it is below."""
    while domain:
        yield domain
        domain = domain.partition(".")[2]


def account_of(accounts: Mapping[str, AccountSettings], named: str | None, sender_domain: str, lane: str) -> str:
    """The account that an email goes through. Raises `InvalidEmail` for a name that no account has."""
    if named is not None:
        if named != DEFAULT and named not in accounts:
            known = ", ".join(sorted({DEFAULT, *accounts}))
            raise InvalidEmail("account", "is no account of SESMAIL_ACCOUNTS", f"one of {known}")
        return named
    by_domain = {domain.lower(): name for name, each in accounts.items() for domain in each.domains}
    for domain in domains_above(sender_domain.lower()) if by_domain else ():
        if domain in by_domain:
            return by_domain[domain]
    return next((name for name, each in accounts.items() if lane in each.lanes), DEFAULT)
