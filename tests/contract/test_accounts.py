"""Several SES accounts behind one site: each with its own way to SES, rate, quota, line and books."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from sesmail import Client, Settings
from sesmail.celery.current import close_clients
from sesmail.cli import main
from sesmail.embedded import EmbeddedRedis
from sesmail.errors import ConfigurationError, InvalidEmail
from sesmail.message import Email, Lane
from sesmail.sending.delivery.outcomes import Sent
from sesmail.ses.transport import SesTransport
from sesmail.settings import Source, load
from sesmail.simulator import Simulator
from sesmail.state.line.line import ACCOUNT
from sesmail.vocabulary import Cause, Claim, Postponed, State
from tests.contract.simulator.simulator_client import client_for

ACCOUNTS: dict[str, Any] = {
    "marketing": {
        "from_email": "news@news.example.com",
        "configuration_set": "simulator",
        "domains": ["news.example.com"],
    },
    "reserve": {},
}


@pytest.fixture(scope="module")
def places() -> Iterator[dict[str, Simulator]]:
    with Simulator(rate=50) as default, Simulator(rate=14) as marketing, Simulator(rate=5) as reserve:
        yield {"default": default, "marketing": marketing, "reserve": reserve}


@pytest.fixture
def make(redis: Redis, redis_server: EmbeddedRedis, places: dict[str, Simulator]) -> Iterator[Any]:
    made: list[Client] = []
    for place in places.values():
        place.reset()

    def client(evidence_window_seconds: float | None = None, **accounts: dict[str, Any]) -> Client:
        said = {
            name: {**ACCOUNTS[name], "endpoint_url": places[name].url, "region": "eu-west-1", **accounts.get(name, {})}
            for name in ACCOUNTS
        }
        settings = Settings(
            redis_url=redis_server.url,
            endpoint_url=places["default"].url,
            region="us-east-1",
            from_email="shop@example.com",
            patience_seconds=0.1,
            suppress_send=False,
            evidence_window_seconds=evidence_window_seconds,
            accounts={**said, **({"default": accounts["default"]} if "default" in accounts else {})},
        )
        made.append(Client(settings))
        return made[-1]

    yield client
    for each in made:
        each.close()


def an_email(**more: Any) -> Email:
    return Email("success@simulator.amazonses.com", "s", "t", **more)


def claimed(client: Client, send_id: str) -> Claim:
    claim = client.delivery.claim(send_id)
    assert isinstance(claim, Claim), claim
    return claim


def sent_by(client: Client, send_id: str) -> Any:
    return client.delivery.work(claimed(client, send_id), "worker")


@pytest.mark.parametrize(
    ("said", "account"),
    [
        ({}, "default"),
        ({"account": "marketing"}, "marketing"),
        ({"from_email": "Ann <ann@de.NEWS.example.com>"}, "marketing"),
        ({"from_email": "ann@example.com"}, "default"),
        ({"lane": "bulk"}, "reserve"),
        ({"lane": "bulk", "from_email": "ann@news.example.com"}, "marketing"),
        ({"lane": "bulk", "account": "default"}, "default"),
    ],
)
def test_an_email_goes_through_the_account_that_it_names_or_its_sender_or_its_lane(
    make: Any, said: dict[str, Any], account: str
) -> None:
    client = make(reserve={"lanes": ["bulk"]})
    send_id = client.send(an_email(**said)).send_id
    assert client.ledger.status(send_id).account == account
    assert (claim := claimed(client, send_id)).account == claim.through == account


def test_each_account_is_asked_for_its_own_emails_and_with_its_own_defaults(
    make: Any, places: dict[str, Simulator]
) -> None:
    client = make()
    for number, account in enumerate((None, "marketing", "reserve")):
        client.send(an_email(account=account), send_id=f"s{number}")
        assert isinstance(sent_by(client, f"s{number}"), Sent)
    taken = {name: place.messages() for name, place in places.items()}
    assert {name: len(messages) for name, messages in taken.items()} == {"default": 1, "marketing": 1, "reserve": 1}
    assert "news@news.example.com" in str(taken["marketing"])
    assert "shop@example.com" in str(taken["reserve"]), "what an account does not say, the settings say for all"


def test_each_account_has_the_rate_and_the_quota_that_its_own_ses_tells(make: Any) -> None:
    client = make(marketing={"share": 0.5})
    for account in client.accounts.values():
        account.watch.make_sure()
    snapshots = {name: account.throttle.snapshot() for name, account in client.accounts.items()}
    assert {name: now.rate for name, now in snapshots.items()} == {"default": 50, "marketing": 14, "reserve": 5}
    assert snapshots["marketing"].given_rate == 7
    client.accounts["marketing"].throttle.acquire(3, Lane.BULK)
    used = {name: account.throttle.snapshot().quota_used for name, account in client.accounts.items()}
    assert used == {"default": 0, "marketing": 3, "reserve": 0}


def test_an_account_that_there_is_not_is_refused_at_the_call_and_nothing_is_queued(make: Any) -> None:
    client = make()
    with pytest.raises(InvalidEmail, match=r"account: is no account of SESMAIL_ACCOUNTS.*default, marketing, reserve"):
        client.send(an_email(account="marketting"))
    assert client.ledger.counts()["queued"] == 0


def test_the_pause_of_an_account_holds_its_own_emails_alone(make: Any) -> None:
    client = make()
    client.send(an_email(), send_id="own")
    client.send(an_email(account="marketing"), send_id="other")
    client.accounts["marketing"].throttle.line.pause(ACCOUNT, "a typo in the letter")
    held = sent_by(client, "other")
    assert isinstance(held, Postponed)
    assert held.cause is Cause.PAUSED
    assert isinstance(sent_by(client, "own"), Sent)


def due(client: Client, *send_ids: str) -> None:
    for send_id in send_ids:
        lane = client.ledger.status(send_id).lane
        client.ledger.postpone(claimed(client, send_id), 0, "it waits")
        assert client.scripts.redis.zscore(client.scripts.keys("in", "scheduled", lane), send_id)


def test_a_sweep_leaves_what_an_accounts_pause_holds_and_queues_what_stands_behind_it(make: Any) -> None:
    client = make()
    ids = [f"held{n}" for n in range(501)]  # more than a page of what is looked at
    for send_id in ids:
        client.send(an_email(account="marketing"), send_id=send_id)
    client.send(an_email(), send_id="free")
    due(client, *ids, "free")
    client.accounts["marketing"].throttle.line.pause(ACCOUNT, "a typo in the letter")
    assert client.sweeper.sweep().due == 1
    assert client.ledger.status("free").state is State.QUEUED
    assert client.ledger.status("held0").state is State.SCHEDULED


def test_one_email_of_an_account_tries_its_stopped_line_while_others_go_on(make: Any) -> None:
    client = make()
    for send_id, account in (("a", "marketing"), ("b", "marketing"), ("c", None)):
        client.send(an_email(account=account), send_id=send_id)
    due(client, "a", "b", "c")
    client.accounts["marketing"].throttle.line.stop(ACCOUNT, "SES refuses it", probe_every_seconds=0)
    assert client.sweeper.sweep().due == 2
    states = [client.ledger.status(send_id).state for send_id in ("a", "b", "c")]
    assert states.count(State.QUEUED) == 2
    assert states[2] is State.QUEUED


def test_what_waits_for_an_accounts_quota_goes_on_when_that_account_has_room(make: Any) -> None:
    client = make()
    throttle = client.accounts["marketing"].throttle
    client.turns.take("account", 60)
    client.accounts["marketing"].turns.take("account", 60)
    throttle.update_account(rate=1000, quota_24h=10, sent_24h=10)
    client.send(Email("ann@example.org", "s", "t", account="marketing"), send_id="b")
    assert client.delivery.work(claimed(client, "b"), "worker").cause is Cause.QUOTA
    assert client.ledger.waiting_for_room() == 1
    assert client.sweeper.sweep().room == 0
    throttle.update_account(rate=1000, quota_24h=1000, sent_24h=10)
    assert client.sweeper.sweep().room == 1
    assert client.ledger.status("b").state is State.QUEUED


def test_a_worker_that_does_not_serve_an_account_leaves_its_emails_to_one_that_does(
    make: Any, redis_server: EmbeddedRedis
) -> None:
    make().send(an_email(account="marketing"), send_id="a")
    former = Client(Settings(redis_url=redis_server.url))
    try:
        assert former.delivery.claim("a") is State.SCHEDULED
        assert "it goes through the SES account marketing" in (former.ledger.status("a").reason or "")
    finally:
        former.close()


def test_what_is_known_of_the_account_default_stands_where_former_releases_look(make: Any, redis: Redis) -> None:
    client = make()
    client.throttle.update_account(rate=14, quota_24h=1000, sent_24h=0)
    client.accounts["marketing"].throttle.update_account(rate=5, quota_24h=1000, sent_24h=0)
    client.accounts["marketing"].throttle.line.pause("lane:bulk", "a typo in the letter")
    names = {name.decode() for name in redis.keys("{sesmail}:*")}
    assert {"{sesmail}:throttle", "{sesmail}:account:marketing:throttle", "{sesmail}:account:marketing:line"} <= names
    assert "{sesmail}:line" not in names
    assert client.throttle.line.closures() == ()


class Commands:
    """`sesmail` with some variables."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._variables = variables

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, [*arguments], env=self._variables)

    def with_variables(self, **more: str) -> Commands:
        close_clients()
        return Commands({**self._variables, **more})


