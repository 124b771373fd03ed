"""What every event store promises: one suite, each of them a real server, but for the one in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from sesmail.events.stores import EventState, StoredEvent

NOW = 1_700_000_000.0
LEASE = 60.0


def event(number: int = 0, **fields) -> StoredEvent:
    defaults = {
        "event_id": f"event-{number:04}",
        "source": "alpha",
        "message": '{"eventType":"Send"}',
        "topic_arn": "arn:aws:sns:us-east-1:123456789012:x",
        "received_at": NOW + number,
    }
    return StoredEvent(**{**defaults, **fields})


def gather(store, *, source="alpha", limit=100, now=NOW + 1000):
    return store.gather(source, limit=limit, lease_seconds=LEASE, now=now)


def ids(events) -> list[str]:
    return [event.event_id for event in events]


def counts(store, source="alpha") -> tuple[int, int]:
    found = store.counts(source)
    return found.unprocessed, found.set_aside


def test_an_event_comes_back_as_it_was_put(store) -> None:
    odd = 'Grüße 🙂 \t\n\r "quoted" \\u0041 \u2028 %s \x7f'
    store.put([event(message=odd)])
    assert store.get("event-0000") == event(message=odd)
    assert gather(store) == [event(message=odd)]


def test_a_large_event_comes_back_whole(store) -> None:
    message = "x" * 256 * 1024
    store.put([event(message=message)])
    assert store.get("event-0000").message == message


def test_an_event_that_is_not_there_is_none(store) -> None:
    assert store.get("never-seen") is None


def test_nothing_can_be_put(store) -> None:
    assert store.put([]) == 0


def test_an_event_put_again_is_a_success_and_kept_once(store) -> None:
    assert store.put([event(1), event(2)]) == 2
    assert store.put([event(2), event(3)]) == 1
    assert ids(gather(store)) == ["event-0001", "event-0002", "event-0003"]


def test_an_event_twice_in_one_batch_is_kept_once(store) -> None:
    assert store.put([event(1), event(1)]) == 1
    assert counts(store) == (1, 0)


def test_an_event_is_due_at_once_where_the_clock_of_its_door_is_ahead(store) -> None:
    store.put([event(1), event(900)])
    assert ids(gather(store, now=NOW)) == ["event-0001", "event-0900"]


def test_a_redelivered_event_does_not_change_what_is_there(store) -> None:
    store.put([event(1)])
    store.put([event(1, message="changed", received_at=NOW + 99)])
    assert store.get("event-0001") == event(1)


def test_a_redelivered_event_stays_processed(store) -> None:
    store.put([event(1)])
    store.mark_processed(gather(store), now=NOW)
    store.put([event(1)])
    assert gather(store) == []


def test_the_same_events_put_by_many_at_once_are_kept_once(store) -> None:
    batches = [[event(number) for number in range(start, start + 10)] for start in (0, 5, 0, 7)]
    batches += [list(reversed(batch)) for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        new = sum(threads.map(store.put, batches))
    assert new == 17
    assert counts(store) == (17, 0)


def test_each_site_gathers_its_own(store) -> None:
    store.put([event(1), event(2, source="beta")])
    assert ids(gather(store)) == ["event-0001"]
    assert ids(gather(store, source="beta")) == ["event-0002"]
    assert gather(store, source="gamma") == []


def test_the_oldest_are_gathered_first_up_to_the_limit(store) -> None:
    store.put([event(number) for number in (3, 1, 2)])
    assert ids(gather(store, limit=2)) == ["event-0001", "event-0002"]
    assert ids(gather(store, limit=2)) == ["event-0003"]


def test_a_leased_event_is_not_gathered_until_the_lease_ends(store) -> None:
    store.put([event(1)])
    now = NOW + 1000
    assert gather(store, now=now)
    assert not gather(store, now=now + LEASE - 1)
    assert gather(store, now=now + LEASE)


def test_many_who_gather_at_once_share_and_never_overlap(store) -> None:
    store.put([event(number) for number in range(40)])
    with ThreadPoolExecutor(4) as threads:
        gathered = [i for batch in threads.map(lambda _: gather(store, limit=10), range(8)) for i in ids(batch)]
    assert len(gathered) == len(set(gathered))
    while batch := gather(store, limit=10):
        gathered += ids(batch)
    assert sorted(gathered) == [f"event-{number:04}" for number in range(40)]


def test_a_processed_event_is_not_gathered_again_and_can_be_read(store) -> None:
    store.put([event(1), event(2)])
    first, _ = gather(store)
    store.mark_processed([first], now=NOW)
    assert counts(store) == (1, 0)
    assert ids(store.read("alpha", EventState.PROCESSED)) == ["event-0001"]
    assert ids(store.read("alpha", EventState.UNPROCESSED)) == ["event-0002"]
    assert not gather(store, now=NOW + 1000)
    assert ids(gather(store, now=NOW + 1000 + LEASE)) == ["event-0002"]


def test_marking_twice_is_the_same_as_once(store) -> None:
    store.put([event(1)])
    gathered = gather(store)
    store.mark_processed(gathered, now=NOW)
    store.mark_processed(gathered, now=NOW)
    assert counts(store) == (0, 0)


def test_an_event_that_failed_comes_again_when_it_is_due_with_its_error(store) -> None:
    store.put([event(1)])
    (gathered,) = gather(store)
    store.retry_later(gathered, error="boom", due_at=NOW + 5000)
    assert not gather(store, now=NOW + 4999)
    assert gather(store, now=NOW + 5000) == [event(1, attempts=1, error="boom")]


def test_a_failure_reported_late_does_not_revive_what_another_has_processed(store) -> None:
    store.put([event(1)])
    (gathered,) = gather(store)
    store.mark_processed([gathered], now=NOW)
    store.retry_later(gathered, error="boom", due_at=NOW + 5000)
    assert not gather(store, now=NOW + 9000)
    assert counts(store) == (0, 0)


def test_an_event_set_aside_is_kept_with_its_error_and_not_gathered(store) -> None:
    store.put([event(1)])
    (gathered,) = gather(store)
    store.set_aside(gathered, error="boom", now=NOW)
    assert not gather(store, now=NOW + 9000)
    assert counts(store) == (0, 1)
    assert list(store.read("alpha", EventState.SET_ASIDE)) == [event(1, attempts=1, error="boom")]


@pytest.mark.parametrize("after", ["processed", "set aside"])
def test_an_event_replayed_is_gathered_again_with_a_clean_slate(store, after) -> None:
    store.put([event(1)])
    (gathered,) = gather(store)
    if after == "processed":
        store.mark_processed([gathered], now=NOW)
    else:
        store.set_aside(gathered, error="boom", now=NOW)
    store.replay([store.get("event-0001")], now=NOW + 2000)
    assert counts(store) == (1, 0)
    assert gather(store, now=NOW + 2000) == [event(1)]


def test_purging_takes_what_was_processed_before_and_nothing_else(store) -> None:
    store.put([event(number) for number in range(1, 5)])
    old, new, aside, _ = gather(store)
    store.mark_processed([old], now=NOW + 10)
    store.mark_processed([new], now=NOW + 20)
    store.set_aside(aside, error="boom", now=NOW + 10)
    assert store.purge("beta", older_than=NOW + 20) == 0
    assert store.purge("alpha", older_than=NOW + 20) == 1
    assert store.get("event-0001") is None
    assert ids(store.read("alpha", EventState.PROCESSED)) == ["event-0002"]
    assert counts(store) == (1, 1)


def test_more_than_a_page_can_be_put_gathered_and_purged(store) -> None:
    events = [event(number) for number in range(120)]
    assert store.put(events) == 120
    gathered = gather(store, limit=1000)
    assert gathered == events
    assert len(list(store.read("alpha", EventState.UNPROCESSED))) == 120
    store.mark_processed(gathered, now=NOW)
    assert store.purge("alpha", older_than=NOW + 1) == 120


def test_an_event_is_kept_in_other_words_and_one_that_is_gone_stays_gone(store) -> None:
    store.put([event(1, message="of ann"), event(2, message="of bob")])
    store.retry_later(gather(store)[0], error="ann's", due_at=NOW)
    other = event(1, message="of nobody", error="nobody's", attempts=1)
    store.rewrite([other, event(9, message="never seen")])
    assert (store.get("event-0001"), store.get("event-0002").message) == (other, "of bob")
    assert store.get("event-0009") is None
    assert ids(gather(store, now=NOW + 1000 + LEASE)) == ["event-0001", "event-0002"]


def test_those_that_name_somebody_are_read_in_whatever_case_and_state(store) -> None:
    store.put([event(1, message="of ANN"), event(2, message="of bob"), event(3, message="of Ann")])
    store.mark_processed([event(3)], now=NOW)
    found = [each for state in EventState for each in store.read("alpha", state, naming="ann")]
    assert {"event-0001", "event-0003"} <= {*ids(found)}


def test_nothing_personal_shows_in_the_repr() -> None:
    personal = replace(event(), message="reader@example.org", error="reader@example.org")
    assert "reader" not in repr(personal)
