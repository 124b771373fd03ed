"""A newcomer's way from docs/events.md alone: its settings and its five commands, as they stand there."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from tests.acceptance.programs import eventually

PAGE = (Path(__file__).parents[3] / "docs" / "events.md").read_text()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def listens(port: str) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", int(port))) == 0


def test_five_commands_show_a_bounce_opt_an_address_out(redis_server, redis, tmp_path) -> None:
    block = re.search(r"<!-- five commands: .*?```console\n(.*?)```", PAGE, re.DOTALL)
    commands = [line.removeprefix("$ ") for line in block[1].splitlines()]
    assert len(commands) == 5
    settings = re.search(r"```bash\n(.*?)```", PAGE, re.DOTALL)[1]
    ports = {"8005": str(free_port()), "8025": str(free_port())}

    def ours(text: str) -> str:
        """On ports of our own, and the Redis of the tests."""
        text = text.replace("redis://127.0.0.1:6379/0", redis_server.url)
        return re.sub(r"\b(8005|8025)\b", lambda match: ports[match[1]], text)

    (tmp_path / "try.env").write_text(ours(settings))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}

    def shell(command: str) -> list[str]:
        return ["bash", "-c", f". ./try.env; exec {ours(command)}"]

    def answer(command: str) -> str:
        done = subprocess.run(
            shell(command), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout

    running = []
    try:
        for command in commands[:3]:
            with (tmp_path / f"{len(running)}.log").open("w") as log:
                running.append(subprocess.Popen(shell(command), cwd=tmp_path, env=environment, stdout=log, stderr=log))
        for port in ports.values():
            eventually(lambda port=port: listens(port))
        assert answer(commands[3]).strip()
        eventually(lambda: "gone@bounce.example" in answer(commands[4]))
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)
