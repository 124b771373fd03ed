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
from enum import StrEnum
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

_SIGNED_FIELDS_OF_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_SIGNED_FIELDS_OF_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_HASHES: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303  AWS's SignatureVersion 1

# The isolated partitions (aws-iso, ...) have other domains, which we could not check: they are not supported.
_DOMAINS = {"aws": "amazonaws.com", "aws-us-gov": "amazonaws.com", "aws-cn": "amazonaws.com.cn"}
_TOPIC_ARN = re.compile(r"arn:(aws|aws-us-gov|aws-cn):sns:([a-z]{2}(?:-[a-z]+)+-\d):\d{12}:[A-Za-z0-9_-]{1,256}")
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
                token=text.get("Token", ""),
                signature_version=_text(fields["SignatureVersion"]),
                signature=_text(fields["Signature"]),
                certificate_url=_text(fields.get("SigningCertURL") or fields["SigningCertUrl"]),
                signed_text="".join(f"{name}\n{value}\n" for name, value in text.items()).encode(),
            )
        except (KeyError, TypeError, ValueError):
            raise NotificationRefused("This is not an envelope of Amazon SNS.", status=400) from None

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


class Certificates:
    """The public keys behind certificate addresses: fetched once, kept for a day, never longer than they are valid.

    Only success is remembered: a failed fetch is tried again with the next notification.
    """

    def __init__(
        self, fetch: Callable[[str], bytes] = fetch_certificate, *, clock: Callable[[], float] = time.time
    ) -> None:
        """`fetch` answers the certificate in PEM or raises `EventNotStored`; `clock` gives epoch seconds."""
        self._fetch = fetch
        self._clock = clock
        self._kept: dict[str, tuple[RSAPublicKey, float]] = {}
        self._fetching = threading.Lock()

    def cached(self, url: str) -> RSAPublicKey | None:
        """The key, if it is at hand."""
        key, expires_at = self._kept.get(url, (None, 0.0))
        return key if expires_at > self._clock() else None

    def key(self, url: str) -> RSAPublicKey:
        """The key; may take as long as a fetch.

        Raises `EventNotStored` when it is not to be had, and `NotificationRefused` if it is not valid now.
        """
        return self.cached(url) or self._fetched(url)

    def _fetched(self, url: str) -> RSAPublicKey:
        # One fetch at a time: made-up addresses must not make us open many connections, nor hold many threads for long.
        if not self._fetching.acquire(timeout=5.0):
            raise EventNotStored("The certificate of SNS was not to be had: another one is being fetched.")
        try:
            return self.cached(url) or self._keep(url, self._fetch(url))
        finally:
            self._fetching.release()

    def _keep(self, url: str, pem: bytes) -> RSAPublicKey:
        certificate = _single_certificate(pem)
        now = self._clock()
        not_after = certificate.not_valid_after_utc.timestamp()
        if not certificate.not_valid_before_utc.timestamp() <= now < not_after:
            raise NotificationRefused("The certificate behind the signature is not valid at this time.")
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey):
            raise NotificationRefused("The certificate behind the signature has no RSA key.")
        while len(self._kept) >= CERTIFICATES_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[url] = (key, min(not_after, now + CERTIFICATE_LIFETIME_SECONDS))
        return key


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
        if not match:
            raise ConfigurationError(
                f"{arn!r} is not the ARN of an SNS topic. Events of SES are refused until it is mended. "
                "Write it in full, such as arn:aws:sns:eu-west-1:123456789012:ses-events."
            )
        if not _SITE.fullmatch(site):
            raise ConfigurationError(
                f"{site!r} cannot be the name of a site: it has letters, digits, dots, dashes and underscores. "
                "Events of SES are refused until it is mended."
            )
        partition, region = match.groups()
        return cls(arn=arn, site=site, region=region, certificates_at=f"https://sns.{region}.{_DOMAINS[partition]}/")


class SnsVerifier:
    """Tells what may be believed: signed by SNS, for a topic of ours."""

    def __init__(self, topics: Mapping[str, str], certificates: Certificates | None = None) -> None:
        """`topics` maps the ARN of each topic to its site. Raises `ConfigurationError` for an ARN that is none."""
        self.topics = {arn: Topic.parse(arn, site) for arn, site in topics.items()}
        self.certificates = certificates or Certificates()

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
        key = self.certificates.key(_certificate_url(envelope, topic))
        _check_signature(envelope, key)
        return topic

    def needs_fetch(self, envelope: Envelope) -> bool:
        """Whether `verify` would have to fetch a certificate: not to be done in an event loop."""
        return envelope.topic_arn in self.topics and self.certificates.cached(envelope.certificate_url) is None


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
