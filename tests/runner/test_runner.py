"""run_all.sh's runner: what it prints, what it skips, what it does when a run fails or somebody stops it.

Training is replaced by a stub (stub_run.py) that writes a log, so that these tests are about the runner alone.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reproduce import events, gpus, revision, run_all, supervise
from reproduce.artefact import REPEATS
from reproduce.artefacts import ARTEFACTS
from reproduce.launchers import site
from reproduce.launchers.ranks import Start
from reproduce.recipe.runs import WEAK_SCALING, name_of
from reproduce.runner import commands, plan, training
from reproduce.runner import machine as machines
from tests.helpers import ROOT
from tests.helpers.stub_run import write_log

CONFIGS = ROOT / "paper_configs"
STUB = ROOT / "tests" / "helpers" / "stub_run.py"
TABLE1 = ("quick/headline_b800_w20", "quick/baseline_b128_w2")


@pytest.fixture
def stubbed(monkeypatch):
    """The runner with a stub for set-up, data, training and reports; `stubbed.calls` lists the runs started."""

    class Stubbed:
        calls, fail, slow, interruptions = [], "", "", {}

    def train_command(recipe, seed, out, data, processes, python, checkpoint_seconds, start, device, engine):
        name = name_of(str((ROOT / recipe[0]).relative_to(CONFIGS).with_suffix("")), recipe[2::2])
        Stubbed.calls.append(f"{name} {seed}")
        interruptions = Stubbed.interruptions.get(name, "")
        return [sys.executable, str(STUB), name, str(seed), str(out), Stubbed.fail, Stubbed.slow, interruptions], {}

    def report_command(self, artefact, python):
        return [sys.executable, "-c", f"open({str(self.out / artefact.name) + '.md'!r}, 'w')"], {}

    Stubbed.calls.clear()
    monkeypatch.setattr(training, "SETUP", ["echo", sys.executable])
    monkeypatch.setattr(commands, "train_command", train_command)
    monkeypatch.setattr(plan.Plan, "data_command", lambda self, python: (["true"], {}))
    monkeypatch.setattr(plan.Plan, "report_command", report_command)
    monkeypatch.setattr(plan.Plan, "page_command", lambda self, python: (["true"], {}))
    return Stubbed


def shell(*args, cwd=ROOT):
    return subprocess.run(
        ["bash", str(ROOT / "reproduce" / "run_all.sh"), *map(str, args)], cwd=cwd, capture_output=True, text=True
    )


# ---- showing ------------------------------------------------------------------------------------------------------


def test_dry_run_prints_every_command_and_creates_nothing(tmp_path):
    done = shell("--dry-run", "--out", "some results", "--seeds", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == [], "a dry run created something"
    first, setup, data, *rest = [shlex.split(line) for line in done.stdout.splitlines()]
    assert first == ["cd", str(ROOT)]
    assert setup == ["bash", "reproduce/setup.sh", "run"]
    assert data[1:3] == ["-m", "reproduce.engine.data.embedded"]
    trains = [line for line in rest if "--seed" in line]
    expected = {(name, seed) for a in ARTEFACTS for name in a.runs["quick"] for seed in "12"}
    expected |= {(name, str(seed)) for name in WEAK_SCALING["quick"] for seed in range(1, REPEATS + 1)}
    assert {run_of(line) for line in trains} == expected
    assert len(trains) == len(expected), "a shared run is listed twice"
    assert all(line[line.index("--out") + 1] == str(tmp_path / "some results") for line in trains)
    assert [line[1] for line in rest[-1 - len(ARTEFACTS) : -1]] == [a.script for a in ARTEFACTS]
    assert rest[-1][1:3] == ["-m", "reproduce.report.page"]
    assert subprocess.run(["bash", "-n"], input=done.stdout, text=True).returncode == 0


def run_of(words: list[str]) -> tuple[str, str]:
    """The run and the seed that a command trains."""
    at = words.index("--seed")
    config = next(word for word in words if word.endswith(".toml"))
    variant = words[words.index(config) + 2 : at : 2]
    return name_of(config.removeprefix("paper_configs/").removesuffix(".toml"), variant), words[at + 1]


def test_dry_run_of_the_paper_tier_needs_no_gpu(tmp_path):
    done = shell("--dry-run", "--tier", "paper", "--data", tmp_path, "--out", tmp_path, "--only", "table1")
    assert done.returncode == 0 and "once per GPU, by a launcher" in done.stdout
    assert "reproduce.engine.train paper_configs/headline_b81920_g2048.toml" in done.stdout
    assert "--checkpoint-every 600" in done.stdout, "no checkpoint may fall into the 74.7 s"


def test_list_tells_done_stale_missing_and_partial(tmp_path, capsys):
    def states():
        assert run_all.main(["--list", "--out", str(tmp_path), "--only", "table1"]) == 0
        return capsys.readouterr().out.splitlines()[1]

    assert " missing " in states()
    write_log(tmp_path, TABLE1[0])
    assert " partial (1 of 2 runs done) " in states()
    write_log(tmp_path, TABLE1[1])
    assert " done " in states()
    write_log(tmp_path, TABLE1[0], stale=True)
    write_log(tmp_path, TABLE1[1], stale=True)
    assert " stale " in states()
    write_log(tmp_path, TABLE1[0], status="aborted")
    write_log(tmp_path, TABLE1[1], status="aborted")
    assert " missing " in states(), "an aborted run counted for something"


def test_list_needs_no_set_up(tmp_path):
    done = shell("--list", cwd=tmp_path)
    assert done.returncode == 0 and "table1" in done.stdout and "2,048 GPUs" in done.stdout
    assert "set-up" not in done.stderr


def test_expected_minutes_come_from_published_logs_where_there_are_any(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "MEASURED", tmp_path)
    job = plan.Plan("quick", ARTEFACTS, only=["table1"]).jobs[0]
    assumed = job.config.schedule.epochs * job.config.data.train_images / plan.ASSUMED["quick"][1]
    assert job.expected_seconds("quick") == pytest.approx(assumed)
    write_log(tmp_path / "quick", job.name)
    measured = events.read_log(events.log_path(tmp_path / "quick", job.config.run.name, 1)).run_seconds
    assert job.expected_seconds("quick") == measured != assumed


def test_processes_divide_the_workers():
    assert [commands.fit(n, 20) for n in (1, 2, 3, 8, 20, 64)] == [1, 2, 2, 5, 20, 20]
    argv, _ = commands.train_command(["x.toml"], 1, ROOT / "results", ROOT / "data", 1)
    assert argv[1:3] == ["-m", "reproduce.engine.train"]
    argv, env = commands.train_command(["x.toml"], 1, ROOT / "results", ROOT / "data", 4)
    assert argv[1:4] == ["-m", "reproduce.engine.spawn", "4"]
    assert env == {"OMP_NUM_THREADS": "1"}


# ---- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--dryrun"], "did you mean '--dry-run'?"),
        (["--only", "tabel1"], "did you mean 'table1'?"),
        (["--tier", "nodes"], "did you mean 'node'?"),
        (["--seeds", "0"], "must be at least 1"),
        (["--seeds", "two"], "must be a whole number"),
        (["--pass-images", "0"], "--pass-images 0: must be at least 1"),
        (["--seeds", "100000000"], "must be at most 1,000"),
        (["--data", ""], "--data: is empty"),
        (["--tier", "node"], "data/imagenet: has no folder train/: add --data DIR"),
        (["--tier", "node", "--data", "/nowhere"], "/nowhere: has no folder train/"),
        (["--out", str(ROOT / "LICENSE" / "results")], "cannot write results"),
        (["--out", "/proc/results"], "cannot write results"),
    ],
)
def test_bad_input_is_one_line_and_starts_nothing(args, says, tmp_path, stubbed, capsys):
    assert run_all.main(["--out", str(tmp_path), *args]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and says in captured.err
    assert captured.out == "" and stubbed.calls == []


def test_paper_tier_on_too_few_gpus_points_to_the_node_tier(tmp_path, stubbed, capsys):
    (tmp_path / "train").mkdir()
    (tmp_path / "val").mkdir()
    assert run_all.main(["--tier", "paper", "--data", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "--tier node" in capsys.readouterr().err and stubbed.calls == []


def test_an_artefact_without_runs_needs_no_gpu(tmp_path, stubbed, capsys):
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
    for launcher in ("local", "torchrun"):
        given = ["--tier", "paper", "--only", "figure1", "--data", str(tmp_path), "--launcher", launcher]
        assert run_all.main([*given, "--out", str(tmp_path / launcher)]) == 0
    assert stubbed.calls == []


def test_a_full_disk_is_found_before_anything_runs(tmp_path, stubbed, capsys, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert run_all.main(["--out", str(tmp_path)]) == 2
    assert "No space left on device" in capsys.readouterr().err and stubbed.calls == []
    assert list(tmp_path.iterdir()) == [], "the probe was left behind"


# ---- devices ------------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Makes this a machine with so many GPUs, or a driver at fault, and ImageNet in tmp_path."""
    for part in ("train", "val"):
        (tmp_path / part).mkdir()

    def made(count=0, fault="", hidden=False):
        monkeypatch.setattr(gpus, "gpus", lambda: gpus.Gpus(count, count, fault, hidden))
        monkeypatch.setattr(machines, "cores", lambda: 2)

    return made


