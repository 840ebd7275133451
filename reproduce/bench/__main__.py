"""python -m reproduce.bench NAME [OPTIONS]: every module of this package that has a `main(argv)` is a benchmark."""

import ast
import importlib
import sys
from pathlib import Path

from reproduce.errors import UserError, command
from reproduce.options import nearest


def benchmarks() -> list[str]:
    """The names of the benchmarks, found without importing them."""
    names = []
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            names.append(path.stem)
    return names


@command
def main(argv=None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    known = benchmarks()
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: python -m reproduce.bench NAME [OPTIONS]\nNAME is {' or '.join(known)}; NAME --help says more")
        return 0 if argv else 2
    if argv[0] not in known:
        raise UserError(f"{argv[0]}: no such benchmark{nearest(argv[0], known)}")
    return importlib.import_module(f"reproduce.bench.{argv[0]}").main(argv[1:])


if __name__ == "__main__":
    sys.exit(main())
