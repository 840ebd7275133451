"""The benchmark of kills, in short, and that it would notice a run that ends differently or does not go on."""

import json
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from reproduce.bench import __main__ as bench
from reproduce.engine.data.folders import MARKER
from reproduce.errors import EXIT_LOST
from reproduce.trials import attempts, kills
from reproduce.trials.attempts import LAUNCHER, Kill, Pace
from tests.helpers.data import encode, picture

PACE = Pace(startup=1.0, training=1.0, checkpoints=10, updates=40)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Ten classes of small grey pictures, laid out as the embedded data set is."""
    root = tmp_path_factory.mktemp("pictures")
    for label in range(10):
        for part, count in (("train", kills.TRAIN), ("val", kills.VAL)):
            folder = root / part / f"{label}_class"
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number:05d}.png").write_bytes(encode(picture(10 * number + label, 28, 28, 1), "PNG"))
    (root / MARKER).write_text("{}")
    return root


def test_killed_runs_end_as_the_undisturbed_one(tmp_path, data, capsys, monkeypatch):
    """A run of one process, killed while it writes and again while it trains; of two, next."""
    monkeypatch.setattr(kills, "draw_kills", lambda *_: [Kill(LAUNCHER, m, 0.3) for m in ("writing", "training")])
    out = tmp_path / "kills.json"
    assert kills.main(["--runs", "1", "--processes", "1", "--data", str(data), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "runs survived 1/1, divergences 0" and said.count("same end") == 1
    result = json.loads(out.read_text())
    assert (result["runs"], result["survived"], result["divergences"]) == (1, 1, 0) and result["kills"] >= 1
    assert [run["starts"] for run in result["each"]] == [len(run["kills"]) + 1 for run in result["each"]]
    assert result["hardware"] and len(result["weights_sha256"]) == 64


def test_a_killed_rank_is_named_in_one_line(tmp_path, data):
    """By the launcher: the other rank, which only lost a connection, is ended before it speaks."""
    trial = kills.Trial(tmp_path / "run", data, 2, 1)
    with trial.start() as attempt:
        assert attempt.strike(Kill(1, "training", 0.3), PACE)
        assert attempt.wait() == EXIT_LOST
        errors = [line for line in attempt.said.read_text().splitlines() if "error" in line.lower()]
    assert len(errors) == 1 and errors[0].startswith("error: rank 1 (pid ") and "died of SIGKILL" in errors[0]


# ---- what it would notice ------------------------------------------------------------------------------------------


MISSED = ["the run was done before its first kill"]


class MadeUp(kills.Trial):
    """A trial without processes: `ends` are the stories of its runs, None for one that does not get to its end."""

    ends: list = []

    def undisturbed(self):
        return story(0.5), PACE

    def disturbed(self, planned, pace):
        end = self.ends.pop(0)
        if end == MISSED:
            return kills.Run([], Counter(), 1, story(0.5))
        return kills.Run(["rank 0 here"], Counter(here=1), 2, end, "" if end else "exit code 2: error: no")


def story(loss: float, weights: str = "ab") -> list:
    epoch = ["epoch_stop", None, {"epoch_num": 1, "train_loss": loss}]
    return [epoch, ["reproduce_result", {"weights_sha256": weights}, {}]]


@pytest.mark.parametrize(
    ("ends", "code", "verdict", "why"),
    [
        ([story(0.5)] * 2, 0, "runs survived 2/2, divergences 0", "same end"),
        ([story(0.5), story(0.5000000001)], 1, "runs survived 2/2, divergences 1", '"train_loss": 0.5000000001}'),
        ([story(0.5, "ac"), story(0.5)], 1, "runs survived 2/2, divergences 1", '"ac"'),
        ([story(0.5)[:1], story(0.5)], 1, "runs survived 2/2, divergences 1", "1 events instead of 2"),
        ([MISSED, story(0.5), story(0.5)], 0, "runs survived 2/2, divergences 0", "[1/2] killed rank 0 here: same end"),
        ([None, story(0.5)], 1, "runs survived 1/2, divergences 0", "exit code 2: error: no"),
    ],
)
def test_the_verdict(tmp_path, data, capsys, monkeypatch, ends, code, verdict, why):
    monkeypatch.setattr(MadeUp, "ends", list(ends))
    monkeypatch.setattr(kills, "Trial", MadeUp)
    assert kills.main(["--runs", "2", "--data", str(data), "--out", str(tmp_path / "kills.json")]) == code
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == verdict and why in said


STUB = """
import sys, time
from pathlib import Path
log, folder, said = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
log.write_text("begun")
folder.mkdir(exist_ok=True)
(folder / "update_00000007.ckpt").write_text("")
print("resumed after update", said)
(folder / "update_00000009.ckpt.tmp").write_text("")
time.sleep(float(sys.argv[4]))
"""


def start(folder: Path, *arguments) -> attempts.Attempt:
    argv = [sys.executable, "-c", STUB, str(folder / "log"), str(folder / "checkpoints"), *map(str, arguments)]
    return attempts.Attempt(argv, {}, folder / "log", folder / "checkpoints", folder / "said")


@pytest.mark.parametrize(
    ("moment", "there"), [("starting", ""), ("training", "log"), ("writing", "checkpoints/update_00000009.ckpt.tmp")]
)
def test_an_attempt_is_killed_at_its_moment(tmp_path, moment, there):
    with start(tmp_path, 7, 60) as attempt:
        assert attempt.first_update is None
        assert attempt.strike(Kill(LAUNCHER, moment, 0.01), PACE)
        assert attempt.wait() == -9
    assert (tmp_path / there).exists()


def test_an_attempt_that_ends_before_its_moment_was_not_killed(tmp_path):
    with start(tmp_path, 7, 0) as attempt:
        assert not attempt.strike(Kill(LAUNCHER, "training", 0.99), Pace(1.0, 60.0, 10, 40))
        assert attempt.wait() == 0 and attempt.resumed_after() == 7


def test_a_run_that_does_not_go_on_from_its_checkpoint_is_noticed(tmp_path, data, monkeypatch):
    """Else a run that always began anew would pass."""
    trial = kills.Trial(tmp_path / "run", data, 1, 1)
    monkeypatch.setattr(trial, "clear", lambda: None)
    monkeypatch.setattr(trial, "start", lambda: start(tmp_path, 5, 0))
    monkeypatch.setattr(kills, "read_log", lambda _: type("Log", (), {"complete": True}))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "update_00000007.ckpt").write_text("")
    run = trial.disturbed([], PACE)
    assert run.story is None and run.difference == "went on from 5, not from 7"


def test_a_start_that_fails_by_itself_is_noticed(tmp_path, data, monkeypatch):
    trial = kills.Trial(tmp_path / "run", data, 1, 1)
    monkeypatch.setattr(trial, "start", lambda: start(tmp_path, "none", "not a number"))
    run = trial.disturbed([], PACE)
    assert run.story is None and run.difference.startswith("exit code 1: ") and "ValueError" in run.difference


def test_a_kill_when_all_was_written_does_not_count(tmp_path, data, monkeypatch):
    trial = kills.Trial(tmp_path / "run", data, 1, 1)
    monkeypatch.setattr(trial, "start", lambda: start(tmp_path, "none", 60))
    monkeypatch.setattr(kills, "read_log", lambda _: type("Log", (), {"complete": True}))
    monkeypatch.setattr(kills, "story", lambda _: story(0.5))
    run = trial.disturbed([Kill(LAUNCHER, "writing", 0.0), Kill(LAUNCHER, "writing", 0.0)], PACE)
    assert run.starts == 1 and run.story == story(0.5) and run.kills == []


def test_a_run_that_hangs_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(attempts, "MAX_SECONDS", 1)
    with start(tmp_path, 7, 60) as attempt, pytest.raises(attempts.UserError, match="the run hangs"):
        attempt.wait()
    assert attempt.process.returncode == -9


def test_kills_are_drawn_from_the_seed_and_of_every_kind():
    def draw(seed):
        rng = random.Random(seed)
        return [kill for _ in range(200) for kill in kills.draw_kills(rng, 2)]

    assert draw(1) == draw(1) != draw(2)
    drawn = draw(1)
    assert {(kill.victim, kill.moment) for kill in drawn} == {
        *((victim, moment) for victim in (LAUNCHER, 0, 1) for moment in ("starting", "training")),
        (LAUNCHER, "writing"), (0, "writing"),
    }  # fmt: skip
    assert 200 < len(drawn) < 400 and all(0 <= kill.share < 1 for kill in drawn)


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["kils"], "no such benchmark: did you mean 'kills'?"),
        (["kills", "--runs", "0"], "must be at least 1"),
        (["kills", "--processes", "3"], "must be 1, 2 or 4"),
        (["kills", "--data", "/nowhere"], "does not hold the embedded data set: run python -m"),
        (["kills", "--out", "/proc/kills.json"], "cannot write results"),
    ],
)
def test_bad_input_is_one_line(arguments, says, capsys):
    assert bench.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error
