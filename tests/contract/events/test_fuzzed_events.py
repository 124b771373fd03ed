"""Any one field of any example dropped, nulled, retyped or spelt otherwise, through a real door, store and worker.

No opt-out is lost of a recipient whose address can still be read, nothing raises, nothing is acknowledged without a row.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sesmail.events.fields import readable_address
from sesmail.events.reading import read
from tests.contract.events.site_of_events import SiteOfEvents
from tests.signing import FIXTURES, fixture_json

NAMES = sorted(path.name for path in FIXTURES.glob("*.json") if path.name.startswith(("ev_", "id_")))
LISTS = {"bounce": "bouncedRecipients", "complaint": "complainedRecipients"}
OTHER_VALUES = [0, 3.5, True, "", "x", [], {}, [None], [[]], {"a": 1}, 10**400]


def places(value, path=()):
    """Every field: the names in objects and the entries of lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield (*path, name)
        yield from places(inner, (*path, name))


def respelt(value, how):
    if not isinstance(value, str):
        return value
    named = f"Doe, J. <{value}>" if "@" in value else value
    return {"upper": value.upper(), "lower": value.lower(), "padded": f" {value} ", "named": named}[how]


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
        part[last] = respelt(part[last], detail)
    elif isinstance(part, dict):  # the name of the field
        part[detail(last)] = part.pop(last)
    return copy


WAYS = st.one_of(
    st.sampled_from([("drop", None), ("null", None)]),
    st.tuples(st.just("retype"), st.sampled_from(OTHER_VALUES)),
    st.tuples(st.just("respell"), st.sampled_from(["upper", "lower", "padded", "named"])),
    st.tuples(st.just("rename"), st.sampled_from([str.upper, str.lower, str.title])),
)


def opted_out_by(document) -> set[str]:
    return {event.opted_out_address for event in read(json.dumps(document), site="alpha") if event.suppresses}


def readable(document) -> set[str]:
    """The addresses that somebody who looks at the text could put the event down to."""
    folded = {str(name).lower(): value for name, value in document.items()}
    found = set()
    for part, name in LISTS.items():
        details = folded.get(part)
        listed = {str(key).lower(): value for key, value in details.items()} if isinstance(details, dict) else {}
        rows = listed.get(name.lower())
        for row in rows if isinstance(rows, list) else [rows]:
            values = (
                [value for key, value in row.items() if key.lower() == "emailaddress"]
                if isinstance(row, dict)
                else [row]
            )
            found |= {address for address in map(readable_address, values) if address}
    mail = folded.get("mail")
    mail = {str(key).lower(): value for key, value in mail.items()} if isinstance(mail, dict) else {}
    destination = mail.get("destination")
    whom = [readable_address(one) for one in destination] if isinstance(destination, list) else []
    return found or ({whom[0]} if len(whom) == 1 and whom[0] else set())


@pytest.fixture
def new_site(redis):
    return lambda: SiteOfEvents(redis)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_odd_field_loses_an_opt_out_raises_or_is_acknowledged_without_a_row(new_site, data) -> None:
    document = fixture_json(data.draw(st.sampled_from(NAMES)))
    odd = changed(document, data.draw(st.sampled_from([*places(document)])), data.draw(WAYS))
    site = new_site()
    assert site.post(odd) == 200
    assert site.rows() == 1
    done = site.processor.process()
    assert (done.gathered, done.processed) == (1, 1)
    lost = (opted_out_by(document) & readable(odd)) - set(site.opted_out())
    assert not lost
