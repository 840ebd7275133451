"""Every launcher's variables, as they were seen in real ones, become the same few; contradictions are one line."""

import zlib
from dataclasses import replace

import pytest

from reproduce.engine.dist.hostlist import HostListError, expand, tasks_per_node
from reproduce.engine.dist.launcher_variables import spelled_rank
from reproduce.engine.dist.place import Place, check_consecutive, find
from reproduce.errors import ConfigError


def srun(rank=2, size=4, local=0, tasks="1(x4)", node=2, **more) -> dict[str, str]:
    """What srun of Slurm 22.05 gives a task, as far as it matters."""
    return {
        "SLURM_JOB_ID": "71", "SLURM_STEP_ID": "3", "SLURM_STEPID": "3", "SLURM_PROCID": f"{rank}",
        "SLURM_NTASKS": f"{size}", "SLURM_STEP_NUM_TASKS": f"{size}", "SLURM_LOCALID": f"{local}",
        "SLURM_NODEID": f"{node}", "SLURM_STEP_TASKS_PER_NODE": tasks, "SLURM_STEP_NODELIST": "n[1-4]",
    } | more  # fmt: skip


def mpirun(rank=2, size=4, local=2, local_size=4) -> dict[str, str]:
    """Open MPI 4.1"""
    names = ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")
    numbers = {f"OMPI_COMM_WORLD_{n}": f"{v}" for n, v in zip(names, (rank, size, local, local_size))}
    return numbers | {"PMIX_NAMESPACE": "2345271297"}


def hydra(rank=5, size=8, local=1, local_size=4) -> dict[str, str]:
    values = {"PMI_RANK": rank, "PMI_SIZE": size, "MPI_LOCALRANKID": local, "MPI_LOCALNRANKS": local_size}
    return {name: str(value) for name, value in values.items()}


TORCHRUN = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "head",
    "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "none",
}  # fmt: skip
BATCH = {"SLURM_JOB_ID": "71", "SLURM_NTASKS": "512", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
OF_MPI, OF_PBS, OF_71 = (20000 + zlib.crc32(job) % 12000 for job in (b"2345271297", b"12.pbs", b"71"))
PBS = {"MASTER_ADDR": "x1000", "PBS_JOBID": "12.pbs"}
PALS = {"PALS_RANKID": "5", "PMI_RANK": "5", "PMI_SIZE": "8", "PALS_LOCAL_RANKID": "1", "PALS_LOCAL_SIZE": "4"}


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        (TORCHRUN, Place("torchrun", 5, 8, 1, 4, 1, 2, "head", 29500)),
        (srun(), Place("slurm", 2, 4, 0, 1, 2, 4, "n1", 20000 + 16 * 71 + 3)),
        (srun(2045, 2048, 1, "4(x512)", 511), Place("slurm", 2045, 2048, 1, 4, 511, 512, "n1", 21139)),
        (srun(1, 5, 1, "2,1(x3)", 0), Place("slurm", 1, 5, 1, 2, 0, 4, "n1", 21139)),
        (srun(4, 5, 0, "2,1(x3)", 3), Place("slurm", 4, 5, 0, 1, 3, 4, "n1", 21139)),
        (srun(1, 2, 1, "2", 0), Place("slurm", 1, 2, 1, 2, 0, 1, "127.0.0.1", 21139)),
        (mpirun(), Place("openmpi", 2, 4, 2, 4, 0, 1, "127.0.0.1", OF_MPI)),
        (mpirun(5, 8, 1) | PBS, Place("openmpi", 5, 8, 1, 4, 1, 2, "x1000", OF_MPI)),
        (hydra() | PBS, Place("mpich", 5, 8, 1, 4, 1, 2, "x1000", OF_PBS)),
        (PALS | PBS, Place("pals", 5, 8, 1, 4, 1, 2, "x1000", OF_PBS)),
        ({"RANK": "5", "WORLD_SIZE": "8", "MASTER_ADDR": "pod-0", "MASTER_PORT": "23456"},
         Place("environment", 5, 8, 0, 1, 5, 8, "pod-0", 23456)),
    ],
)  # fmt: skip
def test_each_launcher_says_where_a_process_stands(environ, place):
    if place.launcher == "slurm":
        environ = environ | {"SLURM_STEP_NUM_NODES": str(place.nodes)}
    assert find(environ) == place and spelled_rank(environ) == str(place.rank)
    assert find(environ | {"TORCHELASTIC_USE_AGENT_STORE": "True"}) == replace(place, agent_store=True)


