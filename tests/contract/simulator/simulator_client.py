"""Calls that the tests of this folder make."""

from __future__ import annotations

import boto3
from botocore.config import Config

from sesmail.simulator import Simulator


def client_for(ses: Simulator, service: str = "sesv2", **config):
    return boto3.client(
        service,
        endpoint_url=ses.url,
        region_name="us-east-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="example-secret",
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


def simple(text: str = "Good morning", subject: str = "News", **more):
    return {"Simple": {"Subject": {"Data": subject}, "Body": {"Text": {"Data": text}}, **more}}


def send(client, *, to="reader@example.org", tag=None, **more):
    tags = [] if tag is None else [{"Name": "sesmail-id", "Value": tag}]
    request = {
        "FromEmailAddress": "News <news@example.com>",
        "Destination": {"ToAddresses": [to] if isinstance(to, str) else to},
        "Content": simple(),
        "EmailTags": tags,
    } | more
    return client.send_email(**request)["MessageId"]
