"""The preflight as a job starts it: real processes, a node each, of which some are not as they should be.

They share this machine's host name, so ranks (and, between hosts with a network, addresses) tell them apart.
"""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reproduce.engine import spawn
from reproduce.engine.preflight.__main__ import parse
from reproduce.errors import UserError
from tests.helpers import ROOT
from tests.helpers.data import make_config, make_folder

MODULE = [sys.executable, "-m", "reproduce.engine.preflight"]
SKEWED = """
import runpy, sys, time
true = time.time
time.time = lambda: true() + 5
sys.argv[0] = "preflight"
runpy.run_module("reproduce.engine.preflight", run_name="__main__")
"""
NVIDIA_SMI = """#!/bin/sh
for i in {gpus}; do
    echo "GPU-{node}-$i, Tesla V100-SXM2-16GB, 418.67, 1290, 1530, 0x0000000000000000"
done
"""
LIKE_THE_JOB = ["--device", "cpu", "--gpus-per-node", "2", "--gpu", "v100", "--sample", "12", "--slow-link", "0",
                "--min-memory-gib", "0.01", "--min-disk-gib", "0.001", "--timeout", "60"]  # fmt: skip


@dataclass
class Rank:
    """How one rank is started; a node of its own."""

    command: list[str] = field(default_factory=lambda: list(MODULE))
    arguments: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    open_files: int | None = None
    never_ends: bool = False


@dataclass(frozen=True)
class Done:
    codes: list[int]
    lines: list[str]  # of rank 0's table, without its head and the last line
    last: str
    errors: list[str]
    report: dict | None


@pytest.mark.parametrize("seconds", ["0", "nan", "1e12"])
def test_a_time_that_no_clock_has_is_one_line(seconds):
    with pytest.raises(UserError, match="--timeout"):
        parse(["--timeout", seconds])


def run(ranks: list[Rank], report: Path | None = None, first: int = 0) -> Done:
    """Start the ranks from `first` on, as a launcher does, and wait for them."""
    children = []
    with socket.socket() as reserved:  # nobody else is given the port before rank 0 listens
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        try:
            for number, rank in enumerate(ranks[first:], first):
                env = spawn.environment(number, len(ranks), reserved.getsockname()[1])
                env |= {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"} | rank.env
                arguments = [*rank.arguments, *(["--report", str(report)] if report and number == 0 else [])]
                children.append(
                    subprocess.Popen(
                        [*rank.command, *arguments], cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE, start_new_session=True,
                        preexec_fn=lambda files=rank.open_files: _limit(files),
                    )  # fmt: skip
                )
            texts = []
            for number, child in enumerate(children, first):
                if ranks[number].never_ends:  # rank 0, which comes before it, has spoken
                    os.killpg(child.pid, signal.SIGKILL)
                texts.append(child.communicate(timeout=240))
        finally:
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    *table, last = texts[0][0].splitlines() or [""]
    found = json.loads(report.read_text()) if report else None
    return Done([child.returncode for child in children], table[1:], last, [err for _, err in texts], found)


def _limit(open_files: int | None) -> None:
    if open_files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))


def gpus(folder: Path, node: int, count: int) -> dict[str, str]:
    """An environment in which nvidia-smi lists so many."""
    script = folder / f"bin{node}" / "nvidia-smi"
    script.parent.mkdir(parents=True)
    script.write_text(NVIDIA_SMI.format(gpus=" ".join(map(str, range(count))), node=node))
    script.chmod(0o755)
    return {"PATH": f"{script.parent}:{os.environ['PATH']}"}


def ranks_of(folder: Path, count: int) -> list[Rank]:
    """With nothing wrong: two GPUs each, and a data set of their own."""
    make_config(folder)
    ranks = []
    for number in range(count):
        data, scratch = make_folder(folder / f"data{number}"), folder / f"scratch{number}"
        scratch.mkdir()
        arguments = [str(folder / "small.toml"), "--data", str(data), "--scratch", str(scratch), *LIKE_THE_JOB]
        ranks.append(Rank(arguments=arguments, env=gpus(folder, number, 2)))
    return ranks


def line(done: Done, rank: int, *words: str) -> str:
    """The one line of the table about a rank that holds these words."""
    here = f"{socket.gethostname()} (127.0.0.1)"
    found = [row for row in done.lines if row.startswith(here) and row[len(here) :].split()[0] == str(rank)]
    found = [row for row in found if all(word in row for word in words)]
    assert len(found) == 1, (words, done.lines, done.last, done.errors)
    return found[0]


# ---- nothing wrong --------------------------------------------------------------------------------------------------


def test_where_all_is_well_it_says_so_and_the_report_has_the_facts(tmp_path):
    done = run(ranks_of(tmp_path, 3), tmp_path / "reports" / "preflight.json")
    assert done.codes == [0, 0, 0] and done.lines == [], (done.lines, done.last, done.errors)
    assert done.last.startswith("preflight: all well (3 nodes, 3 ranks, ")
    facts, rates = done.report["facts"], done.report["links"]["rates"]
    assert done.report["findings"] == [] and set(facts) == {"0", "1", "2"} and set(done.report["clocks"]) == {"1", "2"}
    assert facts["1"]["data"]["train"] == 24 and len(facts["1"]["data"]["sample"]) == 12
    assert facts["0"]["data"] == facts["2"]["data"], "another sample was drawn"
    assert all(sorted(pair[0] for pair in rates[rank]["pairs"]) == [n for n in range(3) if str(n) != rank]
               for rank in rates)  # fmt: skip
    assert all(rate > 0 for one in rates.values() for _, rate in one["pairs"])
    assert all(abs(one["offset"]) < 0.2 + one["uncertainty"] for one in done.report["clocks"].values())


