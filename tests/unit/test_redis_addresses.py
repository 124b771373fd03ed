"""Where a Redis is, as people and Celery write it."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from kombu import Connection

from sesmail.celery.addresses import celery_of_redis, redis_of_broker
from sesmail.errors import ConfigurationError
from sesmail.state.server.address import Address, Kind, read_address
from sesmail.state.server.connection import connect, credentials_of

SECRET = "s3cret/@,;"
ESCAPED = "s3cret%2F%40%2C%3B"
SENTINELS = (("a.example", 26379), ("b.example", 26380))

SPELLINGS = {
    "commas": f"sentinel://:{ESCAPED}@a.example,b.example:26380/3?master_name=mail",
    "Celery's": f"sentinel://:{ESCAPED}@a.example:26379/3;sentinel://:{ESCAPED}@b.example:26380/3?master_name=mail",
    "said once": f"sentinel://:{ESCAPED}@a.example/3?master_name=mail;sentinel://b.example:26380",
    "no scheme behind": f"redis+sentinel://:{ESCAPED}@a.example; b.example:26380/3?master_name=mail",
    "capitals": f"SENTINEL://:{ESCAPED}@a.example,b.example:26380/3?master_name=mail",
}


@pytest.mark.parametrize("url", SPELLINGS.values(), ids=SPELLINGS)
def test_sentinels_are_understood_however_they_are_listed(url: str) -> None:
    address = read_address(url)
    assert (address.kind, address.hosts, address.master_name) == (Kind.SENTINEL, SENTINELS, "mail")
    assert address.options == {"password": SECRET, "db": 3}


def test_the_name_of_the_group_may_come_from_a_setting() -> None:
    assert read_address("sentinel://a.example", master_name="mail").master_name == "mail"
    with pytest.raises(ConfigurationError, match="SESMAIL_REDIS_MASTER_NAME"):
        read_address("sentinel://a.example")


def test_by_tls_the_sentinels_are_asked_by_tls_too_unless_it_is_said_that_they_are_not() -> None:
    url = "rediss+sentinel://a.example/0?master_name=mail&ssl_ca_certs=/ca.pem&sentinel_password=other"
    address = read_address(url)
    assert address.is_encrypted
    assert address.sentinel_options == {"ssl": True, "ssl_ca_certs": "/ca.pem", "password": "other"}
    assert read_address(f"{url}&sentinel_ssl=false").sentinel_options == {"password": "other"}


def test_a_cluster_is_named_by_some_of_its_nodes() -> None:
    address = read_address("rediss+cluster://mail:secret@a.example:7000,[::1]?ssl_ca_certs=/ca.pem")
    assert (address.kind, address.hosts) == (Kind.CLUSTER, (("a.example", 7000), ("::1", 6379)))
    assert address.options == {"username": "mail", "password": "secret", "ssl_ca_certs": "/ca.pem"}
    assert address.is_encrypted
    with pytest.raises(ConfigurationError, match="a cluster has the database 0 alone"):
        read_address("redis+cluster://a.example/3")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"redis://mail:{ESCAPED}@[::1]/5", "redis://[::1]:6379/5"),
        (f"unix://:{ESCAPED}@/run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
        (SPELLINGS["commas"], "redis+sentinel://a.example:26379,b.example:26380/3?master_name=mail"),
        (f"rediss+cluster://:{ESCAPED}@a.example", "rediss+cluster://a.example:6379"),
    ],
)
def test_what_is_shown_of_an_address_holds_no_password(url: str, shown: str) -> None:
    address = read_address(url)
    assert str(address) == shown
    assert "s3cret" not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example",
        "a.example:6379",
        "redis://a.example/zero",
        "redis://:pass?word@a.example/0",
        "redis://:pass#word@a.example/0",
        "redis+cluster://:pass/word@a.example",
        "sentinel://:one@a.example;sentinel://:another@b.example?master_name=mail",
        "sentinel://a.example/1;sentinel://b.example/2?master_name=mail",
        "redis://a.example/3;redis://b.example/3",
    ],
)
def test_what_is_no_address_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is not written as one") as refused:
        read_address(url, master_name="mail")
    assert "word" not in str(refused.value).replace("password", "")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redi://a.example/0", " It begins with redi://. "),
        ("a.example:6379/0", " It has no redis:// in front. "),
        ("pass word://a.example", " It has no redis:// in front. "),
        ("redis://a.example/zero", "Nothing was done. Write"),
    ],
)
def test_of_an_address_that_is_none_only_the_scheme_is_told(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_address(url)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://a.example/0?foo=bar", "cannot have: foo. Nothing was done. Leave it out."),
        ("redis://a.example/0?retry=5", "cannot have: retry."),
        ("redis://a.example/0?ssl_cert_reqs=none", "write rediss:// in front"),
        ("redis+cluster://a.example?pass-word=1", "cannot have: one."),
    ],
)
def test_an_option_that_no_connection_has_is_refused_before_redis_is_asked(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_address(url)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("option", "write"),
    [
        ("protocol=9", "Write 2 or 3"),
        ("socket_timeout=0", "Write seconds, more than 0"),
        ("socket_timeout=nan", "Write seconds, more than 0"),
        ("socket_connect_timeout=-3", "Write seconds, more than 0"),
        ("socket_read_size=0", "Write bytes"),
        ("health_check_interval=1.5", "Write whole seconds"),
        ("max_connections=-1", "Write a whole number"),
        ("db=-1", "Write the number of a database"),
        ("db=five", "Write the number of a database"),
        ("socket_keepalive=off", "Write true or false"),  # to redis-py, this is true
        ("ssl_cert_reqs=CERT_BOGUS", "Write required, optional or none"),
        ("ssl_min_version=1.2", "Write 771 for TLS 1.2"),
        ("ssl_include_verify_flags=VERIFY", "Write names of Python's ssl.VerifyFlags"),
    ],
)
def test_an_option_that_cannot_be_so_is_refused_with_its_value_and_what_to_write(option: str, write: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_address(f"rediss://:{ESCAPED}@a.example/0?{option}")
    assert f"cannot be so: {option}. Nothing was done. {write}" in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("option", ["client_name=no%20name", "socket_timeout=%00", "socket_timeout=a/b"])
def test_of_a_value_that_may_be_more_than_was_meant_nothing_is_told(option: str) -> None:
    with pytest.raises(ConfigurationError, match=r"=what stands there\. Nothing was done"):
        read_address(f"redis://a.example/0?{option}")


def test_options_of_sentinels_are_looked_at_too() -> None:
    url = "sentinel://a.example/0?master_name=m"
    with pytest.raises(ConfigurationError, match="cannot be so: sentinel_socket_timeout=0"):
        read_address(f"{url}&sentinel_socket_timeout=0")
    with pytest.raises(ConfigurationError, match="cannot have: sentinel_bogus"):
        read_address(f"{url}&sentinel_bogus=1")


@pytest.mark.parametrize(
    "option",
    [
        "socket_timeout=1.5&socket_connect_timeout=2&health_check_interval=0&max_connections=0&protocol=3&db=7",
        "ssl_cert_reqs=none&ssl_min_version=772&ssl_check_hostname=false&ssl_exclude_verify_flags=[VERIFY_X509_STRICT]",
    ],
)
def test_what_is_meant_is_taken(option: str) -> None:
    assert read_address(f"rediss://a.example?{option}").options


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("ssl_ca_certs={folder}/none.pem", "No such file"),
        ("ssl_ca_certs={folder}/bad.pem", "certificate"),
        ("ssl_certfile={folder}/bad.pem", "PEM"),
        ("ssl_keyfile={folder}/bad.pem", "ssl_keyfile without ssl_certfile"),
        ("ssl_ciphers=nonsense", "cipher"),
    ],
)
def test_tls_that_cannot_be_spoken_is_told_before_redis_is_asked(tmp_path: Path, options: str, told: str) -> None:
    (tmp_path / "bad.pem").write_text("this is no certificate")
    with pytest.raises(ConfigurationError, match=r"names for TLS what cannot\s+be used") as refused:
        connect(f"rediss://127.0.0.1:1/0?{options.format(folder=tmp_path)}", timeout_seconds=1)
    assert told.lower() in str(refused.value).lower()


def test_how_another_client_wants_its_answers_is_nothing_to_us() -> None:
    url = "rediss://a.example/3?decode_responses=True&encoding=latin-1&ssl_cert_reqs=none&client_name=shop"
    assert read_address(url).options == {"db": 3, "ssl_cert_reqs": "none", "client_name": "shop"}


# -- Celery's ------------------------------------------------------------------------------------------------------------


def of_broker(*broker: object, **options: object) -> Address:
    url = redis_of_broker(*broker, **options)  # type: ignore[arg-type]
    assert url is not None
    return read_address(url)


@pytest.mark.parametrize(
    "broker",
    [
        f"sentinel://:{ESCAPED}@a.example:26379/3;sentinel://:{ESCAPED}@b.example:26380/3",
        [f"sentinel://:{ESCAPED}@a.example:26379/3", "sentinel://b.example:26380"],
    ],
)
def test_the_ledger_is_where_celery_s_sentinels_are(broker: object) -> None:
    address = of_broker(broker, None, {"master_name": "mail", "sentinel_kwargs": {"password": "a&b"}})
    assert (address.kind, address.hosts, address.master_name) == (Kind.SENTINEL, SENTINELS, "mail")
    assert address.options == {"password": SECRET, "db": 3}
    assert address.sentinel_options == {"password": "a&b"}
    assert not address.is_encrypted


def test_celery_s_tls_holds_for_the_servers_and_that_of_sentinel_kwargs_for_the_sentinels() -> None:
    use_ssl = {"ssl_cert_reqs": ssl.CERT_NONE, "ssl_ca_certs": "/ca.pem"}
    in_the_clear = of_broker("sentinel://a.example", use_ssl, {"master_name": "mail"})
    assert in_the_clear.is_encrypted
    assert in_the_clear.options == {"ssl_cert_reqs": "none", "ssl_ca_certs": "/ca.pem"}
    assert in_the_clear.sentinel_options == {}
    by_tls = {"ssl": True, "ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/other.pem"}
    address = of_broker("sentinel://a.example", use_ssl, {"master_name": "mail", "sentinel_kwargs": by_tls})
    assert address.sentinel_options == {"ssl": True, "ssl_cert_reqs": "required", "ssl_ca_certs": "/other.pem"}


def test_sentinels_without_the_name_of_the_group_are_no_ledger_on_this_machine() -> None:
    with pytest.raises(ConfigurationError, match="master_name"):
        of_broker("sentinel://a.example")


def test_what_tells_kombu_who_connects_tells_the_ledger() -> None:
    assert of_broker("rediss://a.example/0?credential_provider=shop.iam.Token").credentials == "shop.iam.Token"


def test_the_stand_alone_broker_is_the_group_that_holds_the_ledger() -> None:
    url = f"rediss+sentinel://mail:{ESCAPED}@a.example,b.example:26380/3?master_name=mail&ssl_ca_certs=/ca.pem"
    settings = celery_of_redis(url)
    connection = Connection(settings["broker_url"], transport_options=settings["broker_transport_options"])
    assert (connection.userid, connection.password, connection.virtual_host) == ("mail", SECRET, "3")
    assert len(connection.alt) == 2
    assert settings["broker_transport_options"]["master_name"] == "mail"
    there_and_back = of_broker(*(settings[f"broker_{name}"] for name in ("url", "use_ssl", "transport_options")))
    assert (there_and_back.hosts, there_and_back.is_encrypted) == (SENTINELS, True)
    assert there_and_back.options == {
        "username": "mail",
        "password": SECRET,
        "db": 3,
        "ssl_cert_reqs": "required",
        "ssl_ca_certs": "/ca.pem",
    }


def test_a_cluster_cannot_be_the_broker_and_that_is_said() -> None:
    with pytest.raises(ConfigurationError, match="Name another broker in CELERY_BROKER_URL"):
        celery_of_redis("redis+cluster://a.example")


# -- who connects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://a.example?credential_provider=x.Y", "without TLS"),
        ("rediss://mail:secret@a.example?credential_provider=x.Y", "Leave it away in the address"),
        ("rediss://a.example?credential_provider=nowhere.Y", "ModuleNotFoundError"),
        ("rediss://a.example?credential_provider=builtins.dict", "it is of type dict"),
    ],
)
def test_credentials_that_cannot_serve_are_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        connect(url, timeout_seconds=1)


def test_credentials_are_an_object_or_what_makes_one() -> None:
    made = credentials_of(f"{__name__}:token")
    assert made.get_credentials() == ("mail", "now")
    assert credentials_of(f"{__name__}.TOKEN") is TOKEN


def token() -> object:
    from redis.credentials import UsernamePasswordCredentialProvider

    return UsernamePasswordCredentialProvider("mail", "now")


TOKEN = token()