def call(tmp_path, *args):
    return run_all.main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), *args])


@pytest.mark.parametrize(
    ("found", "args", "says"),
    [
        ({"fault": "nvidia-smi: Driver/library version mismatch"}, ["--tier", "node"],
         "cannot be used: nvidia-smi: Driver/library version mismatch: mend the driver"),
        ({"fault": "nvidia-smi: no"}, [], "cannot be used: nvidia-smi: no"),
        ({}, ["--tier", "node"], "--tier node needs a GPU and this machine has no GPU: add --device cpu"),
        ({"hidden": True}, ["--tier", "node"], "CUDA_VISIBLE_DEVICES shows none"),
        ({}, ["--device", "cuda"], "--device cuda needs a GPU"),
        ({"count": 2}, ["--tier", "node", "--processes", "4"], "4 processes and 2 GPUs that can be seen"),
        ({}, ["--tier", "paper", "--launcher", "torchrun"], "needs 2,048 GPUs and this machine has 0"),
        ({"count": 8}, ["--tier", "paper", "--launcher", "openmpi"], "needs 2,048 GPUs and this machine has 8"),
        ({"count": 8}, ["--tier", "paper", "--launcher", "torchrun", "--device", "cpu"],
         "2,048 processes on the 2 cores"),
    ],
)  # fmt: skip
def test_what_this_machine_cannot_hold_is_refused(found, args, says, machine, tmp_path, stubbed, capsys):
    machine(**found)
    assert call(tmp_path, *args) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and says in err and stubbed.calls == [] and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("found", "args", "starts"),
    [
        ({"count": 2}, ["--tier", "node"], "engine.spawn 2 paper_configs/headline_b81920_g2048.toml .*--device cuda"),
        ({"hidden": True}, [], "OMP_NUM_THREADS=1 .*engine.spawn 2 paper_configs/quick/headline.*--device cpu"),
        ({"count": 8}, ["--device", "cpu"], "OMP_NUM_THREADS=1 .*engine.spawn 2 paper_configs/quick/.*--device cpu"),
        ({"fault": "broken"}, ["--device", "cpu", "--tier", "node"], "engine.spawn 2 .*--device cpu"),
        ({}, ["--tier", "node"], "# would be refused here: --tier node needs a GPU"),
    ],
)  # fmt: skip
def test_the_device_is_part_of_the_command(found, args, starts, machine, tmp_path, monkeypatch, capsys):
    machine(**found)
    monkeypatch.setattr(training, "SETUP", ["echo", sys.executable])
    assert call(tmp_path, *args, "--only", "table1", "--dry-run") == 0
    assert re.search(starts, capsys.readouterr().out)


