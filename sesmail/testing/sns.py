"""Posts as SNS makes them, signed with a key of this process's own, for the tests of a site's webhook."""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.x509.oid import NameOID

from sesmail.events.sns import Certificates, Envelope, Topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesmail.client import Client

TOPIC = "arn:aws:sns:us-east-1:123456789012:sesmail-testing"
CERTIFICATE = "SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"


class SnsPost(NamedTuple):
    """What SNS posts: hand it to a test client's `post(url, data=post.body, headers=post.headers, ...)`."""

    body: str
    headers: dict[str, str]


def sns_post(message: str, *, topic: str = TOPIC) -> SnsPost:
    """A signed notification with this message, such as one of `ses_event`; believed within `trusted_sns` alone.

    `topic` is the ARN of another topic: one of SESMAIL_TOPICS, or one that is to be refused.
    """
    at = datetime.now(UTC)
    envelope = {
        "Type": "Notification",
        "MessageId": str(uuid4()),
        "TopicArn": topic,
        "Subject": "Amazon SES Email Event Notification",
        "Message": message,
        "Timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z",
        "SignatureVersion": "2",
        "Signature": "",
        "SigningCertURL": f"https://sns.{topic.split(':')[3]}.amazonaws.com/{CERTIFICATE}",
    }
    signature = _key().sign(Envelope.from_fields(envelope).signed_text, PKCS1v15(), hashes.SHA256())
    signed = envelope | {"Signature": base64.b64encode(signature).decode()}
    headers = {
        "x-amz-sns-message-type": envelope["Type"],
        "x-amz-sns-message-id": envelope["MessageId"],
        "x-amz-sns-topic-arn": topic,
    }
    return SnsPost(json.dumps(signed), headers)


@contextmanager
def trusted_sns(client: Client | None = None) -> Iterator[None]:
    """While it lasts, the doors of a client, else of the current one, believe `sns_post`, and nothing is fetched.

    The topic of the testing kit is believed, too, with the client's own site. Whether SESMAIL_TOPICS names the right
    topics is not tested by that.
    """
    if client is None:
        from sesmail.celery.current import current_client  # noqa: PLC0415  loads Celery

        client = current_client()
    verifier = client.sns_verifier
    before = verifier.topics, verifier.certificates
    verifier.topics = {**verifier.topics, TOPIC: Topic.parse(TOPIC, client.settings.site)}
    verifier.certificates = Certificates(lambda _url: _certificate())
    try:
        yield
    finally:
        verifier.topics, verifier.certificates = before


@cache
def _key() -> rsa.RSAPrivateKey:
    """Thrown away with the process; made when it is first needed, which takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def _certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sesmail.testing")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(_key().public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(1970, 1, 1, tzinfo=UTC))  # tests set their clocks back and forth
        .not_valid_after(datetime(2200, 1, 1, tzinfo=UTC))
        .sign(_key(), hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)
