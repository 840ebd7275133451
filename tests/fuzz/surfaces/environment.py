"""Variables: those of `reproduce.environ`, of launchers and of batch systems, alone and against each other."""

import dataclasses

from hypothesis import strategies as st

from tests.fuzz import stock
from tests.fuzz.scene import HERE, Entry, Scene
from tests.fuzz.values import COMMAND, argument, numbers, paths, sampled
from tests.fuzz.values import words as texts

TORCH = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "GROUP_RANK",
         "TORCHELASTIC_RUN_ID")
SLURM = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_ID", "SLURM_STEPID",
         "SLURM_NODEID",
         "SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE", "SLURM_STEP_NUM_NODES", "SLURM_STEP_NODELIST",
         "SLURM_JOB_ID",
         "SLURM_GTIDS")  # fmt: skip
MPI = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE",
       "PMI_RANK",
       "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "PALS_RANKID", "PALS_NODEID", "PALS_LOCAL_RANKID",
       "PALS_LOCAL_SIZE")  # fmt: skip
OURS = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "REPRODUCE_NUMA", "REPRODUCE_HCA", "PBS_NODEFILE",
        "SGE_JOB_HOSTLIST", "CC", "HOME",
        "XDG_CACHE_HOME", "TMPDIR", "PATH", "LANG", "TERM", "COLUMNS", "PYTHONIOENCODING")  # fmt: skip
LISTS = ("4(x2)", "2,1(x3)", "1(x100000000)", "4(x", "n[01-04]", "n[1-2]m[3-4]", "n[1-99999999]", "n[[1]]", "n[",
         "n]", "[" * 3000, "n[4-1]",
         "n[1-" + "9" * 40 + "]", ",", "a,b,c", "²", "n[1-2," * 1000, "4,2", "GPU-1,MIG-2", "0,0", "0,,1", "-1",
         "0,1,2,3,4,5,6,7", "all",
         "none", "127.0.0.1", "::1", "localhost", "no.such.host.invalid", "http://x", "1,0")  # fmt: skip
COMPILERS = ("", " ", "gone", '"', "ccache", "true", "false", f"{COMMAND};", f"$({COMMAND})", "cc -DX=$(touch x)",
             "/dev/null", "cat", "yes")


def scenes() -> st.SearchStrategy[Scene]:
    return placed() | placed() | launched() | surroundings() | compilers() | kernels() | git()


def trained(fault: str, environ: dict[str, str], *words: str, **more) -> Scene:
    given = ("small.toml", "--data", "gone", "--out", "out", *stock.ON_CPU, *words)
    entries = (stock.recipe(stock.SYNTHETIC | more.pop("recipe", {})), *more.pop("entries", stock.ODD))
    return Scene("environment", fault, stock.TRAIN, given, entries, tuple(environ.items()), writes=("out",),
                 chatty=True,
                 codes=(2, 76), **more)  # fmt: skip


values = numbers | sampled(["0", "1", "2", "3", "4"]) | sampled(["0", "1", "2"]) | sampled(LISTS) | texts


@st.composite
def variables(draw, names: tuple[str, ...], most: int = 6) -> dict[str, str]:
    chosen = draw(st.lists(sampled(names), min_size=1, max_size=most, unique=True))
    return {name: argument(draw(values)) for name in chosen}


@st.composite
def placed(draw) -> Scene:
    """Where a process stands among the others, as told by one or several launchers; nothing is met."""
    found = draw(variables(draw(sampled([TORCH, SLURM, MPI, TORCH + SLURM + MPI, OURS + TORCH])), 8))
    return trained("launcher", found, "--execution", "nonsense", must="refuse")


@st.composite
def launched(draw) -> Scene:
    """A launcher that nearly says the right thing; the process may look for others, who never come."""
    rank = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": "29871"}
    rank |= {name: argument(draw(values)) for name in draw(st.lists(sampled(TORCH), min_size=1, max_size=2,
                                                                    unique=True))}
    return trained("meeting", rank, "--timeout", "1")


@st.composite
def surroundings(draw) -> Scene:
    """Variables of the account and the machine, for a whole run or for the plan of one."""
    found = draw(variables(OURS, 3))
    found = {name: value for name, value in found.items() if name not in ("CC", "PATH")}
    if draw(st.booleans()):
        return trained("surroundings", found)
    return Scene("environment", "surroundings", "reproduce.run_all", ("--list", "--out", "out"), stock.ODD,
                 tuple(found.items()))


@st.composite
def compilers(draw) -> Scene:
    """What compiles the kernel: another program, words that are no command; and where it is kept."""
    cache = draw(sampled([f"{HERE}/cache", f"{HERE}/plain.txt", f"{HERE}/locked", "relative", f"{HERE}/dangling", ""]))
    found = {"CC": argument(draw(sampled(COMPILERS) | texts)), "XDG_CACHE_HOME": cache}
    return compiled("compiler", found, draw(sampled(["native", "auto"])))


LARS = {"optimizer.preset": "fujitsu_mlperf06", "optimizer.trust_coefficient": 0.01, "optimizer.epsilon": 1e-9}


def compiled(fault: str, found: dict[str, str], lars: str, *entries: Entry) -> Scene:
    scene = trained(fault, found, "--lars", lars, recipe=LARS, entries=(*stock.ODD, *entries))
    return dataclasses.replace(scene, writes=("out", "cache", "relative"))


@st.composite
def kernels(draw) -> Scene:
    """A library planted where the kernel is kept, in a folder that others may write."""
    name = draw(sampled(["native_0000000000000000_" + "0" * 32 + ".so", "native.so"]))
    content = draw(sampled([b"", b"\x7fELF" + b"\0" * 60, b"x" * 5000]))
    planted = Entry(f"cache/yaasgd/{name}", content=content, mode=draw(sampled([0o666, 0o600])))
    folder = Entry("cache/yaasgd", "folder", mode=draw(sampled([0o777, 0o700, 0o500])))
    found = {"CC": draw(sampled(["cc", "false"])), "XDG_CACHE_HOME": f"{HERE}/cache"}
    return compiled("planted kernel", found, "auto", folder, planted)


@st.composite
def git(draw) -> Scene:
    """Variables of git, and a repository around that would start a program."""
    hook = Entry("git/config", content=f'[core]\n\tfsmonitor = "{COMMAND}"\n\tpager = "{COMMAND}"\n'.encode())
    ends = ("DIR", "WORK_TREE", "CONFIG_GLOBAL", "CONFIG_COUNT", "INDEX_FILE", "SSH_COMMAND")
    names = [f"GIT_{end}" for end in ends]
    values = sampled([f"{HERE}/git", f"{HERE}/git/config", "1", "", COMMAND]) | paths.map(argument)
    chosen = draw(st.lists(sampled(names), min_size=1, max_size=3, unique=True))
    found = {name: draw(values) for name in chosen}
    return trained("git", found, entries=(hook, *stock.ODD))