def test_gpus_that_pytorch_cannot_use_end_the_call_before_any_run(machine, tmp_path, stubbed, monkeypatch):
    machine(count=2)
    monkeypatch.setattr(training, "SETUP", ["bash", "-c", "echo false"])  # a Python that fails, whatever it is asked
    assert call(tmp_path, "--tier", "node") == 1 and stubbed.calls == []


@pytest.mark.parametrize("found", ["0123456789ab-dirty", None])
def test_what_could_not_be_published_is_not_trained_for_it(found, tmp_path, stubbed, monkeypatch, capsys):
    monkeypatch.setattr(revision, "revision", lambda _: found)
    assert run_all.main(["--only", "table1", "--out", str(tmp_path), "--publish"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "commit first, or leave --publish out" in err and stubbed.calls == []


def test_the_named_artefacts_alone_are_published(tmp_path, stubbed, monkeypatch):
    monkeypatch.setattr(revision, "revision", lambda _: "0123456789ab")
    run, called = supervise.Foreground.run, []
    monkeypatch.setattr(supervise.Foreground, "run", lambda self, argv, env, capture=False: (
        (called.append(argv), (0, ""))[1] if "reproduce.report.publish" in argv else run(self, argv, env, capture)))
    assert run_all.main(["--only", "table1", "--out", str(tmp_path), "--publish"]) == 0
    assert [argv[-2:] for argv in called] == [["--only", "table1"]]


@pytest.mark.parametrize("launcher", [[], ["--launcher", "torchrun"], ["--launcher", "openmpi"]])
def test_what_is_for_the_engine_reaches_it(launcher, tmp_path, capsys):
    given = ["--only", "table1", "--out", str(tmp_path), "--execution", "fast,lars=foreach",
             "--pass-images", "96", "--dry-run", *launcher]  # fmt: skip
    assert run_all.main(given) == 0
    trains = [line for line in capsys.readouterr().out.splitlines() if "--seed" in line]
    assert len(trains) == 2 and all("--execution fast,lars=foreach --pass-images 96" in line for line in trains)


def test_a_run_for_its_speed_needs_a_device_for_each_worker(tmp_path):
    def counts(processes, tier="node", **options):
        made = plan.Plan(tier, ARTEFACTS, only=["figure2"], out=tmp_path, processes=processes, **options)
        return sorted({job.config.batch.workers for job in made.jobs}), len(made.jobs)

    assert counts(1) == ([1], 2 * REPEATS)  # real and synthetic; one device exchanges nothing, sooner or later
    assert counts(3) == ([1, 2], 6 * REPEATS)
    assert counts(8) == ([1, 2, 4, 8], 14 * REPEATS)
    assert counts(2048, "paper") == ([2**k for k in range(2, 12)], 40 * REPEATS)
    assert counts(2, "quick", seeds=5) == ([1, 2], 5 * 5), "more seeds than the fewest"
    two = Start("torchrun", site.load("abci"), nodes=2, rendezvous="a:1")
    assert counts(8, start=two) == ([2, 4, 8], 12 * REPEATS), "torchrun starts as many on every node"


def test_all_numbers_of_devices_are_planned_where_nodes_are_as_many_as_needed(tmp_path, capsys):
    call = ["--tier", "paper", "--launcher", "uge", "--cluster", "abci", "--dry-run", "--only", "figure2"]
    assert run_all.main([*call, "--account", "a", "--data", str(tmp_path), "--out", str(tmp_path)]) == 0
    assert "figure2_2048.sh" in capsys.readouterr().out
    assert run_all.main(["--list", "--tier", "paper", "--only", "figure2"]) == 0
    header, row = capsys.readouterr().out.splitlines()[:2]
    at = header.index("device-hours")
    assert 100 < float(row[at : at + 12].replace(",", "")) < 2000 and " 120 " in row


# ---- doing --------------------------------------------------------------------------------------------------------


def test_does_what_is_missing_and_nothing_twice(tmp_path, stubbed, capfd):
    write_log(tmp_path, TABLE1[0], stale=True)  # stale
    args = ["--only", "table1", "--out", str(tmp_path)]
    assert run_all.main(args) == 0
    assert stubbed.calls == [f"{name} 1" for name in TABLE1]
    assert (tmp_path / "logs" / "headline_b800_w20" / "result_1.incomplete").exists(), "the stale log is lost"
    assert run_all.main(args) == 0
    assert run_all.main([*args, "--seeds", "2"]) == 0
    assert stubbed.calls == [f"{name} {seed}" for seed in (1, 2) for name in TABLE1]
    assert "table1    done   table1.md" in capfd.readouterr().out


def test_a_failed_run_is_named_and_the_others_go_on(tmp_path, stubbed, capfd):
    stubbed.fail = TABLE1[0]
    assert run_all.main(["--only", "table1", "--out", str(tmp_path)]) == 1
    assert stubbed.calls == [f"{name} 1" for name in TABLE1]
    out, err = capfd.readouterr()
    assert "partial (1 of 2 runs done)  table1.md" in out, "the report was not drawn"
    last = err.splitlines()[-1]
    assert last.startswith("failed: quick/headline_b800_w20 seed 1; to run it again: cd ")
    again = subprocess.run(["bash", "-c", last.split("again: ")[1]], capture_output=True, text=True)
    assert "the loss is nan" in again.stderr


def test_a_run_that_exits_0_without_a_complete_log_has_failed(tmp_path, stubbed, monkeypatch, capfd):
    monkeypatch.setattr(commands, "train_command", lambda *a, **k: (["true"], {}))
    assert run_all.main(["--only", "table1", "--out", str(tmp_path)]) == 1
    assert capfd.readouterr().err.count("failed: quick/") == 2


def test_failing_data_or_report_makes_the_exit_code_non_zero(tmp_path, stubbed, monkeypatch, capfd):
    monkeypatch.setattr(plan.Plan, "data_command", lambda self, python: (["false"], {}))
    assert run_all.main(["--only", "table1", "--out", str(tmp_path)]) == 1
    assert stubbed.calls == [] and "failed: the embedded data set" in capfd.readouterr().err
    monkeypatch.setattr(plan.Plan, "data_command", lambda self, python: (["true"], {}))
    monkeypatch.setattr(plan.Plan, "report_command", lambda self, artefact, python: (["false"], {}))
    assert run_all.main(["--only", "table1", "--out", str(tmp_path)]) == 1
    assert "failed: reproduce/table1.py" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("interruptions", "calls", "ends"),
    [
        ("75+", 2, 0),  # preempted after a checkpoint
        ("76+ 75+ -9+ 143+", 5, 0),  # as long as it gets on
        ("-9", 2, 0),  # killed before its first checkpoint: once more
        ("76+ 76 76+ 76", 5, 0),
        ("76 76 0", 2, 76),  # twice without getting anywhere
        ("76+ -9 76", 3, 76),
        ("76+ done76", 2, 0),  # killed when all was written
        ("2", 1, 2),  # a user error
        ("1+", 1, 1),  # a crash
    ],
)
def test_an_interrupted_run_goes_on_as_long_as_it_gets_anywhere(interruptions, calls, ends, tmp_path, stubbed, capfd):
    stubbed.interruptions = {TABLE1[0]: interruptions}
    assert run_all.main(["--only", "table1", "--out", str(tmp_path)]) == (1 if ends else 0)
    assert (tmp_path / "calls_headline_b800_w20").read_text() == "x" * calls
    out, err = capfd.readouterr()
    lines = [line for line in out.splitlines() if "interrupted (" in line]
    assert len(lines) == calls - 1 and "Traceback" not in err
    for line, how in zip(lines, interruptions.split()):
        code = how.removesuffix("+")
        assert line.startswith(f"[1/2] quick/headline_b800_w20 seed 1: interrupted (exit code {code}), going on from ")
    if lines:
        assert lines[0].endswith("from update 10" if interruptions.split()[0].endswith("+") else "from the beginning")
    assert (f"FAILED (exit code {ends})" in out) == bool(ends) and "quick/baseline_b128_w2 seed 1 ..." in out


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_killed_half_way_then_again_does_only_the_rest(signum, tmp_path, stubbed, capfd):
    stubbed.slow = TABLE1[1]
    pid_file = tmp_path / "slow_pid"
    # kills us, the runner, once the second run is under way
    wait = f"until [ -s {shlex.quote(str(pid_file))} ]; do sleep 0.1; done; kill -{signum.value} {os.getpid()}"
    killer = subprocess.Popen(["bash", "-c", wait])
    try:
        assert run_all.main(["--only", "table1", "--out", str(tmp_path)]) == 128 + signum
    finally:
        killer.kill()  # should the runner have failed early: not to wait for ever for a process that is not ours
        killer.wait()
    out, err = capfd.readouterr()
    assert "run the same command again" in err and "FAILED" not in out
    assert gone(int(pid_file.read_text())), "the run's own child outlived it"
    stubbed.slow = ""
    stubbed.calls.clear()
    assert run_all.main(["--only", "table1", "--out", str(tmp_path)]) == 0
    assert stubbed.calls == ["quick/baseline_b128_w2 1"]


def gone(pid: int) -> bool:
    """Whether a process has ended, given five seconds; one that nobody has collected yet has ended too."""
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False
