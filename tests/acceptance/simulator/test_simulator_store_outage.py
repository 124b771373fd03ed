"""A store that fails for a while loses no event, because SNS asks again and the receiver answers honestly."""

from __future__ import annotations

import json

from sesmail.simulator import Simulator
from tests.contract.simulator.receiver import Receiver, eventually

EVENTS = 5_000


def test_every_event_of_a_burst_arrives_although_the_store_was_down_and_some_came_twice():
    with Receiver() as receiver:
        receiver.statuses = [503] * 2_000
        policy = json.dumps({"healthyRetryPolicy": {"numRetries": 10, "minDelayTarget": 5, "maxDelayTarget": 20}})
        with Simulator(sns_url=receiver.url, sns_confirmed=True, delivery_policy=policy, time_scale=20, seed=5) as ses:
            ses.event_faults(duplicates=0.02)
            ses.burst(EVENTS, per_second=1000)
            eventually(lambda: ses.report()["notifications"]["events"] == EVENTS, 30)
            eventually(lambda: ses.report()["notifications"]["under_way"] == 0, 60)
            report = ses.report()["notifications"]
        ids = {envelope["MessageId"] for envelope in receiver.envelopes()}
    assert report["failed_attempts"] >= 2_000
    assert report["dead"] == 0
    assert report["acknowledged"] == report["published"] > EVENTS
    assert len(ids) == EVENTS
