"""The log: what the writer writes the reader reads, and nothing that is cut short or foreign passes for a result."""

import json
import os
import subprocess
import sys

import pytest

from reproduce import events
from reproduce.errors import LogError
from reproduce.trials.tune import fourth_rate
from tests.helpers import ROOT
from tests.helpers.stub_run import write_log


@pytest.fixture
def complete(tmp_path):
    write_log(tmp_path, "quick/headline_b800_w20")
    return events.log_path(tmp_path, "headline_b800_w20", 1)


def test_events_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "a" / "log.txt"
    writer = events.LogWriter(path)
    written = [events.start("x", epoch_num=1), events.point("y", {"z": [1, None]}), events.end("x", 2.5)]
    for event in written:
        writer(event)
    writer.close()
    read = [event for _, event in events.read_events(path)]
    assert [(e.key, e.value, e.kind) for e in read] == [(e.key, e.value, e.kind) for e in written]
    assert read[0].metadata["epoch_num"] == 1


def test_a_log_cut_anywhere_is_incomplete_and_has_no_numbers(complete):
    assert events.read_log(complete).complete
    text = complete.read_text()
    ends = [i for i, letter in enumerate(text) if letter == "\n"]
    for cut in [*ends[:-1], len(text) - 2, len(text) // 2, 10]:
        complete.write_text(text[:cut])
        log = events.read_log(complete)
        assert not log.complete and log.reason, cut
        assert log.top1 is None and log.images_per_second is None and log.accuracies == ()


def test_a_log_that_lost_an_epoch_is_incomplete(complete):
    lines = complete.read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if '"epoch_start"' in line)
    complete.write_text("\n".join(lines[:first] + lines[first + 2 :]))
    assert "holds 89 of 90 epochs" in events.read_log(complete).reason


def test_junk_between_the_lines_does_no_harm(complete):
    lines = complete.read_text().splitlines()
    complete.write_text("\n".join(f"[rank0] {line}\nsome warning\n:::MLLOG {{not json" for line in lines))
    assert events.read_log(complete).complete


def test_foreign_and_malformed_logs_are_named_as_such(tmp_path, complete):
    foreign = tmp_path / "foreign.txt"
    foreign.write_text(":::MLLOG " + json.dumps({"time_ms": 1, "event_type": "POINT_IN_TIME", "key": "a", "value": 1}))
    assert events.read_log(foreign).status == "foreign"
    foreign.write_bytes(b"\xff\x00 nothing of ours")
    assert events.read_log(foreign).status == "foreign"
    assert events.read_log(tmp_path / "nowhere.txt").status == "incomplete"
    complete.write_text(complete.read_text().replace('"images": 1', '"images": "many"'))
    assert events.read_log(complete).status == "incomplete"


def test_a_full_disk_is_one_line(tmp_path):
    writer = events.LogWriter(tmp_path / "log.txt")
    writer._file = open("/dev/full", "w")
    with pytest.raises(LogError, match="No space left on device"):
        writer(events.point("x"))


def test_the_fourth_rate_of_a_search_lies_beside_the_best():
    assert fourth_rate({1.0: 80, 2.0: 85, 4.0: 90}) == 8
    assert fourth_rate({1.0: 90, 2.0: 85, 4.0: 80}) == 0.5
    assert fourth_rate({1.0: 80, 2.0: 90, 4.0: 85}) == pytest.approx(2.8)


def test_no_log_that_was_displaced_is_ever_lost(tmp_path):
    path = tmp_path / "result_1.txt"
    for attempt in range(4):
        path.write_text(f"attempt {attempt}\n")
        events.LogWriter(path).close()
    kept = {found.name: found.read_text() for found in tmp_path.iterdir() if found != path}
    names = ("result_1.incomplete", *(f"result_1.incomplete.{number}" for number in (2, 3, 4)))
    assert kept == {name: f"attempt {attempt}\n" for attempt, name in enumerate(names)}


def test_a_log_that_goes_on_displaces_only_what_it_does_not_hold(tmp_path):
    path = tmp_path / "result_1.txt"
    for before, kept in (("one\ntwo\n", False), ("one\n", True)):
        path.write_text("one\ntwo\n")
        events.LogWriter(path, before).close()
        assert path.read_text() == before and path.with_suffix(".incomplete").exists() is kept


def test_a_log_is_not_begun_through_a_link(tmp_path):
    """Whether or not it leads anywhere; and what hangs a reader is moved away as it is."""
    victim = tmp_path / "victim"
    for number, content in enumerate(("mine", None)):
        path = tmp_path / f"result_{number}.txt"
        path.symlink_to(victim)
        victim.write_text(content) if content else victim.unlink()
        writer = events.LogWriter(path)
        writer(events.point("x"))
        writer.close()
        assert not path.is_symlink() and (victim.read_text() if victim.exists() else None) == content
    pipe = tmp_path / "result_7.txt"
    os.mkfifo(pipe)
    events.LogWriter(pipe, "before\n").close()
    assert pipe.read_text() == "before\n" and pipe.with_suffix(".incomplete").is_fifo()


FULL = """
import resource, sys
from reproduce import events
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    events.LogWriter(sys.argv[1], "one\\n" * 100)
except events.LogError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_log_of_the_run_that_goes_on(tmp_path):
    path = tmp_path / "result_1.txt"
    path.write_text("one\n" * 90)
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, cwd=ROOT)
    assert "cannot write the log: File too large" in done.stdout, done.stderr
    assert path.read_text() == "one\n" * 90


@pytest.mark.parametrize(
    ("reason", "diverged"),
    [("a.toml: loss is nan at update 3 of 9", True), ("a.toml: loss is inf at update 3", True),
     ("a.toml: the gradients of group 0, 2 overflowed at update 3", True),
     ("/gone/train: no such folder: /gone must hold train/CLASS/*", False), ("rank 1 holds other weights", False)],
)  # fmt: skip
def test_missing_data_is_no_divergence(tmp_path, reason, diverged):
    assert events.RunLog(tmp_path, "aborted", reason).diverged is diverged
