"""The other side of `bench chaos`: email by stock Celery, as its manual has one write such a task.

The options are Celery's defaults but for one: 5 s between tries instead of 180, so that its retries come within the run.
"""

from __future__ import annotations

import os

import boto3
from celery import Celery

app = Celery("stock")
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_prefetch_multiplier = 1

ses = boto3.client("sesv2", endpoint_url=os.environ.get("SESMAIL_ENDPOINT_URL"))


@app.task(acks_late=True, autoretry_for=(Exception,), default_retry_delay=5)
def send(send_id: str) -> None:
    ses.send_email(
        FromEmailAddress="shop@example.com",
        Destination={"ToAddresses": ["success@simulator.amazonses.com"]},
        Content={"Simple": {"Subject": {"Data": "Hello"}, "Body": {"Text": {"Data": "Hi."}}}},
        EmailTags=[{"Name": "sesmail-id", "Value": send_id}],
    )
