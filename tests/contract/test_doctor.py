"""`sesmail doctor` on broken set-ups: each is broken for real, and its cause stands in the first line."""

from __future__ import annotations

import http.server
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from celery import Celery
from click.testing import CliRunner, Result
from moto.server import ThreadedMotoServer
from redis import Redis

from seslocal import Simulator
from sesmail.celery.broker_setup import broker_setup
from sesmail.celery.current import client_of
from sesmail.cli import main
from sesmail.client import Client
from sesmail.client.way_back import OF_SES
from sesmail.doctor import CHECKS, Patient, examine
from sesmail.embedded import EmbeddedRedis
from sesmail.message import Email, Lane
from sesmail.ses.inspection import Inspection
from sesmail.settings import Settings
from sesmail.vocabulary import Claim
from tests.acceptance.proxy import Proxy
from tests.redis_servers import Server

TOPIC = "arn:aws:sns:us-east-1:123456789012:events"
FOREIGN = "arn:aws:sns:us-east-1:123456789012:another"
MEANT = ("endpoint-elsewhere", "ses-call")
"""What is always so in these tests: a simulator plays SES, and moto listens."""


@pytest.fixture(scope="module")
def redis_of_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(Path(tmp_path_factory.mktemp("doctor"))) as server:
        yield server


@pytest.fixture(scope="module")
def aws_url() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def ses_of_shop(aws_url: str) -> Iterator[Simulator]:
    options = {"identities": ("example.com",), "calls_per_second": None, "sqs_endpoint_url": aws_url}
    with Simulator(**options) as simulator:
        yield simulator


@cache
def boto3_client(service: str, region: str | None, url: str) -> Any:
    return boto3.client(service, region_name=region or "us-east-1", endpoint_url=url)


class Shop:
    """An application that is well: what a test breaks is all that is wrong with it."""

    def __init__(self, redis: EmbeddedRedis, ses: Simulator, aws_url: str, environment: pytest.MonkeyPatch) -> None:
        self.redis_url, self._ses, self.environment = redis.url, ses, environment
        self.touches_aws = False
        self.urls = {"sesv2": ses.url, "ses": ses.url, "sns": ses.url, "sqs": aws_url}
        self.redis: Redis = Redis.from_url(redis.url)
        self.celery: dict[str, Any] = {"broker_transport_options": {"visibility_timeout": 300}}
        self.settings: dict[str, Any] = {
            "redis_url": redis.url,
            "region": "us-east-1",
            "endpoint_url": ses.url,
            "from_email": "Shop <shop@example.com>",
            "configuration_set": "events",
            "topics": {TOPIC: "default"},
        }
        self.skip = set(MEANT)
        self.keeps: list[Any] = []
        """What is open for as long as the test lasts."""

    @property
    def ses(self) -> Simulator:
        """The simulator, about to be changed."""
        self.touches_aws = True
        return self._ses

    def of(self, service: str) -> Any:
        """AWS, as its owner sees it, about to be changed."""
        self.touches_aws = True
        return boto3_client(service, None, self.urls[service])

    @property
    def app(self) -> Celery:
        if not hasattr(self, "_app"):
            self._app = Celery("shop", broker=self.redis_url, set_as_current=False)
            self._app.conf.update(self.celery | {f"sesmail_{name}": value for name, value in self.settings.items()})
        return self._app

    @property
    def client(self) -> Client:
        return client_of(self.app)

    def doctor(self, *options: str) -> Result:
        for each in self.skip:
            options += ("--skip", each)
        return CliRunner().invoke(main, ["doctor", *options], catch_exceptions=False)

    def try_to_send(self, times: int = 8) -> None:
        """As a worker does that asks SES for the limits, then to send some emails."""
        client = self.client
        self.keeps.append(client)  # its heart beats until it is closed
        client.turns.free("account")
        client.account_watch.refresh_if_due()
        for number in range(times):
            client.send(Email("ann@example.org", "s", "t"), send_id=f"tried-{number}")
            claim = client.delivery.claim(f"tried-{number}")
            if isinstance(claim, Claim):
                client.delivery.work(claim, "worker")

    def why(self) -> Result:
        return CliRunner().invoke(main, ["why"], catch_exceptions=False)


@pytest.fixture
def shop(
    redis_of_shop: EmbeddedRedis, ses_of_shop: Simulator, aws_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shop]:
    made = Shop(redis_of_shop, ses_of_shop, aws_url, monkeypatch)
    made.redis.flushdb()
    made.redis.config_resetstat()
    heal_workers(made)
    heal_aws(made, ses_of_shop)
    monkeypatch.setattr("sesmail.cli.site.load_application", lambda *_: "a test")
    monkeypatch.setattr("sesmail.celery.current.current_app", lambda: made.app)
    monkeypatch.setattr("sesmail.client.way_back.WayBack._client_of", remembered(made))
    monkeypatch.setattr("sesmail.client.way_back.WayBack.inspection", inspected_once(made))
    yield made
    if made.touches_aws:
        _healed.clear()
    made.redis.replicaof("NO", "ONE")
    for each in made.keeps:
        each.close()
    for name, value in {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}.items():
        made.redis.config_set(name, value)
    made.redis.config_set("maxmemory", 0)
    made.redis.config_set("maxclients", 10_000)
    made.redis.close()


