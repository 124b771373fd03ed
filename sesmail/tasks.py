"""The tasks, where `include=["sesmail.tasks"]` and Celery's `autodiscover_tasks()` look for them."""

from __future__ import annotations

from sesmail.celery.tasks import process_ses_events, send_batches, send_lot, send_ses_email, sweep

__all__ = ["process_ses_events", "send_batches", "send_lot", "send_ses_email", "sweep"]
