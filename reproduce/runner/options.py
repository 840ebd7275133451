"""The command line of run_all.sh: what it takes, and what is refused before anything starts."""

import argparse
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from reproduce import presets
from reproduce.artefact import TIERS, Artefact, named
from reproduce.cluster import files
from reproduce.errors import UserError
from reproduce.launchers import LAUNCHERS, SCHEDULERS
from reproduce.nearest import nearest
from reproduce.words import Parser

PROG = "bash reproduce/run_all.sh"
ABOUT = "Runs what is missing of a tier, then draws its tables and figures."
ACCOUNT = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")  # goes into a scheduler's directive, where nothing is quoted
MOST = {"seeds": 1_000, "processes": 1_000_000, "nodes": 1_000_000, "pass-images": 1_000_000}  # more is a slip
RENDEZVOUS = re.compile(r"[A-Za-z0-9_.:\[\]-]+:[0-9]+")


def parser(prog: str) -> Parser:
    made = Parser(prog=prog, description=ABOUT, allow_abbrev=False)
    add = made.add_argument
    add("--tier", help="quick: embedded data, two cores (default). node: ImageNet, all workers emulated on one node. "
        "paper: ImageNet on as many GPUs as workers")  # fmt: skip
    add("--only", action="append", metavar="NAME", help="this artefact only; may be repeated")
    add("--list", action="store_true", help="show artefacts, runs, expected minutes and state; run nothing")
    add("--dry-run", action="store_true", help="print every command, or job script, as it would be; create nothing")
    add("--draw", action="store_true", help="train nothing: draw from the logs there are")
    add("--publish", action="store_true", help="afterwards, refresh figures/ and REPRODUCE.md from the results")
    add("--data", type=Path, metavar="DIR", help="node, paper: ImageNet with train/ and val/ (default: data/imagenet). "
        "quick: where the embedded data is laid out (default: data)")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="results folder (default: results/TIER)")
    add("--seeds", type=int, default=1, metavar="N", help="train seeds 1 to N (default: 1)")
    add("--processes", type=int, metavar="N", help="processes (ranks) per run (default: one per GPU; on a CPU two; "
        "with --launcher, the nodes' ranks); fewer where N does not divide a config's workers")  # fmt: skip
    add("--device", choices=("cpu", "cuda"), help="cuda: a GPU for every process (default, but for tier quick "
        "on a machine without GPUs). cpu: none is used, whatever there is")  # fmt: skip
    add("--execution", metavar="PRESET", help="reference or fast, see `python -m reproduce.presets`; with changes: "
        "fast,lars=foreach (default: fast on a GPU, else reference)")  # fmt: skip
    add("--pass-images", type=int, metavar="N", help="images in one pass of the network, at most: fewer take less "
        "memory (default: up to 512, by the free memory of the GPU)")  # fmt: skip
    add("--with-optional", action="store_true", help="also the runs an artefact shows only if they are there")
    on_cluster = made.add_argument_group("on a cluster")
    add = on_cluster.add_argument
    add("--launcher", default="local", help="local (default), torchrun, openmpi: run here and now. slurm, uge, pbs: "
        "submit one job per artefact and a last one that draws")  # fmt: skip
    add("--cluster", metavar="NAME", help="a name in paper_configs/clusters, or a TOML file of your own: how jobs are "
        "started there (default: abci with uge; slurm and pbs need one)")  # fmt: skip
    add("--nodes", type=int, metavar="N", help="nodes per run (default: one; paper: as many as the workers "
        "need)")  # fmt: skip
    add("--account", metavar="NAME", help="account, group or project that pays")
    add("--hostfile", type=Path, metavar="FILE", help="openmpi: the hosts, one per line")
    add("--rendezvous", metavar="HOST:PORT", help="torchrun with --nodes: run the same command on every node")
    add("--preflight", action=argparse.BooleanOptionalAction, help="slurm, uge, pbs: check every node before training "
        "(default: except in tier quick)")  # fmt: skip
    add("--wait", action="store_true", help="slurm, uge, pbs: wait until the last job has ended")
    add("--inside", metavar="JOB", help=argparse.SUPPRESS)  # what a job script calls: the runs of one job, no drawing
    return made


