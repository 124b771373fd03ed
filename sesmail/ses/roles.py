"""A role of another account that is taken on to ask SES, with credentials that STS gives anew before they expire.

https://docs.aws.amazon.com/ses/latest/dg/sending-authorization.html and
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

from __future__ import annotations

from typing import Any

import boto3
import botocore.session
from botocore.credentials import CredentialProvider, DeferredRefreshableCredentials


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


def in_role(session: boto3.Session, role_arn: str) -> boto3.Session:
    """A session like this one that asks as a role. STS is asked when a client of it first needs credentials."""
    inner = botocore.session.Session()
    inner.get_component("credential_provider").insert_before("env", _Role(session, role_arn))
    return boto3.Session(botocore_session=inner, region_name=session.region_name)
