"""The brake: closes the guilty list, then all bulk, tries again with a few, and lets an operator decide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from redis import Redis

from sesmail import Client, Settings
from sesmail.events.consequences import fact_of
from sesmail.events.model import Sent
from sesmail.message import LIST_TAG, Email, Lane
from sesmail.sending.brake import Brake, Verdict
from sesmail.sending.throttle import Granted, SendThrottle
from sesmail.state.fleet.workers import Turns
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.line.brake import BrakeBooks
from sesmail.state.line.line import How, account_scope, list_scope, site_scope
from sesmail.state.people.reputation import Counter, Fact, Reputation
from sesmail.vocabulary import Cause, Claim, Postponed
from tests.contract.throttle_clock import SimulatedTime

MONTHLY = list_scope("default", "monthly")
ACCOUNT = {"rate": 1000, "quota_24h": 1_000_000, "sent_24h": 0}


class Site:
    """What the brake judges, by a clock of its own."""

    def __init__(self, redis: Redis, **said: object) -> None:
        self.time = SimulatedTime(redis, Keys())
        self.time.start()
        settings = Settings(redis_url="redis://127.0.0.1", **said)
        self.throttle = SendThrottle(self.time, clock=self.time.clock, sleep=self.time.sleep)
        self.throttle.update_account(**ACCOUNT, standing="healthy")
        self.ledger = Ledger(self.time, settings)
        self.books = BrakeBooks(self.time)
        self.brake = Brake(settings, self.books, self.throttle.line, Turns(redis, Keys()))
        by_account = len(settings.account_names) > 1
        self._reputation = Reputation(self.time, settings.brake_windows_seconds, by_account=by_account)
        self._told = 0

    def tell(
        self, sent: int = 0, bounced: int = 0, complained: int = 0, *, of: str = "monthly", **fields: object
    ) -> None:
        """Events of so many emails that are sent now, and what the brake makes of them."""
        numbers = {Counter.SENT: sent, Counter.BOUNCED_PERMANENT: bounced, Counter.COMPLAINED: complained}
        self._reputation.count([self._fact(counter, of, **fields) for counter, n in numbers.items() for _ in range(n)])
        self.brake.look()

    def _fact(
        self,
        counter: Counter,
        list_name: str,
        site: str = "default",
        sent_at: datetime | None = None,
        **of: str,
    ) -> Fact:
        self._told += 1
        at = sent_at or self.now
        return Fact(
            key=f"fact-{self._told}",
            told_by=f"event-{self._told}",
            happened_on=at.date(),
            site=site,
            list=list_name,
            sent_on=at.date(),
            counter=counter,
            sent_at=at,
            **of,
        )

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time.START_SECONDS + self.time.clock(), UTC)

    @property
    def closed(self) -> list[str]:
        return [each.scope for each in self.throttle.line.closures() if each.how is How.BRAKED]

    def asks(
        self, lane: Lane = Lane.BULK, of: str = "monthly", site: str = "default", account: str = "default"
    ) -> Granted | Postponed:
        scopes = [site_scope(site), list_scope(site, of), account_scope(account)] if lane is Lane.BULK else []
        return self.throttle.acquire(1, lane, scopes=scopes)


@pytest.fixture
def site(redis: Redis) -> Site:
    return Site(redis)


# -- what it judges ------------------------------------------------------------------------------------------------------


def test_a_list_with_dead_addresses_is_stopped_after_the_minimum_volume_and_not_before(site: Site) -> None:
    site.tell(sent=400, bounced=60)
    assert site.closed == [], "400 emails are too few to judge"
    site.tell(sent=100)
    assert site.closed == [MONTHLY]
    answer = site.asks()
    assert isinstance(answer, Postponed)
    assert (answer.cause, answer.scope) == (Cause.BRAKED, MONTHLY)
    assert "12 % hard bounces (60 of 500 emails in 7 d" in answer.reason
    assert isinstance(site.asks(of="weekly"), Granted), "other lists are not guilty"
    assert isinstance(site.asks(Lane.TRANSACTIONAL), Granted)


def test_a_healthy_list_is_not_stopped(site: Site) -> None:
    site.tell(sent=2000, bounced=38, complained=2)
    assert (site.closed, [each.level for each in site.brake.judgements()]) == ([], [Verdict.FINE, Verdict.FINE])


def test_complaints_stop_at_a_fiftieth_of_what_bounces_do_but_two_angry_readers_do_not(site: Site) -> None:
    site.tell(sent=600, complained=2)
    assert site.closed == []
    site.tell(complained=1)
    assert site.closed == [MONTHLY]


def test_an_old_good_record_does_not_hide_what_goes_wrong_now(site: Site) -> None:
    site.tell(sent=2000)
    site.time.sleep(3 * 3600)
    site.tell(sent=500, bounced=30)
    assert site.closed == [MONTHLY]
    assert "30 of 500 emails in 1 h" in site.throttle.line.closures()[0].reason


def test_what_left_the_windows_is_judged_no_more(site: Site) -> None:
    site.tell(sent=450, bounced=100)
    site.time.sleep(9 * 86_400)
    site.tell(sent=100)
    assert site.closed == []


def test_small_lists_are_judged_together_and_bulk_is_stopped_for_the_account(site: Site) -> None:
    for number in range(5):
        site.tell(sent=100, bounced=8, of=f"list-{number}")
    assert site.closed == ["lane:bulk"]
    assert isinstance(site.asks(of="another"), Postponed)
    assert isinstance(site.asks(Lane.TRANSACTIONAL), Granted)


def test_what_a_stopped_list_did_stops_nobody_else(site: Site) -> None:
    site.tell(sent=500, of="good")
    site.tell(sent=500, bounced=200)
    assert site.closed == [MONTHLY]
    site.tell(sent=100, of="good")
    site.tell(bounced=20)  # of what was on its way
    assert site.closed == [MONTHLY]


def test_of_several_sites_the_guilty_one_is_stopped(site: Site) -> None:
    site.tell(sent=1000, of="")
    for number in range(5):
        site.tell(sent=100, bounced=8, of=f"list-{number}", site="shop")
    assert site.closed == ["site:shop"]
    assert isinstance(site.asks(site="shop", of="another"), Postponed)
    assert isinstance(site.asks(), Granted)


def test_of_several_accounts_the_guilty_one_s_bulk_is_stopped_and_the_others_go_on(redis: Redis) -> None:
    site = Site(redis, accounts={"marketing": {"region": "eu-central-1"}})
    redis.hset("{sesmail}:send:m", "account", "marketing")
    redis.hset("{sesmail}:batch:batch_1", "account", "marketing")
    site.tell(sent=2000, of="", send_id="receipt")
    for n in range(30):  # lists too small to be judged, two of three by batches
        site.tell(sent=20, bounced=2, of=f"small-{n}", send_id="m", batch="batch_1" if n % 3 else "")
    assert site.closed == ["account:marketing"]
    assert isinstance(site.asks(of="small-1", account="marketing"), Postponed)
    assert isinstance(site.asks(of="small-1"), Granted)
    assert isinstance(site.asks(Lane.TRANSACTIONAL), Granted)
    site.tell(sent=20, bounced=2, of="small-1", send_id="m")
    assert site.closed == ["account:marketing"]
    assert site.brake.open("account:marketing")
    site.tell(sent=600, of="small-1", send_id="m")
    assert site.closed == []
    assert isinstance(site.asks(of="small-1", account="marketing"), Granted)


def test_a_trial_of_an_account_is_judged_by_what_went_through_it(redis: Redis) -> None:
    site = Site(redis, accounts={"marketing": {"region": "eu-central-1"}})
    redis.hset("{sesmail}:send:m", "account", "marketing")
    for n in range(30):
        site.tell(sent=20, bounced=2, of=f"small-{n}", send_id="m")
    site.time.sleep(3601)
    site.tell(sent=100, bounced=20, of="", send_id="receipt")  # of another account
    site.tell(sent=100, of="small-1", send_id="m")
    site.time.sleep(901)
    site.tell()
    assert site.closed == []


def test_where_aws_reviews_the_account_it_stops_where_it_else_would_warn(site: Site, caplog) -> None:
    site.tell(sent=1000, bounced=25)
    assert site.closed == []
    assert [record.action for record in caplog.records] == ["brake_warning", "brake_warning"]  # type: ignore[attr-defined]
    site.tell(sent=1)
    assert len(caplog.records) == 2, "said once a day"
    site.throttle.update_account(**ACCOUNT, standing="probation")
    site.tell(sent=1)
    assert site.closed == [MONTHLY]


@pytest.mark.parametrize("how", ["warn", "off"])
def test_it_may_be_told_to_warn_alone_or_to_look_away(redis: Redis, how: str, caplog) -> None:
    site = Site(redis, brake=how)
    site.tell(sent=1000, bounced=100)
    assert site.closed == []
    assert bool(caplog.records) is (how == "warn")


def test_where_ses_tells_of_no_sends_deliveries_count_for_them(site: Site) -> None:
    site._reputation.count([site._fact(Counter.DELIVERED, "monthly") for _ in range(900)])
    site.tell(bounced=100)
    assert site.closed == [MONTHLY]


# -- how it opens --------------------------------------------------------------------------------------------------------


def stopped(site: Site) -> None:
    site.tell(sent=1000, bounced=60)
    assert site.closed == [MONTHLY]


def test_a_trial_lets_a_few_through_and_opens_when_it_went_well(site: Site) -> None:
    stopped(site)
    assert isinstance(site.asks(), Postponed)
    site.time.sleep(3601)
    passed = [isinstance(site.asks(), Granted) for _ in range(102)]
    assert passed == [True] * 100 + [False] * 2
    site.tell(sent=100, bounced=2)
    assert site.closed == [MONTHLY], "its bounces may still be on their way"
    site.time.sleep(901)
    site.brake.look()
    assert site.closed == []
    assert isinstance(site.asks(), Granted)


def test_a_trial_that_fails_doubles_the_wait(site: Site) -> None:
    stopped(site)
    for hours in (1, 2, 4):
        site.time.sleep(3600 * hours - 10)
        assert isinstance(site.asks(), Postponed)
        site.time.sleep(20)
        assert isinstance(site.asks(), Granted)
        site.tell(sent=40, bounced=5)
    assert "its trial failed" in site.throttle.line.closures()[0].reason


def test_bounces_of_what_was_sent_before_do_not_fail_a_trial(site: Site) -> None:
    stopped(site)
    before = site.now
    site.time.sleep(3700)
    site.tell(bounced=50, sent_at=before)
    site.tell(sent=60)
    site.time.sleep(901)
    site.brake.look()
    assert site.closed == []


def test_a_trial_of_which_nothing_was_told_goes_on(site: Site) -> None:
    stopped(site)
    site.time.sleep(9000)
    site.brake.look()
    assert site.closed == [MONTHLY]


def test_an_operator_opens_it_and_it_is_judged_by_what_comes_then(site: Site) -> None:
    stopped(site)
    before = site.now
    site.time.sleep(60)
    assert site.brake.open(MONTHLY)
    assert not site.brake.open(MONTHLY), "repeated"
    assert isinstance(site.asks(), Granted)
    site.tell(bounced=60, sent_at=before)
    site.tell(sent=499, bounced=20)
    assert site.closed == []
    site.tell(sent=1, bounced=20)
    assert site.closed == [MONTHLY], "it was not cleaned"


@pytest.mark.parametrize("scope", ["lane:bulk", "site:default"])
def test_a_wider_scope_counts_anew_when_an_operator_opens_it(site: Site, scope: str) -> None:
    site.tell(sent=100, bounced=8, of="small")
    site.books.close(scope, "by hand", site.brake._trial, ["default"])
    assert site.brake.open(scope)
    assert site.books.outcomes(["default"])[1] == {}


def test_former_releases_and_repeated_calls_find_the_first_reason(site: Site) -> None:
    stopped(site)
    (before,) = site.throttle.line.closures()
    assert not site.books.close(MONTHLY, "another", site.brake._trial, [])
    assert site.throttle.line.closures() == (before,)


# -- what waits ----------------------------------------------------------------------------------------------------------


def waits(ledger: Ledger, send_id: str, answer: Granted | Postponed) -> None:
    email = Email(
        "ann@example.org", "s", "t", from_email="shop@example.com", lane=Lane.BULK, tags={LIST_TAG: "monthly"}
    )
    ledger.accept(send_id, email)
    claim = ledger.claim(send_id, "worker")
    assert isinstance(claim, Claim)
    assert isinstance(answer, Postponed)
    assert claim.site == "default"
    ledger.postpone(claim, answer.seconds, answer.reason, for_scope=answer.scope)


def test_what_waits_for_a_list_does_not_come_round_and_is_due_as_soon_as_it_opens(site: Site) -> None:
    stopped(site)
    for send_id in ("first", "second"):
        waits(site.ledger, send_id, site.asks())
        site.time.sleep(1)
    email = Email("bob@example.org", "s", "t", from_email="shop@example.com", lane=Lane.BULK)
    site.ledger.accept("another", email, delay_seconds=500)
    site.time.sleep(300)
    assert site.ledger.queue_due(Lane.BULK) == []
    site.brake.open(MONTHLY)
    assert [ticket.send_id for ticket in site.ledger.queue_due(Lane.BULK)] == ["first", "second"]


def test_a_closed_lane_is_tried_with_as_many_as_its_trial_has_left(client: Client, redis: Redis) -> None:
    client.ledger.heartbeat("worker", 8)
    for number in range(5):
        client.real_outbox.send(
            Email("ann@example.org", "s", "t", from_email="shop@example.com", lane=Lane.BULK),
            send_id=f"bulk-{number}",
            delay_seconds=0.01,
        )
    entry: Callable[[int], str] = lambda left: f"{{at}} {left} 5 why\nbrake 1000 9"  # noqa: E731
    redis.hset("{sesmail}:line", "braked:lane:bulk", entry(3).format(at=2**45))
    assert client.sweeper.sweep().due == 0
    redis.hset("{sesmail}:line", "braked:lane:bulk", entry(3).format(at=1000))
    assert client.sweeper.sweep().due == 3
    redis.hset("{sesmail}:line", "paused:lane:bulk", "0 0 5 an operator")
    assert client.sweeper.sweep().due == 0


# -- where it is shown ---------------------------------------------------------------------------------------------------


def test_why_says_who_is_stopped_for_what_and_what_to_do(client: Client) -> None:
    now = datetime.now(UTC)
    client.ledger.heartbeat("worker", 8)
    fact = {"happened_on": now.date(), "site": "default", "list": "monthly", "sent_on": now.date(), "sent_at": now}
    facts = [Fact(key=f"s{n}", told_by="e", counter=Counter.SENT, **fact) for n in range(500)]
    facts += [Fact(key=f"b{n}", told_by="e", counter=Counter.BOUNCED_PERMANENT, **fact) for n in range(15)]
    client.reputation.count(facts)
    client.brake.look()
    warned = {each.id: each for each in client.obstacles.look()}["reputation"]
    assert "3 % hard bounces (15 of 500 emails" in warned.what
    facts = [Fact(key=f"c{n}", told_by="e", counter=Counter.BOUNCED_PERMANENT, **fact) for n in range(15)]
    client.reputation.count(facts)
    client.brake.look()
    (braked,) = [each for each in client.obstacles.look() if each.id == "braked"]
    assert "list default/monthly is stopped by the brake" in braked.what
    assert '`sesmail resume --list monthly --site default --why "list cleaned"`' in braked.do


def test_awss_mailbox_simulator_counts_for_nobodys_reputation() -> None:
    event = Sent(site="default", recipient="bounce+1@simulator.amazonses.com", sent_at=datetime.now(UTC), key="k")
    assert fact_of(event, "e").sent_at is None
    assert fact_of(replace(event, recipient="ann@example.org"), "e").sent_at == event.sent_at
