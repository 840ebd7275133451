"""What the kernel knows of processes that tests have started."""

from pathlib import Path


def children_of(pid: int) -> list[int]:
    """Of its main thread; none once it has ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
