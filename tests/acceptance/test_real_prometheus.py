"""The alerts and the dashboard by Prometheus itself, which scrapes a set-up that runs; without it, see test_alerts.py."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from sesmail.simulator import Simulator
from tests.acceptance.conftest import Site
from tests.acceptance.programs import Program, eventually, fetch, free_port, run
from tests.documents import ROOT

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
PANELS = json.loads((ROOT / "deploy" / "grafana" / "sesmail.json").read_text())["panels"]
TOPIC = "arn:aws:sns:us-east-1:123456789012:ses-events"
SESMAIL = (sys.executable, "-c", "from sesmail.cli import main; main()")
ALL_GOES_ON = """
import time
from datetime import UTC, datetime, timedelta
from sesmail import Letter, send_batch, send_ses_email

letter, tomorrow = Letter(subject="Hello", text="Hi."), datetime.now(UTC) + timedelta(days=1)
send_batch(letter, ["ann@example.org"], key="k", send_at=tomorrow, without_unsubscribe=True)
while True:
    for who in ("success", "bounce", "complaint"):
        send_ses_email.delay(f"{who}@simulator.amazonses.com", "Hello", "Hi.", tags={"sesmail-list": "monthly"})
        send_ses_email.apply_async(
            (f"{who}@simulator.amazonses.com", "Hello", "Hi."), {"lane": "bulk", "tags": {"sesmail-list": "monthly"}},
            countdown=2,
        )
    time.sleep(0.5)
"""

pytestmark = pytest.mark.skipif(
    not (PROMETHEUS and PROMTOOL), reason="no prometheus and promtool on this machine: apt-get install prometheus"
)


@pytest.fixture(scope="module")
def site(new_site: Callable[..., Site]) -> Iterator[Site]:
    """Worker, door and local SES, with email going through all the time, and a list that somebody has paused."""
    door, aws = free_port(), free_port()
    site = new_site(
        SESMAIL_SITE="shop",
        SESMAIL_TOPICS=json.dumps({TOPIC: "shop"}),
        SESMAIL_FROM_EMAIL="shop@example.com",
        SESMAIL_CONFIGURATION_SET="simulator",
        SESMAIL_SNS_CERTIFICATE_URL=f"http://127.0.0.1:{aws}/_sim/certificate.pem",
        AWS_ENDPOINT_URL_SESV2=f"http://127.0.0.1:{aws}",
        AWS_ENDPOINT_URL_SNS=f"http://127.0.0.1:{aws}",
    )
    site.start(*SESMAIL, "webhook", "--port", str(door))
    with Simulator(
        port=aws,
        rate=100,
        calls_per_second=None,
        sns_url=f"http://127.0.0.1:{door}/",
        sns_confirmed=True,
        time_scale=60,
    ):
        site.start_worker()
        site.start(sys.executable, "-c", ALL_GOES_ON)
        paused = run(*SESMAIL, "pause", "--list", "weekly", folder=site.folder, environment=site.environment)
        assert paused.returncode == 0, paused.stdout
        yield site


@pytest.fixture(scope="module")
def ask(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Asks Prometheus's API, once it scrapes the site."""
    metrics = site.start(*SESMAIL, "metrics", "--port", "0", "--json")
    target = json.loads(metrics.wait_for("}").output.splitlines()[-1])["url"].split("/")[2]
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    job = {"job_name": "sesmail", "static_configs": [{"targets": [target]}]}
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (folder / "prometheus.yml").write_text(
        yaml.safe_dump({"global": every, "rule_files": [str(RULES)], "scrape_configs": [job]})
    )
    command = [str(PROMETHEUS), "--config.file=prometheus.yml", f"--storage.tsdb.path={folder / 'data'}"]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    with Program(*command, folder=folder, environment=os.environ) as server:
        server.wait_for("ready to receive web requests")
        yield lambda path: json.loads(fetch(f"http://127.0.0.1:{port}/api/v1/{path}"))["data"]


def has_data(ask: Callable[[str], Any], query: str) -> bool:
    found = ask(f"query?query={quote(query)}")["result"]
    return any(math.isfinite(float(each["value"][1])) for each in found)


def test_promtool_accepts_the_alerts(tmp_path: Path) -> None:
    checked = run(str(PROMTOOL), "check", "rules", str(RULES), folder=tmp_path, environment=os.environ)
    assert checked.returncode == 0, checked.stdout


def test_each_query_of_the_dashboard_answers_with_data(ask: Callable[[str], Any]) -> None:
    missing = {each["expr"]: panel["title"] for panel in PANELS for each in panel["targets"]}

    def all_answer() -> bool:
        for query in [*missing]:
            if has_data(ask, query):
                del missing[query]
        return not missing

    eventually(all_answer, explain=lambda: f"no data for {missing}")


def test_each_alert_is_evaluated_without_an_error_and_one_that_is_true_goes_off(ask: Callable[[str], Any]) -> None:
    def evaluated() -> bool:
        (group,) = ask("rules")["groups"]
        assert not [rule["name"] for rule in group["rules"] if rule["health"] == "err"]
        return {rule["health"] for rule in group["rules"]} == {"ok"}

    eventually(evaluated)
    eventually(lambda: "SesmailLinePaused" in {alert["labels"]["alertname"] for alert in ask("alerts")["alerts"]})
