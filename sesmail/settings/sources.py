"""Where values come from that the application does not say: the environment, and names that others made known."""

from __future__ import annotations

import os
from typing import Any

from pydantic_settings import EnvSettingsSource, PydanticBaseSettingsSource

from sesmail.hosts import django_settings

ENVIRONMENT_PREFIX = "SESMAIL_"


class Environment(EnvSettingsSource):
    """The variables. One that should be JSON and is not is left to the field to refuse, as any wrong value is."""

    def decode_complex_value(self, field_name: str, field: Any, value: Any) -> Any:
        """The value of JSON, or the text as it is."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


KNOWN_NAMES = {
    "region": ("AWS_SES_REGION_NAME", "AWS_REGION"),
    "configuration_set": ("AWS_SES_CONFIGURATION_SET",),
    "from_email": ("AWS_SES_FROM_EMAIL", "DEFAULT_FROM_EMAIL"),
    "endpoint_url": ("AWS_SES_REGION_ENDPOINT_URL",),
    "access_key_id": ("AWS_SES_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
    "secret_access_key": ("AWS_SES_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
    "session_token": ("AWS_SES_SESSION_TOKEN", "AWS_SESSION_TOKEN"),
    "profile": ("AWS_SESSION_PROFILE",),
}
"""Names of django-ses and of Django itself: https://github.com/django-ses/django-ses#full-list-of-settings"""
IN_THE_ENVIRONMENT_TOO = ("region", "configuration_set")
"""For what boto3 does not read from the environment by itself."""
DJANGOS_DEFAULT_SENDER = "webmaster@localhost"
"""What DEFAULT_FROM_EMAIL is where nobody has set it; no address that SES could send from."""


class KnownNames(PydanticBaseSettingsSource):
    """What a site has most likely set already."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002  pydantic's signature
        """The first of a field's known names that has a value; None where none has."""
        names, variables = KNOWN_NAMES.get(field_name, ()), field_name in IN_THE_ENVIRONMENT_TOO
        said = (_of_django(name) or (variables and os.environ.get(name)) for name in names)
        return next(filter(None, said), None), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All of them, by field."""
        found = {field: self.get_field_value(None, field)[0] for field in KNOWN_NAMES}
        return {field: value for field, value in found.items() if value}


def _of_django(name: str) -> Any:
    """What Django's settings say; not what they have where nobody did, nor a function, which asks for more."""
    value = getattr(django_settings(), name, None)
    return None if callable(value) or value == DJANGOS_DEFAULT_SENDER else value
