"""Real Grid Engine on this machine: one master, one host of four slots, and ABCI's resources.

SGE_ROOT is a private folder with a cell of its own, so that a Grid Engine that is installed stays as it is. ABCI is
unlike plain Grid Engine in two things that its users type (`qsub -g GROUP -l rt_F=N`):
- rt_F, "N full nodes", is a consumable resource here. The one host has as many as slots, and the job one process on it.
- -g, the group that pays, is an option that ABCI adds; plain qsub refuses it, in a job script as well. The qsub that is
  first in PATH here drops it in both places, and hands all else to the real one.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.needs import missing
from tests.helpers.schedulers.private import Private, free_ports, private_folder, until

PACKAGES = "gridengine-master gridengine-exec gridengine-client"
WHY_NOT = missing(["sge_qmaster", "sge_execd", "qsub"], PACKAGES, root=True)
SLOTS = 4
SHARE, PROGRAMS = Path("/usr/share/gridengine"), Path("/usr/lib/gridengine")

BOOTSTRAP = """admin_user none
default_domain none
ignore_fqdn true
spooling_method berkeleydb
spooling_lib libspoolb
spooling_params {folder}/spooldb
binary_path /usr/lib/gridengine
qmaster_spool_dir {folder}/qmaster
security_mode none
listener_threads 2
worker_threads 2
scheduler_threads 1
"""
RESOURCES = ("rt_F", "rt_C.small")  # full nodes, and a slice of one, which is enough for drawing
RESOURCE = """name {name}
shortcut {name}
type INT
relop <=
requestable YES
consumable YES
default 0
urgency 0
"""
LIMITS = ("rt", "cpu", "fsize", "data", "stack", "core", "rss", "vmem")
QUEUE = (
    """qname all.q
