"""The samples of Flask messages and of FastAPI, each with a real worker beside it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.acceptance.programs import eventually, fetch, free_port

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def worker(site):
    """A stand-alone worker beside the samples, in whose folder they are."""
    for name in ("flask_site", "fastapi_site"):
        shutil.copytree(EXAMPLES / name, site.folder / name)
    site.start_worker("sesmail", "-c", "2")
    return site


def test_the_fastapi_sample_sends_answers_errors_and_takes_events(worker):
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--lifespan", "on"]
    folder = worker.folder / "fastapi_site"
    server = worker.start(*command, folder=folder, SESMAIL_FROM_EMAIL="shop@example.com")
    server.wait_for("Uvicorn running on")  # it listens only then
    url = f"http://127.0.0.1:{port}"

    def post(where: str, said: str) -> str:
        return fetch(f"{url}{where}", said.encode(), **{"Content-Type": "application/json"})

    send_id = json.loads(post("/order", '{"to": "ann@example.org"}'))["id"]
    assert worker.received(send_id)["recipients"] == ["ann@example.org"]
    assert eventually(lambda: json.loads(fetch(f"{url}/sends/{send_id}"))["state"] == "sent")
    for where, said, status, words in (
        ("/order", '{"to": "nobody"}', 422, "is not an email address"),
        ("/sesmail/events/", "no notification", 400, ""),
        ("/sends/nosuch", "", 404, "No send has this id"),
    ):
        with pytest.raises(HTTPError) as refused:
            post(where, said) if said else fetch(f"{url}{where}")
        with refused.value as answer:
            assert (answer.code, words in answer.read().decode()) == (status, True)


def test_the_flask_sample_of_messages_sends(worker):
    script = f"""
import messages
application = messages.create_app()
application.extensions["celery"].conf.broker_url = {worker.variables["SESMAIL_REDIS_URL"]!r}
print(application.test_client().post("/invite").json["id"])
"""
    send_id = worker.python(script, folder=worker.folder / "flask_site")
    message = worker.received(send_id)
    assert (message["subject"], message["from"]) == ("Welcome", "shop@example.com")
