"""One Redis and one local SES for all tests of whole programs; each site has a Redis database of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from sesmail.embedded import EmbeddedRedis
from sesmail.errors import UnknownSend
from sesmail.settings import Settings
from sesmail.simulator import Simulator
from sesmail.state.batches.batches import Batches
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.scripts import Scripts
from sesmail.vocabulary import Status
from tests.acceptance.programs import CELERY, Program, eventually, python, run


@pytest.fixture(scope="session")
def ses() -> Iterator[Simulator]:
    """A local SES fast enough not to matter."""
    with Simulator(rate=500, calls_per_second=None) as simulator:
        yield simulator


@dataclass(frozen=True, kw_only=True)
class Site:
    """A place to start programs in: a folder, an environment, a Redis database, and the SES that they send to."""

    folder: Path
    variables: dict[str, str]
    ses: Simulator
    programs: ExitStack

    @property
    def environment(self) -> dict[str, str]:
        """What its programs find in their environment: nothing of the developer's."""
        return {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
            "PYTHONPATH": os.getcwd(),  # the package under test, whatever is installed
            "PYTHONUNBUFFERED": "1",
            "HOME": str(self.folder),
            "C_FORCE_ROOT": "1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_SESV2": self.ses.url,
            "SESMAIL_SWEEP_INTERVAL_SECONDS": "0.3",
        } | self.variables

    def start(self, *command: str, folder: Path | None = None, **environment: str) -> Program:
        """Start a program that runs until the site is taken down."""
        program = Program(*command, folder=folder or self.folder, environment=self.environment | environment)
        return self.programs.enter_context(program)

    def start_worker(
        self, app: str = "sesmail", *options: str, folder: Path | None = None, **environment: str
    ) -> Program:
        """Start a Celery worker, and wait until it works."""
        command = [*CELERY, "-A", app, "worker", "--without-gossip", "--without-mingle", "-l", "INFO", *options]
        return self.start(*command, folder=folder, **environment).wait_for(" ready.")

    def python(self, script: str, folder: Path | None = None, **environment: str) -> str:
        """Run a script that must succeed, in the site's folder; what it printed."""
        return python(script, folder=folder or self.folder, environment=self.environment | environment)

    def celery(self, *arguments: str, folder: Path | None = None, **environment: str) -> str:
        """Run a celery command that must succeed; what it printed."""
        done = run(*CELERY, *arguments, folder=folder or self.folder, environment=self.environment | environment)
        assert done.returncode == 0, done.stdout
        return done.stdout

    @property
    def redis(self) -> Redis:
        """A client of its database."""
        return Redis.from_url(self.variables["SESMAIL_REDIS_URL"])

    @property
    def ledger(self) -> Ledger:
        """What its programs know of their sends."""
        return Ledger(Scripts(self.redis, Keys()), Settings())

    @property
    def batches(self) -> Batches:
        """What its programs know of their batches."""
        return Batches(Scripts(self.redis, Keys()), Settings())

    def status(self, send_id: str, state: str) -> Status:
        """What the ledger knows of a send, once it is in this state."""

        def reached() -> Status | None:
            known = self.known(send_id)
            return known if known and known.state == state else None

        found: Status = eventually(reached, explain=lambda: repr(self.known(send_id)))
        return found

    def known(self, send_id: str) -> Status | None:
        """What the ledger knows of a send by now; a client without sesmail does not write it down itself."""
        with suppress(UnknownSend):
            return self.ledger.status(send_id)
        return None

    def received(self, send_id: str) -> dict[str, Any]:
        """The one email that SES has got for a send, once it is there."""

        def found() -> list[dict[str, Any]]:
            return [message for message in self.ses.messages() if message["sesmail_id"] == send_id]

        (message,) = eventually(found, explain=lambda: repr(self.known(send_id)))
        return message


_databases = [*range(1, 16)]
"""Those that no site has now."""


@pytest.fixture(scope="module")
def new_site(
    redis_server: EmbeddedRedis, ses: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Site]]:
    """Makes sites; what they have started is stopped with the module."""

    def give_back(database: int, url: str) -> None:
        with Redis.from_url(url) as redis:
            redis.flushdb()
        _databases.append(database)

    with ExitStack() as databases, ExitStack() as programs:

        def make(own_ses: Simulator = ses, **variables: str) -> Site:
            if _databases:
                database = _databases.pop(0)
                url = redis_server.url.removesuffix("/0") + f"/{database}"
                databases.callback(give_back, database, url)
            else:  # a module may have more sites than a server has databases
                folder = tmp_path_factory.mktemp("redis")
                url = databases.enter_context(EmbeddedRedis(folder, appendfsync="no")).url
            own = {"SESMAIL_REDIS_URL": url, "CELERY_BROKER_URL": url} | variables
            return Site(folder=tmp_path_factory.mktemp("site"), variables=own, ses=own_ses, programs=programs)

        yield make


@pytest.fixture(scope="module")
def site(new_site: Callable[..., Site]) -> Site:
    """A site for a whole module."""
    return new_site()
