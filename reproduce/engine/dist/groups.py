"""The static gradient groups of a network, as a table; `reproduce/recipe/grouping.py` has the rules.

    python -m reproduce.engine.dist.groups --model resnet50 --rule cubic:3
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reproduce.paths import CONFIGS
from reproduce.errors import command
from reproduce.recipe.grouping import Group, Tensor, divide
from reproduce.words import Parser


def tensors_of(model) -> list[Tensor]:
    """The parameters of a network in the order of definition; batch norm is recognised by module type."""
    from reproduce.engine.workers import WorkerBatchNorm2d

    tensors = []
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix, recurse=False):
            tensors.append(Tensor(name, parameter.numel(), isinstance(module, WorkerBatchNorm2d)))
    return tensors


def table(tensors: Sequence[Tensor], groups: Sequence[Group]) -> str:
    """The groups as text: the tensors the rule put together, those sent with the group, elements, megabytes in fp16."""
    lines = [f"{'group':>5}  {'tensors':>7}  {'sent':>4}  {'elements':>10}  {'MB':>6}  from ... to"]
    for number, group in enumerate(groups):
        label = "fp32" if group.batch_norm else str(number)
        first, last = tensors[group.ids[0]].name, tensors[group.ids[-1]].name
        sizes = f"{group.elements:>10,}  {group.megabytes(2):>6.2f}"
        lines.append(f"{label:>5}  {group.span:>7}  {len(group.ids):>4}  {sizes}  {first} ... {last}")
    elements, megabytes = sum(group.elements for group in groups), sum(group.megabytes(2) for group in groups)
    lines.append(f"{'all':>5}  {'':>7}  {len(tensors):>4}  {elements:>10,}  {megabytes:>6.2f}")
    return "\n".join(lines)


@command
def main(argv=None) -> None:
    """Print the static groups of a network."""
    parser = Parser(prog="python -m reproduce.engine.dist.groups", description=main.__doc__)
    parser.add_argument("--model", choices=("resnet50", "resnet8"), default="resnet50")
    parser.add_argument("--rule", default="cubic:3", help="cubic:F, size:NMB, layer or single")
    args = parser.parse_args(argv)

    from reproduce.recipe import load as configs
    from reproduce.engine.model import build_model

    name = {"resnet50": "headline_b81920_g2048", "resnet8": "quick/headline_b800_w20"}[args.model]
    model = build_model(configs.load(CONFIGS / f"{name}.toml"))
    tensors = tensors_of(model)
    print(table(tensors, divide(tensors, args.rule)))


if __name__ == "__main__":
    sys.exit(main())
