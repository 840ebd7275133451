"""The job script: directives, the site's variables, preflight, staging, and the runs; as text that bash reads.

Directives hold nothing a user chose freely; everything else is quoted. A path with a control character, which no
quoting makes readable in a log, is refused.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

from reproduce.errors import ConfigError
from reproduce.launchers.ranks import Start, rank_map
from reproduce.launchers.scheduler import SCHEDULERS
from reproduce.launchers.site import Site
from reproduce.paths import ROOT
from reproduce.runner import commands
from reproduce.runner.jobs import REPORT, ClusterJob

MAX_ATTEMPTS = 20  # of a job that is preempted again and again


class Shell(str):
    """A word that the job's shell is to expand; all others are quoted."""


def join(words: list[str]) -> str:
    return " ".join(word if isinstance(word, Shell) else shlex.quote(word) for word in words)


@dataclass(frozen=True)
class Context:
    """What all scripts of a submission share. `arguments` are the runner's own: tier, seeds, artefacts and so on."""

    launcher: str
    site: Site
    account: str
    out: Path
    data: Path
    python: str
    tier: str
    arguments: tuple[str, ...]
    preflight: bool
    root: Path = ROOT

    def __post_init__(self):
        paths = {"--out": self.out, "--data": self.data, "--cluster": self.site.path, "the package's folder": self.root}
        for what, path in paths.items():
            text = str(path)
            if any(ord(char) < 32 or ord(char) == 127 for char in text):
                raise ConfigError(f"{what} {text!r}: must have no line break or other control character: rename it")
            if any(0xD800 <= ord(char) < 0xE000 for char in text):
                raise ConfigError(f"{what} {text!r}: must be UTF-8, as job scripts are: rename it")


def directives(job: ClusterJob, context: Context) -> list[str]:
    """The lines that the scheduler reads. Raises `ConfigError` if an account is needed and none is given."""
    scheduler, site = SCHEDULERS[context.launcher], context.site
    options = [scheduler.naming.format(name=job.name), *scheduler.fixed]
    filled = {"nodes": job.nodes, "ranks": job.ranks, "ranks_per_node": min(job.ranks, site.ranks_per_node),
              "time": job.limit, "account": context.account}  # fmt: skip
    wanted = list(site.report_options if job.name == REPORT else site.options)
    if context.account:
        wanted.append(site.account)
    elif any("{account}" in option for option in wanted):
        raise ConfigError(f"{site.path}: launch.options names an account: add --account NAME")
    return [f"{scheduler.directive} {option}" for option in [*options, *(text.format(**filled) for text in wanted)]]


def script(job: ClusterJob, context: Context) -> str:
    """The whole job script."""
    scheduler = SCHEDULERS[context.launcher]
    lines = ["#!/usr/bin/env bash", *directives(job, context), f"# {job.title}. Written by reproduce/run_all.sh."]
    if job.runs:
        lines += [f"# Expected: {job.expected / 60:.1f} min ({job.source}), {job.node_hours:,.1f} node-hours."]
        lines += [f"# {line}" for line in rank_map(job.ranks, context.site)]
    lines += ["set -uo pipefail", ""]
    lines += [f"root={shlex.quote(str(context.root))}", f"out={shlex.quote(str(context.out))}", 'jobs="$out/jobs"',
              f"python={shlex.quote(context.python)}"]  # fmt: skip
    lines.append(f"data={shlex.quote(str(context.data))}")
    lines += [f'attempts="$jobs/{job.name}.attempts"', f'ended="$jobs/{job.name}.exit"', 'cd "$root" || exit 1']
    lines += ['rm -f "$ended"', f'echo "$(date) $(hostname) ${{{scheduler.job}:-}}" >>"$attempts"', ""]
    lines += _surroundings(context)
    lines += ["", *(_training(job, context) if job.runs else _drawing(context)), ""]
    lines += _ending(scheduler.again.replace("{name}", job.name)) if job.runs else ["finish"]
    return "\n".join(lines) + "\n"


def _surroundings(context: Context) -> list[str]:
    """Modules and variables, the same for every rank."""
    start, number = Start(context.launcher, context.site), SCHEDULERS[context.launcher].job
    lines = [f"module load {name}" for name in context.site.modules]
    lines = ["set +u  # modules may look at what is not set", *lines, "set -u"] if lines else []
    lines += [f"export {name}={shlex.quote(value)}" for name, value in start.environment().items()]
    lines += [
        'ulimit -n "$(ulimit -H -n)"',  # rank 0 holds two connections to every rank
        'export PYTHONPATH="$root"', "export MASTER_ADDR=$(hostname)", f"number=${{{number}%%[!0-9]*}}",
        "export MASTER_PORT=$((20000 + number % 12000))",
    ]  # fmt: skip
    return lines


