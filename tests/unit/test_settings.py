"""Where settings come from, whose word counts, and what is said when one is wrong."""

from __future__ import annotations

from typing import Any

import django.conf
import pytest
from pydantic import ValidationError

from sesmail import Client
from sesmail.errors import ConfigurationError
from sesmail.settings import ENVIRONMENT_PREFIX, Settings, Source, load, rate_limit


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    """Neither the environment nor Django says anything, unless a test makes them."""
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_SES_REGION_NAME", "AWS_SES_CONFIGURATION_SET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(django.conf, "settings", django.conf.LazySettings())


@pytest.fixture
def django_says(monkeypatch):
    """Makes this a process of a Django with these settings."""

    def says(**settings: Any) -> None:
        configured = django.conf.LazySettings()
        configured.configure(**settings)
        monkeypatch.setattr(django.conf, "settings", configured)

    return says


def by_celery(said: dict[str, Any]) -> Source:
    return Source(name="Celery's configuration", spelling="sesmail_{}", said=said)


# Whose word counts


def test_without_a_word_from_anybody_the_defaults_hold():
    settings = load()
    assert settings == Settings.model_construct()
    assert (settings.region, settings.redis_url, settings.on_unknown) == (None, "", "resend")


def test_the_application_comes_before_the_environment_and_that_before_names_of_others(monkeypatch):
    sources = [
        lambda: monkeypatch.setenv("AWS_REGION", "us-west-1"),
        lambda: monkeypatch.setenv("AWS_SES_REGION_NAME", "us-west-2"),
        lambda: monkeypatch.setenv("SESMAIL_REGION", "eu-west-1"),
    ]
    found = []
    for speaks_up in sources:
        speaks_up()
        found.append(load().region)
    assert found == ["us-west-1", "us-west-2", "eu-west-1"]
    assert load(by_celery({"region": "eu-west-2"})).region == "eu-west-2"


OTHER_VALUES = {
    "accounts": '{"marketing": {"region": "eu-west-1", "lanes": ["bulk"]}}',
    "accept_waits_for": "disk",
    "ses_call": "boto3",
    "batch_call": "bulk",
    "first_ticket": "celery",
    "tickets_in_groups": "1",
    "ses": '{"TenantName": "shop-17"}',
    "on_unknown": "hold",
    "worker_rate_limit": "300/m",
    "configuration_set_rate_limits": '{"news": "5/s"}',
    "tenant_rate_limits": '{"shop-17": "5/s", "*": "1/s"}',
    "sender_rate_limits": '{"news.example.com": "5/s"}',
    "share": "0.5",
    "quota_reserve": "0.5",
    "brake": "warn",
    "brake_bounce_warning": "0.3",
    "brake_bounce_limit": "0.4",
    "brake_complaint_warning": "0.3",
    "brake_complaint_limit": "0.4",
    "topics": '{"arn:aws:sns:eu-west-1:123456789012:ses-events": "shop"}',
    "sqs_queue_urls": '["https://sqs.eu-west-1.amazonaws.com/123456789012/ses-events"]',
    "sns_certificate_url": "http://127.0.0.1:8005/_sim/certificate.pem",
    "verify_queues": "false",
    "share_opt_outs_with": '["beta"]',
    "text_from_html": "true",
    "mail_on_commit": "true",
    "search_by_address": "false",
    "redis_may_forget": "true",
    "require_unsubscribe": "true",
    "global_key_prefix": "shop:",
    "suppress_send": "true",
    "redirect_to": '["staging@example.com"]',
    "redirect_except_domains": '["example.com"]',
    "hourly_limit_exempt": '["archive@example.com"]',
    "transactional_ignores": '["complained"]',
    "unsubscribe_secrets": '["a secret for tests only"]',
}


