"""What `manage.py check` says of a site's email, each by the id that silences it."""

from __future__ import annotations

from types import SimpleNamespace

import django
import django.urls
import pytest
from django.core.checks import run_checks
from django.urls import include, path

from sesmail.celery import current
from sesmail.celery.current import close_clients
from sesmail.contrib.django import checks
from sesmail.embedded import EmbeddedRedis

BACKEND = "sesmail.contrib.django.EmailBackend"
urlpatterns = [path("sesmail/", include("sesmail.contrib.django.urls"))]


@pytest.fixture(autouse=True)
def registered(django_site):
    checks.register()
    django_site.DEFAULT_FROM_EMAIL = "shop@example.com"
    mail_goes_through(django_site, BACKEND)


def mail_goes_through(django_site, backend: str) -> None:
    if django.VERSION >= (6, 1):
        django_site.MAILERS = {"default": {"BACKEND": backend}}
    else:
        django_site.EMAIL_BACKEND = backend


def said(**how) -> dict[str, str]:
    """What the checks say by now, but for what this process always says."""
    close_clients()
    django.urls.clear_url_caches()
    found = run_checks(**how)
    always = {"sesmail.I001", "sesmail.W001"}
    return {each.id: each.msg for each in found if each.id.startswith("sesmail.") and each.id not in always}


def test_a_site_as_it_should_be_is_told_nothing():
    assert said() == {}


@pytest.mark.parametrize("silenced", [[], ["sesmail.W001"]])
def test_who_has_silenced_the_check_for_a_celery_app_is_not_told_by_the_log_either(caplog, silenced):
    settings = SimpleNamespace(SESMAIL={"REDIS_URL": "redis://127.0.0.1:1/0"}, SILENCED_SYSTEM_CHECKS=silenced)
    current._django_host(settings).tell()
    assert ("Missing is `from .celery import app" in caplog.text) == (not silenced)


def test_registering_twice_says_nothing_twice(django_site):
    django_site.SESMAIL_FROM_EMAIL = "shop@example.com"
    checks.register()
    assert [each.id for each in run_checks()].count("sesmail.W002") == 1


@pytest.mark.parametrize(
    ("name", "meant"),
    [("SESMAIL_FROM_EMAIL", "FROM_EMAIL"), ("SESMAIL_FORM_EMAIL", "FROM_EMAIL"), ("SESMAIL_REGIO", "REGION")],
)
def test_a_setting_outside_of_the_dictionary_is_found(django_site, name, meant):
    setattr(django_site, name, "x")
    assert name in said()["sesmail.W002"]
    (found,) = [each for each in run_checks() if each.id == "sesmail.W002"]
    assert f'{{"{meant}": ...}}' in found.hint


def test_a_misspelt_key_and_a_dictionary_that_is_none_are_errors(django_site):
    django_site.SESMAIL = {"FORM_EMAIL": "shop@example.com"}
    assert 'is SESMAIL["FROM_EMAIL"] meant' in said()["sesmail.E001"]
    django_site.SESMAIL = "shop@example.com"
    assert "of type str" in said()["sesmail.E001"]


def test_a_sender_that_is_no_address_is_an_error_and_so_is_one_that_nobody_set(django_site):
    django_site.SERVER_EMAIL = "errors"
    assert "SERVER_EMAIL is not an email address" in said()["sesmail.E002"]
    django_site.SERVER_EMAIL, django_site.ADMINS = "root@localhost", ["ops@example.org"]
    assert "from the sender of all other email" in said()["sesmail.I003"]
    django_site.DEFAULT_FROM_EMAIL, django_site.SESMAIL = "webmaster@localhost", {"REDIS_URL": "redis://127.0.0.1:1/0"}
    assert "is refused" in said()["sesmail.E003"]


def test_where_django_s_own_mail_goes_another_way_its_senders_are_not_looked_at(django_site):
    mail_goes_through(django_site, "django.core.mail.backends.dummy.EmailBackend")
    django_site.SERVER_EMAIL = "errors"
    assert said() == {}


def test_the_settings_of_django_ses_that_have_no_effect_are_named_with_the_reason(django_site):
    django_site.AWS_SES_SOURCE_ARN = "arn:aws:ses:eu-west-1:123456789012:identity/example.com"
    assert "AWS_SES_SOURCE_ARN has no effect" in said()["sesmail.I002"]


@pytest.mark.skipif(django.VERSION < (6, 1), reason="MAILERS came with Django 6.1")
def test_a_handler_of_errors_by_a_mailer_that_raises_is_told(django_site):
    django_site.ADMINS, django_site.SERVER_EMAIL = ["ops@example.org"], "errors@example.com"
    assert "mail_admins" in said()["sesmail.W008"]
    quiet = {"BACKEND": BACKEND, "OPTIONS": {"fail_silently": True}}
    django_site.MAILERS = {"default": {"BACKEND": BACKEND}, "errors": quiet}
    handler = {"class": "django.utils.log.AdminEmailHandler", "using": "errors"}
    django_site.LOGGING = {"version": 1, "handlers": {"mine": handler}}
    assert "mail_admins" in said()["sesmail.W008"]  # Django's own is still there
    django_site.LOGGING["loggers"] = {"django": {"handlers": ["mine"]}}
    assert said() == {}


def test_a_door_that_believes_no_topic_is_told(django_site):
    django_site.ROOT_URLCONF = __name__
    assert "no SNS topic is believed" in said()["sesmail.W003"]
    topics = {"arn:aws:sns:eu-west-1:123456789012:ses-events": "default"}
    django_site.SESMAIL = {**django_site.SESMAIL, "TOPICS": topics}
    assert said() == {}


def test_a_redirect_to_https_that_loses_what_is_posted_to_the_door_is_told(django_site):
    django_site.ROOT_URLCONF = __name__
    topics = {"arn:aws:sns:eu-west-1:123456789012:ses-events": "default"}
    django_site.SESMAIL = {**django_site.SESMAIL, "TOPICS": topics}
    django_site.MIDDLEWARE = ["django.middleware.security.SecurityMiddleware"]
    django_site.SECURE_SSL_REDIRECT = True
    assert "redirect" in said()["sesmail.W009"]
    django_site.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert said() == {}
    django_site.SECURE_PROXY_SSL_HEADER, django_site.SECURE_REDIRECT_EXEMPT = None, [r"events/$"]
    assert said() == {}


def test_before_a_deploy_the_ledger_is_looked_at(django_site, redis_server: EmbeddedRedis, redis):
    django_site.SESMAIL = {"REDIS_URL": redis_server.url}
    redis.config_set("appendonly", "no")
    try:
        found = said(include_deployment_checks=True)
    finally:
        redis.config_set("appendonly", "yes")
    assert {"sesmail.W004", "sesmail.W005", "sesmail.W007"} <= set(found)
    assert "two stores" in found["sesmail.W005"]
    django_site.SESMAIL = {"REDIS_URL": redis_server.url, "CONFIGURATION_SET": "events"}
    django_site.CELERY_BROKER_URL = redis_server.url
    assert said(include_deployment_checks=True) == {}
    assert said() == {}


def test_before_a_deploy_a_ledger_that_is_away_is_told_as_a_warning():
    assert "Redis cannot be reached" in said(include_deployment_checks=True)["sesmail.W006"]
