"""From a plan to jobs: where ranks run and how they are bound (`site`), what starts them (`ranks`), the batch system's
own words (`scheduler`), the job script (`script`), and handing jobs in (`jobs`, `submit`). Standard library only: a
login node has no more.
"""

LAUNCHERS = ("local", "torchrun", "openmpi", "slurm", "uge", "pbs")
SCHEDULERS = ("slurm", "uge", "pbs")  # those that take job scripts
