"""The package as others get it: what is in the wheel, what an editable install gives, and both without this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

import sesmail
from tests.unpacking import unpack

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
DIST_INFO = f"sesmail-{sesmail.__version__}.dist-info"


def build(kind: str, source: Path, folder: Path) -> Path:
    """Build it without the network: the backend is one of the tests' packages."""
    script = f"import hatchling.build as b, sys; print(b.build_{kind}(sys.argv[1]))"
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """As it is released: built from the unpacked source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    with tarfile.open(build("sdist", ROOT, folder)) as archive:
        unpack(archive, folder)
    return build("wheel", folder / f"sesmail-{sesmail.__version__}", folder)


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.startswith(DIST_INFO)}
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    assert names == {str(path.relative_to(ROOT)) for path in files if path.suffix != ".pyc"}
    assert {"py.typed", "lua", "html", "css", "js"} <= {name.rpartition("/")[2] for name in names} | {
        name.rpartition(".")[2] for name in names
    }


def test_the_wheel_s_version_is_that_of_the_package_and_its_page_says_what_the_readme_says(wheel):
    with zipfile.ZipFile(wheel) as archive:
        about = HeaderParser().parsestr(archive.read(f"{DIST_INFO}/METADATA").decode())
        assert f"{DIST_INFO}/licenses/LICENSE" in archive.namelist()
    assert about["Version"] == sesmail.__version__
    assert about.get_payload() == (ROOT / "README.md").read_text()
    assert len(about.get_all("Project-URL")) == len(PYPROJECT["project"]["urls"])


def test_an_editable_install_gives_the_package_and_nothing_that_lies_beside_it(tmp_path):
    zipfile.ZipFile(build("editable", ROOT, tmp_path)).extractall(tmp_path / "site")
    beside = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    script = (
        f"import site, sys; sys.path.append({sysconfig.get_path('purelib')!r}); site.addsitedir({str(tmp_path / 'site')!r})\n"
        "import importlib.util as u, sesmail\n"
        f"print(sesmail.__file__, *[name for name in {sorted(beside)} if u.find_spec(name)])"
    )
    without_its_own = [sys.executable, "-I", "-S", "-c", script]  # this environment has an editable install, too
    done = subprocess.run(without_its_own, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "celeryconfig" in beside
    assert done.stdout.split() == [str(ROOT / "sesmail" / "__init__.py"), *sorted(PACKAGES)]


@pytest.mark.skipif(
    not os.environ.get("TEST_BARE_INSTALL"), reason="it downloads what sesmail needs: `python3 run.py check --full`"
)
def test_the_wheel_works_in_a_bare_environment(wheel, tmp_path):
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", bare], check=True)
    pip = [bare / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--constraint", ROOT / "constraints.txt", wheel], check=True)

    def run(*command: str) -> str:
        environment = {"PATH": str(bare / "bin"), "HOME": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("sesmail", "--version") == f"sesmail, version {sesmail.__version__}\n"
    said = run(
        "python", "-c", "import sesmail; print(sesmail.__file__); [getattr(sesmail, n) for n in sesmail.__all__]"
    )
    assert Path(said.strip()).is_relative_to(bare)
    assert "sesmail.tasks" in run("celery", "-A", "sesmail", "report")
