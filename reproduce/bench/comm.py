"""Step time against the way gradients are exchanged, on several hosts with links of a given rate.

    python -m reproduce.bench comm [--hosts 4] [--mbit 400,1000,unlimited] [--steps 5] [--rules cubic:3,size:8MB,...]

ResNet-50 with its 25.6 million parameters, on small images so that two cores compute a step in about the time that
1 Gbit/s needs for its gradients. At each rate all variants take turns in the same processes (`timed/comm.py`), with
PyTorch's DistributedDataParallel and a step that exchanges nothing among them. Writes comm.json, which
`reproduce/groups.py` draws, and beside it groups_trace.json for chrome://tracing.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from reproduce import table
from reproduce.bench.process import write
from reproduce.engine.spawn import launch
from reproduce.errors import UserError, command
from reproduce.paths import ROOT
from reproduce.recipe import load as configs
from reproduce.recipe.grouping import RULES, divide
from reproduce.results import steptimes, trace
from reproduce.runner.options import check_output
from reproduce.supervise import Stopped
from reproduce.trials import netns
from reproduce.trials.hosts import Hosts, failure
from reproduce.words import Parser

CONFIG = ROOT / "paper_configs" / "headline_b81920_g2048.toml"
WARM_UP = 1  # rounds not counted
# only the images shrink: parameters, and so gradients, are those of the paper's network
SCALED = ['data.dataset="synthetic"', "data.image_size=64", "batch.local_batch=8", "schedule.peak_lr=0.1"]
MAX_SECONDS = 3600  # for one rate
QUIET = {"TORCH_CPP_LOG_LEVEL": "ERROR"}  # else every process says that the hosts' addresses have no names


def parse(argv) -> argparse.Namespace:
    parser = Parser(prog="python -m reproduce.bench comm", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--hosts", type=int, default=4, help="network namespaces, of one process each (default: 4)")
    add("--mbit", default="400,1000,unlimited", help="rates of the links in Mbit/s (default: 400,1000,unlimited)")
    add("--delay-ms", type=float, default=0.0, help="added one way on every link, by netem (default: 0)")
    add("--steps", type=int, default=5, help="steps timed of each variant (default: 5)")
    add("--rules", default=",".join(steptimes.RULES), help="group rules (default: %(default)s)")
    add("--out", type=Path, default=ROOT / "results" / "quick" / steptimes.FILE, help="default: %(default)s")
    add("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a value of the config")
    given = parser.parse_args(argv)
    given.mbit, given.rules = [rate_of(text) for text in given.mbit.split(",")], given.rules.split(",")
    for rule in given.rules:
        if rule == "ddp":
            raise UserError(f"--rules {rule}: PyTorch's own is always measured: name others of {RULES}")
        divide([], rule)
    if given.hosts < 2:
        raise UserError(f"--hosts {given.hosts}: must be at least 2: one host has nobody to exchange with")
    if given.steps < 1:
        raise UserError(f"--steps {given.steps}: must be at least 1")
    configs.load(CONFIG, overrides(given))  # before anything is started
    return given


def overrides(given: argparse.Namespace) -> list[str]:
    """What makes of the paper's recipe one for so many hosts of one process."""
    return [*SCALED, f"batch.workers={given.hosts}", f"data.train_images={given.hosts * 1000}", *given.set]


def rate_of(text: str) -> float | None:
    if text == "unlimited":
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not rate > 0:
        raise UserError(f"--mbit {text}: must be positive numbers or 'unlimited', separated by commas")
    return rate


def measure(given: argparse.Namespace, mbit: float | None, label: str, loopback: bool) -> tuple[str, dict]:
    """The description of a network and what `timed/comm.py` measured on it. Raises `UserError` if that failed."""
    variants = steptimes.variants(given.rules)
    with tempfile.TemporaryDirectory() as folder:
        out, progress = Path(folder) / "measured.json", Path(folder) / "progress"
        request = json.dumps({
            "config": str(CONFIG), "overrides": overrides(given), "rounds": WARM_UP + given.steps,
            "variants": [[v.rule, v.overlap, v.wire] for v in variants], "traced": 0, "progress": str(progress),
            "out": str(out),
        })  # fmt: skip
        with shown(progress, label):
            where = on_loopback if loopback else on_hosts
            network, why = where(request, given.hosts, mbit, given.delay_ms)
        if why or not out.exists():
            raise UserError(f"{label}: the measurement failed: {why or 'without a word'}")
        return network, json.loads(out.read_text())


