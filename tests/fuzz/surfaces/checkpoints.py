"""Checkpoints: damaged, of other shapes and types, with names gone, or made to run a program; resumed and evaluated."""

import pickle

from hypothesis import strategies as st

from tests.fuzz import stock
from tests.fuzz.scene import CANARY, Entry, Scene
from tests.fuzz.values import damaged, sampled

FOLDER = "out/checkpoints/small/seed_1"
SCALARS = (None, True, -1, 0, 1, 2**63, 10**30, 1.5, float("nan"), float("inf"), "", "x", [], {}, [[]], (1, 2), b"x",
           {"a": 1}, "\x1b[2J", 10**6)


class Planted:
    """What unpickles by a command."""

    def __reduce__(self):
        import os

        return os.system, (f"touch {CANARY}",)


def scenes() -> st.SearchStrategy[Scene]:
    return states() | states() | states() | broken() | planted() | places()


@st.composite
def used(draw, fault: str, content: bytes, update: int = 1, **more) -> Scene:
    """By a run that goes on, or by an evaluation."""
    entry = Entry(f"{FOLDER}/update_{update:08d}.ckpt", content=content)
    if draw(st.booleans()):
        words = ("small.toml", "--data", "images", "--out", "out", *stock.ON_CPU)
        return Scene("checkpoints", f"{fault}: resumed", stock.TRAIN, words, (stock.recipe(), *stock.images(), entry),
                     writes=("out",), chatty=True, **more)
    words = ("small.toml", "--checkpoint", entry.path, "--data", "images", *stock.ON_CPU)
    return Scene("checkpoints", f"{fault}: evaluated", "reproduce.engine.evaluate", words, (stock.recipe(),
        *stock.images(), entry), chatty=True, **more)


@st.composite
def states(draw) -> Scene:
    """A value at any depth replaced: a number, a text, a tensor of another shape, type or content; or gone, or more."""
    import torch

    found = {**stock.state(), "epoch": 0}  # else it is complete, and not resumed
    spot, path = found, []
    while isinstance(spot, dict | list) and spot and (not path or draw(st.integers(0, 9))):
        path.append(draw(sampled(sorted(spot, key=str) if isinstance(spot, dict) else range(min(4, len(spot))))))
        spot = spot[path[-1]]
    how = draw(st.integers(0, 3))
    new = draw(sampled(SCALARS))
    if isinstance(spot, torch.Tensor) and how:
        new = draw(sampled([spot[:0], spot.reshape(-1), spot.double(), spot.to(torch.complex64), spot.to(torch.int64),
                            spot * float("nan"), spot.sum(),
                            torch.zeros(3, 3), spot.to_sparse(), torch.zeros(0), spot.to(torch.bool), spot.unsqueeze(0),
                            spot.expand(2, *spot.shape)]))  # fmt: skip
    found = _replaced(found, path, new, gone=how == 2 and draw(st.booleans()))
    update = found.get("update") if isinstance(found.get("update"), int) and 0 <= found["update"] < 10**8 else 1
    return draw(used("state", stock.packed(found, update), update))


def _replaced(found, path: list, new, gone: bool):
    if not path:
        return new
    copy = dict(found) if isinstance(found, dict) else list(found)
    if gone and len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = _replaced(copy[path[0]], path[1:], new, gone)
    return copy


@st.composite
def broken(draw) -> Scene:
    return draw(used("bytes", draw(damaged(stock.checkpoint().content)), 2))


@st.composite
def planted(draw) -> Scene:
    """Intact checksums around a pickle that starts a program, or around nothing of ours."""
    content = draw(sampled([pickle.dumps(Planted()), pickle.dumps({"weights": Planted()}), b"", b"PK\x03\x04",
                            pickle.dumps([1] * 5),
                            stock.packed({"weights": Planted()}, 1).partition(b"\n")[2], stock.packed([1],
                                1).partition(b"\n")[2],
                            stock.packed({}, 1).partition(b"\n")[2], stock.packed({"seed": 1},
                                                                                  1).partition(b"\n")[2]]))  # fmt: skip
    from reproduce.engine.checkpoint import _header

    return draw(used("planted", _header(content, 1) + content, must="either"))


@st.composite
def places(draw) -> Scene:
    """Something else where the checkpoint is looked for."""
    path = draw(sampled([f"{FOLDER}/update_00000001.ckpt", FOLDER, "out/checkpoints",
                         f"{FOLDER}/update_00000001.ckpt.tmp", f"{FOLDER}.lock",
                         "out/logs/small/result_1.txt", "out/logs", f"{FOLDER}/update_{'9' * 30}.ckpt"]))  # fmt: skip
    entry = draw(sampled([Entry(path, "fifo"), Entry(path, "folder"), Entry(path, "link", target="/dev/zero"),
                          Entry(path, "zeros", size=30 << 30),
                          Entry(path, "link", target="{here}/victims/kept.txt"), Entry(path, content=b""), Entry(path,
                              mode=0),
                          Entry(path, "link", target="{here}/victims")]))  # fmt: skip
    if draw(st.booleans()):
        words = ("small.toml", "--data", "images", "--out", "out", *stock.ON_CPU)
        return Scene("checkpoints", "place: resumed", stock.TRAIN, words, (stock.recipe(), *stock.images(), entry),
                     writes=("out", "victims/update_", "victims/small"), chatty=True)  # a link to a larger disk is used
    words = ("small.toml", "--checkpoint", draw(sampled([FOLDER, path, "gone", ""])), "--data", "images", *stock.ON_CPU)
    return Scene("checkpoints", "place: evaluated", "reproduce.engine.evaluate", words, (stock.recipe(),
                                                                                         *stock.images(), entry),
                                                                                         chatty=True)
