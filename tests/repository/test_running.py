"""How the tests themselves are run: what is missing is never silent, and serial tests are alone."""

import threading
import time

import pytest

from tests.helpers import turns
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