def remembered(shop: Shop) -> Callable[..., Any]:
    """boto3's clients, made once for all tests; and as the settings say, where those are to be wrong."""
    real = Client._client_of

    def client_of_service(client: Client, service: str, region: str | None = None, **options: Any) -> Any:
        url = shop.urls[service]
        settings = client.settings.of_account(options["account"])
        if service in OF_SES and (settings.endpoint_url != url or not settings.region):
            return real(client, service, region, **options)
        return boto3_client(service, region, url)

    return client_of_service


_inspections: dict[str, Inspection] = {}
"""What AWS has said to tests that leave it as it is, by its address: calls are most of what a test costs."""


def inspected_once(shop: Shop) -> Callable[..., Inspection]:
    real = Client.inspection

    def inspection(client: Client, account: str = "default", **options: Any) -> Inspection:
        settings = client.settings.of_account(account)
        where = f"{settings.endpoint_url} {settings.region}"
        if shop.touches_aws or where != f"{shop.urls['sesv2']} us-east-1":
            return real(client, account, **options)
        return _inspections.setdefault(where, real(client, account, **options))

    return inspection


def heal_workers(shop: Shop) -> None:
    """They live, take both lanes, and know the account."""
    client = Client(Settings(redis_url=shop.redis_url))
    client.ledger.heartbeat("worker", 600)
    client.fleet.takes_from(["sesmail.transactional", "sesmail.bulk"])
    client.throttle.update_account(rate=14, quota_24h=50_000, sent_24h=0, standing="healthy")
    client.close()


_healed: list[bool] = []


