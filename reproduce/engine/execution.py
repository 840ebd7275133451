"""How one and the same mathematics is computed: choices that change a run's speed and the last digits, nothing else."""

from dataclasses import asdict, dataclass

from reproduce import presets
from reproduce.engine.optim import BACKENDS
from reproduce.errors import ConfigError

BATCH_NORMS = presets.CHOICES["batch-norm"]


@dataclass(frozen=True)
class Execution:
    """`lars`: a back-end of the optimizer. `batch_norm`: how the workers of a pass are normalised, see `workers`.

    `cuda_graph`: record a whole update once and replay it; for GPUs. Raises `ConfigError` for a choice there is not.
    """

    lars: str = "auto"
    batch_norm: str = "split"
    cuda_graph: bool = False
    preset: str = "none"  # the name it goes by, for the log

    def __post_init__(self):
        if self.lars not in BACKENDS:
            raise ConfigError(f"--lars {self.lars}: must be one of {', '.join(BACKENDS)}")
        if self.batch_norm not in BATCH_NORMS:
            raise ConfigError(f"--batch-norm {self.batch_norm}: must be one of {', '.join(BATCH_NORMS)}")
        if self.cuda_graph and self.lars != "compiled":
            raise ConfigError("--cuda-graph: needs --lars compiled: the others keep the learning rate on the host")

    @property
    def compiles(self) -> bool:
        """Whether code is generated in the first update."""
        return self.cuda_graph or self.lars == "compiled" or self.batch_norm == "vectorised"

    def facts(self) -> dict:
        """For the log."""
        return asdict(self)


def chosen(text: str | None, device: str, workers_per_process: int, changes: dict[str, str]) -> tuple[Execution, str]:
    """What ``--execution`` stands for on a device, and the data back-end; `changes` are options given by themselves.

    Raises `ConfigError` for what cannot be, or not there.
    """
    wanted = presets.parse(text)
    name, choices = presets.resolve(presets.Wanted(wanted.name, wanted.changes | changes), device, workers_per_process)
    if choices["cuda-graph"] == "on" and device != "cuda":
        raise ConfigError("--cuda-graph: needs a GPU: leave it out with --device cpu")
    made = Execution(choices["lars"], choices["batch-norm"], choices["cuda-graph"] == "on", name)
    return made, choices["data"]
