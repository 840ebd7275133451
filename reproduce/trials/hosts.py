"""Several hosts on one machine: network namespaces around a switch, every link limited to a rate in both directions.

    with Hosts(4, mbit=1000) as hosts:
        hosts.torchrun("reproduce.engine.train", ["paper_configs/...", ...], processes_per_host=1)

Hosts and switch are namespaces of their own, so that addresses and interface names cannot collide with the machine's
or with those of another harness. The hosts share the machine's cores and its host name. Linux and root only.
"""

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import IO

from reproduce.errors import NetworkError
from reproduce.paths import ROOT
from reproduce.supervise import Stopped, ask_to_end
from reproduce.trials import netns

DEVICE = "eth0"  # every host's only link
FIRST_ADDRESS = 101  # torchrun ranks hosts by their addresses as text: three digits each keep them in order
MAX_HOSTS = 150
PORT = 29500  # of the rendezvous, on the first host
END_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
GRACE_SECONDS = 10.0  # between being told to stop and being killed


@dataclass(frozen=True)
class Finished:
    """How one host's command ended: exit code (negative: by that signal) and what it printed."""

    host: int
    code: int
    stdout: str
    stderr: str


class Hosts:
    """A context manager: makes the hosts, and on the way out ends everything in them and removes them.

    So it does after an exception, Ctrl-C, SIGTERM and SIGHUP (the last two raise `Stopped` inside the block). What a
    harness killed by SIGKILL left behind is removed when the next one starts.
    """

    _serial = itertools.count()

    def __init__(self, count: int, mbit: float | None = None, delay_ms: float = 0.0):
        """`mbit`: Mbit/s (10^6 bit/s) each way on every link, or None: unlimited. `delay_ms`: added one way.

        Raises `NetworkError` if the numbers make no sense or the machine cannot do it.
        """
        if not 1 <= count <= MAX_HOSTS:
            raise NetworkError(f"{count} hosts: must be 1 to {MAX_HOSTS}")
        if mbit is not None and not 0.1 <= mbit <= 100_000:
            raise NetworkError(f"a rate of {mbit} Mbit/s: must be 0.1 to 100,000, or None for unlimited")
        if netns.why_not():
            raise NetworkError(netns.why_not())
        if not 0 <= delay_ms <= 10_000:
            raise NetworkError(f"a delay of {delay_ms} ms: must be 0 to 10,000")
        if delay_ms and not netns.has_netem():
            raise NetworkError(f"a delay of {delay_ms} ms: this kernel has no netem (sch_netem): use delay_ms=0")
        self.count, self.mbit, self.delay_ms = count, mbit, delay_ms
        name = f"{netns.prefix_of_this_process()}-{next(self._serial)}"
        self.names = [f"{name}-{i}" for i in range(count)]
        self.addresses = [f"10.77.0.{FIRST_ADDRESS + i}" for i in range(count)]
        self.switch = f"{name}-switch"

    def __str__(self) -> str:
        rate = "unlimited" if self.mbit is None else f"tbf {self.mbit:g} Mbit/s each way"
        delay = f", netem {self.delay_ms:g} ms one way" if self.delay_ms else ""
        return f"{self.count} network namespaces on one machine, {rate}{delay}"

    def __enter__(self):
        netns.remove_leftovers()
        self._handlers = {}
        if threading.current_thread() is threading.main_thread():
            self._handlers = {signum: signal.signal(signum, _stop) for signum in END_SIGNALS}
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        before = self._handlers
        if before:  # whoever asks again gets what was asked for first
            before[signal.SIGINT] = signal.getsignal(signal.SIGINT)
            for signum in before:
                signal.signal(signum, signal.SIG_IGN)
        try:
            netns.remove([*self.names, self.switch])
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def _build(self) -> None:
        netns.add(self.switch)
        netns.ip(self.switch, "link", "add", "bridge", "type", "bridge")
        netns.ip(self.switch, "link", "set", "bridge", "up")
        for i, (name, address) in enumerate(zip(self.names, self.addresses)):
            port = f"port{i}"
            netns.add(name)
            netns.ip(name, "link", "set", "lo", "up")
            netns.ip(name, "link", "add", DEVICE, "type", "veth", "peer", "name", port, "netns", self.switch)
            netns.ip(name, "link", "set", DEVICE, "addrgenmode", "none", "up")  # no IPv6 address: Gloo takes any
            netns.ip(name, "address", "add", f"{address}/24", "dev", DEVICE)
            netns.ip(self.switch, "link", "set", port, "master", "bridge", "addrgenmode", "none", "up")
            netns.limit(name, DEVICE, self.mbit, self.delay_ms)
            netns.limit(self.switch, port, self.mbit)

    def start(self, commands: list[list[str]], env: dict[str, str] | None = None) -> "Job":
        """Start one command per host, in the repository's folder; one job at a time.

        The collectives are told the link to use, and processes to use one thread each, as they share the cores.
        """
        if len(commands) != self.count:
            raise ValueError(f"{len(commands)} commands for {self.count} hosts")
        env = os.environ | {"OMP_NUM_THREADS": "1"} | (env or {})
        env |= {"GLOO_SOCKET_IFNAME": DEVICE, "NCCL_SOCKET_IFNAME": DEVICE}
        job = Job(self.names)
        for name, command in zip(self.names, commands):
            job.add(["ip", "netns", "exec", name, *command], env)
        return job

    def run(
        self, commands: list[list[str]], env: dict[str, str] | None = None, timeout: float | None = None,
    ) -> list[Finished]:  # fmt: skip
        """`start` and `Job.wait`; nothing that was started outlives this."""
        return self.start(commands, env).wait(timeout)

    def torchrun(
        self, module: str, args: list[str], processes_per_host: int = 1, env: dict[str, str] | None = None,
        timeout: float | None = None,
    ) -> list[Finished]:  # fmt: skip
        """Run a module (or a script: a path that ends in .py) on all hosts by torchrun, met at the first host."""
        return self.run(self.torchrun_commands(module, args, processes_per_host), env, timeout)

    def torchrun_commands(self, module: str, args: list[str], processes_per_host: int = 1) -> list[list[str]]:
        """torchrun's command on each host, for `start`. The address is given as hosts share the machine's name."""
        program = [module] if module.endswith(".py") else ["-m", module]
        shared = ["--nnodes", str(self.count), "--nproc-per-node", str(processes_per_host), "--max-restarts", "0"]
        shared += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{self.addresses[0]}:{PORT}", "--rdzv-id", self.switch]
        commands = []
        for host, address in enumerate(self.addresses):
            own = ["--rdzv-conf", f"is_host={int(host == 0)}", "--local-addr", address]
            commands.append([sys.executable, "-m", "torch.distributed.run", *shared, *own, *program, *args])
        return commands


