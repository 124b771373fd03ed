"""Which envelopes are believed: every known attack on SNS webhooks, and what AWS really sends."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from threading import Event, Thread

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sesmail.errors import ConfigurationError, EventNotStored, NotificationRefused
from sesmail.events.sns import BODY_LIMIT_BYTES, Certificates, Confirmation, Envelope, SnsVerifier
from tests.signing import (
    CERTIFICATE_URL,
    FIXTURE_PEM,
    FIXTURES_SIGNED_AT,
    OTHER_TOPIC,
    TOPIC,
    Signer,
    fixture_json,
    fixture_text,
)

NOW = FIXTURES_SIGNED_AT


SIGNED_AT = "2026-11-20T14:05:48.500Z"


class OfThatDay(Signer):
    """Signs at the time of the examples."""

    def notification(self, message, **fields):
        return super().notification(message, **{"Timestamp": SIGNED_AT, **fields})

    def confirmation(self, kind="SubscriptionConfirmation", **fields):
        return super().confirmation(kind, **{"Timestamp": SIGNED_AT, **fields})


@pytest.fixture(scope="module")
def signer() -> Signer:
    return OfThatDay()


def verifier_with(fetch, clock=lambda: NOW) -> SnsVerifier:
    return SnsVerifier({TOPIC: "alpha"}, Certificates(fetch, clock=clock))


@pytest.fixture
def verifier(signer) -> SnsVerifier:
    return verifier_with(signer.fetch)


def refused(verifier: SnsVerifier, fields: dict) -> NotificationRefused:
    with pytest.raises(NotificationRefused) as caught:
        verifier.verify(Envelope.from_fields(fields))
    return caught.value


# -- what AWS really sends


@pytest.mark.parametrize(
    "name",
    [
        "sns_http_notification_v1_subject.json",
        "sns_http_notification_v2_subject.json",
        "sns_http_notification_v2_no_subject.json",
        "sns_http_notification_topic_validated.json",
        "sns_http_subscription_confirmation_v1.json",
        "sns_http_subscription_confirmation_v2.json",
        "sns_http_unsubscribe_confirmation_v1.json",
        "sqs_body_enveloped.json",
    ],
)
def test_an_envelope_signed_by_sns_is_believed(name) -> None:
    verifier = verifier_with(lambda url: FIXTURE_PEM)
    assert verifier.verify(Envelope.parse(fixture_text(name))).site == "alpha"


@pytest.mark.parametrize("name", ["lambda_sns_event.json", "lambda_sns_event_null_subject.json"])
def test_lambdas_other_spelling_and_its_null_subject_are_believed_too(name) -> None:
    verifier = verifier_with(lambda url: FIXTURE_PEM)
    record = fixture_json(name)["Records"][0]["Sns"]
    assert verifier.verify(Envelope.from_fields(record)).site == "alpha"


# -- attacks


def test_a_foreign_topic_is_refused_though_sns_signed_it(verifier, signer) -> None:
    assert "topic" in str(refused(verifier, signer.notification("{}", TopicArn=OTHER_TOPIC)))


def test_a_foreign_topic_does_not_even_make_us_fetch_a_certificate(signer) -> None:
    fetched = []
    refused(verifier_with(fetched.append), signer.notification("{}", TopicArn=OTHER_TOPIC))
    assert not fetched


@pytest.mark.parametrize(
    "url",
    [
        "https://sns.s3.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem",
        "https://sns.s3-us-west-2.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem",
        "https://sns.s3-accelerate.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem",
        "https://sns.us-east-1.amazonaws.com.example.net/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem",
        "https://sns.us-east-1.amazonaws.com@example.net/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem",
        "https://sns.us-east-1.amazonaws.com:8443/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem",
        "http://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem",
        CERTIFICATE_URL + "\n",
        CERTIFICATE_URL + "?x=1",
        CERTIFICATE_URL + "#x",
        CERTIFICATE_URL.replace("/Simple", "/x/../Simple"),
        CERTIFICATE_URL.replace("0123", "0123/"),
        CERTIFICATE_URL.upper(),
        "https://127.0.0.1/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem",
        "file:///etc/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem",
        "",
    ],
)
def test_a_certificate_elsewhere_is_never_fetched(signer, url) -> None:
    fetched = []
    refused(verifier_with(fetched.append), signer.notification("{}", SigningCertURL=url or " "))
    assert not fetched


def test_the_evil_fixture_with_a_bucket_named_sns_is_refused() -> None:
    refused(verifier_with(lambda url: FIXTURE_PEM), fixture_json("sns_http_notification_EVIL_cert_url_s3.json"))


def test_the_tampered_fixture_is_refused() -> None:
    refused(verifier_with(lambda url: FIXTURE_PEM), fixture_json("sns_http_notification_v2_TAMPERED.json"))


@pytest.mark.parametrize("field", ["Message", "MessageId", "Subject", "Timestamp"])
def test_a_tampered_field_of_a_notification_is_refused(verifier, signer, field) -> None:
    envelope = signer.notification("{}")
    refused(verifier, {**envelope, field: envelope[field] + "x"})


@pytest.mark.parametrize("field", ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token"])
def test_a_tampered_field_of_a_confirmation_is_refused(verifier, signer, field) -> None:
    envelope = signer.confirmation()
    refused(verifier, {**envelope, field: envelope[field] + "x"})


def test_a_notification_cannot_be_passed_off_as_a_confirmation(verifier, signer) -> None:
    envelope = signer.notification("{}", Token="x", SubscribeURL="x")
    refused(verifier, {**envelope, "Type": "SubscriptionConfirmation"})


def test_a_subject_that_was_added_or_taken_away_is_refused(verifier, signer) -> None:
    refused(verifier, {**signer.notification("{}"), "Subject": None})
    refused(verifier, {**signer.notification("{}", Subject=None), "Subject": "added"})


@pytest.mark.parametrize("version", ["0", "3", "", "02"])
def test_an_unknown_signature_version_is_refused(verifier, signer, version) -> None:
    refused(verifier, {**signer.notification("{}"), "SignatureVersion": version})


def test_a_version_1_signature_does_not_pass_as_version_2(verifier, signer) -> None:
    refused(verifier, {**signer.notification("{}", SignatureVersion="1"), "SignatureVersion": "2"})


@pytest.mark.parametrize("signature", ["", "not base64!", "AAAA", "=" * 10, "é"])
def test_nonsense_in_place_of_a_signature_is_refused(verifier, signer, signature) -> None:
    refused(verifier, {**signer.notification("{}"), "Signature": signature})


def test_a_signature_by_another_key_is_refused(verifier) -> None:
    refused(verifier, OfThatDay().notification("{}"))


@pytest.mark.parametrize(
    ("valid_from", "days"),
    [(datetime(2020, 1, 1, tzinfo=UTC), 365), (datetime(2030, 1, 1, tzinfo=UTC), 365)],
    ids=["expired", "not yet valid"],
)
def test_a_certificate_out_of_its_time_is_refused_and_not_kept(valid_from, days) -> None:
    signer = OfThatDay(valid_from=valid_from, days=days)
    verifier = verifier_with(signer.fetch)
    refused(verifier, signer.notification("{}"))
    assert verifier.certificates.cached(CERTIFICATE_URL) is None


DAY = 86_400


def at(days: float, signer: Signer) -> SnsVerifier:
    """Who believes so many days after the envelope was signed."""
    return verifier_with(signer.fetch, clock=lambda: NOW + days * DAY)


def test_what_was_signed_while_its_certificate_was_valid_is_believed_when_that_is_over() -> None:
    signer = OfThatDay(valid_from=datetime(2026, 1, 1, tzinfo=UTC), days=326)
    fetch, calls = counting(signer.pem)
    verifier = verifier_with(fetch, clock=lambda: NOW + 14 * DAY)
    for _ in range(3):
        assert verifier.verify(Envelope.from_fields(signer.notification("{}"))).site == "alpha"
    assert len(calls) == 1


def test_what_is_older_than_fifteen_days_is_refused_unless_an_operator_wants_it(signer) -> None:
    verifier = at(16, signer)
    assert "16 days ago" in str(refused(verifier, signer.notification("{}")))
    verifier.max_age_seconds = 30 * DAY
    assert verifier.verify(Envelope.from_fields(signer.notification("{}"))).site == "alpha"


@pytest.mark.parametrize("days", [-365 * 56, -1, 400])
def test_a_clock_of_ours_that_is_wrong_is_our_trouble(signer, days) -> None:
    with pytest.raises(EventNotStored, match="clock"):
        at(days, signer).verify(Envelope.from_fields(signer.notification("{}")))


def test_a_forged_one_is_refused_whatever_our_clock_says(signer) -> None:
    refused(at(-365 * 56, signer), {**signer.notification("{}"), "Message": "x"})


def test_a_time_that_is_none_is_refused(verifier, signer) -> None:
    refused(verifier, signer.notification("{}", Timestamp="yesterday"))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{not json", 400),
        (b"[]", 400),
        (b'"Notification"', 400),
        (b"{}", 400),
        (b"\xff\xfe\x00", 400),
        (b"[" * 500_000, 400),
        (b'{"a":' * 100_000, 400),
        (b"9" * 5_000, 400),
        (b'{"Type":"Notification","MessageId":1,"TopicArn":[],"Message":{}}', 400),
        (b" " * (BODY_LIMIT_BYTES + 1), 413),
        (fixture_text("sqs_body_rawdelivery.json").encode(), 400),
    ],
)
def test_what_is_no_envelope_is_refused_with_the_right_status(body, status) -> None:
    with pytest.raises(NotificationRefused) as caught:
        Envelope.parse(body)
    assert caught.value.status == status


def test_a_lone_surrogate_is_refused_not_a_crash(signer) -> None:
    envelope = signer.notification("{}")
    with pytest.raises(NotificationRefused):
        Envelope.parse(json.dumps({**envelope, "Message": "\ud800"}))


@given(
    st.dictionaries(
        st.sampled_from(
            ["Type", "MessageId", "TopicArn", "Message", "Signature", "SignatureVersion", "SigningCertURL"]
        ),
        st.one_of(
            st.sampled_from(["Notification", TOPIC, CERTIFICATE_URL, "1", "2"]), st.text(), st.none(), st.integers()
        ),
    )
)
def test_no_envelope_escapes_the_two_answers(fields) -> None:
    def fetch(url):
        return FIXTURE_PEM

    with pytest.raises(NotificationRefused):
        verifier_with(fetch).verify(Envelope.from_fields(fields))


@given(st.binary(max_size=300))
def test_no_body_escapes_the_two_answers(body) -> None:
    with pytest.raises(NotificationRefused):
        Envelope.parse(body)


def test_what_is_personal_does_not_show_in_the_repr(signer) -> None:
    assert "reader@example.org" not in repr(Envelope.from_fields(signer.notification("reader@example.org")))


# -- certificates: kept when good, never when bad


def counting(pem_or_error):
    calls = []

    def fetch(url: str) -> bytes:
        calls.append(url)
        if isinstance(pem_or_error, Exception):
            raise pem_or_error
        return pem_or_error

    return fetch, calls


def test_a_certificate_is_fetched_once(signer) -> None:
    fetch, calls = counting(signer.pem)
    verifier = verifier_with(fetch)
    for _ in range(3):
        verifier.verify(Envelope.from_fields(signer.notification("{}")))
    assert calls == [CERTIFICATE_URL]


def test_a_certificate_that_cannot_be_fetched_is_our_trouble_and_tried_again(signer) -> None:
    fetch, calls = counting(EventNotStored())
    verifier = verifier_with(fetch)
    for _ in range(2):
        with pytest.raises(EventNotStored):
            verifier.verify(Envelope.from_fields(signer.notification("{}")))
    assert len(calls) == 2


@pytest.mark.parametrize("garbage", [b"", b"<html>captive portal</html>", FIXTURE_PEM * 2])
def test_a_broken_answer_in_place_of_the_certificate_is_our_trouble(signer, garbage) -> None:
    with pytest.raises(EventNotStored):
        verifier_with(lambda url: garbage).verify(Envelope.from_fields(signer.notification("{}")))


def test_a_certificate_is_kept_for_a_day(signer) -> None:
    fetch, calls = counting(signer.pem)
    now = [NOW]
    certificates = Certificates(fetch, clock=lambda: now[0])
    certificates.key(CERTIFICATE_URL)
    now[0] += 24 * 3600 - 1
    certificates.key(CERTIFICATE_URL)
    assert len(calls) == 1
    now[0] += 2
    certificates.key(CERTIFICATE_URL)
    assert len(calls) == 2


def test_a_certificate_is_not_kept_longer_than_it_is_valid() -> None:
    signer = Signer(valid_from=datetime.fromtimestamp(NOW - 86_400 + 60, UTC), days=1)
    now = [NOW]
    certificates = Certificates(signer.fetch, clock=lambda: now[0])
    certificates.key(CERTIFICATE_URL)
    now[0] += 61
    assert certificates.cached(CERTIFICATE_URL) is None


def test_no_more_than_sixteen_certificates_are_kept(signer) -> None:
    certificates = Certificates(signer.fetch, clock=lambda: NOW)
    for number in range(40):
        certificates.key(f"{CERTIFICATE_URL}{number}")
    assert len(certificates._kept) == 16


def test_one_certificate_is_fetched_at_a_time_however_many_ask(signer) -> None:
    calls, started, go_on = [], Event(), Event()

    def slow(url: str) -> bytes:
        calls.append(url)
        started.set()
        assert go_on.wait(5)
        return signer.pem

    certificates = Certificates(slow, clock=lambda: NOW)
    threads = [Thread(target=certificates.key, args=(CERTIFICATE_URL,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert started.wait(5)
    go_on.set()
    for thread in threads:
        thread.join(5)
    assert len(calls) == 1


# -- topics


@pytest.mark.parametrize(
    ("arn", "host"),
    [
        ("arn:aws:sns:eu-central-1:123456789012:x", "sns.eu-central-1.amazonaws.com"),
        ("arn:aws-cn:sns:cn-north-1:123456789012:x", "sns.cn-north-1.amazonaws.com.cn"),
        ("arn:aws-us-gov:sns:us-gov-west-1:123456789012:x", "sns.us-gov-west-1.amazonaws.com"),
        ("arn:aws-eusc:sns:eusc-de-east-1:123456789012:x", "sns.eusc-de-east-1.amazonaws.eu"),
        ("arn:aws-iso:sns:us-iso-east-1:123456789012:x", "sns.us-iso-east-1.c2s.ic.gov"),
        ("arn:aws-iso-e:sns:eu-isoe-west-1:123456789012:x", "sns.eu-isoe-west-1.cloud.adc-e.uk"),
    ],
)
def test_the_region_and_partition_of_the_topic_decide_where_its_certificate_is(signer, arn, host) -> None:
    fetch, calls = counting(signer.pem)
    url = CERTIFICATE_URL.replace("sns.us-east-1.amazonaws.com", host)
    verifier = SnsVerifier({arn: "alpha"}, Certificates(fetch, clock=lambda: NOW))
    verifier.verify(Envelope.from_fields(signer.notification("{}", TopicArn=arn, SigningCertURL=url)))
    assert calls == [url]


@pytest.mark.parametrize(
    "arn",
    [
        "ses-events",
        "arn:aws:sqs:us-east-1:123456789012:x",
        "arn:aws:sns:us-east-1:123456789012:*",
        "arn:aws:sns:us-east-1@example.net:123456789012:x",
        "arn:aws:sns:us-east-1/:123456789012:x",
        "arn:aws-eusc:sns:us-east-1:123456789012:x",
        "arn:aws:sns:eusc-de-east-1:123456789012:x",
        "arn:aws-iso:sns:us-isob-east-1:123456789012:x",
        "arn:aws-mars:sns:us-east-1:123456789012:x",
        TOPIC + "\n",
        "",
    ],
)
def test_a_topic_that_is_no_full_arn_is_a_configuration_error(arn) -> None:
    with pytest.raises(ConfigurationError):
        SnsVerifier({arn: "alpha"})


def test_every_region_where_there_is_ses_has_topics_that_are_believed() -> None:
    session = botocore.session.Session()
    regions = {
        (partition, region)
        for partition in session.get_available_partitions()
        for service in ("sesv2", "email")
        for region in session.get_available_regions(service, partition)
        if not partition.startswith("aws-iso")
    }
    assert ("aws", "eu-west-1") in regions
    for partition, region in sorted(regions):
        SnsVerifier({f"arn:{partition}:sns:{region}:123456789012:ses-events": "alpha"})


@pytest.mark.parametrize("site", ["", "a/b", "a:b", "a b", "alpha\n"])
def test_a_site_must_have_a_plain_name(site) -> None:
    with pytest.raises(ConfigurationError, match="name of a site"):
        SnsVerifier({TOPIC: site})


# -- confirmation


class FakeSns:
    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.calls = error, []

    def confirm_subscription(self, **arguments: str) -> None:
        self.calls.append(arguments)
        if self.error:
            raise self.error


def test_a_subscription_is_confirmed_through_the_api_in_the_topics_region_and_not_at_the_url_given(
    verifier, signer
) -> None:
    sns, regions = FakeSns(), []
    envelope = Envelope.from_fields(signer.confirmation(SubscribeURL="http://169.254.169.254/latest/meta-data"))
    Confirmation(lambda region: regions.append(region) or sns)(verifier.verify(envelope), envelope.token)
    assert regions == ["us-east-1"]
    assert sns.calls == [{"TopicArn": TOPIC, "Token": envelope.token, "AuthenticateOnUnsubscribe": "true"}]


def test_a_confirmation_that_fails_asks_for_another(verifier, signer) -> None:
    envelope = Envelope.from_fields(signer.confirmation())
    with pytest.raises(EventNotStored):
        Confirmation(lambda region: FakeSns(RuntimeError()))(verifier.verify(envelope), envelope.token)
