"""Job scripts as bash runs them, and how they are submitted: with stand-ins for the schedulers' commands.

What real schedulers do with them is in test_real_jobs.py.
"""

import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reproduce import run_all, supervise
from reproduce.artefacts import ARTEFACTS
from reproduce.errors import EXIT_PREEMPTED, ConfigError, UserError
from reproduce.launchers import SCHEDULERS, site
from reproduce.launchers.ranks import Start
from reproduce.runner import jobs, script, submit
from reproduce.runner.plan import Plan
from tests.helpers import ROOT
from tests.helpers.stub_run import write_log

NASTY = ["it's a \"space\"", "$(touch HACKED)", "`touch HACKED`;touch HACKED", "-n", "$HOME*"]
COMMANDS = ("srun", "mpirun", "sbatch", "qsub", "squeue", "qstat", "scontrol", "module")
# Writes its arguments down, and answers as $STUB_DIR/NAME.sh says if there is one.
STUB = """#!{python}
import json, os, sys
name, folder = os.path.basename(sys.argv[0]), os.environ["STUB_DIR"]
with open(os.path.join(folder, "calls"), "a") as file:
    file.write(json.dumps([name, *sys.argv[1:]]) + "\\n")
answer = os.path.join(folder, name + ".sh")
os.execvp("bash", ["bash", answer, *sys.argv[1:]]) if os.path.exists(answer) else None
"""


