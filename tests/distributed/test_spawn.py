"""The launcher: exit codes, who is named, signals, and that nobody is left behind, whatever is killed and when.

The ranks are tiny stand-in scripts: `Job("exit 0", "sleep")` starts one rank for each of these behaviours.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reproduce.engine import spawn
from reproduce.errors import EXIT_LOST, EXIT_PREEMPTED
from tests.helpers import ROOT
from tests.helpers.processes import children_of

LAUNCHER = """
import sys
from reproduce.engine import spawn
assert "torch" not in sys.modules, "importing torch takes seconds"
spawn.GRACE_SECONDS = float(sys.argv[1])
sys.exit(spawn.launch([sys.executable, *sys.argv[2:]], len(sys.argv) - 4))
"""
RANK = """
import os, signal, sys, time
from pathlib import Path
folder, behaviours = Path(sys.argv[1]), sys.argv[2:]
rank = int(os.environ["RANK"])

def wait_for(name):
    while not (folder / name).exists():
        time.sleep(0.01)

def note(signum, _):
    (folder / f"heard_{rank}").open("a").write(f"{signal.Signals(signum).name}\\n")

for behaviour in behaviours[rank].split(", "):
    what, _, argument = behaviour.partition(" ")
    if what == "hear":        # signals, and go on
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(signum, note)
    elif what == "obey":      # exit with a code on SIGTERM
        signal.signal(signal.SIGTERM, lambda *_, code=int(argument): os._exit(code))
    elif what == "ready":
        (folder / f"starting_{rank}").write_text(str(os.getpid()))
        os.rename(folder / f"starting_{rank}", folder / f"pid_{rank}")
    elif what == "after":     # the others
        for other in argument.split():
            wait_for(f"pid_{other}")
    elif what == "outlive":   # another, until the launcher has learnt of its end
        wait_for(f"pid_{argument}")
        while Path("/proc", (folder / f"pid_{argument}").read_text()).exists():
            time.sleep(0.01)
    elif what == "wait":      # for a file
        wait_for(argument)
    elif what == "pause":
        time.sleep(float(argument))
    elif what == "met":       # all others, says this rank
        os.write(int(os.environ["REPRODUCE_MET"]), b"1")
    elif what == "die":
        os.kill(os.getpid(), int(argument))
    elif what == "say":
        print(argument, file=sys.stderr, flush=True)
    elif what == "environment":
        (folder / f"environment_{rank}").write_text("\\n".join(f"{k}={v}" for k, v in os.environ.items()))
    elif what == "exit":
        os._exit(int(argument))
