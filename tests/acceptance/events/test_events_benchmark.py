"""The benchmark of events at a small scale, so that it stays true: `bench events` has a burst of 160,000."""

from __future__ import annotations

import pytest

from benchmarks._events_load import requests
from benchmarks._report import Report
from benchmarks.events import Place, Size, burst, measured
from seslocal.sns.signing import Signer
from sesmail.embedded import EmbeddedRedis


def test_a_burst_loses_and_doubles_nothing_while_redis_and_the_door_are_killed(tmp_path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as redis:
        report = Report("burst")
        burst(report, Place(tmp_path, redis), Size(burst_events=1_200, burst_per_second=400))
    assert report.cases[0]["published"] == 1_200
    assert report.figures == {"burst_lost": 0, "burst_doubled": 0}


@pytest.mark.parametrize("door", ["django", "flask", "django-ses-row", "anymail"])
def test_each_door_that_is_compared_answers_the_same_posts(tmp_path, door) -> None:
    signer = Signer()
    (pem := tmp_path / "certificate.pem").write_bytes(signer.certificate_pem)
    posts_per_second, _ = measured(door, "none", pem, requests(signer, 220))
    assert posts_per_second > 0
