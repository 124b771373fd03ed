"""The list of those who must not be written to, in Redis and in memory."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations

import pytest

from sesmail.message import Lane
from sesmail.sending.memory import Memory
from sesmail.state.people.suppression import OptOut, Scope, SuppressionList
from sesmail.vocabulary import Reason
from tests.opt_outs import left_out

WHEN = datetime(2026, 11, 20, 14, 5, 45, 123_000, tzinfo=UTC)
ANN = "ann@example.org"
EVERYTHING = Scope()


@pytest.fixture(params=["redis", "memory"])
def where(request):
    return Memory() if request.param == "memory" else request.getfixturevalue("scripts")


@pytest.fixture
def suppression(where):
    return where.opt_outs if isinstance(where, Memory) else SuppressionList(where)


def opt_out(address=ANN, reason=Reason.BOUNCED, scope=EVERYTHING, **fields) -> OptOut:
    return OptOut(address=address, reason=reason, scope=scope, since=WHEN, **fields)


def test_who_is_on_the_list_must_not_be_written_to_and_who_is_not_may(suppression, where) -> None:
    suppression.add(opt_out())
    assert left_out(where, [ANN, "bob@example.org"]) == {ANN}


@pytest.mark.parametrize(
    ("scope", "held"),
    [
        (Scope(), {"alpha/monthly", "alpha/weekly", "alpha/", "beta/monthly", "beta/weekly", "beta/"}),
        (Scope("alpha"), {"alpha/monthly", "alpha/weekly", "alpha/"}),
        (Scope("alpha", "monthly"), {"alpha/monthly"}),
    ],
)
def test_an_opt_out_holds_as_far_as_its_scope(suppression, where, scope, held) -> None:
    suppression.add(opt_out(scope=scope))
    places = [(site, name) for site in ("alpha", "beta") for name in ("monthly", "weekly", "")]
    found = {f"{site}/{name}" for site, name in places if left_out(where, [ANN], site=site, list_name=name)}
    assert found == held


def test_how_an_address_is_spelled_makes_no_difference(suppression, where) -> None:
    suppression.add(opt_out(" Ann@Example.ORG "))
    assert left_out(where, ["ANN@example.org"])
    assert suppression.find("aNN@example.org")
    assert suppression.remove("ann@EXAMPLE.org", Scope())


def test_a_reason_that_is_ignored_does_not_hide_another_in_a_narrower_scope(suppression, where) -> None:
    suppression.add(opt_out(reason=Reason.UNSUBSCRIBED))
    assert not left_out(where, [ANN], site="alpha", lane=Lane.TRANSACTIONAL)
    suppression.add(opt_out(reason=Reason.COMPLAINED, scope=Scope("alpha")))
    assert left_out(where, [ANN], site="alpha", lane=Lane.TRANSACTIONAL)


def test_whatever_the_order_the_strongest_reason_stays(suppression) -> None:
    for number, order in enumerate(permutations(Reason)):
        for reason in order:
            suppression.add(opt_out(f"{number}@example.org", reason))
    assert {entry.reason for entry in suppression.read()} == {Reason.COMPLAINED}


def test_a_stronger_reason_replaces_a_weaker_one_and_not_the_other_way_round(suppression) -> None:
    assert suppression.add(opt_out(reason=Reason.UNSUBSCRIBED, source="event-1"))
    assert suppression.add(opt_out(reason=Reason.COMPLAINED, source="event-2"))
    assert not suppression.add(opt_out(reason=Reason.BOUNCED, source="event-3"))
    (found,) = suppression.find(ANN)
    assert (found.reason, found.source) == (Reason.COMPLAINED, "event-2")


def test_the_same_opt_out_again_changes_nothing(suppression) -> None:
    assert suppression.add(opt_out(source="event-1"))
    assert not suppression.add(opt_out(source="event-2"))
    assert [entry.source for entry in suppression.find(ANN)] == ["event-1"]


def test_removing_lifts_one_scope_only(suppression) -> None:
    suppression.add(opt_out(scope=Scope("alpha")))
    suppression.add(opt_out(scope=Scope("beta")))
    assert suppression.remove(ANN, Scope("alpha"))
    assert not suppression.remove(ANN, Scope("alpha"))
    assert [str(entry.scope) for entry in suppression.find(ANN)] == ["site:beta"]


def test_what_was_written_is_read_back_whole(suppression) -> None:
    entries = [
        opt_out("a@example.org", Reason.MANUAL, Scope(), source="by hand, see ticket 7"),
        opt_out("b@example.org", Reason.UNSUBSCRIBED, Scope("alpha", "monthly / new")),
        opt_out("ü@example.org", Reason.COMPLAINED, Scope("alpha")),
    ]
    for entry in entries:
        suppression.add(entry)
    assert sorted(suppression.read(), key=lambda entry: entry.address) == entries


def test_an_address_shows_in_no_repr() -> None:
    assert "ann" not in repr(opt_out())


@pytest.mark.parametrize("text", ["everything", "site:alpha", "list:alpha/monthly"])
def test_a_scope_is_spelled_as_it_is_read(text) -> None:
    assert str(Scope.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "alpha", "site:", "list:alpha", "list:/monthly", "site:alpha/monthly", "everything:x"]
)
def test_anything_else_is_no_scope(text) -> None:
    with pytest.raises(ValueError):
        Scope.parse(text)


@pytest.mark.parametrize(("site", "list_name"), [("", "monthly"), ("a/b", ""), ("a/b", "monthly")])
def test_a_scope_that_could_not_be_read_back_cannot_be_made(site, list_name) -> None:
    with pytest.raises(ValueError):
        Scope(site, list_name)


def test_a_claiming_script_can_ask_the_list_by_the_lua_function(scripts) -> None:
    SuppressionList(scripts).add(opt_out(scope=Scope("alpha", "monthly")))
    from sesmail.state.scripts import texts

    text = "\n".join(
        [
            scripts.prelude(),
            texts()["pseudonyms"],
            texts()["suppression"],
            "return suppressed(ARGV[1], 'alpha', ARGV[2], {}) or ''",
        ]
    )
    ask = scripts.redis.register_script(text)
    assert ask(keys=[scripts.keys.base], args=[ANN, "monthly"]) == b"bounced"
    assert ask(keys=[scripts.keys.base], args=[ANN, ""]) == b""
