"""The simulator's own process: up quickly, gone with its parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from sesmail.simulator import Simulator

PARENT = """
import os, sys, time
from sesmail.simulator import Simulator
ses = Simulator()
ses.start()
if "fork" in sys.argv:
    if os.fork() == 0:
        time.sleep(20)
        os._exit(0)
print(ses.url, flush=True)
time.sleep(60)
"""


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/_sim/report", timeout=2).close()
    except (urllib.error.URLError, ConnectionError):
        return False
    return True


@pytest.mark.parametrize("arguments", [[], ["fork"]], ids=["alone", "with a forked child holding the pipe"])
def test_it_dies_with_a_parent_that_is_killed(arguments):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, *arguments], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        assert parent.stdout
        url = parent.stdout.readline().strip()
        assert answers(url)
        os.kill(parent.pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while answers(url) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not answers(url)
        os.killpg(parent.pid, signal.SIGKILL) if arguments else None


def test_it_is_gone_when_the_context_ends():
    with Simulator() as ses:
        assert answers(ses.url)
    assert not answers(ses.url)


def test_as_a_module_of_sesmail_it_takes_what_it_always_took():
    command = [sys.executable, "-m", "sesmail.simulator", json.dumps({"rate": 3}), str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = json.loads(process.stdout.readline())["url"]
        with urllib.request.urlopen(f"{url}/_sim/report", timeout=20) as answer:
            assert json.load(answer)["rate"] == 3
        process.terminate()


def test_a_wrong_option_is_named():
    with pytest.raises(TypeError, match="rat"):
        Simulator(rat=3)
