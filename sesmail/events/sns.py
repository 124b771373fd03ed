"""Amazon SNS: what an envelope says, and whether it may be believed.

A valid signature proves only that *some* SNS topic sent it: every topic of every AWS account is signed with the same
certificates. So an envelope is believed when its topic is one of ours **and** it is signed **and** the certificate
comes from the SNS of the topic's own Region. The address of the certificate is compared with the one that this Region
must have, never with a pattern of what AWS addresses look like: anybody may own an S3 bucket named "sns".

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import urllib3
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sesmail.errors import ConfigurationError, EventNotStored, NotificationRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 1024 * 1024
"""SNS messages have at most 256 KiB; JSON inside JSON may double that, and the envelope adds about 1 KiB."""

CERTIFICATE_LIMIT_BYTES = 64 * 1024
CERTIFICATE_LIFETIME_SECONDS = 24 * 3600.0
CERTIFICATES_KEPT = 16

MAX_AGE_SECONDS = 15 * 86_400.0
"""SQS keeps messages for up to 14 days; SNS tries a web server for an hour."""
CLOCK_SKEW_SECONDS = 3600.0
CLOCK_IS_WRONG_FROM_SECONDS = 366 * 86_400.0
"""Nothing at AWS keeps a message for so long: what looks that old tells of our clock."""

_SIGNED_FIELDS_OF_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_SIGNED_FIELDS_OF_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_HASHES: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303  AWS's SignatureVersion 1

_TOPIC_ARN = re.compile(r"arn:(aws[a-z-]*):sns:([a-z]+(?:-[a-z]+)+-\d+):\d{12}:[A-Za-z0-9_-]{1,256}")
_SITE = re.compile(r"[A-Za-z0-9_.-]+")
_MESSAGE_ID = re.compile(r"[A-Za-z0-9-]{1,128}")
_CERTIFICATE_FILE = re.compile(r"SimpleNotificationService-[0-9a-f]{32}\.pem")


class MessageType(StrEnum):
    """What SNS has to say."""

    NOTIFICATION = "Notification"  #: a message that was published to the topic
    SUBSCRIPTION = "SubscriptionConfirmation"  #: somebody wants to subscribe us; nothing comes until it is confirmed
    UNSUBSCRIPTION = "UnsubscribeConfirmation"  #: we were unsubscribed: from now on nothing comes


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What SNS wraps a message in. Read, not yet believed."""

    type: MessageType
    message_id: str
    topic_arn: str
    message: str = field(repr=False)
    timestamp: str
    """When SNS signed it."""
    token: str = field(repr=False)
    """What confirms a subscription; empty in notifications."""
    signature_version: str
    signature: str = field(repr=False)
    certificate_url: str
    signed_text: bytes = field(repr=False)
    """What the signature covers."""

    @classmethod
    def parse(cls, body: bytes | str) -> Envelope:
        """Read the JSON that SNS posts and puts into SQS. Raises `NotificationRefused` when it is not that."""
        return cls.from_fields(parse_json_object(body))

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Envelope:
        """From the parsed JSON, or from the `Sns` part of a Lambda record, which spells it `SigningCertUrl`."""
        try:
            message_type = MessageType(fields["Type"])
            text = _text_of(message_type, fields)
            return cls(
                type=message_type,
                message_id=_message_id(text["MessageId"]),
                topic_arn=text["TopicArn"],
                message=text["Message"],
                timestamp=text["Timestamp"],
                token=text.get("Token", ""),
                signature_version=_text(fields["SignatureVersion"]),
                signature=_text(fields["Signature"]),
                certificate_url=_text(fields.get("SigningCertURL") or fields["SigningCertUrl"]),
                signed_text="".join(f"{name}\n{value}\n" for name, value in text.items()).encode(),
            )
        except (KeyError, TypeError, ValueError):
            raise NotificationRefused("This is not an envelope of Amazon SNS.", status=400) from None

    @property
    def signed_at(self) -> float:
        """When SNS signed it, in epoch seconds. Raises `NotificationRefused` for what is no time."""
        try:
            time = datetime.fromisoformat(self.timestamp)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            raise NotificationRefused("The time of the notification cannot be read.") from None

    def as_json(self) -> str:
        """What is worth keeping of a confirmation: all that confirms by hand what could not be confirmed at once."""
        fields = {"Type": self.type, "MessageId": self.message_id, "TopicArn": self.topic_arn, "Token": self.token}
        return json.dumps(fields)