def _training(job: ClusterJob, context: Context) -> list[str]:
    """Preflight, staging, then the runner with this job's runs; each ends the job if it fails."""
    site, lines = context.site, [FUNCTIONS]
    start = Start(context.launcher, site)
    staged = site.scratch and context.tier != "quick"  # a variable in it, such as $SGE_LOCALDIR, the job expands
    if context.preflight:
        found = ["--min-node-gbit", f"{site.node_gbit:g}", "--min-network-gbit", f"{site.network_gbit:g}"]
        found += ["--gpus-per-node", str(site.gpus_per_node), *(["--gpu", site.gpu] if site.gpu else [])]
        found += ["--scratch", Shell(f'"{site.scratch}"')] if staged else []
        words = [*_started(start, job.ranks, "reproduce.engine.preflight"), *job.runs[0].recipe, "--data",
                 Shell('"$data"'), "--out", Shell('"$out"'), *found, "--report",
                 Shell(f'"$jobs/{job.name}.preflight.json"')]  # fmt: skip
        lines += ["# every node is fit", f"run {join(words)} || finish", ""]
    if staged:
        target = Shell(f'"{site.scratch}/imagenet"')
        words = [*_started(start, job.nodes, "reproduce.engine.data.stage", 1), "--from", Shell('"$data"'), "--to",
                 target, "--drop-caches"]  # fmt: skip
        lines += ["# the data goes to storage of the node's own", f"run {join(words)} || finish", f"data={target}", ""]
    lines += ["# what is missing of these runs, one after the other:"]
    for run in job.runs:
        ranks = commands.fit(job.ranks, run.config.batch.workers)
        words = _started(start, ranks, "reproduce.engine.train")
        lines.append(f"#   {join([*words, *run.recipe, '--seed', str(run.seed)])}")
    words = [*_runner(context), "--processes", str(job.ranks), "--inside", job.name]
    return [*lines, f"run {join(words)}"]


def _runner(context: Context) -> list[str]:
    """What calls the runner again; of the quick tier it knows the folder above the data."""
    data = str(context.data.parent) if context.tier == "quick" else Shell('"$data"')
    words = [Shell('"$python"'), "-P", "-m", "reproduce.run_all", *context.arguments]
    return [*words, "--out", Shell('"$out"'), "--data", data]


def _started(start: Start, ranks: int, module: str, per_node: int | None = None) -> list[str]:
    """As `Start.argv`, in the shell's terms."""
    words = start.argv(ranks, Shell('"$python"'), module, per_node)
    if words[0] != "mpirun":
        return words
    hosts = start.site.hostfile
    where = [Shell(f'${{{hosts}:+--hostfile "${hosts}"}}')] if hosts else []
    return [*words[:-3], *where, *words[-3:]]


def _drawing(context: Context) -> list[str]:
    # Grid Engine and PBS hand no PATH on: without it, drawing would set up a Python of its own
    return [FUNCTIONS, 'PATH="${python%/*}:$PATH"', f"run {join([*_runner(context), '--draw'])}"]


# A signal of the scheduler (preemption, or the end of the time) reaches this shell only: it passes it on, and the runs
# save a checkpoint. `wait` returns early when a signal arrives, so it is asked until the child is gone.
FUNCTIONS = """child=""
trap 'test -z "$child" || kill -TERM "$child" 2>/dev/null' TERM USR1 USR2
run() {
    "$@" &
    child=$!
    while kill -0 "$child" 2>/dev/null; do wait "$child"; done
    wait "$child"
    code=$?
    child=""
    return "$code"
}
finish() {
    echo "$code" >"$ended.new" && mv "$ended.new" "$ended"
    exit "$code"
}
"""


def _ending(again: str) -> list[str]:
    """75: stopped with a checkpoint, so the job is started again, unless that has happened too often."""
    return [
        f'if [ "$code" = 75 ] && [ "$(wc -l <"$attempts")" -lt {MAX_ATTEMPTS} ]; then', f"    {again}",
        "fi", "finish",
    ]  # fmt: skip


def submission(found: list[ClusterJob], context: Context) -> str:
    """The whole submission as a script of its own, which writes the job scripts and submits them: for --dry-run."""
    scheduler = SCHEDULERS[context.launcher]
    folder = shlex.quote(str(context.out / "jobs"))
    lines = [f"mkdir -p {folder} && cd {folder}"]
    for job in found:
        lines += [f"cat >{job.name}.sh <<'END_OF_JOB'", script(job, context).rstrip("\n"), "END_OF_JOB"]
    for job in found:
        after = [f"${name}" for name in job.after]
        lines.append(f"{job.name}=$({shell_words(scheduler.submission(f'{job.name}.sh', after))})")
    return "\n".join(lines)


def shell_words(words: list[str]) -> str:
    """As one would type it; the shell variables in it hold numbers of jobs."""
    return " ".join(f'"{word}"' if "$" in word else shlex.quote(word) for word in words)