def heal_aws(shop: Shop, ses: Simulator) -> None:
    """SES publishes to a topic that a queue is subscribed to; where a test has changed that."""
    if not _healed:
        ses.reset()
        sesv2, sns = shop.of("sesv2"), shop.of("sns")
        sesv2.create_configuration_set(ConfigurationSetName="events")
        for topic in (TOPIC, FOREIGN):
            sns.create_topic(Name=topic.rpartition(":")[2])
        sns.subscribe(TopicArn=TOPIC, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:events")
        publish(shop, TOPIC)
        _healed.append(True)
        shop.touches_aws = False


def closing_of(proxy: Proxy) -> Any:
    return SimpleNamespace(close=proxy.__exit__)


ALL_TYPES = ["SEND", "BOUNCE", "COMPLAINT", "DELIVERY"]


def publish(shop: Shop, topic: str, types: list[str] | None = None, *, enabled: bool = True) -> None:
    destination = {"Enabled": enabled, "MatchingEventTypes": types or ALL_TYPES, "SnsDestination": {"TopicArn": topic}}
    sesv2 = shop.of("sesv2")
    for each in sesv2.get_configuration_set_event_destinations(ConfigurationSetName="events")["EventDestinations"]:
        named = {"ConfigurationSetName": "events", "EventDestinationName": each["Name"]}
        sesv2.delete_configuration_set_event_destination(**named)
    sesv2.create_configuration_set_event_destination(
        ConfigurationSetName="events", EventDestinationName="sns", EventDestination=destination
    )


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A set-up that is broken, and what is told of it."""

    breaks: Callable[[Shop], Any]
    id: str
    words: str
    why: str | None
    """What `sesmail why` says, where mail does not go out by it."""
    is_tried: bool
    """Whether it shows when a worker has tried."""


BROKEN: dict[str, Broken] = {}


def broken(
    id_: str, words: str, *, why: str | None = None, tried: str | None = None
) -> Callable[[Callable[[Shop], Any]], Callable[[Shop], Any]]:
    """A set-up that a function breaks; the first line of `sesmail doctor` has this id and these words.

    That of `sesmail why` has the words of `why`; or of `tried`, when a worker has tried to send.
    """

    def put(breaks: Callable[[Shop], Any]) -> Callable[[Shop], Any]:
        told = why or tried
        BROKEN[breaks.__name__] = Broken(breaks=breaks, id=id_, words=words, why=told, is_tried=tried is not None)
        return breaks

    return put


# -- Configuration ----------------------------------------------------------------------------------------------------


@broken("settings-wrong", "is sesmail_region meant?", why="is sesmail_region meant?")
def a_setting_that_there_is_not(shop: Shop) -> None:
    shop.settings["regoin"] = "eu-west-1"


@broken(
    "settings-wrong",
    "sesmail_max_attempts in Celery's configuration",
    why="sesmail_max_attempts in Celery's configuration",
)
def a_setting_of_a_wrong_kind(shop: Shop) -> None:
    shop.settings["max_attempts"] = "many"


@broken("misspelt-variable", "is SESMAIL_FROM_EMAIL meant?", why="is SESMAIL_FROM_EMAIL meant?")
def a_misspelt_variable(shop: Shop) -> None:
    shop.environment.setenv("SESMAIL_FORM_EMAIL", "shop@example.com")


@broken("misspelt-variable", "is SESMAIL_REDIS_URL meant?", why="is SESMAIL_REDIS_URL meant?")
def the_variable_of_redis_is_misspelt(shop: Shop) -> None:
    """So that the ledger is looked for in the broker, where no worker is heard: that is told after its cause."""
    shop.environment.setenv("SESMAIL_REDIS_ULR", shop.settings.pop("redis_url"))
    shop.celery["broker_url"] = shop.redis_url.replace("/0", "/1")


@broken("misspelt-celery", "is broker_transport_options meant?", why="is broker_transport_options meant?")
def a_misspelt_setting_of_celery(shop: Shop) -> None:
    shop.celery["broker_transport_option"] = {}


@broken("suppressed", "SESMAIL_SUPPRESS_SEND", why="SESMAIL_SUPPRESS_SEND")
def email_is_kept_in_memory(shop: Shop) -> None:
    shop.settings["suppress_send"] = True


@broken("redirected", "SESMAIL_REDIRECT_TO", why="SESMAIL_REDIRECT_TO")
def staging_s_redirect_is_left_on(shop: Shop) -> None:
    shop.settings["redirect_to"] = ["ann@example.org"]


@broken("sender-wrong", "sesmail_from_email in", why="sesmail_from_email in")
def a_sender_that_is_no_address(shop: Shop) -> None:
    shop.settings["from_email"] = "shop at example.com"
    shop.skip |= {"identity-unknown"}


@broken("sender-none", "No SESMAIL_FROM_EMAIL")
def no_sender(shop: Shop) -> None:
    del shop.settings["from_email"]


@broken("read-timeout-short", "only 2 s")
def a_short_read_timeout(shop: Shop) -> None:
    shop.settings["ses_read_timeout_seconds"] = 2


@broken("endpoint-elsewhere", "not at AWS")
def the_simulator_plays_ses(shop: Shop) -> None:
    shop.skip -= {"endpoint-elsewhere"}


@broken("queues-not-verified", "SESMAIL_VERIFY_QUEUES is off")
def queues_are_believed(shop: Shop) -> None:
    shop.settings["verify_queues"] = False


@broken("unsubscribe-unfit", "must begin with https://")
def unsubscribe_links_without_tls(shop: Shop) -> None:
    shop.settings |= {"unsubscribe_url": "http://shop.example.com/u/", "unsubscribe_secrets": ["0123456789abcdef"]}


@broken("unsubscribe-unfit", "need a list of secrets")
def unsubscribe_links_without_a_secret(shop: Shop) -> None:
    shop.settings["unsubscribe_url"] = "https://shop.example.com/u/"


@broken("topics-elsewhere", "of the site shop")
def topics_of_another_site(shop: Shop) -> None:
    shop.settings["site"] = "shop"


@broken("topics-none", "no event of SES is believed")
def no_topic_is_believed(shop: Shop) -> None:
    shop.settings["topics"] = {}


# -- Redis ------------------------------------------------------------------------------------------------------------


@broken("redis-unreachable", "127.0.0.1:1", why="127.0.0.1:1")
def redis_is_away(shop: Shop) -> None:
    shop.settings["redis_url"] = "redis://127.0.0.1:1/0"


@broken("redis-unreachable", "refuses the user or password", why="refuses the user or password")
def redis_refuses_the_password(shop: Shop) -> None:
    user = shop.redis_url.replace("redis://", "redis://mail:wrong@")
    shop.redis.acl_setuser("mail", enabled=True, reset=True, passwords=["+right"], keys=["*"], categories=["+@all"])
    shop.settings["redis_url"] = user


@broken("redis-rights", "no right to HGETALL", why="no right to HGETALL")
def a_user_of_redis_lacks_a_right(shop: Shop) -> None:
    commands = ["-hgetall"]
    given = {"passwords": ["+right"], "keys": ["*"], "channels": ["*"], "categories": ["+@all"], "commands": commands}
    shop.redis.acl_setuser("mail", enabled=True, reset=True, **given)
    shop.settings["redis_url"] = shop.redis_url.replace("redis://", "redis://mail:right@")


@broken("redis-forgets", "append-only file is off")
def redis_has_no_append_only_file(shop: Shop) -> None:
    shop.redis.config_set("appendonly", "no")


@broken("redis-forgets", "maxmemory-policy is allkeys-lru")
def redis_throws_keys_away(shop: Shop) -> None:
    shop.redis.config_set("maxmemory-policy", "allkeys-lru")


@broken("redis-syncs-never", "appendfsync no")
def redis_never_syncs(shop: Shop) -> None:
    shop.redis.config_set("appendfsync", "no")


@broken("redis-evicted", "has thrown away")
def redis_has_thrown_keys_away(shop: Shop) -> None:
    shop.redis.config_set("maxmemory-policy", "volatile-random")
    shop.redis.config_set("maxmemory", shop.redis.info("memory")["used_memory"] + 200_000)
    for number in range(200):
        shop.redis.set(f"cache-{number}", "x" * 3000, ex=1000)
    shop.redis.config_set("maxmemory", 0)
    shop.redis.config_set("maxmemory-policy", "noeviction")


@broken("redis-replica", "Redis is a replica (its primary is 127.0.0.1)", why="Redis is a replica")
def redis_is_a_replica(shop: Shop) -> None:
    shop.redis.config_set("replica-serve-stale-data", "yes")
    shop.redis.replicaof("127.0.0.1", 1)


@broken("redis-slow", "to answer: each email asks it several times", why="ms to answer")
def redis_is_far_away(shop: Shop) -> None:
    proxy = Proxy(int(shop.redis_url.rpartition(":")[2].partition("/")[0])).__enter__()
    proxy.delay_seconds = 0.06
    shop.keeps = [closing_of(proxy)]
    shop.settings["redis_url"] = f"redis://127.0.0.1:{proxy.port}/0"
    shop.celery["broker_url"] = shop.settings["redis_url"]


@broken("redis-full", "Redis is full", why="Redis is full")
def redis_is_nearly_full(shop: Shop) -> None:
    shop.redis.config_set("maxmemory", round(shop.redis.info("memory")["used_memory"] * 1.05))


@broken("redis-crowded", "connections of at most", why="connections of at most")
def redis_has_hardly_a_connection_left(shop: Shop) -> None:
    others = [Redis.from_url(shop.redis_url, client_name="another") for _ in range(80)]
    shop.keeps = [other for other in others if other.ping()]
    shop.redis.config_set("maxclients", shop.redis.info("clients")["connected_clients"] + 6)


@broken("redis-durability", "has no replica", why="has no replica")
def acceptance_waits_for_a_replica_that_there_is_not(shop: Shop) -> None:
    shop.settings |= {"accept_waits_for": "replica", "accept_wait_seconds": 0.1}


@broken("broker-apart", "two stores", why="No worker has been heard on this ledger")
def broker_and_ledger_are_two(shop: Shop) -> None:
    shop.settings["redis_url"] = shop.redis_url.replace("/0", "/1")
    shop.skip |= {"no-worker"}


# -- The broker and the workers ---------------------------------------------------------------------------------------


@broken("broker-unreachable", "127.0.0.1:1", why="127.0.0.1:1")
def the_broker_is_away(shop: Shop) -> None:
    shop.celery["broker_url"] = "redis://127.0.0.1:1/0"


@broken("broker-eager", "task_always_eager")
def tasks_run_where_they_are_called(shop: Shop) -> None:
    shop.celery["task_always_eager"] = True


@broken("broker-visibility-short", "visibility_timeout is 10 s")
def tickets_come_twice(shop: Shop) -> None:
    shop.celery["broker_transport_options"] = {"visibility_timeout": 10}


@broken("broker-visibility-long", "visibility_timeout is 24 h")
def tickets_come_back_late(shop: Shop) -> None:
    shop.celery["broker_transport_options"] = {"visibility_timeout": 86_400}


@broken(
    "no-worker",
    "No worker has been heard on this ledger for 1 h 0 min",
    why="No worker has been heard on this ledger for 1 h 0 min",
)
def all_workers_are_gone(shop: Shop) -> None:
    shop.redis.delete("{sesmail}:workers")
    shop.redis.hset("{sesmail}:fleet", "heard_at", round(time.time() * 1000) - 3_600_000)


@broken(
    "queue-unattended",
    "none takes tickets from the queue sesmail.bulk; 1 email waits there",
    why="none takes the tickets of the lane bulk: 1 email waits",
)
def nobody_consumes_a_queue(shop: Shop) -> None:
    shop.client.ledger.accept("a", Email("ann@example.org", "s", "t", from_email="shop@example.com", lane=Lane.BULK))
    shop.redis.hdel("{sesmail}:consumers", "sesmail.bulk")


@broken("line-closed", "wrong price", why="wrong price")
def an_operator_has_paused_a_lane(shop: Shop) -> None:
    shop.client.throttle.line.pause("lane:bulk", "wrong price in the letter")


@broken("line-closed", "SES is out of order", why="SES is out of order")
def ses_refuses_all(shop: Shop) -> None:
    shop.client.throttle.line.stop("account", "SES is out of order")


# -- SES --------------------------------------------------------------------------------------------------------------


@broken("ses-unasked", "email.eu-wset-1.amazonaws.com", tried="email.eu-wset-1.amazonaws.com")
def a_region_that_there_is_not(shop: Shop) -> None:
    del shop.settings["endpoint_url"]
    shop.settings["region"] = "eu-wset-1"
    shop.skip |= {"topic-region"}


@broken("ses-unasked", "127.0.0.1", tried="127.0.0.1:1")
def ses_is_out_of_reach(shop: Shop) -> None:
    shop.settings["endpoint_url"] = "http://127.0.0.1:1"


@broken("ses-unasked", "No Region is named", tried="egion")
def no_region(shop: Shop) -> None:
    del shop.settings["region"]
    del shop.settings["endpoint_url"]
    shop.environment.delenv("AWS_DEFAULT_REGION")


@broken("ses-unasked", "no credentials", tried="redentials")
def no_credentials(shop: Shop) -> None:
    del shop.settings["endpoint_url"]
    shop.environment.delenv("AWS_ACCESS_KEY_ID")
    shop.environment.delenv("AWS_SECRET_ACCESS_KEY")


@broken("ses-unasked", "a part is missing", tried="a part is missing")
def half_of_the_credentials(shop: Shop) -> None:
    del shop.settings["endpoint_url"]
    shop.environment.delenv("AWS_SECRET_ACCESS_KEY")


@broken("ses-unasked", "no such profile", tried="no such profile")
def a_profile_that_there_is_not(shop: Shop) -> None:
    del shop.settings["endpoint_url"]
    shop.settings["profile"] = "nobody"


@broken("ses-right", "AWS does not allow ses:SendEmail", tried="ses:SendEmail")
def no_right_to_send(shop: Shop) -> None:
    shop.ses.change(denied_actions=["SendEmail"])


@broken("ses-right", "AWS does not allow ses:GetAccount", why="SES has told no worker the account's limits")
def no_right_to_ask_for_the_account(shop: Shop) -> None:
    shop.ses.change(denied_actions=["GetAccount"])
    shop.redis.delete(*shop.redis.scan_iter("{sesmail}:throttle*"))
    shop.client.send(Email("ann@example.org", "s", "t"))


@broken("ses-right", "AWS does not allow ses:GetEmailIdentity")
def no_right_to_see_the_identity(shop: Shop) -> None:
    shop.ses.change(denied_actions=["GetEmailIdentity"])


@broken("account-paused", "AWS has shut the account down", tried="shut down")
def aws_has_shut_the_account_down(shop: Shop) -> None:
    shop.ses.change(enforcement_status="SHUTDOWN")


@broken("account-paused", "Sending is paused for the account", tried="paused for this account")
def the_owner_has_paused_the_account(shop: Shop) -> None:
    shop.ses.change(sending_enabled=False)


@broken("account-probation", "under review", tried="probation")
def the_account_is_on_probation(shop: Shop) -> None:
    shop.ses.change(enforcement_status="PROBATION")


@broken("sandbox", "in the sandbox", tried="sandbox")
def the_account_is_in_the_sandbox(shop: Shop) -> None:
    shop.ses.change(production_access=False)


@broken("identity-unknown", "nor its domain example.net", tried="not verified")
def the_sender_is_unknown(shop: Shop) -> None:
    shop.settings["from_email"] = "shop@example.net"


@broken("identity-unverified", "shop.example.net is not verified", tried="not verified")
def the_sender_is_not_verified(shop: Shop) -> None:
    shop.of("sesv2").create_email_identity(EmailIdentity="shop.example.net")
    shop.settings["from_email"] = "news@shop.example.net"


@broken("dkim-off", "DKIM of example.com is switched off")
def dkim_is_switched_off(shop: Shop) -> None:
    shop.of("sesv2").put_email_identity_dkim_attributes(EmailIdentity="example.com", SigningEnabled=False)


@broken("mail-from", "SES refuses every email", tried="Mail FROM domain is not verified")
def the_mail_from_domain_has_no_records(shop: Shop) -> None:
    attributes = {"MailFromDomain": "mail.example.com", "BehaviorOnMxFailure": "REJECT_MESSAGE"}
    shop.of("sesv2").put_email_identity_mail_from_attributes(EmailIdentity="example.com", **attributes)
    shop.ses.faults(rules=[{"fault": "mail_from"}])


@broken("configuration-set-missing", "There is no configuration set evnets", tried="evnets")
def there_is_no_such_configuration_set(shop: Shop) -> None:
    shop.settings["configuration_set"] = "evnets"


@broken("configuration-set-paused", "Sending is switched off", tried="events")
def the_configuration_set_is_paused(shop: Shop) -> None:
    shop.of("sesv2").put_configuration_set_sending_options(ConfigurationSetName="events", SendingEnabled=False)


def deliver(shop: Shop, **options: Any) -> None:
    shop.of("sesv2").put_configuration_set_delivery_options(ConfigurationSetName="events", **options)


@broken("delivery-short", "gives up after 300 s")
def ses_gives_up_soon(shop: Shop) -> None:
    deliver(shop, MaxDeliverySeconds=300)


@broken("delivery-long", "tries for 14 hours to deliver what goes out under events")
def ses_tries_for_too_long(shop: Shop) -> None:
    shop.settings["configuration_set"] = "simulator"
    shop.settings["transactional_configuration_set"] = "events"
    shop.skip |= {"destination-none", "topic-foreign"}


@broken("delivery-tls", "requires TLS")
def ses_requires_tls(shop: Shop) -> None:
    deliver(shop, TlsPolicy="REQUIRE")


@broken("suppression-off", "does not take each COMPLAINT of the account")
def the_account_s_suppression_list_is_half_off(shop: Shop) -> None:
    shop.of("sesv2").put_account_suppression_attributes(SuppressedReasons=["BOUNCE"])


@broken("destination-none", "no event destination")
def the_configuration_set_has_no_destination(shop: Shop) -> None:
    named = {"ConfigurationSetName": "events", "EventDestinationName": "sns"}
    shop.of("sesv2").delete_configuration_set_event_destination(**named)


@broken("destination-none", "switched off")
def the_destination_is_switched_off(shop: Shop) -> None:
    publish(shop, TOPIC, enabled=False)


@broken("destination-types", "does not publish BOUNCE")
def bounces_are_not_told_of(shop: Shop) -> None:
    publish(shop, TOPIC, ["SEND", "COMPLAINT", "DELIVERY"])


@broken("destination-types", "neither SEND nor DELIVERY")
def there_is_no_evidence(shop: Shop) -> None:
    publish(shop, TOPIC, ["BOUNCE", "COMPLAINT"])


@broken("topic-foreign", "not in SESMAIL_TOPICS")
def ses_publishes_to_a_topic_that_is_not_believed(shop: Shop) -> None:
    publish(shop, FOREIGN)


@broken("both-mechanisms", "tells of each bounce twice")
def bounces_come_twice(shop: Shop) -> None:
    shop.of("ses").set_identity_notification_topic(Identity="example.com", NotificationType="Bounce", SnsTopic=TOPIC)


@broken("ses-call", "it goes through a proxy")
def ses_is_asked_through_a_proxy(shop: Shop) -> None:
    shop.environment.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    shop.environment.setattr("sesmail.ses.internals._refuse_what_others_hear", lambda *_: None)  # moto, here
    shop.skip = {one for one in CHECKS if one != "ses-call"}


# -- Events -----------------------------------------------------------------------------------------------------------


@broken("topic-missing", "There is no topic")
def a_topic_that_there_is_not(shop: Shop) -> None:
    shop.settings["topics"] = {TOPIC: "default", f"{TOPIC}-of-old": "default"}


@broken("topic-region", "the topic arn:aws:sns:eu-west-1")
def a_topic_of_another_region(shop: Shop) -> None:
    elsewhere = TOPIC.replace("us-east-1", "eu-west-1")
    shop.settings["topics"] = {TOPIC: "default", elsewhere: "default"}
    shop.skip |= {"topic-missing"}


@broken("topic-unheard", "Nobody is subscribed")
def nobody_listens_to_a_topic(shop: Shop) -> None:
    shop.settings["topics"] = {TOPIC: "default", FOREIGN: "default"}


@broken("subscription-pending", "1 of 2 subscriptions")
def a_subscription_was_never_confirmed(shop: Shop) -> None:
    shop.of("sns").subscribe(TopicArn=TOPIC, Protocol="http", Endpoint="http://127.0.0.1:1/events")


def subscription(shop: Shop) -> str:
    return shop.of("sns").list_subscriptions_by_topic(TopicArn=TOPIC)["Subscriptions"][0]["SubscriptionArn"]


@broken("subscription-raw", "delivers raw messages")
def a_subscription_delivers_raw(shop: Shop) -> None:
    said = {"AttributeName": "RawMessageDelivery", "AttributeValue": "true"}
    shop.of("sns").set_subscription_attributes(SubscriptionArn=subscription(shop), **said)


def queue(shop: Shop, name: str, **attributes: str) -> str:
    """A queue with a dead-letter queue, unless told otherwise, which is read by the shop."""
    sqs = shop.of("sqs")
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 10})}
    given = {key: value for key, value in (redrive | attributes).items() if value}
    url: str = sqs.create_queue(QueueName=name, Attributes=given)["QueueUrl"]
    shop.settings["sqs_queue_urls"] = [url]
    return url


@broken("queue-missing", "There is no queue")
def a_queue_that_there_is_not(shop: Shop) -> None:
    shop.settings["sqs_queue_urls"] = [f"{shop.urls['sqs']}/123456789012/of-old"]


@broken("queue-unsubscribed", "subscribed to none of SESMAIL_TOPICS")
def a_queue_that_stays_empty(shop: Shop) -> None:
    queue(shop, "unsubscribed")


@broken("queue-no-dead-letters", "has no dead-letter queue")
def a_queue_without_dead_letters(shop: Shop) -> None:
    queue(shop, "without-dead", RedrivePolicy="")
    shop.skip |= {"queue-unsubscribed"}


@broken("dead-letters", "The dead-letter queue with-dead-dead holds about 1")
def events_lie_in_the_dead_letter_queue(shop: Shop) -> None:
    url = queue(shop, "with-dead")
    shop.of("sqs").send_message(QueueUrl=f"{url}-dead", MessageBody="{}")
    shop.skip |= {"queue-unsubscribed"}


@broken("queue-visibility", "after 5 s")
def a_queue_that_gives_out_again_at_once(shop: Shop) -> None:
    queue(shop, "impatient", VisibilityTimeout="5")
    shop.skip |= {"queue-unsubscribed"}


@broken("store-unreachable", "store")
def the_store_of_events_is_away(shop: Shop) -> None:
    shop.settings["event_store"] = "redis://127.0.0.1:1/0"


@broken("events-set-aside", "1 were set aside")
def events_were_set_aside(shop: Shop) -> None:
    shop.redis.zadd("{sesmail}:events:set_aside:default", {"event": 1})


@broken("events-unheard", "SES tells nothing", why="SES tells nothing")
def ses_tells_nothing(shop: Shop) -> None:
    long_ago = round(time.time() * 1000) - 2 * 3_600_000
    for number in range(100):
        shop.redis.rpush("{sesmail}:sent", f"a{number}")
        row = {"state": "sent", "site": "default", "moved_at": long_ago}
        shop.redis.hset(f"{{sesmail}}:send:a{number}", mapping=row)


# -- Together ---------------------------------------------------------------------------------------------------------


def test_a_set_up_that_is_well_has_no_findings(shop: Shop) -> None:
    done = shop.doctor()
    assert (done.exit_code, done.stdout.split()[0]) == (0, "ok")
    assert "not seen" not in done.stdout


@pytest.mark.parametrize("name", BROKEN)
def test_the_cause_stands_in_the_first_line(shop: Shop, name: str) -> None:
    case = BROKEN[name]
    case.breaks(shop)
    done = shop.doctor()
    first = done.stdout.splitlines()[0]
    assert f"[{case.id}]" in first, done.stdout
    assert case.words in first
    assert done.exit_code == (0 if first.startswith("info") else 1)
    if case.is_tried:
        shop.try_to_send()
    if case.why:
        done = shop.why()
        assert case.why in done.stdout.splitlines()[0], done.stdout
        assert done.exit_code == 1


ALONE = {
    "certificate-elsewhere",
    "clock-aws",
    "clock-redis",
    "configuration-set-none",
    "flower-open",
    "redis-disk",
    "redis-failover",
    "redis-version",
    "subscription-no-dead-letters",
}
"""Those that have a test of their own below."""


def test_each_check_has_a_set_up_that_it_finds_broken() -> None:
    assert {case.id for case in BROKEN.values()} | ALONE == {*CHECKS}
    assert sum(case.why is not None for case in BROKEN.values()) >= 40


def only(shop: Shop, *ids: str, **how: Any) -> str:
    """What these checks find, in a line."""
    report = examine(Patient(shop.client, broker_setup(shop.app), **how), only=ids)
    assert not report.unseen, report.unseen
    return " ".join(each.what for each in report.findings)


@pytest.mark.parametrize(
    ("apart", "words"), [(40, "behind AWS's: past 300"), (-400, "ahead of AWS's: AWS refuses signatures past 300")]
)
def test_the_host_s_clock_is_compared_with_aws_and_redis(shop: Shop, apart: float, words: str) -> None:
    shop.touches_aws = True  # so that AWS is asked anew
    found = only(shop, "ses-unasked", "clock-aws", "clock-redis", now=lambda: time.time() - apart)
    assert words in found
    assert "Redis' clock is" in found


@contextmanager
def web(answer: bytes, status: int = 200) -> Iterator[str]:
    """Something that answers by HTTP on this machine."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "status", "is_open"),
    [(b"<title>Flower</title>", 200, True), (b"Flower", 401, False), (b"<title>Grafana</title>", 200, False)],
)
def test_a_flower_without_a_login_is_told(shop: Shop, answer: bytes, status: int, is_open: bool) -> None:
    with web(answer, status) as url:
        assert ("lets anybody in" in only(shop, "flower-open", flower_url=url)) is is_open


