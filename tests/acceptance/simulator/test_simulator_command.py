"""`sesmail simulator` as a person runs it, the AWS CLI against it, and the fixture for tests."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from tests.services import absent

SESMAIL = [sys.executable, "-c", "from sesmail.cli import main; main()"]
SENDING = {
    "FromEmailAddress": "News <news@example.com>",
    "Destination": {"ToAddresses": ["reader@example.org"]},
    "Content": {"Simple": {"Subject": {"Data": "x"}, "Body": {"Text": {"Data": "y"}}}},
}


@pytest.fixture
def command():
    arguments = [
        "simulator",
        "--port",
        "0",
        "--rate",
        "7",
        "--quota",
        "-1",
        "--latency",
        "1..5ms",
        "--seed",
        "1",
        "--json",
    ]
    with subprocess.Popen([*SESMAIL, *arguments], stdout=subprocess.PIPE, text=True) as process:
        yield process, json.loads(process.stdout.readline())["url"]
        process.terminate()


def test_the_command_serves_what_its_flags_say_and_ends_on_ctrl_c(command):
    process, url = command
    client = boto3.client("sesv2", endpoint_url=url)
    assert client.get_account()["SendQuota"] == {"Max24HourSend": -1.0, "MaxSendRate": 7.0, "SentLast24Hours": 0.0}
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 0


def test_ctrl_c_ends_it_at_once_and_silently_while_notifications_are_under_way():
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        endpoint = f"http://127.0.0.1:{hanging.getsockname()[1]}/"
        arguments = [
            "simulator",
            "--port",
            "0",
            "--json",
            "--sns-url",
            endpoint,
            "--sns-confirmed",
            "--time-scale",
            "9",
        ]
        with subprocess.Popen(
            [*SESMAIL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            client = boto3.client("sesv2", endpoint_url=json.loads(process.stdout.readline())["url"])
            client.send_email(**SENDING)
            hanging.settimeout(60)
            connection, _ = hanging.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "203.0.113.9"], "cannot listen on 203.0.113.9"),
        (["--rate", "0"], "rate and time_scale must be above 0"),
        (["--latency", "80..30ms"], "a shortest and a longest time"),
        (["--lambda-handler", "nowhere:handle"], "no function 'nowhere:handle'"),
        (["--sqs-queue", "events"], "no SQS server"),
        (["--sns-url", "127.0.0.1:8000/webhook"], "Protocol must be http"),
    ],
)
def test_what_it_cannot_do_is_said_in_a_line(arguments, words):
    ended = subprocess.run(
        [*SESMAIL, "simulator", "--port", "0", *arguments], capture_output=True, text=True, timeout=20, check=False
    )
    assert ended.returncode == 1
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not ended.stdout


def test_a_port_that_is_taken_is_said_in_a_line(command):
    _process, url = command
    port = url.rpartition(":")[2]
    ended = subprocess.run(
        [*SESMAIL, "simulator", "--port", port], capture_output=True, text=True, timeout=20, check=False
    )
    assert ended.returncode == 1
    assert "in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_function_is_found_in_the_working_directory(tmp_path):
    (tmp_path / "handlers.py").write_text("def take(event, context): pass\n")
    script = [str(Path(sys.executable).with_name("sesmail")), "simulator", "--port", "0", "--json"]
    with subprocess.Popen(
        [*script, "--lambda-handler", "handlers:take"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        assert json.loads(process.stdout.readline())["url"]
        process.terminate()


def test_without_sesmail_it_is_the_same_command():
    def help_of(*command: str) -> list[str]:
        done = subprocess.run([*command, "-h"], capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.splitlines()

    usage, *rest = help_of(sys.executable, "-m", "seslocal")
    assert usage == "Usage: python -m seslocal [OPTIONS]"
    assert rest == help_of(*SESMAIL, "simulator")[1:]


def test_a_latency_that_is_none_is_explained():
    arguments = [*SESMAIL, "simulator", "--latency", "fast"]
    ended = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert "30..80ms" in ended.stderr


def aws_cli() -> str | None:
    """An AWS CLI that runs: one that a version manager only knows the name of does not count."""
    found = shutil.which("aws")
    runs = found and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0
    return found if runs else None


AWS_COMMANDS = [
    ["sesv2", "send-email", "--cli-input-json", json.dumps(SENDING)],
    ["sesv2", "get-account"],
    ["sesv2", "create-email-template", "--template-name", "n", "--template-content", '{"Subject":"{{a}}","Text":"t"}'],
    ["sesv2", "test-render-email-template", "--template-name", "n", "--template-data", '{"a":"1"}'],
    ["sesv2", "list-email-templates"],
    ["sesv2", "put-suppressed-destination", "--email-address", "a@example.org", "--reason", "BOUNCE"],
    ["sesv2", "get-suppressed-destination", "--email-address", "a@example.org"],
    ["sesv2", "list-suppressed-destinations"],
    ["sesv2", "delete-suppressed-destination", "--email-address", "a@example.org"],
    ["sesv2", "create-configuration-set", "--configuration-set-name", "alpha"],
    ["sesv2", "list-configuration-sets"],
    ["sesv2", "create-email-identity", "--email-identity", "example.net"],
    ["sesv2", "list-email-identities"],
    ["sns", "create-topic", "--name", "events"],
    ["ses", "send-email", "--from", "news@example.com", "--to", "a@example.org", "--subject", "x", "--text", "y"],
    ["ses", "get-send-quota"],
]


def test_the_aws_cli_works(command):
    cli = aws_cli()
    if cli is None:
        absent("no AWS CLI on PATH: pip install awscli, anywhere but here")
    _process, url = command
    for arguments in AWS_COMMANDS:
        ended = subprocess.run(
            [cli, "--endpoint-url", url, "--output", "json", *arguments], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, (arguments, ended.stderr)


A_SITES_TEST = """
import boto3, pytest

@pytest.mark.ses_simulator(rate=1)
def test_my_sending(ses_simulator):
    client = boto3.client("sesv2")
    client.send_email(Content={"Raw": {"Data": b"From: a@example.com\\r\\nTo: b@example.org\\r\\n\\r\\nx"}})
    assert ses_simulator.report()["accepted"] == {"calls": 1, "recipients": 1}
    assert client.get_account()["SendQuota"]["MaxSendRate"] == 1.0
    assert boto3.client("ses").get_send_quota()["SentLast24Hours"] == 1.0
"""


@pytest.mark.parametrize("plugin", ["sesmail.simulator.pytest_plugin", "seslocal.pytest_plugin"])
def test_the_fixture_points_boto3_at_a_fresh_account(tmp_path, plugin):
    (tmp_path / "conftest.py").write_text(f"pytest_plugins = [{plugin!r}]\n")
    (tmp_path / "test_site.py").write_text(A_SITES_TEST)
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", "test_site.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "1 passed" in ended.stdout, ended.stdout