@pytest.fixture
def sesmail(redis: Redis, redis_server: EmbeddedRedis) -> Iterator[Any]:
    said = {"SESMAIL_REDIS_URL": redis_server.url, "SESMAIL_ACCOUNTS": json.dumps(ACCOUNTS)}
    close_clients()
    yield Commands(said)
    close_clients()


def test_an_operator_pauses_one_account_or_all_of_them_and_sees_which(sesmail: Any) -> None:
    one = json.loads(sesmail("pause", "--account", "marketing", "--json").stdout)
    assert one == {"scope": "account", "accounts": ["marketing"], "changed": True}
    seen = json.loads(sesmail("status", "--json").stdout)
    assert [(each["account"], each["scope"]) for each in seen["line"]] == [("marketing", "account")]
    assert set(seen["accounts"]) == {"default", "marketing", "reserve"}
    assert "marketing: account" in sesmail("status").stdout
    assert "Account marketing: Everything is paused" in sesmail("why").stdout
    everything = json.loads(sesmail("pause", "--json").stdout)
    assert everything["accounts"] == ["default", "marketing", "reserve"]
    assert json.loads(sesmail("resume", "--json").stdout)["changed"]
    assert json.loads(sesmail("status", "--json").stdout)["line"] == []


def test_who_waits_for_an_account_is_counted_by_account(
    sesmail: Any, redis: Redis, redis_server: EmbeddedRedis
) -> None:
    """A quota that is used up keeps back what goes through its account, and nothing else."""
    client = Client(Settings(redis_url=redis_server.url, accounts=ACCOUNTS))
    client.ledger.heartbeat("worker", 60)
    for account in client.accounts.values():
        used = 1000 if account.name == "marketing" else 0
        account.throttle.update_account(rate=1, quota_24h=1000, sent_24h=used, standing="healthy", source="ses")
    for number in range(70):
        email = Email("ann@example.org", "s", "t", from_email="shop@example.com", account="default")
        client.ledger.accept(f"shop-{number}", email)
    for number in range(3):
        email = Email("ann@example.org", "s", "t", from_email="news@news.example.com", account="marketing")
        client.ledger.accept(f"news-{number}", email, delay_seconds=60 * number)
    told = {(each.id, each.account): each.what for each in client.obstacles.look()}
    assert told.keys() == {("quota", "marketing"), ("rate", "default")}
    assert told["quota", "marketing"].endswith("; 3 emails wait.")
    assert "Account default: 70 emails wait for the rate of " in told["rate", "default"]
    assert [each["id"] for each in json.loads(sesmail("why", "news-1", "--json").stdout)["obstacles"]] == ["quota"]
    assert [each["id"] for each in json.loads(sesmail("why", "shop-1", "--json").stdout)["obstacles"]] == ["rate"]
    client.close()