def test_every_setting_can_be_given_in_the_environment(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.setenv(f"{ENVIRONMENT_PREFIX}{name.upper()}", OTHER_VALUES.get(name, "3"))
    settings = load()
    assert settings.model_fields_set == set(Settings.model_fields)
    assert (settings.max_send_rate, settings.max_attempts, settings.region) == (3.0, 3, "3")
    assert settings.configuration_set_rate_limits == {"news": "5/s"}


def test_an_empty_variable_says_nothing(monkeypatch):
    monkeypatch.setenv("SESMAIL_REGION", "")
    monkeypatch.setenv("SESMAIL_MAX_SEND_RATE", "")
    monkeypatch.setenv("AWS_REGION", "us-west-1")
    assert (load().region, load().max_send_rate) == ("us-west-1", None)


def test_django_s_settings_speak_for_the_application(django_says, monkeypatch):
    monkeypatch.setenv("SESMAIL_FROM_EMAIL", "environment@example.com")
    monkeypatch.setenv("AWS_SES_REGION_NAME", "us-west-2")
    django_says(
        SESMAIL={"FROM_EMAIL": "django@example.com", "MAX_SEND_RATE": 7},
        AWS_SES_REGION_NAME="eu-west-1",
        AWS_SES_CONFIGURATION_SET="events",
    )
    settings = load()
    assert (settings.from_email, settings.max_send_rate) == ("django@example.com", 7.0)
    assert (settings.region, settings.configuration_set) == ("eu-west-1", "events"), "as django-ses calls them"


def test_a_django_that_is_installed_but_not_configured_is_left_alone(monkeypatch):
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    assert load().from_email is None
    assert not django.conf.settings.configured


# Redis


def test_celery_s_broker_is_the_ledger_s_redis_where_nobody_names_one(monkeypatch):
    broker = {"default_redis_url": "redis://broker.example.com/1"}
    assert load(**broker).redis_url == "redis://broker.example.com/1"
    monkeypatch.setenv("SESMAIL_REDIS_URL", "redis://environment.example.com/2")
    assert load(**broker).redis_url == "redis://environment.example.com/2"
    said = by_celery({"redis_url": "redis://said.example.com/3"})
    assert load(said, **broker).redis_url == "redis://said.example.com/3"


# Wrong ones


def test_all_wrong_and_unknown_settings_are_named_at_once_from_wherever_they_come(monkeypatch, django_says):
    monkeypatch.setenv("SESMAIL_MAX_SEND_RATE", "fast")
    django_says(SESMAIL={"FORM_EMAIL": "shop@example.com", "ON_UNKNOWN": "panic"})
    with pytest.raises(ConfigurationError) as error:
        load(by_celery({"lease_seconds": 0, "key_prefix": "a b"}))
    wrong = [line.strip().partition(":")[0] for line in str(error.value).splitlines()[1:]]
    assert sorted(wrong) == [
        'SESMAIL["FORM_EMAIL"] in Django\'s settings',
        'SESMAIL["ON_UNKNOWN"] in Django\'s settings',
        "SESMAIL_MAX_SEND_RATE in the environment",
        "sesmail_key_prefix in Celery's configuration",
        "sesmail_lease_seconds in Celery's configuration",
    ]
    assert "no email is sent" in str(error.value)
    assert 'is SESMAIL["FROM_EMAIL"] meant?' in str(error.value)


@pytest.mark.parametrize(("name", "meant"), [("SENDER", "from_email"), ("CONFIG_SET", "configuration_set")])
def test_a_setting_that_others_call_otherwise_is_known_by_its_name_here(django_says, name, meant):
    django_says(SESMAIL={name: "x"})
    with pytest.raises(ConfigurationError, match=rf'is SESMAIL\["{meant.upper()}"\] meant'):
        load()


@pytest.mark.parametrize("said", [None, {}, ()])
def test_django_settings_that_say_nothing_say_nothing(django_says, said):
    django_says(SESMAIL=said)
    assert load().from_email is None


def test_django_settings_of_another_form_are_refused_in_words(django_says):
    django_says(SESMAIL="shop@example.com")
    with pytest.raises(ConfigurationError, match=r"SESMAIL in Django's settings is of type str: write SESMAIL = \{"):
        load()


def test_json_that_is_none_hides_no_other_error(monkeypatch):
    monkeypatch.setenv("SESMAIL_TOPICS", "arn")
    monkeypatch.setenv("SESMAIL_SQS_QUEUE_URLS", "https://queue.example.com")
    monkeypatch.setenv("SESMAIL_MAX_ATTEMPTS", "many")
    with pytest.raises(ConfigurationError) as error:
        load()
    lines = str(error.value).splitlines()[1:]
    assert ["TOPICS" in line or "SQS_QUEUE_URLS" in line or "MAX_ATTEMPTS" in line for line in lines] == [True] * 3
    assert sum("as JSON, such as" in line for line in lines) == 2


def test_no_value_is_shown_for_it_may_be_a_password(monkeypatch):
    monkeypatch.setenv("SESMAIL_MAX_ATTEMPTS", "redis://:s3cret@example.com")
    wrong = {"redis_timeout_seconds": "s3cret", "key_prefix": "s3cret :", "on_unknown": "s3cret", "redis_ulr": "s3cret"}
    with pytest.raises(ConfigurationError) as error:
        load(by_celery(wrong))
    assert "s3cret" not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


def test_json_that_is_none_is_named_and_not_shown(monkeypatch):
    monkeypatch.setenv("SESMAIL_CONFIGURATION_SET_RATE_LIMITS", "s3cret")
    with pytest.raises(ConfigurationError, match="SESMAIL_CONFIGURATION_SET_RATE_LIMITS in the environment") as error:
        load()
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("limit", "per_second"), [(6, 6), (0.5, 0.5), ("6", 6), ("6/s", 6), ("300/m", 5), ("7200/h", 2), ("0", None)]
)
def test_a_rate_limit_is_a_number_or_written_as_celery_writes_it(limit, per_second):
    assert rate_limit(load(by_celery({"worker_rate_limit": limit})).worker_rate_limit) == per_second