def parse_json_object(body: bytes | str) -> dict[str, Any]:
    """The JSON object in a body from outside. Raises `NotificationRefused` (status 413 or 400)."""
    if len(body) > BODY_LIMIT_BYTES:
        raise NotificationRefused(f"The body is longer than {BODY_LIMIT_BYTES} bytes.", status=413)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):  # RecursionError: [[[[[[...
        raise NotificationRefused("The body is not JSON.", status=400) from None
    if not isinstance(value, dict):
        raise NotificationRefused("The body is not a JSON object.", status=400)
    return value


def _text_of(message_type: MessageType, fields: Mapping[str, Any]) -> dict[str, str]:
    """The signed fields in the order in which they are signed. Only Subject may be absent, or null as Lambda has it."""
    if message_type is not MessageType.NOTIFICATION:
        return {name: _text(fields[name]) for name in _SIGNED_FIELDS_OF_CONFIRMATION}
    names = [name for name in _SIGNED_FIELDS_OF_NOTIFICATION if name != "Subject" or fields.get(name) is not None]
    return {name: _text(fields[name]) for name in names}


def _message_id(value: str) -> str:
    """SNS's are UUIDs; anything else might not fit into a store, and spoil the write of others with it."""
    if not _MESSAGE_ID.fullmatch(value):
        raise ValueError
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


# -- certificates ----------------------------------------------------------------------------------------------------


def fetch_certificate(url: str, *, timeout_seconds: float = 5.0) -> bytes:
    """The certificate's text. No redirects, no proxies from the environment, bounded in time and size.

    Raises `EventNotStored` for whatever goes wrong: a certificate that we cannot have today says nothing about the
    notification, which must come again.
    """
    deadline = time.monotonic() + timeout_seconds
    try:
        with (
            urllib3.PoolManager(retries=False, timeout=timeout_seconds) as pool,
            pool.request("GET", url, redirect=False, preload_content=False) as response,
        ):
            if response.status != 200:
                raise EventNotStored(f"The certificate of SNS was not to be had (status {response.status}).")
            return _read_bounded(response, deadline)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise EventNotStored(f"The certificate of SNS was not to be had ({type(error).__name__}).") from error


