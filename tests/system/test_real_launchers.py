"""The engine under real launchers: torchrun, Open MPI's mpirun, Slurm's srun on four emulated nodes, Grid Engine.

Four ranks each, of one small run: its weights at the end are the same to the last bit, whoever started the ranks.
Interrupted runs go on in test_real_jobs.py.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from reproduce.errors import EXIT_PREEMPTED
from reproduce.events import ENVIRONMENT, RESULT, log_path, read_events
from tests.helpers import ROOT, warm
from tests.helpers.data import make_config, make_folder
from tests.helpers.needs import need
from tests.helpers.runs import SLOW, wait_for
from tests.helpers.schedulers import gridengine, openmpi, slurm
from tests.helpers.schedulers.private import until

pytestmark = pytest.mark.system

ENV = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
EPOCHS = 3
TRAIN = [sys.executable, "-m", "reproduce.engine.train"]
SRUN = ["srun", "--nodes=4", "--ntasks=4", "--kill-on-bad-exit=1"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("images") / "images", train=160)


@pytest.fixture(scope="module")
def cluster():
    need(slurm.WHY_NOT)
    with slurm.slurm() as running:
        yield running


@pytest.fixture(scope="module")
def expected(tmp_path_factory, images):
    """What four processes make that are started as the engine's own launcher starts them."""
    out = tmp_path_factory.mktemp("spawned")
    for done in warm.run_ranks("reproduce.engine.train", arguments(out, images), 4, os.environ | ENV):
        assert done.returncode == 0, done.stderr
    return sha256(out)


def arguments(out: Path, images: Path) -> list[str]:
    make_config(out, **(SLOW | {"schedule__epochs": EPOCHS}))
    return [str(out / "small.toml"), "--data", str(images), "--out", str(out)]


def run(command: list[str], out: Path, images: Path, env=os.environ) -> None:
    command = [*command, *arguments(out, images)]
    done = subprocess.run(command, cwd=ROOT, env={**env, **ENV}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def values(out: Path, key: str) -> list[dict]:
    return [event.value for _, event in read_events(log_path(out, "small", 1)) if event.key == key]


def sha256(out: Path) -> str:
    (result,) = values(out, RESULT)
    return result["weights_sha256"]


def shell_script(path: Path, *command: str) -> str:
    path.write_text(f"#!/bin/bash\ncd '{ROOT}' || exit 1\nexec {' '.join(command)}\n")
    return str(path)


# ---- the same weights -----------------------------------------------------------------------------------------------


def test_torchrun(tmp_path, images, expected):
    run([*TORCHRUN, "-m", "reproduce.engine.train"], tmp_path, images)
    assert sha256(tmp_path) == expected
    assert values(tmp_path, ENVIRONMENT)[0]["launcher"] == "torchrun"


@pytest.mark.needs(openmpi.WHY_NOT)
def test_open_mpi(tmp_path, images, expected):
    run([*openmpi.MPIRUN, "-np", "4", *TRAIN], tmp_path, images, openmpi.environment())
    assert sha256(tmp_path) == expected
    environment = values(tmp_path, ENVIRONMENT)[0]
    assert (environment["launcher"], environment["world_size"], environment["binding"]) == ("openmpi", 4, {})


def test_srun_on_four_nodes(tmp_path, images, expected, cluster):
    """Nobody says where to meet: it is the first node of the step."""
    env = {name: value for name, value in cluster.env.items() if not name.startswith("MASTER_")}
    run([*SRUN, *TRAIN], tmp_path, images, env | {"REPRODUCE_NUMA": "0"})
    assert sha256(tmp_path) == expected
    environment = values(tmp_path, ENVIRONMENT)[0]
    assert (environment["launcher"], environment["world_size"]) == ("slurm", 4) and environment["binding"]["numa"] == 0


@pytest.mark.needs(gridengine.WHY_NOT or openmpi.WHY_NOT)
def test_a_grid_engine_job_that_asks_as_the_papers_did(tmp_path, images, expected):
    with gridengine.gridengine() as grid:
        settings = [f"{name}={value}" for name, value in (ENV | openmpi.SETTINGS).items()]
        command = ["env", *settings, *openmpi.MPIRUN, "-np", "4", *TRAIN, *arguments(tmp_path, images)]
        script = shell_script(tmp_path / "job.sh", *command)
        request = ["-g", "group1", "-l", "rt_F=1", "-l", "h_rt=1:00:00", "-j", "y", "-o", str(tmp_path / "said")]
        job = grid.run("qsub", "-terse", *request, script).stdout.strip()
        grid.wait(job)
        account = until(lambda: grid.run("qacct", "-j", job).stdout, "an account of the job", seconds=60)
    assert re.search(r"^exit_status +0 *$", account, re.M), (tmp_path / "said").read_text()
    assert re.search(r"^category .*rt_F=1", account, re.M)
    assert sha256(tmp_path) == expected


# ---- preemption -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("launcher", ["openmpi", "slurm"])
def test_a_signal_to_the_launcher_reaches_the_ranks_which_save_and_say_so(request, tmp_path, images, launcher):
    """SIGUSR1: mpirun kills its ranks a second after a SIGTERM of its own, and srun at once."""
    need(openmpi.WHY_NOT if launcher == "openmpi" else "")
    env = openmpi.environment() if launcher == "openmpi" else request.getfixturevalue("cluster").env
    start = [*openmpi.MPIRUN, "-np", "4"] if launcher == "openmpi" else SRUN
    command = [*start, *TRAIN, *arguments(tmp_path, images)]
    child = subprocess.Popen(command, cwd=ROOT, env={**env, **ENV}, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(log_path(tmp_path, "small", 1), '"epoch_stop"')
        child.send_signal(signal.SIGUSR1)
        said = child.communicate(timeout=120)[1]
    finally:
        child.kill()
    assert child.returncode == EXIT_PREEMPTED and "stopped as asked after update" in said
    assert list(tmp_path.rglob("*.ckpt")) and not values(tmp_path, RESULT)


# ---- the harness ----------------------------------------------------------------------------------------------------


@pytest.mark.needs(slurm.WHY_NOT)
def test_nothing_is_left_when_the_test_is_killed(tmp_path):
    """Not the daemons, not a running job, not the folder."""
    script = textwrap.dedent("""
        import time
        from tests.helpers.schedulers.slurm import slurm
        with slurm() as cluster:
            cluster.run("sbatch", "--output=/dev/null", "--wrap", "sleep 1000")
            cluster.wait("1", "RUNNING")
            print(cluster.folder, flush=True)
            time.sleep(1000)
    """)
    env = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    child = subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, text=True)
    try:
        folder = Path(child.stdout.readline().strip())
        assert folder.is_dir() and len(mentions(folder)) > 6
    finally:
        child.kill()
        child.communicate()
    until(lambda: not mentions(folder) and not folder.exists(), lambda: f"left: {mentions(folder)}", seconds=60)


def mentions(folder: Path) -> list[str]:
    """Processes that know of a folder."""
    ps = shutil.which("ps")
    lines = subprocess.run([ps, "axeww", "-o", "pid,args"], capture_output=True, text=True).stdout.splitlines()
    return [line.split()[0] for line in lines if folder.name in line]
