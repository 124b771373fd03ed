"""Who asks SES: a key or a profile of settings, or a role that is taken on, with credentials that STS renews in time.

https://docs.aws.amazon.com/ses/latest/dg/sending-authorization.html and
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import boto3
import botocore.session
from botocore.credentials import CredentialProvider, DeferredRefreshableCredentials

from sesmail.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Key:
    """What SES is asked with, where boto3's own chain is not to find it."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    @classmethod
    def of(cls, access_key_id: str | None, secret_access_key: str | None, session_token: str | None) -> Key | None:
        """None where nothing is said. Raises `ConfigurationError` for half of a key."""
        if not access_key_id and not secret_access_key:
            return None
        if not access_key_id or not secret_access_key:
            half = "the secret of the key" if access_key_id else "the key of the secret"
            raise ConfigurationError(
                f"In the settings, {half} is missing, so SES cannot be asked. The emails wait. Set both "
                "SESMAIL_ACCESS_KEY_ID and SESMAIL_SECRET_ACCESS_KEY, or neither: boto3 finds its own."
            )
        return cls(access_key_id=access_key_id, secret_access_key=secret_access_key, session_token=session_token)

    def as_boto3_says(self) -> dict[str, Any]:
        """Arguments of `boto3.Session`."""
        return {
            "aws_access_key_id": self.access_key_id,
            "aws_secret_access_key": self.secret_access_key,
            "aws_session_token": self.session_token,
        }


class _Role(CredentialProvider):
    """Where credentials come from, as botocore asks for them."""

    METHOD = CANONICAL_NAME = "sesmail-role"

    def __init__(self, session: boto3.Session, role_arn: str) -> None:
        self._sts: Any = session.client("sts")  # with the credentials that there were until now
        self._role_arn = role_arn

    def load(self) -> DeferredRefreshableCredentials:
        return DeferredRefreshableCredentials(refresh_using=self._ask, method=self.METHOD)

    def _ask(self) -> dict[str, str]:
        said = self._sts.assume_role(RoleArn=self._role_arn, RoleSessionName="sesmail")["Credentials"]
        return {
            "access_key": said["AccessKeyId"],
            "secret_key": said["SecretAccessKey"],
            "token": said["SessionToken"],
            "expiry_time": said["Expiration"].isoformat(),
        }


def session_of(region: str | None, profile: str | None, key: Key | None, role_arn: str | None) -> boto3.Session:
    """boto3's session for an account as settings say it. Raises what boto3 raises."""
    session = boto3.Session(profile_name=profile, region_name=region, **(key.as_boto3_says() if key else {}))
    return _in_role(session, role_arn) if role_arn else session


def _in_role(session: boto3.Session, role_arn: str) -> boto3.Session:
    """A session like this one that asks as a role. STS is asked when a client of it first needs credentials."""
    inner = botocore.session.Session()
    inner.get_component("credential_provider").insert_before("env", _Role(session, role_arn))
    return boto3.Session(botocore_session=inner, region_name=session.region_name)
