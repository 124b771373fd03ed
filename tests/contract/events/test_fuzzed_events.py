"""Any one field of any example dropped, nulled, retyped or spelt otherwise, through a real door, stores and worker.

No opt-out is lost of a recipient whose address can still be read, nothing raises, nothing is acknowledged without a row.
What should follow stands in the table of the examples, and whether an address is still there is seen by looking for its
letters: nothing of what is tested is asked.

`FUZZ_EXAMPLES=20000 pytest -n 0 tests/contract/events/test_fuzzed_events.py` tries more of them.
"""

from __future__ import annotations

import json
import logging
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sesmail.events.model import Unhandled
from sesmail.events.reading import read
from tests.contract.events.site_of_events import SIGNER, SiteOfEvents
from tests.contract.events.test_fixture_table import TABLE
from tests.signing import FIXTURES, fixture_json

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
NAMES = sorted(path.name for path in FIXTURES.glob("*.json") if path.name.startswith(("ev_", "id_")))
OTHER_VALUES = [0, 1, -3, 3.5, 1e300, True, False, "", "x", "2099-01-01", [], {}, [None], [[]], [{}], {"a": 1}, 10**400]
SPELLINGS = {
    "upper": str.upper,
    "lower": str.lower,
    "padded": " {} \t".format,
    "named": "Doe, J. <{}>".format,
    "named by itself": lambda text: f"{text} <{text}>",
    "commented": "{} (Doe, J.)".format,
    "typed": "rfc822; {}".format,
    "quoted": "'{}'".format,
    "ended": "{}.".format,
    "listed": lambda text: [text],
}


def places(value, path=()):
    """Every field: the names in objects and the entries of lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield (*path, name)
        yield from places(inner, (*path, name))


def changed(document, path, how):
    """A copy in which one field is otherwise."""
    copy = json.loads(json.dumps(document))
    part = copy
    for step in path[:-1]:
        part = part[step]
    last = path[-1]
    kind, detail = how
    if kind == "drop":
        del part[last]
    elif kind == "null":
        part[last] = None
    elif kind == "retype":
        part[last] = detail
    elif kind == "respell":
        part[last] = SPELLINGS[detail](part[last]) if isinstance(part[last], str) else part[last]
    elif isinstance(part, dict):  # the name of the field
        part[detail(last)] = part.pop(last)
    return copy


WAYS = st.one_of(
    st.sampled_from([("drop", None), ("null", None)]),
    st.tuples(st.just("retype"), st.sampled_from(OTHER_VALUES)),
    st.tuples(st.just("respell"), st.sampled_from([*SPELLINGS])),
    st.tuples(st.just("rename"), st.sampled_from([str.upper, str.lower, str.title])),
)


def should_opt_out(name) -> set[str]:
    """Whom the example opts out, by the table."""
    return {recipient for _, recipient, _, _, opt_outs in TABLE[name].events if opt_outs}


def still_names(odd, address) -> bool:
    """Whether somebody who looks at the text would put it down to this address: it is listed, or the only destination."""
    listed, destinations = [], []
    for path in places(odd):
        value = odd
        for step in path:
            value = value[step]
        folded = [str(step).lower() for step in path]
        is_row = len(folded) in (2, 3) and folded[1].endswith("recipients")
        if isinstance(value, str) and folded[0] != "mail" and (is_row or "emailaddress" in folded):
            listed.append(value.lower())
        if isinstance(value, str) and folded[:2] == ["mail", "destination"]:
            destinations.append(value.lower())
    if any("@" in text for text in listed):
        return any(address in text for text in listed)
    return len(destinations) == 1 and address in destinations[0]


def means_something_else(path, how) -> bool:
    """That somebody has wanted nothing before: then nothing has changed."""
    return path[-1] == "unsubscribeAll" and "oldTopicPreferences" in path and how in (("retype", True), ("retype", 1))


@pytest.fixture
def new_site(redis, redis_store, sqlite_store):
    stores = {"redis": None, "sqlite": sqlite_store}
    return lambda name: SiteOfEvents(redis, store=stores[name])


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), store=st.sampled_from(["redis", "sqlite"]))
def test_no_odd_field_loses_an_opt_out_raises_or_is_acknowledged_without_a_row(new_site, caplog, data, store) -> None:
    name = data.draw(st.sampled_from(NAMES))
    document = fixture_json(name)
    path, how = data.draw(st.sampled_from([*places(document)])), data.draw(WAYS)
    odd = changed(document, path, how)
    site, posted = new_site(store), SIGNER.notification(odd)
    caplog.clear()

    assert site.intake.answer(json.dumps(posted).encode(), {}).status == 200
    row = site.store.get(posted["MessageId"])
    assert row is not None
    assert row.message == posted["Message"]

    done = site.processor.process()
    assert (done.gathered, done.processed) == (1, 1)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    whats = [event.what for event in read(row.message, site="alpha") if isinstance(event, Unhandled)]
    assert "not as SES writes it" not in whats

    if not means_something_else(path, how):
        expected = {address for address in should_opt_out(name) if still_names(odd, address)}
        assert expected <= set(site.opted_out())