def test_no_flower_is_nothing_to_tell(shop: Shop) -> None:
    assert only(shop, "flower-open", flower_url="http://127.0.0.1:1") == ""


def test_a_disk_that_redis_cannot_write_to_is_told(shop: Shop, tmp_path: Path) -> None:
    with Server(tmp_path / "redis", enable_protected_configs="yes") as server, Redis.from_url(server.url) as redis:
        folder = tmp_path / "gone"
        folder.mkdir()
        redis.config_set("dir", str(folder))
        folder.rmdir()
        redis.bgsave()
        until = time.monotonic() + 30
        while redis.info("persistence")["rdb_last_bgsave_status"] == "ok":
            assert time.monotonic() < until
            time.sleep(0.02)
        shop.settings["redis_url"] = server.url
        assert "could not write its last snapshot" in only(shop, "redis-disk")


@pytest.mark.parametrize(
    ("id_", "section", "said", "words"),
    [
        ("redis-version", "server", {"redis_version": "5.0.7"}, "Redis is 5.0.7"),
        ("redis-failover", "replication", {"master_failover_state": "failover-in-progress"}, "is in a failover"),
    ],
)
def test_an_old_redis_and_a_failover_are_told_by_what_redis_says(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, id_: str, section: str, said: Any, words: str
) -> None:
    """Neither can be had in a test for the price of one."""
    real = shop.client.redis_health.info
    monkeypatch.setattr(shop.client.redis_health, "info", lambda of: {**real(of), **(said if of == section else {})})
    assert words in only(shop, id_)


