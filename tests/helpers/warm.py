"""Processes that begin with torch and the engine imported, forked from a server that has imported them once.

An import takes four seconds of a processor, and the tests start more than a hundred processes. What runs is a module as
`__main__`, with its own arguments, environment, folder and files; only the beginning of the interpreter is shared.
"""

import contextlib
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from multiprocessing import forkserver
from pathlib import Path

import torch

from reproduce.engine.spawn import environment
from tests.helpers import ROOT

_starting = threading.Lock()  # the server reads PYTHONPATH, which is the whole process's
PRELOAD = ["torch", "torch.distributed", "torchvision", "reproduce.engine.train", "tests.helpers.warm"]


def context() -> multiprocessing.context.ForkServerContext:
    """Whose processes are forked from the server, which is started by the first call."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(PRELOAD)
    with _starting:
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *([before] if before else [])])
        try:
            forkserver.ensure_running()
        finally:
            os.environ.pop("PYTHONPATH")
            if before is not None:
                os.environ["PYTHONPATH"] = before
    return found


class Warm:
    """`python -m MODULE ARGUMENTS...`; with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, module: str, arguments: list[str], env: Mapping[str, str] = os.environ, cwd: Path = ROOT):
        self.args = [sys.executable, "-m", module, *arguments]
        self._folder = tempfile.TemporaryDirectory(prefix="reproduce-warm-")
        self._files = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        self._process = context().Process(target=_main, args=(module, arguments, dict(env), cwd, self._files))
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        out, err = (path.read_text() if path.exists() else "" for path in self._files)
        return out, err

    def send_signal(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def kill(self) -> None:
        if self.returncode is None:
            self.send_signal(signal.SIGKILL)


def run(module: str, arguments: list[str], timeout: float = 300, **options) -> subprocess.CompletedProcess:
    """One process, to its end."""
    process = Warm(module, arguments, **options)
    try:
        out, err = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run_ranks(
    module: str, arguments: list[str], size: int, env: Mapping[str, str] = os.environ, timeout: float = 300
) -> list[subprocess.CompletedProcess]:
    """As many ranks of one run as `size`, to their ends; all are killed when the time is over."""
    with reserved_port() as port:
        ranks = [Warm(module, arguments, {**environment(rank, size, port), **env}) for rank in range(size)]
        try:
            give_up = time.monotonic() + timeout
            said = [rank.communicate(max(0.0, give_up - time.monotonic())) for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
    return [subprocess.CompletedProcess(rank.args, rank.returncode, *each) for rank, each in zip(ranks, said)]


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """A port of this machine that stays bound until the end, as the launcher does it."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def _main(module: str, arguments: list[str], env: dict[str, str], cwd: Path, files: list[Path]) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for number, path in enumerate(files, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    if threads := env.get("OMP_NUM_THREADS"):  # read when torch was loaded, by the server
        torch.set_num_threads(int(threads))
    sys.argv = [module, *arguments]
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")  # the server has the module already
    runpy.run_module(module, run_name="__main__", alter_sys=True)
