"""docs/simulator.md names everything that there is."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from seslocal.account.faults import Fault, Rule
from seslocal.control import Control
from seslocal.events.outcomes import PATTERNS, SIMULATOR_OUTCOMES, Outcome
from seslocal.events.publisher import EventFaults
from seslocal.options import Options
from seslocal.ses import Ses

PAGE = Path(__file__).parents[3] / "docs" / "simulator.md"
NAMES = {
    "fault": [fault.value for fault in Fault],
    "field of a rule": [field.name for field in fields(Rule)],
    "option": [field.name for field in fields(Options)],
    "event fault": [field.name for field in fields(EventFaults)],
    "outcome": [outcome.value for outcome in Outcome],
    "pattern": list(PATTERNS),
    "address": [f"{local}@simulator.amazonses.com" for local in SIMULATOR_OUTCOMES],
    "path": sorted({route.path.partition("/{")[0] for route in Control(Ses(Options())).routes()}),
    "field of the report": list(Ses(Options()).report()),
    "count of notifications": list(Ses(Options()).report()["notifications"]),
}


@pytest.mark.parametrize("kind", NAMES)
def test_the_page_names_every(kind):
    text = PAGE.read_text()
    assert [name for name in NAMES[kind] if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)] == []
