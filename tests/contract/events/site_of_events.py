"""A site with a door and a store: signed posts go in, what follows comes out. Shared by the tests of odd events."""

from __future__ import annotations

import json
from itertools import count

from sesmail.events.intake import Intake
from sesmail.events.processing import EventProcessor
from sesmail.events.sns import Certificates, SnsVerifier
from sesmail.events.stores import EventState
from sesmail.events.stores.redis import RedisEventStore
from sesmail.settings import Settings
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.people.reputation import Reputation
from sesmail.state.people.suppression import SuppressionList
from sesmail.state.scripts import Scripts
from tests.signing import TOPIC, Signer, fixture_json

SIGNER = Signer()
_numbers = count()


class SiteOfEvents:
    """The site alpha: its door, its store, its ledger, and a worker that processes when it is told to."""

    def __init__(self, redis, store=None, keys: Keys | None = None) -> None:
        self.scripts = Scripts(redis, keys or Keys(f"odd-{next(_numbers)}"))
        self.store = store or RedisEventStore(self.scripts)
        self.intake = Intake(SnsVerifier({TOPIC: "alpha"}, Certificates(SIGNER.fetch)), self.store)
        self.ledger = Ledger(self.scripts, Settings())
        self.suppression, self.reputation = SuppressionList(self.scripts), Reputation(self.scripts)
        self.processor = EventProcessor(
            "alpha",
            self.store,
            self.suppression,
            self.reputation,
            record_evidence=self.ledger.record_evidence,
            metadata=self.ledger.metadata,
        )

    def post(self, document) -> int:
        """What the door answers to a signed post."""
        return self.intake.answer(json.dumps(SIGNER.notification(document)).encode(), {}).status

    def hear(self, *documents) -> None:
        """Take these in, one after the other, and process them."""
        for document in documents:
            assert self.post(document) == 200
        done = self.processor.process()
        assert (done.gathered, done.failed) == (len(documents), 0)

    def rows(self) -> int:
        return sum(1 for state in EventState for _ in self.store.read("alpha", state))

    def opted_out(self) -> dict[str, str]:
        return {entry.address: f"{entry.reason} {entry.scope}" for entry in self.suppression.read()}


def event_like(name: str, send_id: str | None = "send-1", **changes):
    """A fixture with some of its fields changed: `mail__destination=[...]` is that of its `mail`."""
    document = fixture_json(name)
    if send_id:
        document["mail"].setdefault("tags", {})["sesmail-id"] = [send_id]
    for place, value in changes.items():
        *path, last = place.split("__")
        part = document
        for step in path:
            part = part[step]
        part[last] = value
    return document


def bounce_of(*recipients, to, kind="Permanent", sub_type="General", **changes):
    """A bounce of these (addresses, or SES's whole rows) of an email to those."""
    rows = [{"emailAddress": one} if isinstance(one, str) else one for one in recipients]
    document = event_like("ev_bounce_permanent_general.json", **{"mail__destination": list(to)} | changes)
    document["bounce"] |= {"bouncedRecipients": rows, "bounceType": kind, "bounceSubType": sub_type}
    return document