# ---- one thing wrong with each of several nodes ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def faulty(tmp_path_factory) -> Done:
    """Rank 1 lacks a GPU and may open few files; 2 has another torchvision and a full disk; 3 lacks an image and has
    another clock; 4 lacks a class."""
    folder = tmp_path_factory.mktemp("faulty")
    ranks = ranks_of(folder, 5)
    ranks[1].env |= gpus(folder / "one", 1, 1)
    ranks[1].open_files = 1024
    package = folder / "packages" / "torchvision-0.0.1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.0.1\n")
    ranks[2].env["PYTHONPATH"] = str(package.parent)
    if can_mount():
        small = 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"'
        ranks[2].command = ["unshare", "--mount", "sh", "-c", small, str(folder / "scratch2"), *MODULE]
    next((folder / "data3" / "train" / "n02").iterdir()).unlink()
    ranks[3].command = [sys.executable, "-c", SKEWED]
    for part in ("train", "val"):
        (folder / "data4" / part / "n03").rename(folder / f"{part}_n03")
    return run(ranks, folder / "report.json")


def can_mount() -> bool:
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return os.geteuid() == 0 and subprocess.run(probe, capture_output=True).returncode == 0


def test_all_ranks_end_with_2_and_every_fault_is_one_line(faulty):
    assert faulty.codes == [2] * 5
    assert len(faulty.lines) == 6 + can_mount(), faulty.lines
    assert faulty.last.startswith(f"preflight: {len(faulty.lines)} findings (5 nodes, 5 ranks, ")
    assert sorted(tuple(one["ranks"]) for one in faulty.report["findings"]) == sorted(
        (int(row.split(")", 1)[1].split()[0]),) for row in faulty.lines
    )


def test_a_missing_gpu(faulty):
    line(faulty, 1, "GPUs", " 1 ", "2 (--gpus-per-node)", "nvidia-smi")


def test_a_low_limit_of_open_files(faulty):
    line(faulty, 1, "open files", "1,024", "at least 4,096 (--min-open-files)", "ulimit -n 4096")


def test_another_version_of_a_package(faulty):
    line(faulty, 2, "version of torchvision", "0.0.1", "as on 4 of 5 ranks", "install the same environment")


@pytest.mark.skipif(not can_mount(), reason="needs root and the right to mount")
def test_a_full_disk(faulty):
    line(faulty, 2, "free disk", "0.0625 MiB for --scratch", "at least 0.001 GiB (--min-disk-gib)", "free some space")


def test_a_missing_image(faulty):
    line(faulty, 3, "data", "data3/train: holds 23 images, data.train_images states 24", "complete the copy")


def test_a_skewed_clock(faulty):
    found = line(faulty, 3, "clock", "within 500 ms of rank 0's (--max-skew-ms)")
    assert 4500 < int(re.search(r" ([\d,]+) ms ahead ", found)[1].replace(",", "")) < 5500


def test_a_missing_class(faulty):
    line(faulty, 4, "data", "data4/train: holds 2 class folders: data.classes is 3")


# ---- silence --------------------------------------------------------------------------------------------------------


def test_ranks_that_never_answer_are_named_with_what_they_did_last(tmp_path):
    """Rank 1 is stopped while it looks at its GPUs, rank 2 does not begin; rank 3's nvidia-smi hangs."""
    ranks = [Rank(arguments=["--timeout", "6", "--slow-link", "0"]) for _ in range(4)]  # no data: quick facts
    for rank, script in ((1, "kill -STOP $PPID; sleep 300"), (3, "exec sleep 300")):
        ranks[rank].env |= gpus(tmp_path, rank, 0)
        (tmp_path / f"bin{rank}" / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    ranks[1].never_ends = True
    ranks[2] = Rank(command=["sleep", "300"], never_ends=True)
    done = run(ranks)
    assert done.codes == [2, -signal.SIGKILL, -signal.SIGKILL, 2]
    line(done, 1, "answer", "no answer: last at gpus", "facts within 12 s of rank 0's")
    line(done, 3, "gpus", "TimeoutError: not done after 6 s")
    assert [row for row in done.lines if row.startswith("unknown ") and " 2 " in row and "never heard of" in row]
    assert len(done.lines) == 3, done.lines


def test_without_rank_0_the_others_name_it_in_one_line():
    done = run([Rank(arguments=["--timeout", "1"]) for _ in range(2)], first=1)
    assert done.codes == [2] and done.errors[0].count("\n") == 1
    assert done.errors[0].startswith("error: rank 1 on ") and "cannot reach rank 0 at 127.0.0.1:" in done.errors[0]
