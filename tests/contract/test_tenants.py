"""What else SES can do with an email: tenants, its own templates, identities of others, global endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from sesmail import Client, Settings
from sesmail.embedded import EmbeddedRedis
from sesmail.errors import SesMisconfigured
from sesmail.message import Email
from sesmail.sending.delivery.outcomes import Sent
from sesmail.sending.shares import Shares
from sesmail.simulator import Simulator
from sesmail.vocabulary import Cause, Claim, Postponed
from tests.contract.simulator.simulator_client import client_for
from tests.services import LOWEST_VERSIONS

TENANTS = [f"shop-{number}" for number in range(5)]
pytestmark = pytest.mark.skipif(LOWEST_VERSIONS, reason="an older model of SES knows no tenants")

OURS = "arn:aws:ses:us-east-1:123456789012"


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    with Simulator(rate=1000, calls_per_second=None) as ses:
        yield ses


@pytest.fixture
def ses(server: Simulator) -> Simulator:
    server.reset()
    sesv2 = client_for(server)
    for name in TENANTS:
        sesv2.create_tenant(TenantName=name)
        for resource in ("identity/example.com", "configuration-set/simulator"):
            sesv2.create_tenant_resource_association(TenantName=name, ResourceArn=f"{OURS}:{resource}")
    return server


@pytest.fixture
def make(redis: Redis, redis_server: EmbeddedRedis, ses: Simulator) -> Iterator[Any]:
    made: list[Client] = []

    def client(**settings: Any) -> Client:
        said: dict[str, Any] = {
            "redis_url": redis_server.url,
            "endpoint_url": ses.url,
            "region": "us-east-1",
            "from_email": "shop@example.com",
            "patience_seconds": 0.1,
            "suppress_send": False,
        }
        made.append(Client(Settings(**{**said, **settings})))
        made[-1].account_watch.make_sure()
        return made[-1]

    yield client
    for each in made:
        each.close()


def an_email(**more: Any) -> Email:
    return Email("success@simulator.amazonses.com", "s", "t", **more)


def sent(client: Client, email: Email) -> Any:
    claim = client.delivery.claim(client.send(email).send_id)
    assert isinstance(claim, Claim)
    return client.delivery.work(claim, None)


def for_tenant(name: str) -> Email:
    return an_email(ses={"TenantName": name})


def test_of_five_tenants_the_one_that_is_paused_waits_and_the_others_go_on(make: Any, ses: Simulator) -> None:
    client, sesv2 = make(), client_for(ses)
    paused = sesv2.get_tenant(TenantName="shop-3")["Tenant"]["TenantArn"]
    sesv2.update_reputation_entity_customer_managed_status(
        ReputationEntityType="RESOURCE", ReputationEntityReference=paused, SendingStatus="DISABLED"
    )
    outcomes = {name: sent(client, for_tenant(name)) for name in TENANTS}
    held = outcomes.pop("shop-3")
    assert (held.cause, [*map(type, outcomes.values())]) == (Cause.STOPPED, [Sent] * 4)
    assert [each.scope for each in client.throttle.line.closures()] == ["tenant:shop-3"]
    assert isinstance(sent(client, for_tenant("shop-3")), Postponed)
    assert isinstance(sent(client, an_email()), Sent)
    assert ses.report()["refused"] == {"tenant_paused": 1}, "who waits for it is not asked for in vain"


def test_a_tenant_that_there_is_not_stops_its_own_emails_alone(make: Any) -> None:
    client = make()
    assert sent(client, for_tenant("shop-17")).cause is Cause.STOPPED
    (closure,) = client.throttle.line.closures()
    assert closure.scope == "tenant:shop-17"
    assert "there is none of that name in this Region" in closure.reason
    assert isinstance(sent(client, for_tenant("shop-0")), Sent)


def test_each_of_five_tenants_keeps_to_its_own_rate(make: Any) -> None:
    client = make(tenant_rate_limits={"shop-0": "1000/s", "*": "1/h"}, patience_seconds=0.01)
    assert [type(sent(client, for_tenant(name))) for name in TENANTS] == [Sent] * 5
    again = {name: sent(client, for_tenant(name)) for name in TENANTS}
    assert isinstance(again.pop("shop-0"), Sent)
    assert {each.cause for each in again.values()} == {Cause.RATE}
    assert isinstance(sent(client, an_email()), Sent)


@pytest.mark.parametrize(
    ("sender", "scope"),
    [
        ("a@news.example.com", "sender:news.example.com"),
        ("a@DE.News.example.com", "sender:news.example.com"),
        ("a@example.com", "sender:example.com"),
    ],
)
def test_a_sender_s_rate_holds_for_what_is_below_its_domain(sender: str, scope: str) -> None:
    shares = Shares(Settings(sender_rate_limits={"News.example.com": "10/s", "*": "2/s"}))
    (share,) = shares.of(an_email(from_email=sender))
    assert (share.scope, share.rate) == (scope, 10 if "news" in scope else 2)


def test_no_share_is_kept_to_where_no_limit_is_set() -> None:
    assert [*Shares(Settings()).of(for_tenant("shop-0"))] == []
    assert [*Shares(Settings(tenant_rate_limits={"shop-0": "1/s"})).of(for_tenant("shop-1"))] == []


def test_a_configuration_set_goes_by_the_lane_where_one_is_set_for_it(make: Any) -> None:
    client = make(configuration_set="all", transactional_configuration_set="codes")
    sets = {lane: client.outbox.completed(an_email(lane=lane)).configuration_set for lane in ("transactional", "bulk")}
    assert sets == {"transactional": "codes", "bulk": "all"}
    assert client.outbox.completed(an_email(configuration_set="own")).configuration_set == "own"


def test_the_configuration_sets_of_an_account_are_its_own() -> None:
    settings = Settings(
        transactional_configuration_set="codes", accounts={"other": {"configuration_set": "news"}, "region": {}}
    )
    assert settings.of_account("other").configuration_set_of("transactional") == "news"
    assert settings.of_account("region").configuration_set_of("transactional") == "codes"


def with_template(data: dict[str, Any], name: str = "hello", **more: Any) -> Email:
    template = {"TemplateName": name, "TemplateData": json.dumps(data)}
    return Email("success@simulator.amazonses.com", "", ses={"Content": {"Template": template}}, **more)


def test_a_template_that_ses_keeps_is_filled_in_there(make: Any, ses: Simulator) -> None:
    content = {"Subject": "Hello {{name}}", "Text": "Good morning, {{name}}"}
    client_for(ses).create_email_template(TemplateName="hello", TemplateContent=content)
    client = make()
    assert isinstance(sent(client, with_template({"name": "Ann"}, headers={"X-Shop": "7"})), Sent)
    (message,) = ses.messages()
    assert message["subject"] == "Hello Ann"
    assert message["sesmail_id"]


def test_a_template_that_there_is_not_stops_who_names_it_alone(make: Any) -> None:
    client = make()
    assert sent(client, with_template({}, "helo")).cause is Cause.STOPPED
    assert [each.scope for each in client.throttle.line.closures()] == ["template:helo"]
    assert isinstance(sent(client, an_email()), Sent)


def test_an_email_goes_through_a_global_endpoint_by_boto3_s_own_call(make: Any, ses: Simulator) -> None:
    pytest.importorskip("awscrt", reason="the extra sesmail[global] is not installed")
    assert isinstance(sent(make(ses={"EndpointId": "abcd1234.k5x"}), an_email()), Sent)
    assert len(ses.messages()) == 1


def test_without_awscrt_only_what_names_a_global_endpoint_waits(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import MissingDependencyException

    client = make()
    transport = client.transport
    transport.account()
    assert transport._way is not None

    real = transport._way.client.send_email

    def without_awscrt(**request: Any) -> Any:
        if "EndpointId" not in request:
            return real(**request)
        raise MissingDependencyException(msg="Use pip install botocore[crt] before proceeding.")

    monkeypatch.setattr(transport._way.client, "send_email", without_awscrt)
    email = client.outbox.completed(an_email(ses={"EndpointId": "abcd1234.k5x"}))
    with pytest.raises(SesMisconfigured, match=r"pip install 'sesmail\[global\]'") as caught:
        transport.send(email, send_id="a")
    assert caught.value.scope == "global-endpoint:abcd1234.k5x"
    assert isinstance(sent(client, an_email()), Sent)