def test_mail_is_real_but_its_events_are_judged_by_a_certificate_of_this_machine(shop: Shop) -> None:
    shop.settings |= {"endpoint_url": None, "sns_certificate_url": "http://127.0.0.1:8005/_sim/certificate.pem"}
    assert "SES is AWS's" in only(shop, "certificate-elsewhere")


def test_no_configuration_set_is_named_where_mail_is_real(shop: Shop) -> None:
    shop.settings |= {"endpoint_url": None, "configuration_set": None}
    assert "go unheard" in only(shop, "configuration-set-none")


def test_a_subscription_by_http_has_no_dead_letter_queue(shop: Shop) -> None:
    shop.urls["sns"] = shop.urls["sqs"]  # moto confirms it by itself
    sns = shop.of("sns")
    arn = sns.create_topic(Name="by-http")["TopicArn"]
    sns.subscribe(TopicArn=arn, Protocol="https", Endpoint="https://shop.example.com/events")
    shop.settings["topics"] = {arn: "default"}
    assert f"https to {arn} has no dead-letter queue" in only(shop, "subscription-no-dead-letters")


def test_a_short_time_is_meant_where_it_is_that_of_transactional_email_alone(shop: Shop) -> None:
    ses_gives_up_soon(shop)
    shop.settings["configuration_set"] = "simulator"
    shop.settings["transactional_configuration_set"] = "events"
    found = json.loads(shop.doctor("--json", "--only", "delivery-short", "--only", "delivery-long").stdout)
    assert found["findings"] == []


