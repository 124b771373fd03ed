"""The house keeps its own rules: what is public is named, what is needed is pinned, and no registry is named anywhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sesmail
from tests import matrix
from tests.services import LOWEST_VERSIONS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {extra: [Requirement(line) for line in lines] for extra, lines in PROJECT["optional-dependencies"].items()}
NEEDED = [*map(Requirement, PROJECT["dependencies"]), *(needed for lines in EXTRAS.values() for needed in lines)]
DIRECT = [needed for needed in NEEDED if needed.name != "sesmail"]

# In two parts each, so that this file passes its own test.
REGISTRIES = [
    "py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "docker" + ".io", "ghcr" + ".io",
    "gcr" + ".io", "quay" + ".io", "public.ecr" + ".aws", "mcr.microsoft" + ".com", "proxy.golang" + ".org",
    "index-" + "url", "find-" + "links", "trusted-" + "host", "PIP_" + "INDEX", "UV_" + "INDEX",
]  # fmt: skip


def tracked_files() -> list[Path]:
    """What git has or would add; in an unpacked archive, without git, everything outside `.venv`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (FileNotFoundError, subprocess.CalledProcessError):
        listed = [path for path in ROOT.rglob("*") if ".venv" not in path.parts]
    return [ROOT / path for path in listed if (ROOT / path).is_file()]


def constraints() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(text) for line in lines if (text := line.partition("#")[0].strip())]


def pins(name: str) -> list[Requirement]:
    return [pin for pin in constraints() if canonicalize_name(pin.name) == canonicalize_name(name)]


def test_no_file_names_a_package_registry():
    said = {
        str(path.relative_to(ROOT)): registry
        for path in tracked_files()
        for registry in REGISTRIES
        if registry in path.read_bytes().decode(errors="replace")
    }
    assert said == {}


def test_constraints_pin_one_version_each_and_hold_no_address():
    for pin in constraints():
        assert [specifier.operator for specifier in pin.specifier] == ["=="], pin
        assert pin.url is None
        assert not pin.extras
    lines = [(canonicalize_name(pin.name), str(pin.marker)) for pin in constraints()]
    assert len(lines) == len(set(lines))


@pytest.mark.skipif(sys.platform != "linux", reason="the pins are those of Linux")
@pytest.mark.skipif(LOWEST_VERSIONS, reason="the pins are not what is installed")
def test_nothing_is_pinned_that_is_no_longer_needed():
    installed = {canonicalize_name(found.name) for found in metadata.distributions()}
    pinned = {canonicalize_name(pin.name) for pin in constraints() if pin.marker is None or pin.marker.evaluate()}
    assert pinned <= installed


@pytest.mark.parametrize("needed", DIRECT, ids=str)
def test_everything_that_is_needed_is_pinned_to_a_version_that_will_do(needed):
    assert pins(needed.name)
    for pin in pins(needed.name):
        (version,) = pin.specifier
        assert needed.specifier.contains(version.version)


@pytest.mark.parametrize("minor", matrix.MINORS)
def test_the_pinned_django_is_of_the_newest_line_that_is_for_each_python(minor):
    (pin,) = [pin for pin in pins("django") if pin.marker and pin.marker.evaluate({"python_version": f"3.{minor}"})]
    newest = [django for django, minors in matrix.DJANGOS.items() if minor in minors][-1]
    assert str(pin.specifier).startswith(f"=={newest}.")


def test_the_pythons_and_djangos_that_are_said_to_be_supported_are_tested():
    said = [line.removeprefix("Programming Language :: Python :: 3.") for line in PROJECT["classifiers"]]
    assert {int(minor) for minor in said if minor.isdigit()} <= set(matrix.MINORS)
    djangos = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Django ::" in line]
    assert all(any(f"{django}.".startswith(f"{line}.") for line in matrix.DJANGOS) for django in djangos)


def test_what_kombu_needs_for_redis_is_installed_without_its_extra():
    listed = map(Requirement, metadata.requires("kombu") or [])
    needed = {line.name for line in listed if line.marker and line.marker.evaluate({"extra": "redis"})}
    assert needed
    assert needed <= {Requirement(line).name for line in PROJECT["dependencies"]}


def test_the_extras_that_an_extra_or_an_error_message_names_exist():
    named = {extra for needed in NEEDED if needed.name == "sesmail" for extra in needed.extras}
    for path in (ROOT / "sesmail").rglob("*.py"):
        for found in re.findall(r"sesmail\[([a-z,]+)\]", path.read_text()):
            named |= set(found.split(","))
    assert named <= set(EXTRAS)


def test_development_installs_every_extra():
    (itself,) = [needed for needed in EXTRAS["dev"] if needed.name == "sesmail"]
    assert itself.extras == set(EXTRAS) - {"dev"}


def test_every_public_name_can_be_had_and_is_known_to_type_checkers():
    tree = ast.parse(Path(sesmail.__file__).read_text())
    (typing_only,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = [alias.name for node in typing_only.body for alias in node.names]
    assert sorted(imported) == sorted(sesmail.__all__) == dir(sesmail)
    for name in sesmail.__all__:
        assert getattr(sesmail, name) is not None


def test_a_name_that_is_not_public_is_missed_as_in_any_module():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        sesmail.nothing  # noqa: B018
