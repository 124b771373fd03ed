"""Reads all settings at once; what is wrong is told in the words of whoever said it."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sesmail.accounts import AccountSettings
from sesmail.errors import ConfigurationError
from sesmail.hosts import BROKER, django_settings
from sesmail.settings.knobs import Settings
from sesmail.settings.sources import ENVIRONMENT_PREFIX, KNOWN_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

log = logging.getLogger("sesmail")

TOLD_BY_THEIR_SOURCE = {"redis_url", "event_store", "from_email", "region", "endpoint_url"}
"""Settings whose value shows to be wrong only when it is used."""
WRONG = "Wrong settings; no email is sent until they are mended:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Somebody who says something of the settings."""

    name: str
    """For messages: `Celery's configuration`."""
    spelling: str
    """How a setting is spelt there: `sesmail_{}`."""
    said: Mapping[str, Any]
    """Values by the name of the field."""

    def spelt(self, field: str) -> str:
        """A field as the user wrote it, and where."""
        return f"{self.spells(field)} in {self.name}"

    def spells(self, field: str) -> str:
        """A field as it is written there."""
        return self.spelling.format(field if self.spelling.islower() else field.upper())


def load(
    *sources: Source, default_redis_url: str | None = None, default_global_key_prefix: str | None = None
) -> Settings:
    """Read all settings. Of several sources the later wins; Django's settings and the environment are asked anyhow.

    `default_redis_url`, such as Celery's broker, serves where nobody names a Redis, and `default_global_key_prefix`
    where nobody names a prefix.
    Raises `ConfigurationError` that names every wrong or unknown setting at once, with who said it.
    """
    asked = [_django(), *sources]
    said = {field: value for source in asked for field, value in source.said.items()}
    _warn_of_misspelt_variables()
    try:
        settings = Settings(**said)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, asked)) from None
    for field in TOLD_BY_THEIR_SOURCE & settings.model_fields_set:
        settings._said_as[field] = _spelt((field,), asked)  # noqa: SLF001  who reads them knows who said what
    of_celery: dict[str, str] = {}
    if default_redis_url and "redis_url" not in settings.model_fields_set:
        of_celery["redis_url"] = default_redis_url
        settings._said_as["redis_url"] = BROKER  # noqa: SLF001
    if default_global_key_prefix and not {"key_prefix", "global_key_prefix"} & settings.model_fields_set:
        of_celery["global_key_prefix"] = default_global_key_prefix
    return settings.model_copy(update=of_celery)


def _django() -> Source:
    said = getattr(django_settings(), "SESMAIL", None) or {}
    if not isinstance(said, dict):
        kind = type(said).__name__
        raise ConfigurationError(
            f'{WRONG}\n  SESMAIL in Django\'s settings is of type {kind}: write SESMAIL = {{"FROM_EMAIL": ...}}'
        )
    names = {str(name).lower(): value for name, value in said.items()}
    return Source(name="Django's settings", spelling='SESMAIL["{}"]', said=names)


def _warn_of_misspelt_variables() -> None:
    for variable, meant in misspelt_variables():
        log.warning("the variable %s is no setting and has no effect. Is %s meant?", variable, meant)


_OTHERS_NAMES = {
    "BROKER_URL": "REDIS_URL",
    "CONFIG_SET": "CONFIGURATION_SET",
    "CONFIGURATION_SET_NAME": "CONFIGURATION_SET",
    "DEFAULT_FROM_EMAIL": "FROM_EMAIL",
    "MAX_RATE": "MAX_SEND_RATE",
    "RATE": "MAX_SEND_RATE",
    "SENDER": "FROM_EMAIL",
}
"""What people call a setting, though it has another name here."""


def misspelt_variables() -> Iterator[tuple[str, str]]:
    """Variables of the environment that nobody reads, each with the one that is most likely meant.

    Only those that are nearly right, or that others call so: Kubernetes, for one, makes up more that begin like ours.
    """
    names = [f"{ENVIRONMENT_PREFIX}{field.upper()}" for field in Settings.model_fields]
    for variable in sorted(set(os.environ) - set(names)):
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        if known := _OTHERS_NAMES.get(variable.removeprefix(ENVIRONMENT_PREFIX)):
            yield variable, f"{ENVIRONMENT_PREFIX}{known}"
        elif meant := get_close_matches(variable, names, 1, 0.85):
            yield variable, meant[0]


def _explain(error: ValidationError, asked: Iterable[Source]) -> str:
    """One line per wrong setting. Values are not shown: a URL may hold a password."""
    lines = [f"  {_spelt(e['loc'], asked)}: {_problem(e, asked)}" for e in error.errors(include_input=False)]
    return "\n".join([WRONG, *lines])


def _spelt(place: tuple[int | str, ...], asked: Iterable[Source]) -> str:
    """Which setting is wrong, as whoever said it wrote it, and where in it."""
    field = str(place[0])
    inside = "".join(f"[{part!r}]" for part in place[1:])
    variable = f"{ENVIRONMENT_PREFIX}{field.upper()}"
    spelt = f"{variable} in the environment" if variable in os.environ else " or ".join(KNOWN_NAMES.get(field, [field]))
    for source in asked:
        spelt = source.spelt(field) if field in source.said else spelt
    return f"{spelt}{inside and f', at {inside}'}"


_FORMS = {
    "list_type": 'is no list: write one, in the environment as JSON, such as ["a", "b"]',
    "dict_type": 'is no mapping: write one, in the environment as JSON, such as {"a": "b"}',
}


def _problem(detail: Any, asked: Iterable[Source]) -> str:
    if detail["type"] == "extra_forbidden":
        names = [*(Settings if len(detail["loc"]) == 1 else AccountSettings).model_fields]
        name = str(detail["loc"][-1])
        others = [other.lower()] if (other := _OTHERS_NAMES.get(name.upper())) else []
        meant = [each for each in others if each in names] or get_close_matches(name, names, 1, 0.7)
        if not meant:
            return "no such setting (see docs/settings.md for the names)"
        place, *inside = detail["loc"]
        source = next((each for each in asked if place in each.said), None)
        return f"no such setting; is {source.spells(meant[0]) if source and not inside else meant[0]} meant?"
    return _FORMS.get(detail["type"], str(detail["msg"]))
