"""A ledger that came from a backup sends nothing of what waited there before an operator says go."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from sesmail.simulator import Simulator
from sesmail.vocabulary import State
from tests.acceptance.fleet import Fleet, wait_until
from tests.redis_servers import Server

QUICK = {"SESMAIL_SWEEP_INTERVAL_SECONDS": "0.3", "SESMAIL_TICKET_GRACE_SECONDS": "1"}


def restored(fleet: Fleet, *options: str) -> dict[str, object]:
    command = [str(Path(sys.executable).with_name("sesmail")), "restored", "--json", *options]
    done = subprocess.run(command, env=fleet.environment, cwd=fleet.folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_what_waited_in_a_backup_waits_until_an_operator_releases_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with Simulator(rate=100, quota=-1) as ses:
        with (
            Server(tmp_path / "redis", appendfsync="always") as server,
            Fleet(tmp_path / "a", server, ses, **QUICK) as fleet,
        ):
            for send_id in ("told", "not-told"):
                fleet.send(send_id)
            server.stop()
            shutil.copytree(tmp_path / "redis", tmp_path / "backup")
            server.start()
            fleet.worker().wait_until_ready()
            fleet.wait_for(["told", "not-told"])
        with Server(tmp_path / "backup") as server, Fleet(tmp_path / "b", server, ses, **QUICK) as fleet:
            assert restored(fleet) == {"released": False, "changed": True, "waiting": 2}
            worker = fleet.worker().wait_until_ready()
            fleet.accept("new")
            wait_until(lambda: fleet.state("new") is State.SCHEDULED, "the worker finds the line closed")
            (told,) = [message for message in ses.messages() if message["sesmail_id"] == "told"]
            assert fleet.ledger.record_evidence("told", told["message_id"]) == "settled"
            wait_until(lambda: fleet.state("not-told") is State.SCHEDULED, "what was in the backup waits")
            assert fleet.copies() == {"told": 1, "not-told": 1}
            assert restored(fleet, "--release") == {"released": True, "changed": True, "waiting": 2}
            fleet.wait_for(["new", "not-told"])
            assert fleet.copies() == {"told": 1, "not-told": 2, "new": 1}
            worker.end()
