"""docs/protocol.md tells the moves that the scripts tell, all of them and no others."""

from __future__ import annotations

import re

from docs.source import moves, moves_in_batches
from sesmail.state.scripts import texts
from sesmail.vocabulary import FAILED
from tests.documents import ROOT

PAGE = (ROOT / "docs" / "protocol.md").read_text()


def drawn_as(state: str) -> str:
    if state == "nothing":
        return "[*]"
    return "not_sent" if state in FAILED else state


def test_the_drawing_shows_every_move_of_every_script():
    drawn = {
        (origin, to, script)
        for origin, to, scripts in re.findall(r"^    (\S+) --> (\S+): (.+)$", PAGE, re.MULTILINE)
        for script in scripts.split(", ")
    }
    assert drawn == {(drawn_as(origin), drawn_as(move.to), move.script) for move in moves() for origin in move.origins}


def test_the_table_names_every_script_that_moves_a_send_once():
    named = re.findall(r"^\| [^|]+ \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(named) == sorted({move.script for move in moves()})


def test_those_who_must_show_the_claims_token_are_those_whose_scripts_ask_for_it():
    shown = set(re.findall(r"^\| [^|]+ \| `(\w+)` \| the claim's token", PAGE, re.MULTILINE))
    asking = {move.script for move in moves() if "~= token then" in texts()[move.script]}
    assert shown == asking


def test_the_table_of_batches_names_every_move_of_a_recipient():
    named = set(re.findall(r"^\| (\w+) \| (\w+) \| `(batch_\w+)` \|", PAGE, re.MULTILINE))
    assert named == {(origin, move.to, move.script) for move in moves_in_batches() for origin in move.origins}