@pytest.mark.parametrize(
    ("environ", "launcher"),
    [
        ({}, "alone"), ({"WORLD_SIZE": "1"}, "alone"), ({"RANK": ""}, "alone"), (BATCH, "alone"),
        (srun(0, 1, 0, "1", 0), "slurm"), (mpirun(0, 1, 0, 1), "openmpi"), (hydra(0, 1, 0, 1), "mpich"),
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, "mpich"),
        (BATCH | {"SLURM_STEP_ID": "4294967291"}, "alone"),  # the batch script's own
        (BATCH | {"SLURM_STEPID": "4294967290"}, "alone"),  # the shell of salloc
    ],
)  # fmt: skip
def test_one_process_is_alone(environ, launcher):
    assert find(environ) == Place(launcher)


def test_what_is_said_explicitly_wins():
    """And mpirun wins over the srun that started its daemons, but not over srun's own PMI."""
    inside = srun(1, 2, 0, "1(x2)", 1) | {"MASTER_ADDR": "here", "MASTER_PORT": "1234"}
    assert (find(inside).master_addr, find(inside).master_port) == ("here", 1234)
    assert find(inside | TORCHRUN) == Place("torchrun", 5, 8, 1, 4, 1, 2, "head", 29500)
    pod = {"RANK": "5", "WORLD_SIZE": "8", "MASTER_ADDR": "pod-0"}  # of another job than the step it runs in
    assert find(srun(1, 4, 1, "2(x2)", 0) | pod) == Place("environment", 5, 8, 0, 1, 5, 8, "pod-0", OF_71)
    assert find(srun() | {"RANK": "2"}) == find(srun() | {"WORLD_SIZE": "4"}) == find(srun())
    assert find(srun(1) | mpirun(3, 4, 1, 2) | PBS).rank == 3
    assert find(srun(1) | hydra(3, 4, 1, 2) | PBS).launcher == "mpich"
    assert find(srun(1) | {"PMI_RANK": "1", "PMI_SIZE": "4"}) == find(srun(1))