class Job:
    """The commands that `Hosts.start` started; `processes` are the hosts' in order."""

    def __init__(self, names: list[str]):
        self.names = names
        self.processes: list[subprocess.Popen] = []
        self._files: list[tuple[IO[bytes], IO[bytes]]] = []

    def add(self, argv: list[str], env: dict[str, str]) -> None:
        files = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self._files.append(files)
        self.processes.append(
            subprocess.Popen(
                argv, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=files[0], stderr=files[1],
                start_new_session=True,
            )  # fmt: skip
        )

    def wait(self, timeout: float | None = None) -> list[Finished]:
        """Wait for all; once one has failed, the others have `GRACE_SECONDS` left. Ends them all on any way out.

        Raises `NetworkError` after `timeout` seconds.
        """
        give_up = None if timeout is None else time.monotonic() + timeout
        failed_at = None
        try:
            while any(process.poll() is None for process in self.processes):
                now = time.monotonic()
                if failed_at is None and any(process.returncode for process in self.processes):
                    failed_at = now
                if failed_at is not None and now > failed_at + GRACE_SECONDS:
                    break
                if give_up is not None and now > give_up:
                    running = [host for host, process in enumerate(self.processes) if process.returncode is None]
                    raise NetworkError(f"hosts {running} had not finished after {timeout:g} s and were stopped")
                time.sleep(0.05)
        finally:
            self.end()
        return [self._finished(host) for host in range(len(self.processes))]

    def end(self) -> None:
        """Stop what still runs: politely, then, with everything else that runs in the hosts, by SIGKILL."""
        ask_to_end(self.processes, signal.SIGTERM, GRACE_SECONDS)
        netns.kill(self.names)
        for process in self.processes:
            process.kill()  # should it not have entered its namespace yet
            process.wait()

    def _finished(self, host: int) -> Finished:
        texts = []
        for file in self._files[host]:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return Finished(host, self.processes[host].returncode, *texts)


def failure(done: list[Finished]) -> str:
    """Why a job failed, in one line; empty if it did not. What looks like an error of ours is printed whole."""
    failed = [one for one in done if one.code]
    if not failed:
        return ""
    for one in failed:
        for line in one.stderr.splitlines():
            if line.startswith("error: "):
                return line.removeprefix("error: ")
    print(failed[0].stderr, file=sys.stderr)
    return f"exit code {failed[0].code} on host {failed[0].host}; what it said stands above"


def _stop(signum, _frame):
    raise Stopped(signum)
