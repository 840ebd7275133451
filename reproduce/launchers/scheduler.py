"""Slurm, Grid Engine and PBS in their own words: directives, how a job is submitted, asked after, and started again."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Scheduler:
    """`directive` begins a line of options in a job script; `fixed` are those of every job, `naming` that of its name.

    `submit` is the command that takes a script and prints the job's number, `after` its option for a job that waits
    until others have ended, whatever came of them, `numbers` how those are joined. `known` asks whether a job still is
    queued or runs. `again` is what a job's shell does to be started again with the same number, where the scheduler has
    that; `job` is the variable with its number.
    """

    title: str
    directive: str
    naming: str
    fixed: tuple[str, ...]
    submit: tuple[str, ...]
    after: str
    numbers: str
    known: tuple[str, ...]
    cancel: str
    job: str
    again: str

    def number(self, printed: str) -> str:
        """The job's number in what `submit` printed; empty if there is none."""
        words = printed.split()
        number = words[-1].partition(";")[0] if words else ""
        return number if re.fullmatch(r"[0-9][0-9A-Za-z_.\[\]-]*", number) else ""

    def submission(self, script: str, after: list[str]) -> list[str]:
        """The command; `after`: numbers of jobs, or shell variables that hold them."""
        wait = [word.replace("{jobs}", self.numbers.join(after)) for word in self.after.split()] if after else []
        return [*self.submit, *wait, script]


SCHEDULERS = {
    # A job that Slurm preempts or requeues keeps its number and its dependents; output is appended.
    "slurm": Scheduler(
        "Slurm", "#SBATCH", "--job-name={name}",
        ("--output=%x.%j.out", "--open-mode=append", "--requeue", "--signal=B:USR1@120"),
        ("sbatch", "--parsable"), "--dependency=afterany:{jobs}", ":", ("squeue", "--noheader", "--jobs={job}"),
        "scancel", "SLURM_JOB_ID",
        'scontrol requeue "$SLURM_JOB_ID"\n    exit 75',
    ),
    # Exit code 99 asks Grid Engine to queue the job again; -notify sends SIGUSR2 before a job is killed.
    "uge": Scheduler(
        "Grid Engine", "#$", "-N {name}",
        ("-S /bin/bash", "-cwd", "-j y", "-r y", "-notify"),
        ("qsub", "-terse"), "-hold_jid {jobs}", ",", ("qstat", "-j", "{job}"), "qdel", "JOB_ID",
        "exit 99",
    ),
    # Users may not requeue a PBS job, so it submits itself again; the last job follows it again.
    "pbs": Scheduler(
        "PBS", "#PBS", "-N {name}", ("-S /bin/bash", "-j oe", "-r y"),
        ("qsub",), "-W depend=afterany:{jobs}", ":", ("qstat", "{job}"), "qdel", "PBS_JOBID",
        'again=$(qsub "$jobs/{name}.sh") && qsub -W depend=afterany:"$again" "$jobs/report.sh"\n    exit 75',
    ),
}  # fmt: skip
