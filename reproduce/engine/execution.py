"""How one and the same mathematics is computed: choices that change a run's speed and the last digits, nothing else."""

from dataclasses import asdict, dataclass

from reproduce.engine.optim import BACKENDS
from reproduce.errors import ConfigError

BATCH_NORMS = ("split", "vectorised")


@dataclass(frozen=True)
class Execution:
    """`lars`: a back-end of the optimizer. `batch_norm`: how the workers of a pass are normalised, see `workers`.

    `cuda_graph`: record a whole update once and replay it; for GPUs. Raises `ConfigError` for a choice there is not.
    """

    lars: str = "auto"
    batch_norm: str = "split"
    cuda_graph: bool = False

    def __post_init__(self):
        if self.lars not in BACKENDS:
            raise ConfigError(f"--lars {self.lars}: must be one of {', '.join(BACKENDS)}")
        if self.batch_norm not in BATCH_NORMS:
            raise ConfigError(f"--batch-norm {self.batch_norm}: must be one of {', '.join(BATCH_NORMS)}")
        if self.cuda_graph and self.lars != "compiled":
            raise ConfigError("--cuda-graph: needs --lars compiled: the others keep the learning rate on the host")

    def facts(self) -> dict:
        """For the log."""
        return asdict(self)
