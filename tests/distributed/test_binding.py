"""A process is tied to the processors of its NUMA node and to its adapter, as the variables say, and no further."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reproduce.engine.dist.binding import bind, cpu_list, parse_cpu_list
from reproduce.errors import ConfigError
from tests.helpers import ROOT

LISTS = {"REPRODUCE_NUMA": "0,0,1,1", "REPRODUCE_HCA": "mlx5_0,mlx5_0,mlx5_1,mlx5_1"}  # the paper's machine
ALL_THREADS = """
import os, sys, threading
from pathlib import Path
from reproduce.engine.dist.binding import bind
stop = threading.Event()
threading.Thread(target=stop.wait).start()
print(bind(int(sys.argv[2]), os.environ, Path(sys.argv[1])))
tasks = os.listdir("/proc/self/task")
print(len(tasks), *{str(sorted(os.sched_getaffinity(int(task)))) for task in tasks}, os.environ.get("NCCL_IB_HCA"))
stop.set()
"""


@pytest.fixture
def allowed():
    """The processors we may use, as they were before the test."""
    before = os.sched_getaffinity(0)
    yield before
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), before)


def machine(folder: Path, *cpulists: str) -> Path:
    for number, text in enumerate(cpulists):
        (folder / f"node{number}").mkdir()
        (folder / f"node{number}" / "cpulist").write_text(f"{text}\n")
    return folder


def test_nothing_happens_unless_asked(allowed):
    environ = {"NCCL_IB_HCA": "mlx5_7", "REPRODUCE_NUMA": ""}
    assert bind(3, environ) == {} and environ == {"NCCL_IB_HCA": "mlx5_7", "REPRODUCE_NUMA": ""}
    assert os.sched_getaffinity(0) == allowed


@pytest.mark.parametrize("local_rank", [1, 2])
def test_all_threads_go_to_the_node_of_the_list(tmp_path, allowed, local_rank):
    first, last = min(allowed), max(allowed)
    folder = machine(tmp_path, f"{first}", f"{last},{last + 5000}-{last + 5003}")  # more than the scheduler allows
    command = [sys.executable, "-c", ALL_THREADS, str(folder), str(local_rank)]
    done = subprocess.run(command, env=os.environ | LISTS, cwd=ROOT, capture_output=True, text=True, check=True)
    numa, cpu = (0, first) if local_rank == 1 else (1, last)
    facts = {"numa": numa, "cpus": str(cpu), "hca": f"mlx5_{numa}"}
    assert done.stdout == f"{facts}\n2 [{cpu}] =mlx5_{numa}\n"


def test_each_variable_works_alone_and_what_a_user_set_stays(tmp_path, allowed):
    folder = machine(tmp_path, cpu_list(allowed))
    environ = {"REPRODUCE_NUMA": "0"}
    assert bind(0, environ, folder) == {"numa": 0, "cpus": cpu_list(allowed)} and "NCCL_IB_HCA" not in environ
    environ = {"REPRODUCE_HCA": "mlx5_0:1"}
    assert bind(0, environ, folder) == {"hca": "mlx5_0:1"} and environ["NCCL_IB_HCA"] == "=mlx5_0:1"
    environ = {"REPRODUCE_HCA": "mlx5_0", "NCCL_IB_HCA": "mlx5_7"}
    assert bind(0, environ, folder) == {"hca": "mlx5_7"} and environ["NCCL_IB_HCA"] == "mlx5_7"


@pytest.mark.parametrize(
    ("name", "text", "local_rank", "says"),
    [
        ("REPRODUCE_NUMA", "0,x", 0, "REPRODUCE_NUMA = 0,x: 'x' is not a number"),
        ("REPRODUCE_NUMA", "0,,1", 0, "'' is not a number"),
        ("REPRODUCE_NUMA", "-1", 0, "'-1' is not a number"),
        ("REPRODUCE_NUMA", "0,0", 2, "has no entry for local rank 2: give one for each process"),
        ("REPRODUCE_NUMA", "3", 0, "this machine has no NUMA node 3, only 0, 1:"),
        ("REPRODUCE_NUMA", "1", 0, "NUMA node 1 has the processors 9000-9003, and the scheduler allows"),
        ("REPRODUCE_HCA", "mlx5_0,$(id)", 0, "'$(id)' is not an adapter"),
        ("REPRODUCE_HCA", "mlx5_0", 1, "has no entry for local rank 1"),
    ],
)
def test_bad_values_are_one_line(tmp_path, allowed, name, text, local_rank, says):
    folder, environ = machine(tmp_path, cpu_list(allowed), "9000-9003"), {name: text}
    with pytest.raises(ConfigError) as error:
        bind(local_rank, environ, folder)
    assert says in str(error.value) and "\n" not in str(error.value)
    assert environ == {name: text} and os.sched_getaffinity(0) == allowed


def test_processor_lists_are_the_kernels():
    for text in ("0", "0-3", "0-19,40-59", "1,3,5-6", ""):
        assert cpu_list(parse_cpu_list(text + "\n")) == text
    assert parse_cpu_list("0-2,8") == {0, 1, 2, 8}