def parse(argv, artefacts: Sequence[Artefact], prog: str = PROG) -> argparse.Namespace:
    """The options, each by itself and together in order. Raises `UserError` in one line."""
    made = parser(prog)
    args, unknown = made.parse_known_args(argv)
    if unknown:
        name = unknown[0].partition("=")[0]
        raise UserError(f"unknown option {name}{nearest(name, made._option_string_actions)}")
    for tier in {args.tier} - {None, *TIERS}:
        raise UserError(f"--tier {tier}: no such tier{nearest(tier, TIERS)}")
    if args.launcher not in LAUNCHERS:
        raise UserError(f"--launcher {args.launcher}: no such launcher{nearest(args.launcher, LAUNCHERS)}")
    for name in set(args.only or ()) - {a.name for a in artefacts}:
        raise UserError(f"--only {name}: no such artefact{nearest(name, [a.name for a in artefacts])}")
    for name in args.only or () if args.tier else ():
        tiers = named(artefacts, name).runs
        if args.tier not in tiers:
            raise UserError(f"--only {name}: not of --tier {args.tier}: add --tier {' or '.join(tiers)}")
    for option, most in MOST.items():
        value = getattr(args, option.replace("-", "_"))
        if value is not None and not 1 <= value <= most:
            raise UserError(f"--{option} {value}: must be {'at least 1' if value < 1 else f'at most {most:,}'}")
    presets.parse(args.execution)
    _check_launcher(args, artefacts)
    return args


def engine_options(args: argparse.Namespace) -> list[str]:
    """Those given that go to the engine as they are, by whatever way a run is started."""
    given = {"--execution": args.execution, "--pass-images": args.pass_images}
    return [word for option, value in given.items() if value is not None for word in (option, str(value))]


def _check_launcher(args: argparse.Namespace, artefacts: Sequence[Artefact]) -> None:
    """Raise `UserError` for options that another launcher has, or that would not be safe in a job script."""
    belongs = {"hostfile": ("openmpi",), "rendezvous": ("torchrun",), "nodes": LAUNCHERS[1:], "cluster": LAUNCHERS[1:],
               "account": SCHEDULERS, "wait": SCHEDULERS, "preflight": SCHEDULERS}  # fmt: skip
    for option, launchers in belongs.items():
        if getattr(args, option) and args.launcher not in launchers:
            raise UserError(f"--{option}: is for --launcher {', '.join(launchers)}, not for {args.launcher}")
    if args.account is not None and not ACCOUNT.fullmatch(args.account):
        raise UserError(f"--account {args.account!r}: must be of letters, digits, '_', '.', '-'")
    if args.rendezvous is not None and not RENDEZVOUS.fullmatch(args.rendezvous):
        raise UserError(f"--rendezvous {args.rendezvous!r}: write HOST:PORT")
    if args.rendezvous is not None and not 1 <= int(args.rendezvous.rpartition(":")[2][:9]) <= 65535:
        raise UserError(f"--rendezvous {args.rendezvous!r}: the port must be from 1 to 65535")
    if args.cluster is not None and not args.cluster:
        raise UserError("--cluster: is empty: name a cluster, or leave the option out")
    if args.inside is not None:
        if args.launcher not in SCHEDULERS:
            raise UserError(f"--inside: is for --launcher {', '.join(SCHEDULERS)}, inside their jobs")
        if re.sub("_[0-9]+$", "", args.inside) not in [a.name for a in artefacts]:  # figure2_8: its runs of 8 devices
            raise UserError(f"--inside {args.inside}: no such job{nearest(args.inside, [a.name for a in artefacts])}")
    if args.launcher == "torchrun" and (args.nodes or 1) > 1 and not args.rendezvous:
        raise UserError(f"--nodes {args.nodes}: torchrun needs --rendezvous HOST:PORT, where HOST is one of the nodes")
    if args.launcher == "openmpi" and (args.nodes or 1) > 1 and not args.hostfile:
        raise UserError(f"--nodes {args.nodes}: mpirun needs --hostfile FILE, with one host per line")
    if args.hostfile and not args.hostfile.is_file():
        raise UserError(f"--hostfile {args.hostfile}: no such file")
    if args.publish and (args.dry_run or args.list or (args.launcher in SCHEDULERS and not args.draw)):
        raise UserError("--publish: needs results: leave out --dry-run and --list; after jobs have ended, add --draw")
    if args.launcher in ("slurm", "pbs") and not args.cluster and not args.list:
        raise UserError(f"--launcher {args.launcher}: needs --cluster, which says how many ranks and GPUs a node has: "
                        f"{', '.join(files.names())}, or a TOML file of your own")  # fmt: skip


# ---- what has to be there -----------------------------------------------------------------------------------------


def check_output(out: Path) -> None:
    """Raise `UserError` unless results can be written: better now than after the first run."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=out, prefix=".probe-", buffering=0) as file:
            file.write(b"\0" * 65536)
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"{out}: cannot write results: {error.strerror}: choose another --out or make room") from None


def check_imagenet(data: Path) -> None:
    for part in ("train", "val"):
        if not (data / part).is_dir():
            raise UserError(f"{data}: has no folder {part}/: add --data DIR, the folder that holds train/ and val/")
