"""Static gradient groups: which tensors share an allreduce, decided before training and never negotiated.

The paper divides the layers statically so that one allreduce carries several megabytes and starts, while backward
still runs, once its own layers are done (techniques 8 and 9). A group here is a set of tensors with a fixed place in
a fixed order; every process derives the same groups from the same network and rule. Imports neither torch nor NumPy:
`engine/groups.py` takes the tensors from a network, `engine/gradients.py` sends them.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from reproduce.errors import ConfigError

RULES = "cubic:F, size:NMB, layer, single or ddp (PyTorch's own)"


@dataclass(frozen=True)
class Tensor:
    """A parameter in the order of definition. Batch-norm parameters keep fp32 on the wire; the others may be halved."""

    name: str
    elements: int
    batch_norm: bool


@dataclass(frozen=True)
class Group:
    """Tensors that share one allreduce; `ids` are places in the order of definition, rising.

    `span` counts the tensors the rule put together, of which the batch-norm ones travel in the last group.
    """

    ids: tuple[int, ...]
    elements: int
    batch_norm: bool
    span: int

    def megabytes(self, bytes_per_element: int) -> float:
        """10^6 bytes on the wire; batch norm always has four per element."""
        return self.elements * (4 if self.batch_norm else bytes_per_element) / 1e6


def divide(tensors: Sequence[Tensor], rule: str) -> tuple[Group, ...]:
    """The groups in the order in which their allreduces start: from the end of the network backwards.

    Rules: ``cubic:F`` the team's (facts e): group k holds the ids in [N - F (k + 1)^3, N - F k^3); ``size:NMB`` closes
    a group once it holds N megabytes in half precision; ``layer`` a group per tensor; ``single`` one group. Batch-norm
    tensors are held back and form one last group, as in the team's code. Raises `ConfigError` for another rule.
    """
    def group(span, batch_norm: bool) -> Group:
        ids = tuple(i for i in span if tensors[i].batch_norm == batch_norm)
        return Group(ids, sum(tensors[i].elements for i in ids), batch_norm, len(span) if not batch_norm else len(ids))

    groups = [group(span, False) for span in _spans(tensors, rule)] + [group(range(len(tensors)), True)]
    return tuple(group for group in groups if group.ids)


def _spans(tensors: Sequence[Tensor], rule: str) -> list[range]:
    """Ranges of ids, from the end of the network backwards, batch norm still among them."""
    n = len(tensors)
    kind, _, argument = rule.partition(":")
    if kind == "cubic" and re.fullmatch("[1-9][0-9]{0,8}", argument):
        factor, spans, k = int(argument), [], 0
        while n - factor * k**3 > 0:
            spans.append(range(max(0, n - factor * (k + 1) ** 3), n - factor * k**3))
            k += 1
        return spans
    if kind == "size" and argument.endswith("MB") and _positive(argument[:-2]):
        limit, spans, end, held = float(argument[:-2]) * 1e6, [], n, 0
        for i in reversed(range(n)):
            held += 0 if tensors[i].batch_norm else 2 * tensors[i].elements
            if held >= limit or i == 0:
                spans.append(range(i, end))
                end, held = i, 0
        return spans
    if rule == "layer":
        return [range(i, i + 1) for i in reversed(range(n))]
    if rule == "single":
        return [range(n)]
    raise ConfigError(f"group rule {rule!r}: must be cubic:F, size:NMB, layer or single, such as cubic:3 or size:8MB")


def is_rule(text: str) -> bool:
    """Whether a config may name it: a rule of `divide`, or "ddp", whose groups are PyTorch's business."""
    try:
        _spans((), text)
    except ConfigError:
        return text == "ddp"
    return True


def _positive(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False
