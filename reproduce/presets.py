"""How a run's mathematics is computed, by name: choices that change its speed and its last digits, nothing else.

    python -m reproduce.presets     the table of reproduce/engine/README.md

``reference`` is the plainest code on every device, ``fast`` the quickest there is on it. A choice of either is replaced
by ``fast,lars=foreach`` and the like. Imports nothing outside the standard library.
"""

from dataclasses import dataclass

from reproduce.errors import ConfigError

CHOICES = {
    "lars": ("auto", "foreach", "native", "compiled", "apex"),
    "batch-norm": ("split", "vectorised"),
    "cuda-graph": ("off", "on"),
    "data": ("auto", "dali", "torchvision"),
}
MEANING = {"lars": "LARS", "batch-norm": "batch norm of a process's workers", "cuda-graph": "CUDA graph of an update",
           "data": "data back-end"}  # fmt: skip
PLAIN = {"lars": "auto", "batch-norm": "split", "cuda-graph": "off", "data": "auto"}
PRESETS = {
    ("reference", "cpu"): PLAIN,
    ("reference", "cuda"): PLAIN | {"lars": "foreach"},
    ("fast", "cpu"): PLAIN | {"batch-norm": "vectorised"},
    ("fast", "cuda"): PLAIN | {"lars": "compiled", "batch-norm": "vectorised", "cuda-graph": "on"},
}
NAMES = ("reference", "fast")
PASS_IMAGES = 512  # at most, in one pass of the network
# a pass of ResNet-50 at 224 x 224 keeps so many bytes per image, by tests/golden/gpu_updates.json
BYTES_PER_IMAGE = {"fp32": 85e6, "fp16": 46e6, "bf16": 46e6}
DEFAULT = {"cpu": "reference", "cuda": "fast"}  # what published quick runs were made with, and what tier paper needs


@dataclass(frozen=True)
class Wanted:
    """What ``--execution`` says: a preset, or None for the device's own, and choices that replace some of its."""

    name: str | None
    changes: dict[str, str]


def parse(text: str | None) -> Wanted:
    """Raises `ConfigError` for a name, a choice or a value there is not."""
    first, *rest = (text or "").split(",")
    if first and "=" in first:
        first, rest = "", [first, *rest]
    if first and first not in NAMES:
        raise ConfigError(f"--execution {first}: must be {' or '.join(NAMES)}, then choices such as lars=foreach")
    changes = dict(part.partition("=")[::2] for part in rest)
    for key, value in changes.items():
        if value not in CHOICES.get(key, ()):
            raise ConfigError(f"--execution {key}={value}: no such choice: "
                              f"known are {', '.join(CHOICES.get(key, CHOICES))}")  # fmt: skip
    return Wanted(first or None, changes)


def resolve(wanted: Wanted, device: str, workers_per_process: int) -> tuple[str, dict[str, str]]:
    """The preset's name and every choice, for a process of so many workers on "cpu" or "cuda".

    One worker has no other to be normalised with: its batch norm is plain, whatever the preset. Another LARS than the
    compiled one cannot be part of a graph.
    """
    name = wanted.name or DEFAULT[device]
    follows = {"batch-norm": "split"} if workers_per_process == 1 else {}
    if wanted.changes.get("lars", "compiled") != "compiled":
        follows["cuda-graph"] = "off"
    return name, PRESETS[name, device] | follows | wanted.changes


def table() -> str:
    """Every preset's choices, as the Markdown table of reproduce/engine/README.md."""
    columns = [(name, device) for device in ("cpu", "cuda") for name in NAMES]
    titles = [f"`{name}`, {'CPU' if device == 'cpu' else 'GPU'}{' (default)' if DEFAULT[device] == name else ''}"
              for name, device in columns]  # fmt: skip
    lines = ["| choice | " + " | ".join(titles) + " |", "|---" * (len(columns) + 1) + "|"]
    for key, meaning in MEANING.items():
        cells = [PRESETS[column][key] for column in columns]
        lines.append(f"| {meaning}: `{key}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