def on_hosts(request: str, count: int, mbit: float | None, delay_ms: float) -> tuple[str, str]:
    """The network, and in one line why the measurement failed; empty if it did not."""
    with Hosts(count, mbit, delay_ms) as hosts:
        done = hosts.torchrun("reproduce.bench.timed.comm", [request], env=QUIET, timeout=MAX_SECONDS)
    return str(hosts), failure(done)


def on_loopback(request: str, processes: int, _mbit, _delay_ms) -> tuple[str, str]:
    """As `on_hosts`; what the processes say goes where our errors go."""
    code = launch([sys.executable, "-m", "reproduce.bench.timed.comm", request], processes)
    if code > 128:
        raise Stopped(code - 128)
    return f"loopback of one machine, {processes} processes", f"exit code {code}" if code else ""


@contextlib.contextmanager
def shown(progress: Path, label: str):
    """Shows the lines that are written to a file meanwhile."""
    progress.touch()
    ended = threading.Event()

    def follow() -> None:
        with open(progress) as lines:
            last = False
            while not last:
                last = ended.wait(0.3)  # once more after the end: the last line may have come meanwhile
                for line in lines:
                    print(f"{label}: {line}", end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def result_of(measured: list[tuple[float | None, str, dict]], given: argparse.Namespace, minutes: float):
    """The benchmark's result, and its trace, from what was measured at each rate."""
    networks, traced = [], []
    for mbit, description, found in measured:
        events = trace.Step([tuple(event) for event in found["trace"]])
        timings = []
        for one in found["variants"]:
            variant = steptimes.Variant(one["rule"], one["overlap"], one["wire"])
            timings.append(steptimes.Timing(variant, tuple(one["seconds"]), one["groups"], one["bytes"]))
        startup = {how: tuple(seconds) for how, seconds in found["startup"].items()}
        network = steptimes.Network(mbit, description, tuple(timings), events.lead_ms, startup)
        networks.append(network)
        traced.append((f"{timings[0].variant}, {network.rate}: rank 0 of {given.hosts}", events))
    facts = measured[0][2]["about"]
    config = configs.load(CONFIG, overrides(given))
    about = {
        "hardware": f"{facts['hardware']} on {os.cpu_count()} cores", "hosts": given.hosts,
        "place": networks[0].description.partition(",")[0], "model": config.model.name,
        "image_size": config.data.image_size, "local_batch": config.local_batch(0), "precision": facts["precision"],
        "steps": given.steps, "warm_up_steps": WARM_UP, "minutes": round(minutes, 1),
        "python": facts["python"], "torch": facts["torch"], "revision": facts["revision"],
    }  # fmt: skip
    return steptimes.Result(about, tuple(networks)), trace.chrome(traced)


def show(result: steptimes.Result) -> None:
    for network in result.networks:
        print(f"\n{network.description}; {result.about['hardware']}\n")
        print(table.markdown(steptimes.HEADER, steptimes.cells(network)))
        print(f"{network.rate}: the first allreduce began {network.lead_ms:,.0f} ms before backward ended")
        print(f"{network.rate}: {steptimes.startup_text(network)}")


@command
def main(argv=None) -> int:
    given = parse(argv)
    out = given.out.absolute()
    check_output(out.parent)
    loopback = bool(netns.why_not())
    if loopback:
        print(f"{netns.why_not()}: measuring on loopback, at no limit, instead", file=sys.stderr)
        given.mbit = [None]
    began, measured = time.monotonic(), []
    try:
        for number, mbit in enumerate(given.mbit, 1):
            rate = "unlimited" if mbit is None else f"{mbit:g} Mbit/s"
            label = f"[{number}/{len(given.mbit)}] {rate}"
            print(f"{label}: starting {given.hosts} processes", file=sys.stderr, flush=True)
            measured.append((mbit, *measure(given, mbit, label, loopback)))
    except Stopped as stopped:
        print(f"stopped by {stopped}: nothing was written; run the same command again", file=sys.stderr)
        return 128 + stopped.signum
    result, chrome = result_of(measured, given, (time.monotonic() - began) / 60)
    write(out, result.to_json())
    write(out.parent / trace.FILE, chrome)
    show(result)
    print(f"\nwrote {out}\nwrote {out.parent / trace.FILE} (open it in chrome://tracing)")
    return 0
