"""For Celery's `autodiscover_tasks()`, which looks here for the tasks of an installed app."""

from __future__ import annotations

from sesmail.celery.tasks import process_ses_events, send_ses_email, sweep

__all__ = ["process_ses_events", "send_ses_email", "sweep"]