@pytest.mark.parametrize("limit", ["fast", "6/d", "/s", "6 per second"])
def test_another_rate_limit_is_refused_with_the_ways_to_write_it(limit):
    with pytest.raises(ConfigurationError, match="6/s, 300/m or 5000/h"):
        load(by_celery({"configuration_set_rate_limits": {"news": limit}}))


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name.endswith("_seconds")])
@pytest.mark.parametrize("value", [0, -1])
def test_no_time_may_be_nothing_or_less(name, value):
    with pytest.raises(ConfigurationError, match=name):
        load(by_celery({name: value}))


def test_settings_do_not_change_while_a_process_runs():
    with pytest.raises(ValidationError):
        load().region = "eu-west-1"


def test_a_worker_may_hold_a_send_longer_than_asking_ses_can_take():
    settings = load(by_celery({"patience_seconds": 2, "ses_connect_timeout_seconds": 3, "ses_read_timeout_seconds": 4}))
    assert settings.asking_seconds > 3 + 4
    assert settings.holding_seconds == settings.asking_seconds + 2


def test_the_times_of_the_defaults_fit_each_other():
    settings = load()
    assert settings.sweep_interval_seconds < settings.lease_seconds
    assert settings.max_age_seconds <= settings.failed_retention_seconds


def test_one_evidence_window_holds_for_both_lanes_and_one_of_a_lane_goes_before_it():
    windows = lambda **said: [load(by_celery(said)).evidence_window_of(lane) for lane in ("transactional", "bulk")]  # noqa: E731
    assert windows() == [None, None], "the ledger's own"
    assert windows(evidence_window_seconds=90) == [90, 90]
    assert windows(evidence_window_seconds=90, transactional_evidence_window_seconds=20) == [20, 90]
    assert windows(bulk_evidence_window_seconds=600) == [None, 600]


def test_a_misspelt_variable_is_noticed_but_not_one_that_kubernetes_makes_up(monkeypatch, caplog):
    monkeypatch.setenv("SESMAIL_MAX_SEND_RTAE", "14")
    monkeypatch.setenv("SESMAIL_SENDER", "shop@example.com")
    monkeypatch.setenv("SESMAIL_SERVICE_HOST", "10.0.0.1")
    load()
    assert "SESMAIL_MAX_SEND_RTAE is no setting and has no effect. Is SESMAIL_MAX_SEND_RATE meant?" in caplog.text
    assert "SESMAIL_SENDER is no setting and has no effect. Is SESMAIL_FROM_EMAIL meant?" in caplog.text
    assert "SERVICE_HOST" not in caplog.text


@pytest.mark.parametrize(
    "url",
    ["https://evil.example.com/c.pem", "http://127.0.0.1.example.com/c.pem", "http://127.0.0.1@example.com/c.pem"],
)
def test_a_certificate_of_another_machine_is_never_trusted_in_place_of_sns_s(url):
    with pytest.raises(ConfigurationError, match="sns_certificate_url"):
        load(by_celery({"sns_certificate_url": url}))


def test_an_address_that_is_none_is_told_with_who_said_it(monkeypatch):
    monkeypatch.setenv("SESMAIL_EVENT_STORE", "redis://127.0.0.1:1/0?protocol=9")
    django = Source(name="Django's settings", spelling='SESMAIL["{}"]', said={"redis_url": "redi://127.0.0.1:1/0"})
    client = Client(load(django))
    with pytest.raises(ConfigurationError, match=r'\(SESMAIL\["REDIS_URL"\] in Django\'s settings\) is not written'):
        client.scripts  # noqa: B018  to be made
    with pytest.raises(ConfigurationError, match=r"\(SESMAIL_EVENT_STORE in the environment\) has an option that"):
        client.event_store  # noqa: B018
    of_broker = Client(load(default_redis_url="redis://127.0.0.1:1/x"))
    with pytest.raises(ConfigurationError, match=r"\(Celery's broker_url\) is not written as one"):
        of_broker.scripts  # noqa: B018


# True is no number


@pytest.mark.parametrize("name", ["max_send_rate", "worker_rate_limit", "lease_seconds", "soft_bounce_limit", "share"])
@pytest.mark.parametrize("value", [True, False])
def test_true_and_false_are_no_numbers(name, value):
    with pytest.raises(ConfigurationError, match=f"sesmail_{name} in Celery's configuration"):
        load(by_celery({name: value}))


def test_true_and_false_are_no_numbers_of_an_account_either():
    with pytest.raises(ConfigurationError, match=r"'max_send_rate'.*write a number"):
        load(by_celery({"accounts": {"other": {"max_send_rate": True}}}))


def test_what_is_true_or_false_may_be():
    assert load(by_celery({"suppress_send": True})).suppress_send is True
