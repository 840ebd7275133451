"""run_all.sh end to end with real launchers: jobs submitted, trained by srun or mpirun, preempted, drawn.

The package is a copy with one tiny run; its weights at the end are those that the local launcher makes.
"""

import os
import subprocess

import pytest

from reproduce.events import ENVIRONMENT, RESUMED
from tests.helpers.runs import wait_for
from tests.helpers.schedulers import gridengine, openmpi, slurm
from tests.helpers.schedulers.package import Package, log_of, make_package, python_first, values

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Package:
    return make_package(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def expected(tmp_path_factory, package):
    out = tmp_path_factory.mktemp("local")
    said = finish(begin(package.command(out, "--processes", "4"), os.environ))
    assert drawn(out), said
    return sha256(out)


def begin(command, env) -> subprocess.Popen:
    return subprocess.Popen(
        command, env=python_first(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def finish(child: subprocess.Popen) -> str:
    """What it said; it must have ended well."""
    try:
        said = child.communicate(timeout=400)[0]
    finally:
        child.kill()
    assert child.returncode == 0, said
    return said


def sha256(out) -> str:
    (result,) = values(out)
    return result["weights_sha256"]


def drawn(out) -> bool:
    """Whether the table shows the run as measured."""
    return (out / "table1.md").is_file() and "measured" in (out / "table1.md").read_text()


def outputs(out) -> str:
    return "".join(f"--- {path.name}\n{path.read_text()}" for path in sorted((out / "jobs").glob("*.*[!h]")))


@pytest.mark.needs(slurm.WHY_NOT)
def test_slurm_runs_a_tier_and_goes_on_after_two_preemptions(tmp_path, package, expected):
    """First the job's shell is told that the time is nearly over, and has itself queued again; then we requeue it."""
    with slurm.slurm() as cluster:
        options = ["--launcher", "slurm", "--cluster", "nodes", "--nodes", "4", "--no-preflight", "--wait"]
        child = begin(package.command(tmp_path / "out put", *options), cluster.env)  # a path that needs quoting
        out = tmp_path / "out put"
        try:
            wait_for(log_of(out), '"epoch_stop"')
            (job,) = cluster.run("squeue", "--noheader", "--states=RUNNING", "--format=%i").stdout.split()
            assert cluster.run("scancel", "--batch", "--signal=USR1", job).returncode == 0
            wait_for(log_of(out), RESUMED)
            assert cluster.run("scontrol", "requeue", job).returncode == 0
        except AssertionError as error:
            pytest.fail(f"{error}\n{outputs(out)}")
        finish(child)
    assert sha256(out) == expected and drawn(out), outputs(out)
    assert values(out, RESUMED), outputs(out)  # when requeued, srun may kill the ranks before they have saved
    assert values(out, ENVIRONMENT)[0]["launcher"] == "slurm"
    assert (out / "jobs" / "table1.attempts").read_text().count("\n") == 3


@pytest.mark.needs(gridengine.WHY_NOT or openmpi.WHY_NOT)
def test_grid_engine_takes_the_papers_request(tmp_path, package, expected):
    with gridengine.gridengine() as grid:
        options = ["--launcher", "uge", "--cluster", "node", "--account", "group1", "--no-preflight", "--wait"]
        finish(begin(package.command(tmp_path, *options), grid.env))
    script = (tmp_path / "jobs" / "table1.sh").read_text()
    assert "\n#$ -l rt_F=1\n" in script and "\n#$ -g group1\n" in script
    assert sha256(tmp_path) == expected and drawn(tmp_path), outputs(tmp_path)
    environment = values(tmp_path, ENVIRONMENT)[0]
    assert (environment["launcher"], environment["world_size"]) == ("openmpi", 4)


@pytest.mark.needs(openmpi.WHY_NOT)
def test_open_mpi_runs_a_tier_here_and_now(tmp_path, package, expected):
    finish(begin(package.command(tmp_path, "--launcher", "openmpi", "--cluster", "node"), os.environ))
    assert sha256(tmp_path) == expected and drawn(tmp_path)
    assert values(tmp_path, ENVIRONMENT)[0]["launcher"] == "openmpi"
