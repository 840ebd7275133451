"""How the tests themselves are run: what is missing is never silent, and serial tests are alone."""

import ast
import threading
import time

import pytest

from tests.helpers import ROOT, turns
from tests.helpers.needs import missing, need


def test_what_is_missing_is_a_skip_here_and_a_failure_where_all_is_required(monkeypatch):
    monkeypatch.delenv("REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no slurm"):
        need("no slurm")
    monkeypatch.setenv("REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="no slurm"):
        need("no slurm")
    need("")


def test_a_missing_program_is_named_with_its_package():
    assert missing(["sh"]) == ""
    assert missing(["sh", "no-such-program"], "some-package") == "no no-such-program: apt-get install some-package"


def test_a_serial_test_waits_for_the_others_and_they_for_it(monkeypatch, tmp_path):
    monkeypatch.setenv(turns.FOLDER, str(tmp_path))
    seen, inside = [], threading.Barrier(3)

    def test(name, alone):
        with turns.turn(alone):
            if not alone:
                inside.wait(10)  # both of the others at once
            seen.append(f"{name} begins")
            time.sleep(0.1)
            seen.append(f"{name} ends")

    others = [threading.Thread(target=test, args=(f"other {i}", False)) for i in range(2)]
    serial = threading.Thread(target=test, args=("serial", True))
    for each in others:
        each.start()
    inside.wait(10)
    serial.start()
    for each in (*others, serial):
        each.join(10)
    assert sorted(seen[:4]) == ["other 0 begins", "other 0 ends", "other 1 begins", "other 1 ends"]
    assert seen[4:] == ["serial begins", "serial ends"]


def test_the_serial_tests_of_a_file_wait_once_and_nothing_comes_between(monkeypatch, tmp_path):
    monkeypatch.setenv(turns.FOLDER, str(tmp_path))
    seen, own, first = [], turns.Turns(), threading.Event()

    def other():
        first.wait(10)
        with turns.turn(alone=False):
            seen.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    for name, goes_on in (("one", True), ("two", False)):
        with own.test(alone=True, goes_on=goes_on):
            seen.append(name)
            first.set()
            time.sleep(0.1)
    thread.join(10)
    assert seen == ["one", "two", "other"]
    with own.test(alone=False, goes_on=False), turns.turn(alone=False):  # and what follows takes a turn of its own
        pass


def test_the_files_that_begin_early_exist(pytestconfig):
    long = pytestconfig.pluginmanager.get_plugin(str(ROOT / "tests/conftest.py")).LONG
    assert long <= {path.stem for path in (ROOT / "tests").rglob("test_*.py")}


def test_nobody_imports_a_test_module():
    """What two of them share is in tests/helpers."""
    for path in (ROOT / "tests").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        found += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        assert not [module for module in found if module.rpartition(".")[2].startswith("test_")], path
