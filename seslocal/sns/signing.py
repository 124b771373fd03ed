"""SNS's signature, under a certificate of the simulator's own.

The notification names a certificate address of AWS's form, which nobody can fetch this certificate from; a test lets
its verifier fetch `/_sim/certificate.pem` instead.
"""

from __future__ import annotations

import base64
import threading
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Mapping

CERTIFICATE_NAME = "SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"

SIGNED_OF_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
SIGNED_OF_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")


class Signer:
    """Signs envelopes, from any thread; its key is made when it is first needed, which takes a tenth of a second."""

    def __init__(self) -> None:
        self._making_key = threading.Lock()
        self._made_key: rsa.RSAPrivateKey | None = None

    def sign(self, envelope: Mapping[str, str]) -> str:
        """The envelope's signature by its SignatureVersion: "1" with SHA-1, "2" with SHA-256."""
        algorithm = hashes.SHA1() if envelope["SignatureVersion"] == "1" else hashes.SHA256()  # noqa: S303 - SNS's default
        signature = self._key.sign(signed_text(envelope).encode(), padding.PKCS1v15(), algorithm)
        return base64.b64encode(signature).decode()

    @cached_property
    def certificate_pem(self) -> bytes:
        """The certificate that proves the signatures."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com (simulator)")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365))
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def _key(self) -> rsa.RSAPrivateKey:
        with self._making_key:
            if self._made_key is None:
                self._made_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            return self._made_key


def certificate_url(region: str) -> str:
    """Where a certificate of SNS's lies."""
    return f"https://sns.{region}.amazonaws.com/{CERTIFICATE_NAME}"


def signed_text(envelope: Mapping[str, str]) -> str:
    """The fields that are signed, in SNS's order; a subject only if there is one."""
    names = SIGNED_OF_NOTIFICATION if envelope["Type"] == "Notification" else SIGNED_OF_CONFIRMATION
    return "".join(f"{name}\n{envelope[name]}\n" for name in names if envelope.get(name))
