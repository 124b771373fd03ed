"""Opt-outs of everything, handed on to other sites of the same event store that have ledgers of their own.

What is handed on is a stored event of the other site, so that it is lost no more than any: its own workers write the
opt-out down, and find it again when the opt-outs are rebuilt. Nothing is counted by it, and nobody told.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from sesmail.events.reading import SHARED_OPT_OUT
from sesmail.events.stores import StoredEvent
from sesmail.state.people.pseudonyms import is_erased
from sesmail.state.people.suppression import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sesmail.state.people.suppression import OptOut


def handed_on(opt_outs: Iterable[OptOut], sites: Iterable[str], *, received_at: float) -> Iterator[StoredEvent]:
    """Those of the opt-outs that are of everything, as events of the other sites; the same ones have the same ids."""
    wide = [one for one in opt_outs if one.scope == Scope() and not is_erased(one.address)]
    for site in sites:
        for opt_out in wide:
            said = {"address": opt_out.address, "reason": opt_out.reason, "since": opt_out.since.isoformat()}
            what = "\n".join((site, *said.values()))
            yield StoredEvent(
                event_id=f"shared-{hashlib.sha256(what.encode()).hexdigest()}",
                source=site,
                message=json.dumps({"eventType": SHARED_OPT_OUT, "optOut": said}),
                received_at=received_at,
            )
