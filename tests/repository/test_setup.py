"""setup.sh and the lists it installs from. A stand-in for Python and pip answers; nothing is downloaded."""

import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.helpers import ROOT
from tests.helpers.needs import need_program

SCRIPTS = ("reproduce/setup.sh", "reproduce/run_all.sh", "tests/run.sh", ".ci/run")
# Answers setup.sh's questions. Files in $STATE steer it: old, unable, unfit, no-ensurepip, pip-fails, damaged ...
FAKE_PYTHON = """#!/bin/bash
echo "$*" >> "$STATE/calls"
case "$*" in
    *sys.version_info*)
        if [ -e "$STATE/old" ]; then echo 3.9.2; exit 1; fi
        if [ -e "$STATE/unable" ]; then printf 'prefix\\nFatal error: no \\e[1mcodec\\nmore\\n' >&2; exit 1; fi ;;
    *sys.executable*) echo "$0" ;;
    "-P - "*) [ ! -e "$STATE/unfit" ] ;;
    *ensurepip*) [ ! -e "$STATE/no-ensurepip" ] ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip install"*)
        if [ -e "$STATE/pip-hangs" ]; then exec sleep 60; fi
        if [ -e "$STATE/pip-fails" ]; then echo "ERROR: [Errno 28] No space left on device" >&2; exit 1; fi
        sleep 0.3 ;;
    *"pip config list"*) cat "$STATE/pip-config" 2>/dev/null ;;
    "-P -c import matplotlib"*)
        if [ -e "$STATE/not-importing" ]; then echo "ImportError: undefined symbol"; exit 1; fi ;;
    *"import matplotlib"*) [ ! -e "$STATE/damaged" ] ;;
esac
"""


class Sandbox:
    """A checkout with nothing but setup.sh and the lists, and a PATH on which every Python is the stand-in."""

    def __init__(self, folder: Path):
        self.root, self.state, self.bin = folder / "repo", folder / "state", folder / "bin"
        for path in (self.root / "reproduce", self.state, self.bin):
            path.mkdir(parents=True)
        shutil.copy(ROOT / "reproduce" / "setup.sh", self.root / "reproduce")
        for name in ("requirements.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root)
        for name in ("python", "python3", *(f"python3.{minor}" for minor in range(11, 15))):
            (self.bin / name).write_text(FAKE_PYTHON)
            (self.bin / name).chmod(0o755)
        self.set("unfit")
        self.venv, self.stamp = self.root / ".venv", self.root / ".venv" / ".stamp"
        self.python = self.venv / "bin" / "python"

    def set(self, *names: str) -> None:
        for name in names:
            (self.state / name).touch()

    def start(self, mode: str, **environment: str) -> subprocess.Popen:
        env = os.environ | environment | {"STATE": str(self.state), "PATH": f"{self.bin}:{os.environ['PATH']}"}
        command = ["bash", str(self.root / "reproduce" / "setup.sh"), mode]
        return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, mode: str = "run", **environment: str) -> tuple[int, str, str]:
        process = self.start(mode, **environment)
        out, err = process.communicate(timeout=120)
        return process.returncode, out.strip(), err

    def count(self, call: str) -> int:
        calls = self.state / "calls"
        return sum(line.startswith(call) for line in calls.read_text().splitlines()) if calls.exists() else 0


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


# ---- the lists ----------------------------------------------------------------------------------------------------


def pins(lines) -> dict[str, str]:
    requirements = [Requirement(line) for line in lines]
    assert all(len(r.specifier) == 1 and str(r.specifier).startswith("==") for r in requirements), "not an exact pin"
    return {r.name: str(r.specifier) for r in requirements}


def test_requirements_and_environment_are_in_step():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pip_pins = pins(line for line in lines if line and not line.startswith("#"))
    conda = (ROOT / "environment.yml").read_text().split("  - pip:\n")[1]
    conda_pins = pins(line.removeprefix("      - ") for line in conda.splitlines() if line.startswith("      - "))
    assert pip_pins == conda_pins and "torch" in pip_pins


