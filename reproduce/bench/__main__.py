"""python -m reproduce.bench NAME [OPTIONS]: every module of `bench` and `trials` that has a `main(argv)` is one."""

import ast
import importlib
import sys
from pathlib import Path

from reproduce.errors import UserError, command
from reproduce.nearest import nearest
from reproduce.paths import ROOT

PACKAGES = ("bench", "trials")


def benchmarks() -> dict[str, str]:
    """Name to module of everything that can be measured or tried, found without importing it."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / "reproduce" / package).glob("[a-z]*.py")):
            if _has_main(path):
                found[path.stem] = f"reproduce.{package}.{path.stem}"
    return found


def _has_main(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)


@command
def main(argv=None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    known = benchmarks()
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: python -m reproduce.bench NAME [OPTIONS]\nNAME is {' or '.join(known)}; NAME --help says more")
        return 0 if argv else 2
    if argv[0] not in known:
        raise UserError(f"{argv[0]}: no such benchmark{nearest(argv[0], known)}")
    return importlib.import_module(known[argv[0]]).main(argv[1:])


if __name__ == "__main__":
    sys.exit(main())