def _read_bounded(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    content = b""
    while chunk := response.read1(8192):
        content += chunk
        if len(content) > CERTIFICATE_LIMIT_BYTES or time.monotonic() > deadline:
            raise EventNotStored("The certificate of SNS was too long or too slow to come.")
    return content


@dataclass(frozen=True, slots=True)
class _Kept:
    """A certificate's key, and its times in epoch seconds."""

    key: RSAPublicKey
    valid_from: float
    valid_until: float
    kept_until: float

    def is_valid(self, at: float) -> bool:
        """Both ends are still within, to the second: https://www.rfc-editor.org/rfc/rfc5280#section-4.1.2.5"""
        return self.valid_from <= at < self.valid_until + 1.0


class Certificates:
    """The public keys behind certificate addresses: fetched once, kept for a day.

    A key is good for what was signed while its certificate was valid, also when that is over by now: a queue keeps
    messages for 14 days, and AWS changes certificates 6 to 20 days before they end. Only success is remembered: a
    failed fetch is tried again with the next notification.
    """

    def __init__(
        self, fetch: Callable[[str], bytes] = fetch_certificate, *, clock: Callable[[], float] = time.time
    ) -> None:
        """`fetch` answers the certificate in PEM or raises `EventNotStored`; `clock` gives epoch seconds."""
        self._fetch = fetch
        self.clock = clock
        self._kept: dict[str, _Kept] = {}
        self._fetching = threading.Lock()

    def cached(self, url: str, at: float | None = None) -> RSAPublicKey | None:
        """The key, if it is at hand and was valid then (epoch seconds), or is now."""
        kept = self._known(url)
        return kept.key if kept and kept.is_valid(self.clock() if at is None else at) else None

    def is_known(self, url: str) -> bool:
        """Whether nothing needs to be fetched to tell."""
        return self._known(url) is not None

    def key(self, url: str, at: float | None = None) -> RSAPublicKey:
        """The key; may take as long as a fetch.

        Raises `EventNotStored` when it is not to be had, and `NotificationRefused` if it was not valid then (epoch
        seconds), or is not now.
        """
        kept = self._known(url) or self._fetched(url)
        if not kept.is_valid(self.clock() if at is None else at):
            raise NotificationRefused("The certificate behind the signature was not valid when it was made.")
        return kept.key

    def _known(self, url: str) -> _Kept | None:
        kept = self._kept.get(url)
        return kept if kept and kept.kept_until > self.clock() else None

    def _fetched(self, url: str) -> _Kept:
        # One fetch at a time: made-up addresses must not make us open many connections, nor hold many threads for long.
        if not self._fetching.acquire(timeout=5.0):
            raise EventNotStored("The certificate of SNS was not to be had: another one is being fetched.")
        try:
            return self._known(url) or self._keep(url, self._fetch(url))
        finally:
            self._fetching.release()

    def _keep(self, url: str, pem: bytes) -> _Kept:
        certificate = _single_certificate(pem)
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey):
            raise NotificationRefused("The certificate behind the signature has no RSA key.")
        while len(self._kept) >= CERTIFICATES_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[url] = _Kept(
            key=key,
            valid_from=certificate.not_valid_before_utc.timestamp(),
            valid_until=certificate.not_valid_after_utc.timestamp(),
            kept_until=self.clock() + CERTIFICATE_LIFETIME_SECONDS,
        )
        return self._kept[url]


def _single_certificate(pem: bytes) -> x509.Certificate:
    """Something else than one certificate is a broken answer, not a judgement of the signature: come again."""
    try:
        (certificate,) = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise EventNotStored("What came instead of SNS's certificate cannot be read.") from error
    return certificate


# -- belief ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic that we listen to, and the site that its events belong to."""

    arn: str
    site: str
    region: str
    certificates_at: str
    """What the address of every certificate of this Region's SNS begins with."""

    @classmethod
    def parse(cls, arn: str, site: str) -> Topic:
        """From a full ARN. Raises `ConfigurationError` when it is none, or of a partition that cannot be checked."""
        match = _TOPIC_ARN.fullmatch(arn)
        domain = _domain_of(*match.groups()) if match else None
        if not match or domain is None:
            raise ConfigurationError(
                f"{arn!r} is not the ARN of an SNS topic. Events of SES are refused until it is mended. "
                "Write it in full, such as arn:aws:sns:eu-west-1:123456789012:ses-events."
            )
        if not _SITE.fullmatch(site):
            raise ConfigurationError(
                f"{site!r} cannot be the name of a site: it has letters, digits, dots, dashes and underscores. "
                "Events of SES are refused until it is mended."
            )
        region = match[2]
        return cls(arn=arn, site=site, region=region, certificates_at=f"https://sns.{region}.{domain}/")


@cache
def _partitions() -> list[dict[str, Any]]:
    """AWS's partitions as botocore has them, so that the next one needs no release of ours."""
    text = (resources.files("botocore") / "data" / "partitions.json").read_text(encoding="utf-8")
    partitions: list[dict[str, Any]] = json.loads(text)["partitions"]
    return partitions


def _domain_of(partition: str, region: str) -> str | None:
    """The domain of AWS's services in a Region of a partition; None where there is no such Region."""
    for known in _partitions():
        is_there = region in known.get("regions", ()) or re.fullmatch(known["regionRegex"].strip("^$"), region)
        if known["id"] == partition and is_there:
            return str(known["outputs"]["dnsSuffix"])
    return None