def test_of_many_who_wait_about_as_many_are_said_to_wait_for_each_account(
    redis: Redis, redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sesmail.state.ledger.waiting.SAMPLE", 40)
    client = Client(Settings(redis_url=redis_server.url, accounts=ACCOUNTS))
    for number in range(80):
        account = "default" if number % 4 else "marketing"
        email = Email("ann@example.org", "s", "t", from_email="shop@example.com", account=account)
        client.ledger.accept(f"a-{number}", email)
    told = client.obstacles.waiting.by_account(State.QUEUED, Lane.TRANSACTIONAL)
    assert 80 <= told.total() <= 82
    assert told["marketing"] in range(2, 60)
    assert client.obstacles.waiting.by_account(State.QUEUED, Lane.BULK) == {}
    client.close()


@pytest.mark.parametrize(
    "kind", ["configuration-set", "identity", "tenant", "template", "contact-list", "global-endpoint"]
)
def test_what_ses_stops_of_one_kind_goes_on_by_the_command_that_why_names(sesmail: Any, kind: str) -> None:
    assert json.loads(sesmail("pause", f"--{kind}", "x7", "--json").stdout)["scope"] == f"{kind}:x7"
    told = json.loads(sesmail("why", "--json").stdout)["obstacles"]
    commands = {each["do"].partition("`")[2].partition("`")[0] for each in told if each["id"] == "paused"}
    assert commands == {f"sesmail resume --account {name} --{kind} x7" for name in ("default", *ACCOUNTS)}
    for command in commands:
        assert json.loads(sesmail(*command.split()[1:], "--json").stdout)["changed"]


def test_a_letter_to_a_list_goes_through_the_account_that_is_named(sesmail: Any, tmp_path: Path, redis: Redis) -> None:
    (people := tmp_path / "people.csv").write_text("email\nann@example.org\n")
    (text := tmp_path / "letter.txt").write_text("Hello.")
    letter = ("send", "--csv", str(people), "--subject", "s", "--text", str(text), "--from", "shop@example.com")
    refused = sesmail(*letter, "--account", "marketting")
    assert (refused.exit_code, "default, marketing, reserve" in refused.output) == (2, True)
    sent = json.loads(sesmail(*letter, "--account", "reserve", "--json").stdout)
    assert redis.hget(f"{{sesmail}}:batch:{sent['batch_id']}", "account") == b"reserve"


def test_suppress_sync_reads_the_list_of_each_account(sesmail: Any, places: dict[str, Simulator]) -> None:
    said = {name: {**ACCOUNTS[name], "endpoint_url": places[name].url, "region": "us-east-1"} for name in ACCOUNTS}
    for name, place in places.items():
        place.reset()
        client_for(place).put_suppressed_destination(EmailAddress=f"{name}@example.org", Reason="BOUNCE")
    run = sesmail.with_variables(
        SESMAIL_ACCOUNTS=json.dumps(said),
        SESMAIL_ENDPOINT_URL=places["default"].url,
        SESMAIL_REGION="us-east-1",
    )
    one = json.loads(run("suppress", "sync", "--account", "reserve", "--json").stdout)
    assert one == {"read": 1, "added_here": 1, "added_at_ses": 0}
    assert json.loads(run("suppress", "sync", "--json").stdout)["read"] == 3
    listed = json.loads(run("suppress", "list", "--json").stdout)
    assert {each["address"] for each in listed} == {f"{name}@example.org" for name in places}


def test_quota_top_and_metrics_tell_of_each_account(sesmail: Any) -> None:
    assert set(json.loads(sesmail("quota", "--json").stdout)["accounts"]) == {"default", "marketing", "reserve"}
    assert set(json.loads(sesmail("quota", "--account", "reserve", "--json").stdout)["accounts"]) == {"reserve"}
    assert set(json.loads(sesmail("top", "--times", "1", "--json").stdout)["accounts"]) == {
        "default",
        "marketing",
        "reserve",
    }
    assert 'sesmail_line_closed{account="marketing",how="paused",scope="account"} 0.0' in sesmail("metrics").stdout


def test_a_command_refuses_an_account_that_there_is_not_and_names_those_that_there_are(sesmail: Any) -> None:
    refused = sesmail("pause", "--account", "marketting")
    assert (refused.exit_code, json.loads(sesmail("status", "--json").stdout)["line"]) == (2, [])
    assert "default, marketing, reserve" in refused.output


@pytest.mark.parametrize(
    ("accounts", "words"),
    [
        ({"a": {"fallback": "b"}}, "falls back to 'b', which is no other account"),
        ({"a": {"fallback": "a"}}, "falls back to 'a'"),
        ({"a": {"lanes": ["bulk"]}, "b": {"lanes": ["bulk"]}}, "several accounts have bulk among their lanes"),
        ({"a": {"domains": ["Example.com"]}, "b": {"domains": ["example.com"]}}, "among their domains"),
        ({"a b": {}}, "is no name of an account"),
        ({"a": {"fall_back": "default"}}, "no such setting; is fallback meant?"),
    ],
)
def test_accounts_that_do_not_go_together_are_refused_at_the_start(accounts: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=f"SESMAIL_ACCOUNTS in tests.*{words}"):
        load(Source(name="tests", spelling="SESMAIL_{}", said={"accounts": accounts}))


def test_credentials_of_one_account_are_never_mixed_with_anothers() -> None:
    settings = Settings(
        access_key_id="key",
        secret_access_key="secret",
        accounts={"other": {"profile": "other"}, "region": {"region": "x"}},
    )
    assert settings.of_account("other").access_key_id is None
    assert settings.of_account("region").access_key_id == "key"


class Sts(BaseHTTPRequestHandler):
    """Gives credentials of a role, as STS does."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        names = {
            "AccessKeyId": "ROLE",
            "SecretAccessKey": "s",
            "SessionToken": "t",
            "Expiration": "2099-01-01T00:00:00Z",
        }
        inside = "".join(f"<{name}>{value}</{name}>" for name, value in names.items())
        said = f"<AssumeRoleResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><AssumeRoleResult><Credentials>{inside}"
        body = f"{said}</Credentials></AssumeRoleResult></AssumeRoleResponse>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def test_a_role_is_taken_on_once_and_ses_is_asked_with_its_credentials(
    places: dict[str, Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    with HTTPServer(("127.0.0.1", 0), Sts) as sts:
        threading.Thread(target=sts.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{sts.server_port}")
        arn = "arn:aws:iam::123456789012:role/mail"
        transport = SesTransport(region="eu-west-1", endpoint_url=places["reserve"].url, role_arn=arn)
        for _ in range(2):
            transport.send(an_email(from_email="shop@example.com"), send_id="a")
        sts.shutdown()
    assert len(Sts.asked) == 1
    assert "123456789012%3Arole%2Fmail" in Sts.asked[0]
    assert transport._way.client._request_signer._credentials.access_key == "ROLE"  # type: ignore[union-attr]


# -- fail-over


@pytest.fixture
def falling(make: Any) -> Client:
    """Transactional email of `marketing` goes through `reserve` while its own account takes none."""
    client: Client = make(marketing={"fallback": "reserve"}, reserve={"configuration_set": "simulator"})
    for account in client.accounts.values():
        account.turns.take("account", 60)  # another worker asks for the limits
        account.throttle.update_account(rate=1000, quota_24h=1000, sent_24h=0)
    return client


def stop(client: Client, account: str = "marketing") -> None:
    client.accounts[account].throttle.line.stop(ACCOUNT, "SES refuses it")


def taken_by(places: dict[str, Simulator]) -> dict[str, int]:
    return {name: count for name, place in places.items() if (count := len(place.messages()))}


def test_transactional_email_goes_through_the_fall_back_while_its_own_line_is_stopped_and_comes_back_by_itself(
    falling: Client, places: dict[str, Simulator], caplog: pytest.LogCaptureFixture
) -> None:
    stop(falling)
    for send_id in ("a", "b"):
        falling.send(an_email(account="marketing"), send_id=send_id)
        assert isinstance(sent_by(falling, send_id), Sent)
    assert taken_by(places) == {"reserve": 2}
    status = falling.ledger.status("a")
    assert (status.account, status.through) == ("marketing", "reserve")
    said = [each.getMessage() for each in caplog.records if getattr(each, "action", "") == "falls_back"]
    way = "transactional email of the account marketing goes through reserve until its own takes it again"
    assert said == [f"{way}: account: SES refuses it"]
    falling.accounts["marketing"].throttle.line.resume(ACCOUNT)
    falling.send(an_email(account="marketing"), send_id="c")
    assert isinstance(sent_by(falling, "c"), Sent)
    assert taken_by(places) == {"reserve": 2, "marketing": 1}
    assert "goes through its own again" in caplog.text


def test_transactional_email_goes_through_the_fall_back_while_its_own_quota_is_used_up(
    falling: Client, places: dict[str, Simulator]
) -> None:
    falling.accounts["marketing"].throttle.update_account(rate=1000, quota_24h=10, sent_24h=10)
    falling.send(Email("ann@example.org", "s", "t", account="marketing"), send_id="a")
    assert isinstance(sent_by(falling, "a"), Sent)
    assert taken_by(places) == {"reserve": 1}
    assert falling.accounts["reserve"].throttle.snapshot().quota_used == 1
    assert falling.accounts["marketing"].throttle.snapshot().quota_used == 10


def test_bulk_and_what_an_operator_has_paused_wait_for_their_own_account(falling: Client) -> None:
    stop(falling)
    falling.send(an_email(account="marketing", lane="bulk"), send_id="bulk")
    assert sent_by(falling, "bulk").cause is Cause.STOPPED
    falling.accounts["marketing"].throttle.line.resume(ACCOUNT)
    falling.accounts["marketing"].throttle.line.pause(ACCOUNT, "a typo in the letter")
    falling.send(an_email(account="marketing"), send_id="paused")
    assert sent_by(falling, "paused").cause is Cause.PAUSED


def test_what_ses_may_have_had_does_not_move(make: Any, places: dict[str, Simulator]) -> None:
    client = make(marketing={"fallback": "reserve"}, evidence_window_seconds=0.001)
    for send_id, through in (("own", "marketing"), ("there", "reserve")):
        client.send(an_email(account="marketing"), send_id=send_id)
        claim = replace(claimed(client, send_id), through=through)
        client.ledger.begin(claim)
        assert client.ledger.outcome_unknown(claim, "no answer") is State.UNKNOWN
    while client.ledger.status("there").state is State.UNKNOWN:
        client.sweeper.sweep()
    stop(client)
    waits, goes = sent_by(client, "own"), sent_by(client, "there")
    assert isinstance(waits, Postponed)
    assert waits.cause is Cause.STOPPED
    assert isinstance(goes, Sent)
    assert taken_by(places) == {"reserve": 1}


def test_what_its_own_settings_have_put_in_an_email_is_the_fall_backs_there(
    make: Any, places: dict[str, Simulator]
) -> None:
    identities = {name: f"arn:aws:ses:eu-west-1:123456789012:identity/{name}.example.com" for name in ACCOUNTS}
    client = make(
        marketing={"fallback": "reserve", "identity_arn": identities["marketing"], "ses": {"TenantName": "shop-17"}},
        reserve={"identity_arn": identities["reserve"]},
    )
    client.send(an_email(account="marketing"), send_id="a")
    moved = client.delivery._fallback.instead(claimed(client, "a"), Cause.STOPPED)
    assert moved is not None
    assert dict(moved.email.ses) == {"FromEmailAddressIdentityArn": identities["reserve"]}
    assert moved.email.configuration_set is None
    assert moved.email.from_email == "news@news.example.com"


def test_where_the_fall_back_takes_none_either_the_email_waits_and_loses_no_attempt(falling: Client) -> None:
    stop(falling)
    stop(falling, "reserve")
    falling.send(an_email(account="marketing"), send_id="a")
    assert sent_by(falling, "a").cause is Cause.STOPPED
    status = falling.ledger.status("a")
    assert (status.state, status.attempts, status.through) == (State.SCHEDULED, 0, "marketing")


def test_an_email_that_finds_its_account_stopped_comes_back_at_once_and_sweeps_queue_what_falls_back(
    falling: Client, places: dict[str, Simulator]
) -> None:
    places["marketing"].change(sending_enabled=False)
    falling.send(an_email(account="marketing"), send_id="a")
    found = sent_by(falling, "a")
    places["marketing"].change(sending_enabled=True)
    assert (found.cause, found.seconds) == (Cause.STOPPED, 0)
    falling.send(an_email(account="marketing", lane="bulk"), send_id="bulk")
    due(falling, "bulk")
    assert falling.sweeper.sweep().due == 1
    states = [falling.ledger.status(send_id).state for send_id in ("a", "bulk")]
    assert states == [State.QUEUED, State.SCHEDULED]
    assert isinstance(sent_by(falling, "a"), Sent)
    assert taken_by(places) == {"reserve": 1}
