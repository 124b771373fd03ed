"""The whole way round, in real programs by their settings: a worker, the simulated SES, its SNS, a door, a worker."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sesmail.simulator import Simulator
from sesmail.state.keys import Keys
from sesmail.state.people.reputation import Counter, Reputation
from sesmail.state.scripts import Scripts
from sesmail.vocabulary import Delivery
from tests.acceptance.conftest import Site
from tests.acceptance.programs import eventually, free_port

EXAMPLES = Path(__file__).parents[3] / "examples"
TOPIC = "arn:aws:sns:us-east-1:123456789012:ses-events"
SUCCESS, BOUNCE, COMPLAINT = (f"{what}@simulator.amazonses.com" for what in ("success", "bounce", "complaint"))
HOOKS = """
import json
from sesmail import email_bounced

@email_bounced.connect
def note(site, *, event, metadata):
    with open("bounced.txt", "a") as file:
        file.write(json.dumps([site, event.recipient, event.permanent, metadata]) + "\\n")
"""
FLASK = """
from flask import Flask
from sesmail.contrib.flask import SESMail
app = Flask("site")
app.config["SESMAIL_SITE"] = "alpha"
SESMail(app, url_prefix="/ses")
"""


@dataclass(frozen=True, kw_only=True)
class World:
    """A site whose door SNS posts to, its worker, and the simulated SES."""

    site: Site
    ses: Simulator
    app: str

    def send(self, *to: str, **fields: object) -> str:
        arguments = {"to": to, "subject": "s", "text": "t", "tags": {"sesmail-list": "monthly"}, **fields}
        return self.site.python(
            "import proj\n" * (self.app == "proj")
            + f"from sesmail import send_ses_email\nprint(send_ses_email.delay(**{arguments!r}).id)"
        )

    @property
    def reputation(self) -> Reputation:
        return Reputation(Scripts(self.site.redis, Keys()))

    def copies(self, send_id: str) -> list[dict[str, object]]:
        """What SES has got of a send."""
        return [message for message in self.ses.messages() if message["sesmail_id"] == send_id]

    def delivered(self, send_id: str, wanted: dict[str, Delivery]) -> None:
        """Wait until SES has told of this, and it is known."""
        eventually(lambda: self.reputation.deliveries(send_id) == wanted, explain=lambda: str(self.state(send_id)))

    def state(self, send_id: str) -> object:
        return self.site.ledger.status(send_id), self.reputation.deliveries(send_id)


def start_asgi(site: Site, port: int) -> str:
    (site.folder / "celeryconfig.py").write_text('imports = ["hooks"]\n')
    site.start(sys.executable, "-c", "from sesmail.cli import main; main()", "webhook", "--port", str(port))
    return "sesmail"


def start_django(site: Site, port: int) -> str:
    shutil.copytree(EXAMPLES / "django_site", site.folder, dirs_exist_ok=True)
    with (site.folder / "proj" / "settings.py").open("a") as settings:
        settings.write('CELERY_IMPORTS = ["hooks"]\n')
        settings.write(f'SESMAIL |= {{"SITE": "alpha", "TOPICS": {{"{TOPIC}": "alpha"}}}}\n')
    with (site.folder / "proj" / "urls.py").open("a") as urls:
        urls.write(
            '\nfrom django.urls import include\n\nurlpatterns.append(path("ses/", include("sesmail.contrib.django.urls")))\n'
        )
    site.start(sys.executable, "manage.py", "runserver", "--noreload", "--skip-checks", f"127.0.0.1:{port}")
    return "proj"


def start_flask(site: Site, port: int) -> str:
    (site.folder / "celeryconfig.py").write_text('imports = ["hooks"]\n')
    (site.folder / "site_app.py").write_text(FLASK)
    site.start(sys.executable, "-m", "flask", "--app", "site_app", "run", "--port", str(port))
    return "sesmail"


DOORS = {"asgi": (start_asgi, "/"), "django": (start_django, "/ses/events/"), "flask": (start_flask, "/ses/events/")}


@pytest.fixture(scope="module", params=DOORS)
def world(request, new_site) -> Iterator[World]:
    start, path = DOORS[request.param]
    door, aws = free_port(), free_port()
    site = new_site(
        SESMAIL_SITE="alpha",
        SESMAIL_TOPICS=json.dumps({TOPIC: "alpha"}),
        SESMAIL_FROM_EMAIL="shop@example.com",
        SESMAIL_SNS_CERTIFICATE_URL=f"http://127.0.0.1:{aws}/_sim/certificate.pem",
        SESMAIL_EVENTS_INTERVAL_SECONDS="30",  # what is seen sooner was announced by the door
        AWS_ENDPOINT_URL_SESV2=f"http://127.0.0.1:{aws}",
        AWS_ENDPOINT_URL_SNS=f"http://127.0.0.1:{aws}",
    )
    (site.folder / "hooks.py").write_text(HOOKS)
    app = start(site, door)
    eventually(lambda: is_open(door))
    options = {"rate": 500, "calls_per_second": None, "time_scale": 100, "signature_version": "2"}
    with Simulator(port=aws, sns_url=f"http://127.0.0.1:{door}{path}", **options) as ses:
        site.start_worker(app, "-P", "threads", "-c", "2")
        yield World(site=site, ses=ses, app=app)


def is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def test_what_became_of_each_email_comes_back_and_opt_outs_follow(world) -> None:
    fine, gone, angry = world.send(SUCCESS), world.send(BOUNCE, metadata={"order": 17}), world.send(COMPLAINT)
    world.delivered(fine, {SUCCESS: Delivery.DELIVERED})
    world.delivered(gone, {BOUNCE: Delivery.BOUNCED})
    world.delivered(angry, {COMPLAINT: Delivery.COMPLAINED})

    (told,) = map(json.loads, (world.site.folder / "bounced.txt").read_text().splitlines())
    assert told == ["alpha", BOUNCE, True, {"order": 17}]

    today = datetime.now(UTC).date()
    (rates,) = world.reputation.rates("alpha", today - timedelta(days=1), today)
    assert (rates.list, rates.counts[Counter.SENT], rates.counts[Counter.BOUNCED_PERMANENT]) == ("monthly", 3, 1)
    assert rates.counts[Counter.COMPLAINED] == 1

    again = world.send(BOUNCE)
    assert world.site.status(again, "suppressed").code == "bounced"
    both = world.send(COMPLAINT, SUCCESS)
    world.delivered(both, {COMPLAINT: Delivery.SUPPRESSED, SUCCESS: Delivery.DELIVERED})
    assert [message["recipients"] for message in world.copies(both)] == [[SUCCESS]]


def test_a_send_of_unknown_outcome_is_settled_by_its_event_without_a_second_copy(world) -> None:
    world.ses.faults(script=["reset_after"])
    send_id = world.send("success+unknown@simulator.amazonses.com")
    status = world.site.status(send_id, "sent")
    assert [message["message_id"] for message in world.copies(send_id)] == [status.message_id]