class SnsVerifier:
    """Tells what may be believed: signed by SNS, for a topic of ours."""

    def __init__(self, topics: Mapping[str, str], certificates: Certificates | None = None) -> None:
        """`topics` maps the ARN of each topic to its site. Raises `ConfigurationError` for an ARN that is none."""
        self.topics = {arn: Topic.parse(arn, site) for arn, site in topics.items()}
        self.certificates = certificates or Certificates()
        self.max_age_seconds = MAX_AGE_SECONDS
        """What was signed longer ago is refused; an operator who drains an old queue may allow more."""

    def topic(self, envelope: Envelope) -> Topic:
        """The topic it claims to come from, if that is one of ours. This alone proves nothing about who sent it."""
        try:
            return self.topics[envelope.topic_arn]
        except KeyError:
            raise NotificationRefused("This topic is not one of those that this site listens to.") from None

    def verify(self, envelope: Envelope) -> Topic:
        """The topic it comes from, proved. May fetch a certificate.

        Raises `NotificationRefused` for what is not to be believed, and `EventNotStored` when that cannot be told.
        """
        topic = self.topic(envelope)
        key = self.certificates.key(_certificate_url(envelope, topic), at=envelope.signed_at)
        _check_signature(envelope, key)
        self._check_age(self.certificates.clock() - envelope.signed_at)
        return topic

    def _check_age(self, age_seconds: float) -> None:
        """An old one, kept by somebody, must not be told again; a clock of ours that is wrong is our own trouble."""
        if age_seconds < -CLOCK_SKEW_SECONDS or age_seconds > max(CLOCK_IS_WRONG_FROM_SECONDS, self.max_age_seconds):
            raise EventNotStored(
                "A notification that SNS signed is dated more than an hour ahead of this host's clock, or more than a "
                "year behind it. It is refused until the clock is set right; AWS tries again meanwhile."
            )
        if age_seconds > self.max_age_seconds:
            raise NotificationRefused(
                f"SNS signed it {age_seconds / 86_400:.0f} days ago, and what is older than "
                f"{self.max_age_seconds / 86_400:g} days is not taken in. It stays in its queue: `sesmail drain-dlq "
                "--max-age` takes it."
            )

    def needs_fetch(self, envelope: Envelope) -> bool:
        """Whether `verify` would have to fetch a certificate: not to be done in an event loop."""
        return envelope.topic_arn in self.topics and not self.certificates.is_known(envelope.certificate_url)


def _certificate_url(envelope: Envelope, topic: Topic) -> str:
    url = envelope.certificate_url
    if url.startswith(topic.certificates_at) and _CERTIFICATE_FILE.fullmatch(url, len(topic.certificates_at)):
        return url
    raise NotificationRefused("The certificate is not at the address that SNS has in the topic's Region.")


def _check_signature(envelope: Envelope, key: RSAPublicKey) -> None:
    algorithm = _HASHES.get(envelope.signature_version)
    if algorithm is None:
        raise NotificationRefused("The version of the signature is neither 1 nor 2.")
    try:
        key.verify(base64.b64decode(envelope.signature, validate=True), envelope.signed_text, PKCS1v15(), algorithm)
    except (InvalidSignature, ValueError):
        raise NotificationRefused("The signature does not fit: not sent by SNS, or changed on the way.") from None


# -- subscriptions ---------------------------------------------------------------------------------------------------


class Confirmation:
    """Confirms subscriptions through the API of SNS; the `SubscribeURL` of an envelope is never opened."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        """`client` gives a boto3 client of SNS for a Region; it needs no permission: the token is the proof."""
        self._client = client

    def __call__(self, topic: Topic, token: str) -> None:
        """Confirm. Raises `EventNotStored` when it fails, so that SNS asks again."""
        try:
            self._client(topic.region).confirm_subscription(
                TopicArn=topic.arn,
                Token=token,
                AuthenticateOnUnsubscribe="true",  # else anybody with the link in a notification can unsubscribe us
            )
        except Exception as error:  # whatever boto3 raises, SNS must ask again
            raise EventNotStored(f"The subscription could not be confirmed ({type(error).__name__}).") from error
        log.info("Subscribed to %s.", topic.arn, extra={"action": "sns_subscribed", "topic": topic.arn})
