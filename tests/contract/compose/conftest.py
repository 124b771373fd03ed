"""A client, a Redis and a local SES, all in this process: how an email arrives, without a worker's process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default
from email.utils import getaddresses
from urllib.request import urlopen
from uuid import uuid4

import django
import pytest
from django.conf import settings as django_settings

from sesmail import Client, Settings, Status
from sesmail.embedded import EmbeddedRedis
from sesmail.message import Email
from sesmail.sending.delivery.outcomes import Outcome
from sesmail.simulator import Simulator
from sesmail.vocabulary import Claim

SENDER = "shop@example.com"


@dataclass(frozen=True)
class Post:
    """Sends what it is given, as a worker does, and reads what the local SES received."""

    client: Client
    ses: Simulator

    def accept(self, email: Email) -> str:
        send_id = uuid4().hex
        return self.client.outbox.accept(email, send_id=send_id).send_id

    def work(self, send_id: str) -> Outcome:
        claim = self.client.delivery.claim(send_id)
        assert isinstance(claim, Claim), claim
        return self.client.delivery.work(claim, "worker")

    def status(self, send_id: str) -> Status:
        return self.client.outbox.status(send_id)

    def deliver(self, *args: object, **email: object) -> Received:
        """All the way, once; what arrived."""
        made = args[0] if len(args) == 1 and isinstance(args[0], Email) else Email(*args, **email)
        send_id = self.accept(made)
        outcome = self.work(send_id)
        status = self.status(send_id)
        assert status.state == "sent", (outcome, status)
        return Received(self.ses, status.message_id)


class Received:
    """What the local SES has of one email."""

    def __init__(self, ses: Simulator, message_id: str) -> None:
        with urlopen(f"{ses.url}/_sim/messages/{message_id}") as answer:
            self.record = json.load(answer)
        with urlopen(f"{ses.url}/_sim/messages/{message_id}/source") as answer:
            self.raw: bytes = answer.read()

    @property
    def message(self) -> EmailMessage:
        """As Python's strict parser reads it; it finds no fault with it."""
        message = message_from_bytes(self.raw, policy=default)
        assert [part.defects for part in message.walk() if part.defects] == []
        return message

    def mailboxes(self, header: str) -> list[tuple[str, str]]:
        """Names and addresses, by the parser that joins encoded words as RFC 2047 §6.2 says; the strict one does not."""
        raw = message_from_bytes(self.raw)[header]
        return [(str(make_header(decode_header(name))), address) for name, address in getaddresses([raw])]

    @property
    def parts(self) -> list[EmailMessage]:
        """Those that hold something, in order, those of forwarded messages left out."""
        return [*_leaves(self.message)]

    @property
    def top_parts(self) -> list[EmailMessage]:
        """The same, with multiparts that are attachments as one."""
        return [*_leaves(self.message, but_attached=True)]

    def part(self, content_type: str) -> EmailMessage:
        (found,) = [part for part in self.parts if part.get_content_type() == content_type]
        return found


def _leaves(message: EmailMessage, *, but_attached: bool = False) -> Iterator[EmailMessage]:
    is_attached = but_attached and message.get_content_disposition() is not None
    if message.get_content_maintype() == "multipart" and not is_attached:
        for part in message.iter_parts():
            yield from _leaves(part, but_attached=but_attached)
    else:
        yield message


@pytest.fixture(scope="module", autouse=True)
def django_is_configured() -> Iterator[None]:
    """For Django's own messages; other tests in this process know nothing of it."""
    before = django_settings._wrapped
    if not django_settings.configured:
        django_settings.configure(DEFAULT_CHARSET="utf-8", USE_I18N=False)
        django.setup()
    yield
    django_settings._wrapped = before


@pytest.fixture(scope="module")
def post(redis_server: EmbeddedRedis) -> Iterator[Post]:
    with Simulator(rate=10_000, quota=-1, kept_bodies=2000) as ses:
        said = {"redis_url": redis_server.url, "endpoint_url": ses.url, "region": "us-east-1", "from_email": SENDER}
        client = Client(Settings(**said, suppress_send=False))  # whatever other tests have left in this process
        client.scripts.redis.flushdb()
        client.throttle.update_account(rate=10_000, quota_24h=-1, sent_24h=0)
        client.turns.take("account", 3600)
        yield Post(client, ses)
        client.close()
