"""Contenders that take turns: noise and neighbours hit all of them alike, so ratios hold where times do not."""

import random
import sys
import time
from collections.abc import Callable, Mapping

import torch


def take_turns(contenders: Mapping[str, Callable[[], float]], rounds: int, label: str) -> dict[str, list[float]]:
    """What each contender measured of itself, once per round, in an order that changes from round to round.

    One more round goes before, and does not count. A line per round goes to standard error.
    """
    found: dict[str, list[float]] = {name: [] for name in contenders}
    began = time.monotonic()
    for number in range(rounds + 1):
        order = list(contenders)
        random.Random(number).shuffle(order)
        for name in order:
            value = contenders[name]()
            if number:
                found[name].append(value)
        gone = time.monotonic() - began
        left = gone / (number + 1) * (rounds - number)
        what = f"round {number} of {rounds}" if number else "warm-up"
        print(f"{label}: {what}; {gone:.0f} s gone, about {left:.0f} s to go", file=sys.stderr, flush=True)
    return found


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long some work takes, on the device too."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