hostlist localhost
seq_no 0
load_thresholds NONE
suspend_thresholds NONE
nsuspend 1
suspend_interval 00:05:00
priority 0
min_cpu_interval 00:05:00
processors UNDEFINED
qtype BATCH
ckpt_list NONE
pe_list NONE
rerun TRUE
slots {slots}
tmpdir {folder}/tmp
shell /bin/bash
prolog NONE
epilog NONE
shell_start_mode posix_compliant
starter_method NONE
suspend_method NONE
resume_method NONE
terminate_method NONE
notify 00:01:00
owner_list NONE
user_lists NONE
xuser_lists NONE
subordinate_list NONE
complex_values NONE
projects NONE
xprojects NONE
calendar NONE
initial_state default
"""
    + "".join(f"{kind}_{limit} INFINITY\n" for limit in LIMITS for kind in "sh")
)
HOST = """hostname localhost
load_scaling NONE
complex_values rt_F={slots},rt_C.small={slots}
user_lists NONE
xuser_lists NONE
projects NONE
xprojects NONE
usage_scaling NONE
report_variables NONE
"""
QSUB = r"""#!/bin/bash
# Takes ABCI's -g GROUP, as its qsub does, and drops it.
arguments=()
while [ $# -gt 0 ]; do
    if [ "$1" = -g ]; then shift 2; else arguments+=("$1"); shift; fi
done
if [ -f "${{arguments[-1]}}" ]; then
    script=$(mktemp -d -p {folder}/tmp)/$(basename "${{arguments[-1]}}")
    sed -E 's/^#\$ +-g +[^ ]+ *$/#/' "${{arguments[-1]}}" >"$script"
    arguments[-1]=$script
fi
exec {programs}/qsub "${{arguments[@]}}"
"""


@dataclass(frozen=True)
class GridEngine:
    """A running cluster; `env` is the environment in which its commands find it."""

    folder: Path
    env: Mapping[str, str]

    def run(self, *argv: str, **options) -> subprocess.CompletedProcess:
        """A command such as "qsub", to its end, with its output as text."""
        return subprocess.run([shutil.which(argv[0], path=self.env["PATH"]) or argv[0], *argv[1:]],
                              env=self.env, capture_output=True, text=True, **options)  # fmt: skip

    def state(self, job: str) -> str:
        """Such as qw (waiting), r (running) or Eqw; empty once it has ended."""
        found = re.search(rf"^\s*{job}(?:\s+\S+){{3}}\s+(\S+)", self.run("qstat").stdout, re.M)
        return found[1] if found else ""

    def wait(self, job: str, seconds: float = 300) -> None:
        """Until the job has ended."""
        until(lambda: not self.state(job), lambda: f"{job} {self.state(job)}", seconds, poll=0.5)


@contextlib.contextmanager
def gridengine() -> Iterator[GridEngine]:
    """Start it, wait until its queue takes jobs, and leave nothing behind."""
    with private_folder() as private:
        folder, (master, execd) = private.folder, free_ports(2)
        env = os.environ | {
            "SGE_ROOT": str(folder), "SGE_CELL": "default", "SGE_QMASTER_PORT": str(master),
            "SGE_EXECD_PORT": str(execd), "PATH": f"{folder}/path:{os.environ['PATH']}:/usr/sbin",
        }  # fmt: skip
        cluster = GridEngine(folder, env)
        _configure(folder, env)
        _start(private, cluster)
        yield cluster


def _configure(folder: Path, env: Mapping[str, str]) -> None:
    """An empty cell, as the package's own script makes one."""
    for name in ("default/common", "qmaster", "execd", "spooldb", "tmp", "path"):
        (folder / name).mkdir(parents=True)
    (folder / "util").symlink_to(SHARE / "util")
    common, host = folder / "default" / "common", os.uname().nodename
    (common / "bootstrap").write_text(BOOTSTRAP.format(folder=folder))
    (common / "act_qmaster").write_text("localhost\n")
    (common / "host_aliases").write_text(f"localhost {host} {host.partition('.')[0]}\n")
    (folder / "path" / "qsub").write_text(QSUB.format(programs=PROGRAMS, folder=folder))
    (folder / "path" / "qsub").chmod(0o755)
    shutil.copytree(SHARE / "util" / "resources" / "centry", folder / "centry")
    for name in RESOURCES:
        (folder / "centry" / name).write_text(RESOURCE.format(name=name))
    settings = (SHARE / "default-configuration").read_text()
    for name, value in {
        "execd_spool_dir": folder / "execd", "min_uid": 0, "min_gid": 0, "mailer": "/bin/true",
        "reporting_params": "accounting=true reporting=false flush_time=0:0:1 accounting_flush_time=0:0:0",
    }.items():  # fmt: skip
        settings = re.sub(rf"^{name}\s.*$", f"{name} {value}", settings, flags=re.M)
    (folder / "configuration").write_text(settings)
    for argv in (
        ("spoolinit", "berkeleydb", "libspoolb", f"{folder}/spooldb", "init"),
        ("spooldefaults", "configuration", f"{folder}/configuration"),
        ("spooldefaults", "complexes", f"{folder}/centry"),
        ("spooldefaults", "usersets", f"{SHARE}/util/resources/usersets"),
        ("spooldefaults", "managers", "root"),
    ):
        subprocess.run([PROGRAMS / argv[0], *argv[1:]], env=env, check=True, capture_output=True)


def _start(private: Private, cluster: GridEngine) -> None:
    folder, foreground = private.folder, {**cluster.env, "SGE_ND": "1"}
    private.start("qmaster", f"{PROGRAMS}/sge_qmaster", env=foreground)
    until(lambda: cluster.run("qconf", "-sh").returncode == 0, private.said)
    for name, text in (("queue", QUEUE), ("host", HOST)):
        (folder / name).write_text(text.format(folder=folder, slots=SLOTS))
    scheduler = cluster.run("qconf", "-ssconf").stdout
    for setting in ("schedule_interval 0:0:2", "flush_submit_sec 1", "flush_finish_sec 1"):
        scheduler = re.sub(rf"^{setting.split()[0]}\s.*$", setting, scheduler, flags=re.M)
    (folder / "scheduler").write_text(scheduler)
    host, files = "localhost", (("-Ae", "host"), ("-Aq", "queue"), ("-Msconf", "scheduler"))
    for options in (("-ah", host), ("-as", host), *files):
        done = cluster.run("qconf", *options, cwd=folder)
        assert done.returncode == 0, f"qconf {options}: {done.stdout}{done.stderr}"
    private.start("execd", f"{PROGRAMS}/sge_execd", env=foreground)
    # a queue of an unknown state has "au" in the last column
    ready = re.compile(r"^all\.q@localhost\s+\S+\s+\S+\s+[\d.]+\s+\S+\s*$", re.M)
    until(lambda: ready.search(cluster.run("qstat", "-f").stdout), private.said)
