"""How jobs are started at a site: the ``[launch]`` section of a cluster file in ``paper_configs/clusters``.

All a site has to say stands there, so that another cluster is one more TOML file; README and REPRODUCE.md show how.
"""

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

from reproduce.cluster import files
from reproduce.errors import ConfigError
from reproduce.launchers import SCHEDULERS
from reproduce.nearest import nearest

# What goes into a scheduler's directive, or is expanded by the job's shell, may hold these characters only; whatever
# else a user gives (paths, seeds) is quoted, and is never in a directive.
OPTION = re.compile(r"[A-Za-z0-9_.,:=@+%/ {}-]+")
WORD = re.compile(r"[A-Za-z0-9_.,:=@+%/-]+")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PLACE = re.compile(r"(\$[A-Za-z_][A-Za-z0-9_]*)?[A-Za-z0-9_./-]*")  # a path, which may begin with a variable
OF_THE_SCRIPT = {"root", "out", "jobs", "python", "data", "attempts", "ended", "child", "code", "number"}
MOST = {"ranks_per_node": 1024, "gpus_per_node": 1024}
PLACEHOLDERS = {"nodes", "ranks", "ranks_per_node", "time", "account"}

DEFAULTS = {
    "slurm": {
        "options": ("--nodes={nodes}", "--ntasks-per-node={ranks_per_node}", "--exclusive", "--time={time}"),
        "report_options": ("--nodes=1", "--ntasks=1", "--time={time}"),
        "account": "--account={account}", "hostfile": "",
    },
    "uge": {
        "options": ("-l rt_F={nodes}", "-l h_rt={time}"), "report_options": ("-l h_rt={time}",),
        "account": "-g {account}", "hostfile": "SGE_JOB_HOSTLIST",
    },
    "pbs": {
        "options": ("-l select={nodes}:mpiprocs={ranks_per_node}", "-l place=scatter:excl", "-l walltime={time}"),
        "report_options": ("-l select=1", "-l walltime={time}"), "account": "-A {account}", "hostfile": "PBS_NODEFILE",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Site:
    """`options` and `account` are the scheduler's, with placeholders in braces; lists go by local rank."""

    cluster: str
    path: str
    scheduler: str = ""  # that the site has; empty: not said
    ranks_per_node: int = 1
    gpus_per_node: int = 0
    gpu: str = ""  # part of the name the driver gives
    options: tuple[str, ...] = ()
    report_options: tuple[str, ...] = ()  # of the last job, which draws
    account: str = ""
    ranks: tuple[str, ...] = ()  # more options of what starts the ranks: srun or mpirun
    hostfile: str = ""  # the variable that names a file with the job's hosts, for mpirun
    scratch: str = ""  # storage of a node's own, to which data is staged; empty: read where it is
    numa: tuple[int, ...] = ()  # NUMA node of each local rank
    hca: tuple[str, ...] = ()  # network adapter of each local rank
    modules: tuple[str, ...] = ()  # module load
    environment: dict[str, str] = field(default_factory=dict)
    node_gbit: float = 0.0  # what preflight expects of an allreduce inside a node, and between nodes; 0: anything
    network_gbit: float = 0.0
    max_hours: float = 0.0  # of a job; 0: no limit

    def filled(self, launcher: str) -> "Site":
        """With the defaults of a batch system for what the file does not say, or says of another one."""
        if launcher not in SCHEDULERS:
            return self
        default: dict[str, Any] = DEFAULTS[launcher]
        if self.scheduler not in ("", launcher):
            return dataclasses.replace(self, ranks=(), scratch="", scheduler=launcher, **default)
        missing = {key: value for key, value in default.items() if not getattr(self, key)}
        return dataclasses.replace(self, scheduler=launcher, **missing)


KEYS = {key.name: key for key in dataclasses.fields(Site) if key.name not in ("cluster", "path")}


def load(name: str) -> Site:
    """The site of a cluster, by name or by the path of its file. Raises `ConfigError` in one line."""
    path, gpus, launch = files.launching(name)
    values = {key: _checked(f"{path}: node.gpus", key, gpus) for key in MOST} | {
        key: _checked(f"{path}: launch.{key}", key, value) for key, value in launch.items()
    }
    site = Site(path.stem, str(path.absolute()), **values)  # jobs read it again, from another folder
    if site.ranks_per_node < 1:
        raise ConfigError(f"{path}: launch.ranks_per_node = {site.ranks_per_node}: must be at least 1")
    for key in ("numa", "hca"):
        listed = len(getattr(site, key))
        if listed not in (0, site.ranks_per_node):
            raise ConfigError(f"{path}: launch.{key}: {listed} entries, must be one for each of {site.ranks_per_node}")
    if site.scheduler not in ("", *SCHEDULERS):
        raise ConfigError(f"{path}: launch.scheduler = {site.scheduler!r}: known are {', '.join(SCHEDULERS)}")
    return site


def _checked(where: str, key: str, value):
    """A value of the type its field has, in characters that are safe where it goes."""
    if key not in KEYS:
        raise ConfigError(f"{where}: unknown key{nearest(key, KEYS)}")
    kind = KEYS[key].type
    if kind is dict[str, str] or key == "environment":
        return _environment(where, value)
    if kind in (int, float):
        most = MOST.get(key, 1e6)
        if not isinstance(value, int | kind) or isinstance(value, bool) or not 0 <= value <= most:
            raise ConfigError(f"{where} = {value!r}: must be a number from 0 to {most:,.0f}")
        return kind(value)
    if kind is str:
        return _text(where, value, {"scratch": PLACE, "hostfile": VARIABLE, "gpu": OPTION}.get(key, OPTION))
    if not isinstance(value, list):
        raise ConfigError(f"{where} = {value!r}: must be a list")
    if key == "numa":
        if not all(isinstance(node, int) and not isinstance(node, bool) and node >= 0 for node in value):
            raise ConfigError(f"{where} = {value!r}: must list NUMA nodes, such as [0, 0, 1, 1]")
        return tuple(value)
    return tuple(_text(where, one, WORD if key in ("hca", "modules", "ranks") else OPTION) for one in value)


def _environment(where: str, value) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ConfigError(f'{where}: write environment = {{ NAME = "value" }}')
    for name, text in value.items():
        if not VARIABLE.fullmatch(name) or name in OF_THE_SCRIPT:
            why = "the job script has a variable of this name" if name in OF_THE_SCRIPT else "is no name of a variable"
            raise ConfigError(f"{where}: {name!r}: {why}")
        if not isinstance(text, str) or any(ord(char) < 32 for char in text):
            raise ConfigError(f"{where}.{name} = {text!r}: must be text of one line")
    return dict(value)


def _text(where: str, value, allowed: re.Pattern) -> str:
    if not isinstance(value, str) or (value and not allowed.fullmatch(value)):
        raise ConfigError(f"{where} = {value!r}: must be text of the characters {allowed.pattern}")
    if allowed is OPTION:
        rest = re.sub(f"{{({'|'.join(PLACEHOLDERS)})}}", "", value)
        if "{" in rest or "}" in rest:
            raise ConfigError(f"{where} = {value!r}: placeholders are {', '.join(sorted(PLACEHOLDERS))}, in braces")
    return value
