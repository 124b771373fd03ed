"""The files for running it in earnest: what in them keeps mail safe. (tests/acceptance/test_compose.py runs them.)"""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from sesmail.settings import Settings
from tests import compose

ROOT = Path(__file__).parents[2]
SERVICES = compose.load(compose.TRIED_OUT)["services"]
OURS = {name: service for name, service in SERVICES.items() if name != "redis"}


def test_all_parts_are_there():
    assert set(SERVICES) == {"redis", "worker", "beat", "webhook", "poll-sqs", "metrics", "flower", "simulator"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_watched_and_comes_back(name):
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]
    assert compose.seconds(service["healthcheck"]["timeout"]) < compose.seconds(service["healthcheck"]["interval"])


def test_redis_writes_everything_to_a_volume_and_evicts_nothing():
    words = shlex.split(SERVICES["redis"]["command"])
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert SERVICES["redis"]["volumes"] == ["redis:/data"]


def test_only_this_machine_can_reach_what_is_published_and_redis_is_not():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert "ports" not in SERVICES["redis"]


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_do_no_more_than_they_must(name):
    service = OURS[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"], "zombies are collected and signals passed on"


def test_without_a_login_for_flower_nothing_starts():
    with pytest.raises(LookupError, match="Flower needs a login"):
        compose.load({"FLOWER_BASIC_AUTH": ""})
    assert OURS["flower"]["environment"]["FLOWER_BASIC_AUTH"] == compose.TRIED_OUT["FLOWER_BASIC_AUTH"]
    assert OURS["flower"]["environment"]["FLOWER_READ_ONLY"] == "true"


def test_email_goes_to_the_simulator_until_its_address_is_emptied():
    login = {"FLOWER_BASIC_AUTH": "ann:a-long-password"}
    for variables in (compose.TRIED_OUT, login):
        sending = compose.load(variables)["services"]["worker"]["environment"]
        assert sending["SESMAIL_ENDPOINT_URL"] == "http://simulator:8005"
    real = compose.load({**login, "SESMAIL_ENDPOINT_URL": "", "AWS_ACCESS_KEY_ID": ""})["services"]["worker"][
        "environment"
    ]
    assert real["SESMAIL_ENDPOINT_URL"] == ""
    assert real["AWS_ACCESS_KEY_ID"] == ""


def test_keys_of_aws_are_given_to_those_alone_who_ask_aws():
    assert {name for name in SERVICES if "AWS_ACCESS_KEY_ID" in SERVICES[name].get("environment", {})} == {
        "worker",
        "poll-sqs",
    }


def test_each_variable_of_the_example_is_used_and_each_setting_that_is_handed_on_exists():
    text, example = (ROOT / "docker-compose.yml").read_text(), (ROOT / ".env.example").read_text()
    named = set(re.findall(r"^(?:# )?([A-Z_]+)=", example, flags=re.MULTILINE))
    assert {name for name in named if f"${{{name}" not in text} == {"COMPOSE_PROFILES"}
    handed_on = {
        key for service in OURS.values() for key in service.get("environment", {}) if key.startswith("SESMAIL_")
    }
    assert {key for key in handed_on if key.removeprefix("SESMAIL_").lower() not in Settings.model_fields} == set()


def test_as_the_example_stands_the_simulator_and_its_door_run_and_nothing_asks_for_a_queue():
    profiles = set(compose.TRIED_OUT["COMPOSE_PROFILES"].split(","))
    left_out = {
        name
        for name, service in SERVICES.items()
        if service.get("profiles") and not profiles & set(service["profiles"])
    }
    assert left_out == {"poll-sqs"}


@pytest.mark.parametrize("name", sorted(set(OURS) - {"simulator"}))
def test_those_that_need_redis_wait_until_it_has_read_its_data(name):
    assert SERVICES[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert SERVICES[name]["environment"]["SESMAIL_REDIS_URL"] == "redis://redis:6379/0"


def test_no_secret_is_written_into_the_file():
    text = (ROOT / "docker-compose.yml").read_text()
    secrets = re.findall(r"^ +\w*(?:PASSWORD|SECRET|AUTH|TOKEN)\w*: (.*)$", text, flags=re.MULTILINE)
    assert secrets
    assert all(value.startswith("${") for value in secrets)


def test_a_worker_is_given_longer_to_stop_than_ses_may_take_to_answer():
    assert compose.seconds(OURS["worker"]["stop_grace_period"]) > Settings().asking_seconds
    assert float(unit()["Service"]["TimeoutStopSec"]) > Settings().asking_seconds


def test_the_image_runs_nothing_as_root_and_holds_what_it_copies():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert "USER sesmail" in lines
    copied = [
        name for line in lines if line.startswith("COPY ") and "--from" not in line for name in line.split()[1:-1]
    ]
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= set(copied)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == set(copied)


SYSTEMD = ROOT / "deploy" / "systemd"
INSTANCES = ["worker", "beat", "flower", "webhook", "poll-sqs", "metrics"]


def unit(instance: str = "worker") -> configparser.RawConfigParser:
    """The template with what is added to it for the instance, the last value of each key."""
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read([SYSTEMD / "sesmail@.service", SYSTEMD / f"sesmail@{instance}.service.d" / "command.conf"])
    return parser


def test_systemd_starts_what_docker_starts_and_brings_it_back_for_ever():
    service = unit()["Service"]
    for instance in INSTANCES:
        command = unit(instance)["Service"]["ExecStart"].replace("/opt/sesmail/bin/", "").replace("%i", instance)
        assert set(shlex.split(command)) <= set(shlex.split(SERVICES[instance]["command"]))
    assert service["Restart"] == "always"
    assert unit()["Unit"]["StartLimitIntervalSec"] == "0"
    assert (service["KillSignal"], service["KillMode"]) == ("SIGTERM", "mixed")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
@pytest.mark.parametrize("instance", INSTANCES)
def test_systemd_understands_the_unit(tmp_path, instance):
    for name in ("celery", "sesmail"):
        (tmp_path / name).touch(mode=0o755)
    path = tmp_path / f"sesmail@{instance}.service"
    for source, copy in ((SYSTEMD / "sesmail@.service", path), *added(instance, tmp_path)):
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(source.read_text().replace("/opt/sesmail/bin", str(tmp_path)))
    checked = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def added(instance: str, folder: Path) -> list[tuple[Path, Path]]:
    name = Path(f"sesmail@{instance}.service.d", "command.conf")
    return [(SYSTEMD / name, folder / name)] if (SYSTEMD / name).exists() else []


@pytest.mark.parametrize(
    ("instance", "login", "starts"), [("flower", "", False), ("flower", "a:b", True), ("beat", "", True)]
)
def test_systemd_starts_flower_only_with_a_login(instance, login, starts):
    command = shlex.split(unit()["Service"]["ExecStartPre"].replace("%i", instance))
    answer = subprocess.run(command, env={"FLOWER_BASIC_AUTH": login}, capture_output=True, check=False)
    assert (answer.returncode == 0) == starts
