"""What a worker changes in Celery's own ways, as far as it needs no worker."""

from __future__ import annotations

from types import SimpleNamespace

import billiard.pool
import pytest

from sesmail.celery.worker import duties, shutdown
from sesmail.settings import Settings


def test_a_child_whose_last_words_nobody_reads_lingers_for_our_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds billiard to a limit that it does not offer to set: a new billiard may call it something else."""
    slept: list[float] = []
    monkeypatch.setattr(billiard.pool, "GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT", 300)
    monkeypatch.setattr(billiard.pool, "time", SimpleNamespace(sleep=slept.append))
    shutdown.linger_less()
    child = object.__new__(billiard.pool.Worker)
    child.on_ready_counter = SimpleNamespace(value=0)
    assert not child._ensure_messages_consumed(completed=1)
    assert sum(slept) == pytest.approx(shutdown.CHILD_LINGERS_SECONDS)


def test_a_worker_whose_site_no_topic_is_for_says_so(caplog: pytest.LogCaptureFixture) -> None:
    topics = {"arn:aws:sns:eu-west-1:123456789012:ses-events": "shop"}
    duties.warn_of_topics_elsewhere(Settings(topics=topics, site="shop"))
    duties.warn_of_topics_elsewhere(Settings())
    assert not caplog.records
    duties.warn_of_topics_elsewhere(Settings(topics=topics))
    assert "shop" in caplog.text
    assert "SESMAIL_SITE" in caplog.text