def test_the_checks_of_ses_are_made_for_each_account(shop: Shop) -> None:
    shop.settings["accounts"] = {"marketing": {"configuration_set": "evnets", "from_email": "news@example.net"}}
    found = json.loads(
        shop.doctor("--json", "--only", "configuration-set-missing", "--only", "identity-unknown").stdout
    )
    told = {each["id"]: each["what"] for each in found["findings"]}
    assert told.keys() == {"configuration-set-missing", "identity-unknown"}
    assert told["configuration-set-missing"].startswith("Account marketing: There is no configuration set evnets")
    assert "example.net in this Region" in told["identity-unknown"]


def test_what_cannot_be_seen_is_told_with_its_reason_and_is_no_finding(shop: Shop) -> None:
    shop.ses.change(denied_actions=["GetConfigurationSetEventDestinations"])
    done = shop.doctor("--json")
    report = json.loads(done.stdout)
    assert [each["id"] for each in report["findings"]] == ["ses-right"]
    assert (done.exit_code, report["well"]) == (0, True), "this command's own rights are not the mail's"
    unseen = {each["id"]: each["why"] for each in report["unseen"]}
    assert unseen["destination-none"] == "ses:GetConfigurationSetEventDestinations is not allowed"


def test_the_doctor_changes_nothing_and_sends_nothing(shop: Shop) -> None:
    """Not a key, and SES takes no email."""
    shop.client.ledger.accept("a", Email("ann@example.org", "s", "t", from_email="shop@example.com"))
    kept = {name: shop.redis.dump(name) for name in shop.redis.keys("*")}
    shop.ses.reset()
    shop.doctor()
    assert {name: shop.redis.dump(name) for name in shop.redis.keys("*")} == kept
    assert shop.ses.report()["accepted"]["calls"] == 0


def test_checks_can_be_left_out_and_an_unknown_one_is_refused(shop: Shop) -> None:
    shop.ses.change(production_access=False)
    assert shop.doctor("--only", "sandbox").exit_code == 1
    assert shop.doctor("--skip", "sandbox").exit_code == 0
    assert shop.doctor("--skip", "sandbx").exit_code == 2


def test_each_check_leads_to_a_page_that_there_is() -> None:
    docs = Path(__file__).parents[2] / "docs"
    for each in CHECKS.values():
        page, _, anchor = each.docs.partition("#")
        text = (docs / page).read_text(encoding="utf-8").lower()
        headings = [re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ")).replace(" ", "-") for line in text.splitlines()]
        assert not anchor or anchor in headings, each.id


def test_nothing_personal_is_told(shop: Shop) -> None:
    shop.of("sesv2").create_email_identity(EmailIdentity="zyzzyva@example.net")
    shop.settings["from_email"] = "Zyzzyva <zyzzyva@example.net>"
    assert "zyzzyva" not in shop.doctor().stdout.lower()