class Stubs:
    """Commands in a folder of their own, the calls made of them, and what they answer."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        for name in (*COMMANDS, "job python"):
            path = folder / "bin" / name
            path.write_text(STUB.format(python=sys.executable))
            path.chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "STUB_DIR": str(folder),
                            "SLURM_JOB_ID": "77", "JOB_ID": "77", "PBS_JOBID": "77.server",
                            "SGE_LOCALDIR": "/fast disk"}  # fmt: skip

    def answers(self, name: str, text: str) -> None:
        (self.folder / f"{name}.sh").write_text(text)

    @property
    def calls(self) -> list[list[str]]:
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def stubs(tmp_path, monkeypatch):
    made = Stubs(tmp_path / "stubs")
    monkeypatch.setenv("PATH", made.environment["PATH"])
    monkeypatch.setenv("STUB_DIR", str(made.folder))
    return made


def context(launcher: str, out: Path, stubs: Stubs, **options) -> tuple[list[jobs.ClusterJob], script.Context]:
    where = site.load("abci").filled(launcher)
    data = options.pop("data", out / "data")
    plan = Plan("paper", ARTEFACTS, only=["table1"], data=data, out=out, start=Start(launcher, where))
    python = str(stubs.folder / "bin" / "job python")
    arguments = ("--tier", "paper", "--launcher", launcher, "--cluster", f"{out}.toml", "--seeds", "1")
    (out / "jobs").mkdir(parents=True, exist_ok=True)
    return jobs.jobs(plan, where, 8), script.Context(launcher, where, "", out, data, python, "paper", arguments,
                                                      options.pop("preflight", False))  # fmt: skip


def run_script(text: str, stubs: Stubs, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(["bash", "-c", text], env=stubs.environment, cwd=cwd, capture_output=True, text=True)


# ---- nothing a user gives is ever run -------------------------------------------------------------------------------


@pytest.mark.parametrize("launcher", SCHEDULERS)
@pytest.mark.parametrize("name", NASTY)
def test_a_strange_path_arrives_literally(launcher, name, stubs, tmp_path):
    out, data = tmp_path / "out" / name, tmp_path / "data" / name
    found, made = context(launcher, out, stubs, data=data, preflight=True)
    done = run_script(script.script(found[0], made), stubs, tmp_path)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("HACKED")) and not (ROOT / "HACKED").exists()
    preflight = next(call for call in stubs.calls if "reproduce.engine.preflight" in call)
    assert preflight[preflight.index("--data") + 1] == str(data)
    inside = next(call for call in stubs.calls if "--inside" in call)
    assert inside[inside.index("--out") + 1] == str(out) and inside[inside.index("--cluster") + 1] == f"{out}.toml"
    assert (out / "jobs" / "table1.exit").read_text() == "0\n"


@pytest.mark.parametrize("launcher", SCHEDULERS)
@pytest.mark.parametrize("name", NASTY)
def test_so_it_does_in_the_printed_submission(launcher, name, stubs, tmp_path):
    out = tmp_path / "out" / name
    found, made = context(launcher, out, stubs)
    (out / "jobs").rmdir()
    for command in ("sbatch", "qsub"):
        stubs.answers(command, "echo 41")
    done = run_script(script.submission(found, made), stubs, tmp_path)
    assert done.returncode == 0 and not list(tmp_path.rglob("HACKED")), done.stderr
    for job in found:
        assert (out / "jobs" / f"{job.name}.sh").read_text() == script.script(job, made)
    assert [call[-1] for call in stubs.calls] == ["table1.sh", "report.sh"] and "41" in " ".join(stubs.calls[1])


@pytest.mark.parametrize("launcher", ["local", "torchrun", "openmpi"])
@pytest.mark.parametrize("name", NASTY)
def test_and_in_the_commands_of_a_dry_run(launcher, name, tmp_path, capsys):
    assert run_all.main(["--launcher", launcher, "--out", str(tmp_path / name), "--only", "table1", "--dry-run"]) == 0
    trains = [shlex.split(line) for line in capsys.readouterr().out.splitlines() if "--seed" in line]
    assert len(trains) == 2
    assert all(words[words.index("--out") + 1] == str(tmp_path / name) for words in trains)


@pytest.mark.parametrize("launcher", SCHEDULERS)
@pytest.mark.parametrize("name", ["line\nbreak", "carriage\rreturn", "bell\a"])
def test_a_control_character_is_refused(launcher, name, stubs, tmp_path):
    with pytest.raises(ConfigError, match="--cluster .* no line break"):
        made = context(launcher, tmp_path / "fine", stubs)[1]
        dataclasses.replace(made, site=dataclasses.replace(made.site, path=f"/clusters/{name}.toml"))
    for options in ({"data": Path(f"/data/{name}")}, {}):
        with pytest.raises(ConfigError, match="no line break or other control character") as error:
            context(launcher, tmp_path / ("out" if options else name), stubs, **options)
        assert "\n" not in str(error.value)


# ---- how a job ends -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("launcher", "code", "again"),
    [
        ("slurm", 75, ["scontrol", "requeue", "77"]),
        ("pbs", 75, ["qsub", "-W", "depend=afterany:41"]),
        ("uge", 99, None),
    ],
)
def test_a_job_that_was_stopped_is_started_again(launcher, code, again, stubs, tmp_path):
    found, made = context(launcher, tmp_path / "out", stubs)
    stubs.answers("job python", "exit 75")
    stubs.answers("qsub", "echo 41")
    text = script.script(found[0], made)
    assert run_script(text, stubs, tmp_path).returncode == code
    assert again is None or any(call[: len(again)] == again for call in stubs.calls)
    ended = tmp_path / "out" / "jobs" / "table1.exit"
    assert not ended.exists(), "nobody waits for the end of a job that goes on"
    for _ in range(script.MAX_ATTEMPTS - 2):
        run_script("echo again >>" + shlex.quote(str(ended.with_suffix(".attempts"))), stubs, tmp_path)
    before = len(stubs.calls)
    assert run_script(text, stubs, tmp_path).returncode == 75 and ended.read_text() == "75\n"
    assert not any(call[0] in ("scontrol", "qsub") for call in stubs.calls[before:]), "again and again"


def test_a_bad_node_ends_the_job_before_it_trains(stubs, tmp_path):
    found, made = context("slurm", tmp_path / "out", stubs, preflight=True)
    stubs.answers("srun", 'case "$*" in *preflight*) exit 2 ;; esac')
    assert run_script(script.script(found[0], made), stubs, tmp_path).returncode == 2
    assert (tmp_path / "out" / "jobs" / "table1.exit").read_text() == "2\n"
    assert len(stubs.calls) == 1, stubs.calls


def test_data_goes_to_the_nodes_own_storage_first(stubs, tmp_path):
    found, made = context("uge", tmp_path / "out", stubs)
    stubs.environment["SGE_JOB_HOSTLIST"] = "/the hosts"
    assert run_script(script.script(found[0], made), stubs, tmp_path).returncode == 0
    stage, inside = stubs.calls
    assert stage[:6] == ["mpirun", "-np", "2", "--map-by", "ppr:1:node", "--bind-to"], "once per node"
    assert stage[stage.index("--hostfile") + 1] == "/the hosts"
    assert stage[stage.index("--to") + 1] == inside[inside.index("--data") + 1] == "/fast disk/imagenet"


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_is_handed_on_and_waited_for(signum, stubs, tmp_path):
    found, made = context("slurm", tmp_path / "out", stubs)
    mark = tmp_path / "trapped"
    stubs.answers("job python", f"trap 'sleep 0.5; touch {mark}; exit 75' TERM; touch {tmp_path / 'up'}; "
                  "while :; do sleep 0.1; done")  # fmt: skip
    text = script.script(found[0], made)
    job = subprocess.Popen(["bash", "-c", text], env=stubs.environment, cwd=tmp_path)
    give_up = time.monotonic() + 60
    while not (tmp_path / "up").exists() and time.monotonic() < give_up:
        time.sleep(0.05)
    job.send_signal(signum)
    assert job.wait(60) == 75 and mark.exists()
    assert ["scontrol", "requeue", "77"] in stubs.calls


# ---- submitting -----------------------------------------------------------------------------------------------------


def test_jobs_are_handed_in_in_order_and_remembered(stubs, tmp_path):
    found, made = context("slurm", tmp_path / "out", stubs)
    stubs.answers("sbatch", 'case "$*" in *report*) echo 42 ;; *) echo "41;cluster" ;; esac')
    (made.out / "jobs").mkdir(parents=True, exist_ok=True)
    (made.out / "jobs" / "table1.exit.new").symlink_to(tmp_path / "victim")  # the job would write through it
    assert submit.submit(found, made) == {"table1": "41", "report": "42"}
    assert not (made.out / "jobs" / "table1.exit.new").is_symlink()
    assert stubs.calls == [["sbatch", "--parsable", "table1.sh"],
                           ["sbatch", "--parsable", "--dependency=afterany:41", "report.sh"]]  # fmt: skip
    stubs.answers("squeue", "echo 41 table1")
    with pytest.raises(UserError, match="still there: wait for them, or: scancel 41 42"):
        submit.submit(found, made)
    stubs.answers("squeue", "echo 'Invalid job id specified' >&2; exit 1")
    assert submit.submit(found, made) == {"table1": "41", "report": "42"}


def test_a_refusal_is_one_line_and_says_what_was_handed_in(stubs, tmp_path):
    found, made = context("pbs", tmp_path / "out", stubs)
    stubs.answers("qsub", 'case "$*" in *report*) echo "Unknown queue" >&2; exit 38 ;; esac; echo 41.server')
    with pytest.raises(UserError, match=r"PBS refused report .*: Unknown queue; submitted before: qdel 41.server"):
        submit.submit(found, made)
    told = json.loads((tmp_path / "out" / "jobs" / "submitted.json").read_text())
    assert told == {"launcher": "pbs", "jobs": {"table1": "41.server"}}


@pytest.mark.parametrize("text", [
    '{"launcher": "slurm", "jobs": {"table1": 41}}', '{"launcher": "slurm", "jobs": {"table1": "4\\u00001"}}',
    "[" * 9999, '{"jobs": {}}', "[]",
])  # fmt: skip
def test_jobs_that_cannot_be_told_are_asked_after(text, stubs, tmp_path):
    found, made = context("slurm", tmp_path / "out", stubs)
    (tmp_path / "out" / "jobs" / "submitted.json").write_text(text)
    with pytest.raises(UserError, match="submitted.json: does not say which jobs were submitted") as error:
        submit.submit(found, made)
    assert "\n" not in str(error.value) and not stubs.calls


def test_a_scheduler_may_answer_in_any_bytes(stubs, tmp_path):
    found, made = context("slurm", tmp_path / "out", stubs)
    stubs.answers("sbatch", "printf '\\377no' >&2; exit 1")
    with pytest.raises(UserError, match="Slurm refused table1 .*: \ufffdno"):
        submit.submit(found, made)


def test_a_folder_that_is_no_utf8_is_refused(stubs, tmp_path):
    made = context("slurm", tmp_path / "out", stubs)[1]
    with pytest.raises(ConfigError, match="--out .*: must be UTF-8"):
        dataclasses.replace(made, out=Path("/out/\udcff"))


def test_no_scheduler_is_one_line(tmp_path, stubs, monkeypatch):
    found, made = context("slurm", tmp_path / "out", stubs)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="sbatch: not found: run this on a login node"):
        submit.submit(found, made)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ({"table1": 0, "report": 0}, "done done"),
        ({"table1": 0, "report": 1}, "done FAILED (exit code 1)"),
        ({"table1": 2, "report": 0}, "FAILED (exit code 2) done"),
        ({"report": 0}, "done FAILED (ended without an exit code)"),
    ],
)
def test_waiting_ends_with_the_last_job(ends, said, stubs, tmp_path, monkeypatch):
    monkeypatch.setattr(submit, "POLL_SECONDS", 0)
    _, made = context("slurm", tmp_path / "out", stubs)
    for name, code in ends.items():
        (made.out / "jobs" / f"{name}.exit").write_text(f"{code}\n")
    lines = []
    assert submit.wait({"table1": "41", "report": "42"}, made, lines.append) is ("FAILED" not in said)
    assert " ".join(line.partition(": ")[2] for line in lines) == said


def test_waiting_does_not_wait_for_a_job_that_vanished(stubs, tmp_path, monkeypatch):
    monkeypatch.setattr(submit, "POLL_SECONDS", 0)
    _, made = context("slurm", tmp_path / "out", stubs)
    with pytest.raises(UserError, match=r"gone from the queue without an end: table1 \(41\), report \(42\)"):
        submit.wait({"table1": "41", "report": "42"}, made, print)


# ---- inside a job ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codes", "ends", "trained"),
    [([0, 0], 0, 2), ([75], EXIT_PREEMPTED, 1), ([2, 0], 1, 2), ([76, 0, 0], 0, 3)],
)
def test_inside_a_job_its_own_runs_are_made(codes, ends, trained, tmp_path, monkeypatch):
    """A run that was asked to stop ends the job, for the scheduler to start it again; one that lost a rank does not."""
    out, calls = tmp_path / "out", []

    def run(self, argv, env, capture=False):
        calls.append(argv)
        code = codes[len(calls) - 1]
        if code == 0:
            name = next(word for word in argv if word.startswith("paper_configs/"))
            write_log(out, name.removeprefix("paper_configs/").removesuffix(".toml"))
        return code, ""

    monkeypatch.setattr(supervise.Foreground, "run", run)
    arguments = ["--launcher", "slurm", "--cluster", "local", "--out", str(out), "--processes", "4"]
    assert run_all.main([*arguments, "--inside", "table1"]) == ends
    assert len(calls) == trained and all(argv[0] == "srun" for argv in calls)


def test_inside_a_job_mpirun_gets_the_jobs_hosts(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(supervise.Foreground, "run", lambda self, argv, env: (calls.append(argv) or 2, ""))
    monkeypatch.setenv("SGE_JOB_HOSTLIST", "/my hosts")
    arguments = ["--launcher", "uge", "--cluster", "abci", "--out", str(tmp_path), "--processes", "4"]
    assert run_all.main([*arguments, "--inside", "table1"]) == 1
    assert calls and all(argv[argv.index("--hostfile") + 1] == "/my hosts" for argv in calls)
