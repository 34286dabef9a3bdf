"""What is handed out: wheel, sources, and what stands in packaging/."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from tunflow.cli.commands import COMMANDS
from tunflow.host import systemd_unit as unit

ROOT = Path(__file__).parent.parent
CAPABILITIES = tuple(dict.fromkeys((*unit.SET_UP, *unit.DIRECT, *unit.KEPT_FOLDERS, *unit.PROCESSES)))


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(made)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return made


def test_twine_has_nothing_to_say(dist: Path) -> None:
    files = [str(path) for path in dist.iterdir()]
    assert len(files) == 2
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_what_is_in_the_wheel(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        entry_points = configparser.ConfigParser()
        entry_points.read_string(file.read(next(name for name in names if name.endswith("/entry_points.txt"))).decode())
    assert entry_points["console_scripts"]["tunflow"] == "tunflow.cli:main"
    for wanted in ("tunflow/api/page/page.js", "tunflow/screens/top.py", "tunflow/py.typed"):
        assert wanted in names
    pages = {name.rpartition("/")[2] for name in names if "/share/man/man1/" in name}
    assert pages == {"tunflow.1", *(f"tunflow-{name}.1" for name in COMMANDS)}
    assert not [name for name in names if name.startswith(("tests/", "bench/", "fuzz/"))]


def test_the_container_is_built_of_what_is_copied(dist: Path, tmp_path: Path) -> None:
    """No container is built here; what its recipe copies makes the same wheel, and is locked with what makes it."""
    recipe = (ROOT / "packaging/container/Containerfile").read_text()
    for words in (
        line.split()[1:] for line in recipe.splitlines() if line.startswith("COPY ") and "--from" not in line
    ):
        for name in words[:-1]:
            there = tmp_path / words[-1] / (name if words[-1] == "./" else "")
            there.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, there, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, there)
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path / "dist")]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    contents = []
    for folder in (dist, tmp_path / "dist"):
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as file:
            contents.append({name for name in file.namelist() if "__pycache__" not in name})
    assert contents[0] == contents[1]
    assert "hatchling==" in (tmp_path / "requirements/run.txt").read_text()


def test_what_is_in_the_sources(dist: Path) -> None:
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"LICENSE", "README.md", "SECURITY.md", "CHANGELOG.md", "test", "demo", "packaging/deb/build"} <= names
    assert not [name for name in names if name.startswith((".venv", "site/", "dist/"))]


def test_the_debian_packages_unit_is_the_programs() -> None:
    made = unit.service(["/usr/bin/tunflow"], "PROFILE", CAPABILITIES, namespaces=unit.NAMESPACES).replace(
        "PROFILE", "%i"
    )
    assert (ROOT / "packaging/deb/tunflow@.service").read_text() == made
    assert (ROOT / "packaging/deb/sysusers.conf").read_text() == unit.USER


def test_scripts_are_whole() -> None:
    for name in ("build", "postinst", "prerm"):
        path = ROOT / "packaging/deb" / name
        shell = path.read_text().splitlines()[0].removeprefix("#!").split()[-1]
        subprocess.run([shell, "-n", str(path)], check=True)


def test_the_release_is_a_workflow() -> None:
    steps = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]["release"]["steps"]
    told = "\n".join(step.get("run", "") for step in steps)
    assert "twine check --strict" in told
    assert "packaging/deb/build" in told
