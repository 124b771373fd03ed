"""What a worker changes in Celery's own ways, as far as it needs no worker."""

from __future__ import annotations

import pytest

from sesmail.celery.worker import duties
from sesmail.settings import Settings


def test_a_worker_whose_site_no_topic_is_for_says_so(caplog: pytest.LogCaptureFixture) -> None:
    topics = {"arn:aws:sns:eu-west-1:123456789012:ses-events": "shop"}
    duties.warn_of_topics_elsewhere(Settings(topics=topics, site="shop"))
    duties.warn_of_topics_elsewhere(Settings())
    assert not caplog.records
    duties.warn_of_topics_elsewhere(Settings(topics=topics))
    assert "shop" in caplog.text
    assert "SESMAIL_SITE" in caplog.text