def test_pins_meet_what_pyproject_asks_for():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = pins(line for line in lines if line and not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["test"]]
    assert {r.name for r in asked} == set(pinned)
    assert all(r.specifier.contains(pinned[r.name].removeprefix("==")) for r in asked)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_parse(script):
    assert subprocess.run(["bash", "-n", ROOT / script]).returncode == 0
    assert os.access(ROOT / script, os.X_OK)


# ---- an active environment ----------------------------------------------------------------------------------------


def test_a_fit_active_environment_is_used_as_it_is(sandbox):
    (sandbox.state / "unfit").unlink()
    assert sandbox.run() == (0, str(sandbox.bin / "python"), "")
    assert not sandbox.venv.exists()


@pytest.mark.parametrize(("floor", "fit"), [("1", True), ("9999", False)])
def test_fitness_is_judged_by_pyproject(sandbox, floor, fit):
    """With the real Python of these tests: it has a pytest, but not version 9999."""
    for link in sandbox.bin.iterdir():
        link.unlink()
    (sandbox.root / "pyproject.toml").write_text(
        f'[project]\ndependencies = ["pytest>={floor}", "nowhere>=1; python_version < \'3\'"]\n'
        "optional-dependencies.test = []\n"
    )
    sandbox.bin = Path(sys.executable).parent
    _, python, _ = sandbox.run("plan")
    assert python == (sys.executable if fit else str(sandbox.python))


def test_an_active_environment_that_does_not_import_is_passed_over_and_said(sandbox):
    (sandbox.state / "unfit").unlink()
    sandbox.set("not-importing")
    code, python, err = sandbox.run()
    assert (code, python) == (0, str(sandbox.python))
    assert "does not import (ImportError: undefined symbol): passed over" in err


# ---- .venv --------------------------------------------------------------------------------------------------------


def test_plan_and_base_set_nothing_up(sandbox):
    assert sandbox.run("plan") == (0, str(sandbox.python), "")
    assert sandbox.run("base") == (0, str(sandbox.bin / "python3"), "")
    assert not sandbox.venv.exists()


def test_sets_up_once(sandbox):
    code, out, err = sandbox.run()
    assert (code, out) == (0, str(sandbox.python)), err
    assert err.count("done in") == 3, "one line of seconds per stage"
    assert sandbox.stamp.read_text() == (sandbox.root / "requirements.txt").read_text()
    (sandbox.venv / ".lock").unlink()
    (sandbox.venv / ".lock").mkdir()  # as in a checkout that may only be read: a ready environment needs no lock
    assert sandbox.run("test") == (0, str(sandbox.python), "")
    assert sandbox.count("-m venv") == sandbox.count("-m pip install") == 1


def test_other_requirements_are_installed_into_the_same_environment(sandbox):
    sandbox.run()
    with open(sandbox.root / "requirements.txt", "a") as file:
        file.write("another==1.0\n")
    assert sandbox.run()[0] == 0
    assert (sandbox.count("-m venv"), sandbox.count("-m pip install")) == (1, 2)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_set_up_is_completed_by_the_next(sandbox, signum):
    sandbox.set("pip-hangs")
    process = sandbox.start("run")
    deadline = time.monotonic() + 20
    while not sandbox.count("-m pip install") and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signum)
    _, err = process.communicate(timeout=50)  # ends at once, not after pip's minute
    assert process.returncode == 128 + signum and "run the same command again" in err
    assert not sandbox.stamp.exists()
    (sandbox.state / "pip-hangs").unlink()
    assert sandbox.run()[:2] == (0, str(sandbox.python))
    assert (sandbox.count("-m venv"), sandbox.count("-m pip install")) == (1, 2)
    assert sandbox.stamp.exists()


def test_an_environment_without_a_working_python_is_rebuilt(sandbox):
    sandbox.run()
    sandbox.python.unlink()
    (sandbox.venv / "left-over").touch()
    assert sandbox.run()[:2] == (0, str(sandbox.python))
    assert sandbox.count("-m venv") == 2 and not (sandbox.venv / "left-over").exists()