time.sleep(300)
"""


class Job:
    """A launcher with its ranks; kills whatever is left of them at the end. It ignores the signals in `ignored`."""

    def __init__(self, folder: Path, *ranks: str, grace: float = 30, ignored=(), env=None):
        self.folder, self.size = folder, len(ranks)
        script = folder / "rank.py"
        script.write_text(RANK)
        command = [sys.executable, "-c", LAUNCHER, str(grace), str(script), str(folder), *ranks]

        def dispositions():  # those we were started with ourselves may be others: a background job ignores SIGINT
            for signum in spawn.FORWARDED:
                signal.signal(signum, signal.SIG_IGN if signum in ignored else signal.SIG_DFL)

        self.process = subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=dispositions,
            env=env,
        )  # fmt: skip

    def pids(self) -> list[int]:
        """Of all ranks, once each has said that it is ready."""
        until(lambda: all((self.folder / f"pid_{rank}").exists() for rank in range(self.size)))
        return [int((self.folder / f"pid_{rank}").read_text()) for rank in range(self.size)]

    def ends(self, within: float = 20) -> tuple[int, str]:
        """Exit code and what was said; fails if it takes longer than `within` seconds or leaves a process behind."""
        said = self.process.communicate(timeout=within)[1]
        assert self.left() == [], "a rank outlived its launcher"
        return self.process.returncode, said

    def left(self) -> list[int]:
        """Launcher and ranks that are still running."""
        left = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if str(self.folder).encode() in path.read_bytes():
                    left.append(int(path.parent.name))
        return left

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate()


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has collected yet has ended too."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def until(condition, seconds: float = 20) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)


# ---- how it ends ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranks", "code"),
    [
        (["exit 0", "exit 0"], 0),
        (["exit 3"], 3),
        (["exit 0", "ready, exit 3", "sleep"], 3),
        (["ready, exit 0", "after 0, exit 0"], 0),
        (["ready, exit 75", "outlive 0, exit 75"], EXIT_PREEMPTED),
        (["ready, exit 76", "sleep"], EXIT_LOST),
        (["ready, exit 1", "outlive 0, exit 2"], 2),
        (["ready, exit 2", "after 0, die 6"], 2),
        (["ready, exit 7", "outlive 0, exit 1"], 7),
    ],
)
def test_exit_codes(tmp_path, ranks, code):
    with Job(tmp_path, *ranks) as job:
        assert job.ends() == (code, "")


@pytest.mark.parametrize(("signum", "name"), [(9, "SIGKILL"), (11, "SIGSEGV"), (15, "SIGTERM"), (37, "signal 37")])
def test_a_rank_that_dies_of_a_signal_is_named(tmp_path, signum, name):
    with Job(tmp_path, "ready", "met, ready", f"ready, after 0 1, die {signum}") as job:
        says = f"error: rank 2 (pid {job.pids()[2]}) died of {name}: run the same command again"
        assert job.ends(within=6) == (EXIT_LOST, f"{says} to go on from the last checkpoint\n")


@pytest.mark.parametrize("signum", [6, 9])
def test_a_rank_that_dies_before_all_have_met_is_not_called_lost(tmp_path, signum):
    """It would die again: nothing starts the same command once more after exit code 2."""
    with Job(tmp_path, "ready", f"ready, after 0, die {signum}") as job:
        pid, name = job.pids()[1], signal.Signals(signum).name
        code, said = job.ends(within=6)
    assert code == 2 and said.startswith(f"error: rank 1 (pid {pid}) died of {name}: that was before all ranks had met")
    assert said.count("\n") == 1 and "checkpoint" not in said


def test_only_the_first_death_is_named_and_outranks_what_follows_from_it(tmp_path):
    """Rank 0 has learnt of the loss, the third aborts, as NCCL does: by then all has been said."""
    with Job(tmp_path, "met, ready, wait pid_1, exit 1", "wait go, ready, die 9", "ready, wait pid_1, die 6") as job:
        until(lambda: (tmp_path / "pid_0").exists() and (tmp_path / "pid_2").exists())
        os.kill(job.process.pid, signal.SIGSTOP)  # so that it sees all three ends at once
        (tmp_path / "go").write_text("")
        until(lambda: all(gone(pid) for pid in job.pids()))
        os.kill(job.process.pid, signal.SIGCONT)
        code, said = job.ends()
    assert code == EXIT_LOST and said.startswith("error: rank 1 ") and said.count("\n") == 1


def test_a_user_error_is_said_once(tmp_path):
    """The others would repeat it after five seconds, as `train` does."""
    with Job(tmp_path, "say error: once, exit 2", *["hear, ready"] * 2) as job:
        assert job.ends() == (2, "error: once\n")


def test_the_others_are_given_time_to_end_by_themselves(tmp_path):
    """One has failed in its own way, and ends before the other is done: not the moment for a signal."""
    with Job(tmp_path, "after 1, exit 1", "hear, ready, pause 1, say the traceback of another, exit 1") as job:
        assert job.ends() == (1, "the traceback of another\n")
        assert not (tmp_path / "heard_1").exists()


def test_a_rank_may_save_after_the_others_have_left(tmp_path):
    """Asked to stop, not by us: the first ends with 75, the one that writes the checkpoint takes longer."""
    with Job(tmp_path, "hear, ready, wait saved, exit 75", "exit 75") as job:
        until(lambda: (tmp_path / "pid_0").exists())
        time.sleep(7.5)  # longer than a rank that hangs is given
        (tmp_path / "saved").write_text("")
        assert job.ends() == (EXIT_PREEMPTED, "") and not (tmp_path / "heard_0").exists()


# ---- signals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_every_rank_once(tmp_path, signum):
    with Job(tmp_path, *[f"hear, ready, wait heard_{rank}, wait go, exit 75" for rank in (0, 1)]) as job:
        job.pids()
        os.killpg(job.process.pid, signum)  # as a terminal or a scheduler does
        until(lambda: (tmp_path / "heard_0").exists() and (tmp_path / "heard_1").exists())
        (tmp_path / "go").write_text("")
        assert job.ends() == (EXIT_PREEMPTED, "")
        assert [(tmp_path / f"heard_{rank}").read_text() for rank in (0, 1)] == [f"{signum.name}\n"] * 2


def test_ranks_that_die_of_a_signal_handed_on_are_not_called_lost(tmp_path):
    with Job(tmp_path, "ready", "ready") as job:
        job.pids()
        os.kill(job.process.pid, signal.SIGUSR1)
        assert job.ends() == (128 + signal.SIGUSR1, "")


def test_a_rank_that_does_not_obey_is_killed_after_the_grace_period(tmp_path):
    with Job(tmp_path, "obey 75, ready", "hear, ready", grace=1) as job:
        job.pids()
        began = time.monotonic()
        os.kill(job.process.pid, signal.SIGTERM)
        assert job.ends() == (EXIT_PREEMPTED, "")
        assert time.monotonic() - began > 1


def test_an_ignored_signal_stays_ignored(tmp_path):
    """As under nohup."""
    with Job(tmp_path, "hear, ready, wait heard_0, exit 0", ignored=[signal.SIGHUP]) as job:
        job.pids()
        os.kill(job.process.pid, signal.SIGHUP)
        os.kill(job.process.pid, signal.SIGUSR1)
        assert job.ends() == (0, "")
        assert (tmp_path / "heard_0").read_text() == "SIGUSR1\n"


# ---- nobody is left behind -------------------------------------------------------------------------------------------


def test_no_rank_survives_the_launcher(tmp_path):
    """Not even one that ignores every signal, when the launcher is killed so that it can do nothing more."""
    with Job(tmp_path, "hear, ready", "ready", "ready") as job:
        os.kill(job.pids()[1], signal.SIGSTOP)
        job.process.kill()
        until(lambda: job.left() == [], 5)


def test_a_launcher_killed_while_it_starts_its_ranks_leaves_none(tmp_path):
    for delay in (0.0, 0.02, 0.04, 0.06):
        with Job(tmp_path, *["ready"] * 8) as job:
            until(lambda: children_of(job.process.pid))
            time.sleep(delay)
            job.process.kill()
            job.process.wait()
            until(lambda job=job: job.left() == [], 5)


def test_a_stopped_rank_goes_too(tmp_path):
    with Job(tmp_path, "ready, wait stopped, exit 76", "ready") as job:
        os.kill(job.pids()[1], signal.SIGSTOP)
        (tmp_path / "stopped").write_text("")
        assert job.ends(within=6) == (EXIT_LOST, "")


def test_what_cannot_be_started_is_one_line_and_leaves_none():
    code = """