def test_neighbouring_jobs_and_steps_meet_at_ports_of_their_own():
    steps = [srun(SLURM_JOB_ID=str(job), SLURM_STEP_ID=str(step)) for job in range(990, 1010) for step in range(16)]
    ports = {find(step).master_port for step in steps}
    assert len(ports) == len(steps) and min(ports) >= 1024 and max(ports) < 32768
    assert find(mpirun()).master_port != find(mpirun() | {"PMIX_NAMESPACE": "2345271298"}).master_port


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"RANK": "3"}, "RANK = 3 without WORLD_SIZE"),
        ({"WORLD_SIZE": "4"}, "WORLD_SIZE = 4 without RANK"),
        ({"PMI_RANK": "3"}, "PMI_RANK = 3 without PMI_SIZE"),
        (TORCHRUN | {"RANK": "8"}, "RANK = 8 but WORLD_SIZE = 8"),
        (TORCHRUN | {"RANK": "-1"}, "RANK = '-1': must be a whole number"),
        (TORCHRUN | {"WORLD_SIZE": "8x"}, "WORLD_SIZE = '8x': must be a whole number"),
        (TORCHRUN | {"RANK": "\u0665"}, "must be a whole number"),  # a digit, but not one of torch's
        (TORCHRUN | {"LOCAL_RANK": "4"}, "LOCAL_RANK = 4 but LOCAL_WORLD_SIZE = 4"),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": "9"}, "LOCAL_WORLD_SIZE = 9 but WORLD_SIZE = 8"),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": ""}, "LOCAL_RANK = 1 without LOCAL_WORLD_SIZE"),
        (TORCHRUN | {"MASTER_ADDR": " "}, "MASTER_ADDR is not set: 8 processes"),
        (TORCHRUN | {"MASTER_ADDR": ""}, "MASTER_ADDR is not set: 8 processes, 4 of them on this node"),
        (TORCHRUN | {"MASTER_PORT": "0"}, "MASTER_PORT = 0: must be a port"),
        (TORCHRUN | {"MASTER_PORT": "65536"}, "MASTER_PORT = 65536: must be a port"),
        (hydra(), "MASTER_ADDR is not set"),
        (srun(4), "SLURM_PROCID = 4 but SLURM_STEP_NUM_TASKS = 4"),
        (srun() | {"WORLD_SIZE": "8"}, "WORLD_SIZE = 8 but SLURM_STEP_NUM_TASKS = 4"),
        (srun(node=4), "SLURM_NODEID = 4 but SLURM_STEP_TASKS_PER_NODE = 1(x4)"),
        (srun(tasks="4(512)"), "SLURM_STEP_TASKS_PER_NODE = 4(512): '4(512)' is not of the form"),
        (srun(SLURM_STEP_NODELIST="n[1-"), "SLURM_STEP_NODELIST = n[1-: its brackets do not match"),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, "PMI_RANK = 1 without MPI_LOCALRANKID"),
    ],
)
def test_contradictions_are_one_line(environ, says):
    with pytest.raises(ConfigError) as error:
        find(environ)
    text = str(error.value)
    assert says in text and "\n" not in text
    assert text.count(": ") >= 2 or "MASTER_ADDR" in text, "the rule and the remedy"
    assert spelled_rank(environ) == (environ.get("RANK") or next(
        (environ[name] for name in ("PMI_RANK", "SLURM_PROCID") if name in environ), None))  # fmt: skip


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        (mpirun(1, 4, 0, 2), "rank 1 is process 0 of the 2 on its node"),
        (mpirun(2, 4, 1, 2), "rank 2 is process 1 of the 2 on its node"),
        (srun(0, 4, 0, "2(x2)", 0, SLURM_GTIDS="0,2"), "this node has the ranks 0,2"),  # rank 0 alone cannot see it
        (srun(1, 4, 0, "2(x2)", 1), "rank 1 is process 0"),
        (mpirun(0, 4, 0, 2), ""),
        (mpirun(3, 4, 1, 2), ""),
        (srun(3, 5, 0, "3,2", 1, SLURM_GTIDS="3,4"), ""),
        (srun(0, 4, 0, "2(x2)", 0, SLURM_GTIDS="0,1"), ""),
    ],
)
def test_two_stages_need_the_ranks_of_a_node_in_a_row(environ, says):
    environ = environ | {"MASTER_ADDR": "head"}
    if says:
        with pytest.raises(ConfigError, match=f"two_stage.*{says}.*--distribution=block"):
            check_consecutive(find(environ), environ)
    else:
        check_consecutive(find(environ), environ)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("n1", ["n1"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("g[08-11,2],login", ["g08", "g09", "g10", "g11", "g2", "login"]),
        ("a,b-[1-2]-ib,c", ["a", "b-1-ib", "b-2-ib", "c"]),
        ("r[1-2]n[0-1]", ["r1n0", "r1n1", "r2n0", "r2n1"]),
        ("n[099-101].example.org", ["n099.example.org", "n100.example.org", "n101.example.org"]),
    ],
)
def test_host_lists(text, hosts):
    assert expand(text) == hosts


@pytest.mark.parametrize("text", [
    "", ",", "n[1-3", "n1-3]", "n[3-1]", "n[a-b]", "n[]", "n[[1]]", "a],b[1", "n[1-9999999999]", "[1]" * 2000,
    "n[" + "9" * 5000 + "]",
])  # fmt: skip
def test_bad_host_lists(text):
    with pytest.raises(HostListError):
        expand(text)


def test_tasks_per_node():
    assert tasks_per_node("4(x512)") == [4] * 512 and tasks_per_node("2,1(x3),4") == [2, 1, 1, 1, 4]
    for text in ("", "x", "4(512)", "4(x)", "1,,2", "1(x9999999999)", "9" * 5000, f"4(x{'9' * 5000})"):
        with pytest.raises(HostListError):
            tasks_per_node(text)
