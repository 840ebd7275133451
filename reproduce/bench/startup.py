"""Seconds from the start of a process to its first finished update, by stages, and the same of minimal scripts.

    python -m reproduce.bench startup [--device cuda] [--network quick|resnet50|all] [--rounds 5]

Fresh processes in turns. Importing Python's, PyTorch's and a peer's modules is counted; finding the other processes of
a run, and reading images, are not. Writes results/bench/startup.json, or startup_cuda.json.
"""

from reproduce.bench import process, step
from reproduce.errors import command


@command
def main(argv=None) -> int:
    given = step.parse(argv, "startup", __doc__, rounds=5)
    asked = {"quick": step.quick(), "resnet50": step.resnet50(*step.SIZES[given.device][0])}
    contests = [one for name, one in asked.items() if given.network in (name, "all")]
    request = {"device": given.device, "rounds": given.rounds, "contests": contests}
    return process.run("startup", request, given.threads, given.out, with_peers=not given.no_peers)
