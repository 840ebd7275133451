"""What the model knows of a machine: typed constants in SI units, each with its unit, source and status.

`files` reads them from ``paper_configs/clusters``. An assumed constant carries the range it may lie in, from which the
model's uncertainty follows. Imports nothing outside the standard library.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STATUSES = {
    "datasheet": "the maker's data sheet or manual",
    "published measurement": "measured and published by others, or by this package; source says where",
    "calibrated": "solved from runs on one node or one GPU by `python -m reproduce.cluster calibrate`",
    "chosen": "chosen on public runs on many nodes, those of the table's second part, by the same command",
    "assumed": "not known: source says why this value; `range` is where it may lie",
}


@dataclass(frozen=True)
class Constant:
    value: float
    unit: str
    source: str
    status: str
    range: tuple[float, float] | None = None  # of an assumed one


def unit(text: str):
    return field(metadata={"unit": text})


@dataclass(frozen=True)
class Gpu:
    tensor_peak: float = unit("FLOP/s")
    tensor_efficiency: float = unit("1")  # of the peak, inside a convolution that fills the device
    memory_bandwidth: float = unit("B/s")
    memory_efficiency: float = unit("1")
    multiprocessors: float = unit("count")  # tiles of a matrix product run on so many at a time
    kernel_gap: float = unit("s")  # between two kernels that depend on each other


@dataclass(frozen=True)
class Node:
    gpus: float = unit("count")
    link_bandwidth: float = unit("B/s")  # NVLink of one GPU, one direction
    link_efficiency: float = unit("1")
    link_latency: float = unit("s")  # per step of a ring inside the node
    cpus: float = unit("count")
    pcie_bandwidth: float = unit("B/s")  # one x16 slot, one direction


@dataclass(frozen=True)
class Network:
    adapters: float = unit("count")  # HCAs of a node, shared evenly by its GPUs
    adapter_bandwidth: float = unit("B/s")  # one direction
    adapter_efficiency: float = unit("1")
    oversubscription: float = unit("1")  # 1: full bisection for the ranks as placed
    ring_latency: float = unit("s")  # per step between nodes
    tree_latency: float = unit("s")  # per hop between nodes, for messages of a chunk or more
    tree_efficiency: float = unit("1")  # bandwidth of the tree against that of the ring
    launch: float = unit("s")  # once per collective


@dataclass(frozen=True)
class Software:
    element_bytes: float = unit("B")  # of activations, and of a gradient on the wire (batch norm has 4)
    norm_passes_forward: float = unit("count")  # over the activations, by batch norm, ReLU and addition
    norm_passes_backward: float = unit("count")
    slowdown: float = unit("1")  # of compute against the roofline: what the calibration solves for
    unlike_stack: float = unit("1")  # of compute against the software that the calibration's runs used
    per_kernel: float = unit("1")  # share of a batch's fixed time, as calibrated, that each kernel brings again
    across: float = unit("s")  # once a step if more than one node takes part: the framework's own coordination
    host: float = unit("s")  # a step's fixed time: input hand-off, loss, what the host waits for
    update_bytes: float = unit("B")  # memory traffic of the update, per parameter
    update_kernels: float = unit("count")
    pack_passes: float = unit("count")  # through memory, to gather a group's gradients and to spread the sums
    group_wait: float = unit("s")  # from a group's last gradient to the start of its allreduce
    contention: float = unit("1")  # by how much compute slows while a collective runs
    jitter: float = unit("1")  # spread (standard deviation) of a step's compute between ranks
    start_up: float = unit("s")  # from run_start to the first update, and what the first epoch takes longer
    refill: float = unit("count")  # steps lost per evaluation: the input pipelines drain and fill again


SECTIONS: dict[str, type[Any]] = {"gpu": Gpu, "node": Node, "network": Network, "software": Software}


@dataclass(frozen=True)
class About:
    """Names; `stack` is the software on whose single-node runs the machine is calibrated if none is asked for."""

    name: str
    title: str
    gpu: str
    cpu: str
    adapter: str
    stack: str
    most_gpus: int  # of the machine, or of published runs on such nodes: the model goes no further
    year: int = 0  # of the framework's code that runs on many nodes; 0: that of the stack


@dataclass(frozen=True)
class OneNode:
    """A node as its owner measured it: training images/s of `gpus` GPUs at `local_batch` images each."""

    images_per_second: float
    gpus: int
    local_batch: int


@dataclass(frozen=True)
class Cluster:
    about: About
    gpu: Gpu
    node: Node
    network: Network
    software: Software
    constants: Mapping[str, Constant]  # by "section.key"
    path: str
    stack: str = ""  # that its calibrated constants come from; empty: not calibrated
    measured: OneNode | None = None  # replaces the stack's runs where there is one
    own: bool = False  # described by a file of the user's

    @property
    def bus(self) -> float:
        """Bytes/s of a ring inside the node, per GPU and direction."""
        return self.node.link_bandwidth * self.node.link_efficiency

    @property
    def wire(self) -> float:
        """Bytes/s between nodes, per GPU and direction."""
        net = self.network
        return net.adapters * net.adapter_bandwidth * net.adapter_efficiency / net.oversubscription / self.node.gpus

    def get(self, name: str) -> float:
        section, _, key = name.partition(".")
        return getattr(getattr(self, section), key)

    def with_values(self, values: Mapping[str, float]) -> "Cluster":
        """The same machine with other values, by "section.key"; what is said about the constants stays."""
        changed: dict[str, dict[str, float]] = {}
        for name, value in values.items():
            section, _, key = name.partition(".")
            changed.setdefault(section, {})[key] = float(value)
        return dataclasses.replace(
            self, **{section: dataclasses.replace(getattr(self, section), **new) for section, new in changed.items()}
        )

    @property
    def year(self) -> int:
        """Of the framework on many nodes; 0 where neither the file nor the stack says."""
        release = self.stack.rpartition(" ")[2]
        return self.about.year or (2000 + int(release.split(".")[0]) if "." in release else 0)

    def span(self, name: str) -> tuple[float, float]:
        """Where an assumed constant may lie; of another, where it is."""
        return self.constants[name].range or (self.get(name), self.get(name))

    @property
    def assumed(self) -> tuple[str, ...]:
        return tuple(name for name, constant in self.constants.items() if constant.status == "assumed")

    def facts(self) -> dict:
        """For the side-car files: every constant as used."""
        listed = {name: dataclasses.asdict(constant) | {"value": self.get(name)} for name, constant in
                  self.constants.items()}  # fmt: skip
        return {"cluster": self.about.name, "file": self.path, "stack": self.stack, "constants": listed}