import subprocess, sys
from reproduce.engine import spawn
started = []
class Popen(subprocess.Popen):
    def __init__(self, *args, **options):
        if len(started) == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        super().__init__([sys.executable, "-c", "import time; time.sleep(300)"], **options)
        started.append(self)
spawn.subprocess.Popen = Popen
code = spawn.main(["4", "x.toml"])
assert [child.wait(5) for child in started] == [-9, -9]
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert done.stderr == "error: cannot start process 2: Resource temporarily unavailable: start fewer processes\n"


# ---- what the ranks are told ----------------------------------------------------------------------------------------


def test_the_environment_is_what_torch_reads(tmp_path):
    with Job(tmp_path, *["environment, exit 0"] * 3, env={**os.environ, "OMP_NUM_THREADS": "2"}) as job:
        assert job.ends() == (0, "")
    ports = set()
    for rank in range(3):
        lines = (tmp_path / f"environment_{rank}").read_text().splitlines()
        found = dict(line.split("=", 1) for line in lines if "=" in line)
        assert (found["RANK"], found["LOCAL_RANK"]) == (str(rank), str(rank))
        assert (found["WORLD_SIZE"], found["LOCAL_WORLD_SIZE"], found["OMP_NUM_THREADS"]) == ("3", "3", "2")
        assert found["MASTER_ADDR"] == "127.0.0.1"
        ports.add(int(found["MASTER_PORT"]))
    assert len(ports) == 1 and ports.pop() > 1023


@pytest.mark.parametrize("arguments", [[], ["x.toml"], ["0", "x.toml"], ["-1", "x.toml"]])
def test_wrong_arguments_are_one_line(arguments):
    command = [sys.executable, "-m", "reproduce.engine.spawn", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "usage: " in done.stderr


def test_another_module_is_started_likewise():
    argv = [sys.executable, "-m", "reproduce.engine.spawn", "2", "-m", "platform"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 2, done.stderr
