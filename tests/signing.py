"""Signs envelopes as SNS does, with a certificate of our own; shared by the tests of events."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

FIXTURES = Path(__file__).parent / "fixtures" / "events"
TOPIC = "arn:aws:sns:us-east-1:123456789012:ses-events-alpha"
OTHER_TOPIC = "arn:aws:sns:us-east-1:123456789012:ses-events-beta"
CERTIFICATE_URL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
FIXTURE_PEM = (FIXTURES / "TEST-ONLY-signing-cert.pem").read_bytes()


def fixture_text(name: str) -> str:
    return (FIXTURES / name).read_text(encoding="utf-8")


def fixture_json(name: str):
    return json.loads(fixture_text(name))


FIXTURES_SIGNED_AT = datetime(2026, 11, 20, 14, 6, tzinfo=UTC).timestamp()
"""About when the examples were signed: for the clock of who is to believe them."""


def now_as_sns_writes_it() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Signer:
    """A key, its certificate, and envelopes signed with it."""

    def __init__(self, *, valid_from: datetime | None = None, days: int = 3650) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        start = valid_from or datetime(2025, 1, 1, tzinfo=UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.example.com")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=days))
            .sign(self.key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)

    def fetch(self, url: str) -> bytes:
        """What stands in for the download: this certificate is at every address."""
        return self.pem

    def sign(self, envelope: dict) -> dict:
        names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
        if envelope["Type"] != "Notification":
            names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
        text = "".join(f"{name}\n{envelope[name]}\n" for name in names if envelope.get(name) is not None)
        algorithm = hashes.SHA1() if envelope["SignatureVersion"] == "1" else hashes.SHA256()
        signature = self.key.sign(text.encode(), padding.PKCS1v15(), algorithm)
        return {**envelope, "Signature": base64.b64encode(signature).decode()}

    def notification(self, message: str | dict, **fields: object) -> dict:
        """A signed envelope around a message; `fields` replace those of the envelope before it is signed."""
        envelope = {
            "Type": "Notification",
            "MessageId": str(uuid4()),
            "TopicArn": TOPIC,
            "Subject": "Amazon SES Email Event Notification",
            "Message": message if isinstance(message, str) else json.dumps(message, separators=(",", ":")),
            "Timestamp": now_as_sns_writes_it(),
            "SignatureVersion": "2",
            "SigningCertURL": CERTIFICATE_URL,
        }
        return self.sign({**envelope, **fields})

    def confirmation(self, kind: str = "SubscriptionConfirmation", **fields: object) -> dict:
        envelope = {
            "Type": kind,
            "MessageId": str(uuid4()),
            "Token": "2336412f37fb687f5d51e6e2425ba1f2",
            "TopicArn": TOPIC,
            "Message": "You have chosen to subscribe to the topic.",
            "SubscribeURL": f"https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}",
            "Timestamp": now_as_sns_writes_it(),
            "SignatureVersion": "2",
            "SigningCertURL": CERTIFICATE_URL,
        }
        return self.sign({**envelope, **fields})