@need_program("flock", packages="util-linux")
def test_two_at_once_install_once(sandbox):
    both = [sandbox.start("run") for _ in range(2)]
    assert [process.communicate(timeout=120)[0].strip() for process in both] == [str(sandbox.python)] * 2
    assert sandbox.count("-m pip install") == 1


# ---- what can go wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ("old", "no Python 3.11 or later on PATH (python3: 3.9.2): install one"),
        ("unable", "no Python 3.11 or later on PATH (python3: Fatal error: no [1mcodec): install one"),
        ("no-ensurepip", "install python3-venv"),
        ("pip-fails", "(ERROR: [Errno 28] No space left on device): check network and disk space"),
        ("damaged", "delete that folder"),
    ],
)
def test_trouble_is_one_line_with_a_remedy_and_no_stamp(sandbox, trouble, says):
    sandbox.set(trouble)
    code, out, err = sandbox.run()
    errors = [line for line in err.splitlines() if not line.startswith("set-up: ")]
    assert code != 0 and out == "" and len(errors) == 1, err
    assert errors[0].startswith("error: ") and says in errors[0]
    assert not sandbox.stamp.exists()


def test_a_place_that_cannot_be_written(sandbox):
    sandbox.venv.write_text("a file where the folder should be")
    code, _, err = sandbox.run()
    assert code != 0 and err.count("\n") == 1 and "cannot be written" in err


def test_cdpath_does_not_get_into_the_answer(sandbox):
    assert sandbox.run("plan", CDPATH=f".:{sandbox.root.parent}")[1] == str(sandbox.python)


@pytest.mark.parametrize(("name", "what"), [("12:30", "colon"), ("two\nlines", "line break")])
@pytest.mark.parametrize("mode", ["base", "plan", "run"])
def test_a_folder_python_cannot_be_pointed_to_is_one_line(tmp_path, name, what, mode):
    box = Sandbox(tmp_path / name)
    box.bin = Path(sys.executable).parent  # a PATH has no colon in a folder either
    code, out, err = box.run(mode)
    assert (code, out) == (2, "") and err.count("\n") == 1 and f"a {what} in its path" in err


def test_what_pip_is_told_for_other_purposes_does_not_count(sandbox):
    pip = sandbox.bin / "python3"
    pip.write_text(FAKE_PYTHON.replace('"-m pip install"*)', '"-m pip install"*) env | grep ^PIP_ >"$STATE/pip-env"'))
    assert sandbox.run(PIP_TARGET="/elsewhere", PIP_NO_DEPS="1", PIP_INDEX_URL="https://mirror")[0] == 0
    told = (sandbox.state / "pip-env").read_text().splitlines()
    assert "PIP_INDEX_URL=https://mirror" in told
    assert not [line for line in told if line.startswith(("PIP_TARGET", "PIP_NO_DEPS"))]


@pytest.mark.parametrize(
    ("line", "refused"),
    [("global.target='/x'", True), ("install.user='true'", True), ("install.user='false'", False),
     ("global.index-url='u'", False)],
)  # fmt: skip
def test_a_configuration_of_pip_that_installs_elsewhere_is_one_line(sandbox, line, refused):
    (sandbox.state / "pip-config").write_text(line + "\n")
    code, _, err = sandbox.run()
    assert (code != 0) == refused and ("PIP_CONFIG_FILE=/dev/null" in err) == refused
    assert sandbox.stamp.exists() != refused


def test_a_checkout_with_the_defaults_of_windows_has_scripts_that_bash_runs(tmp_path):
    git = ["git", "-C", tmp_path, "-c", "core.autocrlf=true"]
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for name in (".gitattributes", "reproduce/setup.sh", "figures/measured/quick/tuning.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run([*git, "add", "--all"], check=True)
    (tmp_path / "reproduce/setup.sh").unlink()
    (tmp_path / "figures/measured/quick/tuning.csv").unlink()
    subprocess.run([*git, "checkout", "-q", "--", "."], check=True)
    for name in ("reproduce/setup.sh", "figures/measured/quick/tuning.csv"):
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes(), name
