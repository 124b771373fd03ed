"""A Redis' address: what is shown of it, what is refused, and how a broker's is written."""

from __future__ import annotations

import ssl

import pytest

from sesmail.celery.addresses import celery_of_redis, redis_of_broker
from sesmail.errors import ConfigurationError
from sesmail.state.server.connection import connect, shown

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "without"),
    [
        ("redis://kim:s3cret@127.0.0.1:1/3", "redis://127.0.0.1:1/3"),
        ("redis://:s3cret@redis.example.com", "redis://redis.example.com:6379/0"),
        ("redis://:s3@cret@127.0.0.1:1", "redis://127.0.0.1:1/0"),
        ("redis://:s3%2Fcret@127.0.0.1:1//", "redis://127.0.0.1:1/0"),
        ("redis://127.0.0.1:1/?db=4&username=kim&password=s3cret", "redis://127.0.0.1:1/4"),
        ("rediss://kim:s3cret@[::1]:1/3?ssl_cert_reqs=none", "rediss://[::1]:1/3"),
        ("unix://kim:s3cret@/run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock?db=0"),
    ],
)
def test_an_address_is_shown_without_user_and_password(url, without):
    assert shown(url) == without


@pytest.mark.parametrize(
    "url",
    [
        "redis",
        "redi://:s3cret@127.0.0.1:6379/5",
        "127.0.0.1:6379/5",
        "redis://127.0.0.1:63x79/5",
        "redis://127.0.0.1:6379/five",
        "redis://127.0.0.1:6379/-1",
        "redis://:s3cret/x@127.0.0.1:6379/5",
        "redis://:1/s3cret@127.0.0.1/5",
        "redis://:12?s3cret@127.0.0.1/5",
        "redis://:12#s3cret@127.0.0.1/5",
        "unix://:s3/cret@/run/redis.sock?db=2",
        "redis://[::1:6379/0",
        "redis://127.0.0.1:6379/5;redis://127.0.0.1:6380/5",
    ],
)
def test_what_is_no_address_is_refused_before_anything_is_connected_to_and_nothing_of_it_is_repeated(url):
    with pytest.raises(ConfigurationError) as refused:
        connect(url, timeout_seconds=1)
    assert "is not written as one. Nothing was done." in str(refused.value)
    assert "s3" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    ("broker", "ledger"),
    [
        ("redis://:pw@127.0.0.1:6379/3", "redis://:pw@127.0.0.1:6379/3"),
        ("rediss://127.0.0.1:6379/3", "rediss://127.0.0.1:6379/3"),
        ("redis+socket:///run/redis.sock?virtual_host=3", "unix:///run/redis.sock?db=3"),
        ("redis://one:6379/3;redis://two:6379/3", "redis://one:6379/3"),
        (["redis://one:6379/3", "redis://two:6379/3"], "redis://one:6379/3"),
        ("REDIS://127.0.0.1:6379/3", "redis://127.0.0.1:6379/3"),
        ("amqp://rabbit.example.com//", None),
        ("", None),
        (None, None),
        ([], None),
    ],
)
def test_a_redis_broker_keeps_the_ledger_too_the_first_of_several(broker, ledger):
    assert redis_of_broker(broker) == ledger


@pytest.mark.parametrize(
    ("ledger", "broker"),
    [
        ("redis://:pw@127.0.0.1:6379/3", "redis://:pw@127.0.0.1:6379/3"),
        ("unix:///run/redis.sock?db=3", "redis+socket:///run/redis.sock?virtual_host=3"),
    ],
)
def test_the_ledger_s_redis_is_written_as_kombu_writes_a_broker(ledger, broker):
    assert celery_of_redis(ledger) == {"broker_url": broker}
    assert redis_of_broker(broker) == ledger


@pytest.mark.parametrize(
    ("use_ssl", "query"),
    [
        ({"ssl_cert_reqs": ssl.CERT_NONE}, "ssl_cert_reqs=none"),
        (
            {"ssl_cert_reqs": "CERT_REQUIRED", "ssl_ca_certs": "/ca.pem"},
            "ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=/ca.pem",
        ),
        ({"ssl_certfile": "/c.pem", "ssl_keyfile": "/k.pem"}, "ssl_certfile=/c.pem&ssl_keyfile=/k.pem"),
    ],
)
@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_how_celery_is_told_of_tls_counts_for_the_ledger_too(scheme, use_ssl, query):
    assert (
        redis_of_broker(f"{scheme}://:p%2Fw@127.0.0.1:6379/3", use_ssl) == f"rediss://:p%2Fw@127.0.0.1:6379/3?{query}"
    )


@pytest.mark.parametrize("use_ssl", [None, False, True, {}])
def test_where_celery_speaks_no_tls_the_ledger_does_not_either(use_ssl):
    assert redis_of_broker("redis://127.0.0.1:6379/3?health_check_interval=3", use_ssl) == (
        "redis://127.0.0.1:6379/3?health_check_interval=3"
    )


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("CERT_NONE", ssl.CERT_NONE),
        ("none", ssl.CERT_NONE),
        ("CERT_REQUIRED", ssl.CERT_REQUIRED),
        ("required", ssl.CERT_REQUIRED),
    ],
)
def test_celery_s_words_for_certificates_serve_as_do_redis_py_s(said, means):
    url = f"REDISS://127.0.0.1:6379/3?ssl_cert_reqs={said}"
    assert connect(url, timeout_seconds=1).connection_pool.make_connection().cert_reqs == means
    assert shown(url) == "rediss://127.0.0.1:6379/3"


def test_where_no_redis_is_named_the_error_says_what_to_set():
    with pytest.raises(ConfigurationError) as refused:
        connect("", timeout_seconds=1)
    assert str(refused.value).startswith("No Redis is named for the ledger")
    assert "Nothing was done. Set SESMAIL_REDIS_URL" in str(refused.value)
