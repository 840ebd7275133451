"""200 curves that are not of the five public runs, though they carry no label that says so.

100 are other public runs, of other batch sizes, systems and teams, laid on the five runs' epochs by straight lines: the
first run of each of the 50 entries that trained for most epochs, which are those with the largest batches and so the
most alike; once as it is, its end held, and once stretched so that it too ends at epoch 90. 100 are one of the five,
spoilt in one of 20 ways.
"""

import csv
import gzip
from collections.abc import Callable, Iterator

import numpy as np

from reproduce.results import public

CURVES = public.FOLDER / "mlperf_resnet_eval_curves.csv.gz"
OURS = "abci_2048xV100_mxnet"
Curve = dict[int, float]


def foreign(grid: list[int], count: int = 100) -> Iterator[tuple[str, Curve]]:
    entries: dict[tuple, list[tuple[float, float]]] = {}
    with gzip.open(CURVES, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = row["round"], row["dir"], row["run"]
            entries.setdefault(key, []).append((float(row["epoch"]), 100 * float(row["top1"])))
    firsts: dict[str, tuple] = {}
    for key in entries:
        firsts.setdefault(key[1], key)
    longest = sorted((key for key in firsts.values() if OURS not in key[1]), key=lambda key: -entries[key][-1][0])
    for key in longest[: count // 2]:
        epochs, values = np.array(sorted(entries[key])).T
        for how, at in (("as it is", epochs), ("stretched", epochs * grid[-1] / epochs[-1])):
            yield f"{key[0]} {key[1]} {how}", dict(zip(grid, np.interp(grid, at, values).tolist()))


def on(change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[Curve], Curve]:
    """A way to spoil a curve from a function of its epochs and values."""

    def spoil(curve: Curve) -> Curve:
        epochs = np.array(list(curve))
        return dict(zip(curve, change(epochs, np.array(list(curve.values()))).tolist()))

    return spoil


def until(last: int) -> Callable[[Curve], Curve]:
    return lambda curve: {epoch: value for epoch, value in curve.items() if epoch <= last}


def moving_average(e, v):
    return np.convolve(np.pad(v, 2, mode="edge"), np.ones(5) / 5, mode="valid")


SPOILT: dict[str, Callable[[Curve], Curve]] = {
    "8 epochs late": on(lambda e, v: np.interp(e - 8, e, v)),
    "8 epochs early": on(lambda e, v: np.interp(e + 8, e, v)),
    "4 epochs late": on(lambda e, v: np.interp(e - 4, e, v)),
    "1 point high": on(lambda e, v: v + 1),
    "1 point low": on(lambda e, v: v - 1),
    "ends 0.8 points low": on(lambda e, v: np.where(e == e[-1], v - 0.8, v)),
    "ends 2 points low": on(lambda e, v: np.where(e > 80, v - 2, v)),
    "3 % low throughout": on(lambda e, v: 0.97 * v),
    "cut after epoch 50": until(50),
    "cut before the end": until(86),
    "noise only": on(lambda e, v: np.random.Generator(np.random.Philox(int(1000 * v[3]))).uniform(0, 76, len(v))),
    "chance": on(lambda e, v: np.full(len(v), 0.1)),
    "never falls": on(lambda e, v: np.interp(e, [2, 18, 50, 74, 90], v[[0, 4, 12, 18, 22]])),
    "smooth": on(moving_average),
    "grows like a root": on(lambda e, v: v[-1] * np.sqrt(e / e[-1])),
    "straight line": on(lambda e, v: v[-1] * e / e[-1]),
    "does not stall": on(lambda e, v: np.where((e > 18) & (e < 60), v + 15, v)),
    "stalls at 10 %": on(lambda e, v: np.where((e > 18) & (e < 60), 10, v)),
    "backwards": on(lambda e, v: v[::-1]),
    "one value not a number": on(lambda e, v: np.where(e == 42, np.nan, v)),
}
