"""Command lines: every option of every command, as its parser declares it, with values that are none.

Each command is called so that it ends by itself: what it would measure or train is not there, or only shown.
"""

import argparse
import functools
import importlib
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from tests.fuzz import stock
from tests.fuzz.scene import HERE, Scene
from tests.fuzz.values import NO_NUMBERS, NUMBERS, argument, numbers, paths, sampled
from tests.fuzz.values import words as texts

NOWHERE = ("--out", "plain.txt/below")  # refused before anything is measured
BENCH = "reproduce.bench.__main__"


@dataclass(frozen=True)
class Command:
    """`begin` goes before what is drawn and `end` after it; where an option is given twice, the last one counts."""

    module: str
    begin: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    weight: int = 2

    @property
    def label(self) -> str:
        return " ".join([self.module.removeprefix("reproduce.").removesuffix(".__main__"), *self.begin[:1]])


COMMANDS = (
    Command("reproduce.run_all", end=("--list",), weight=6),
    Command("reproduce.run_all", ("--only", "table1"), ("--dry-run",), weight=1),
    Command("reproduce.table1", end=("--draw",)), Command("reproduce.figure1", end=("--draw",), weight=1),
    Command("reproduce.schedules", end=("--draw",), weight=1),
    Command("reproduce.figure3", end=("--draw",), weight=1), Command("reproduce.groups", end=("--draw",), weight=1),
    Command("reproduce.curve", end=("--draw", "--results", "gone")), Command("reproduce.figure2", end=("--draw",
        "--results", "gone")),
    Command("reproduce.config"), Command("reproduce.report.log", ("x.txt",)), Command("reproduce.report.atlas"),
    Command("reproduce.report.check", ("gone",)), Command("reproduce.report.page", end=("--results", "gone")),
    Command("reproduce.report.publish", end=("--results", "gone", "--dry-run")),
    Command("reproduce.cluster.__main__", weight=4), Command("reproduce.cluster.__main__", ("sensitivity",)),
    Command("reproduce.cluster.__main__", ("local",)), Command("reproduce.cluster.__main__", ("calibrate",
        "--measured", "100"), weight=3),
    Command(BENCH, ("comm",), NOWHERE), Command(BENCH, ("data",), NOWHERE),
    Command(BENCH, ("lars",), NOWHERE), Command(BENCH, ("pingpong",), NOWHERE), Command(BENCH, ("profile",), NOWHERE),
    Command(BENCH, ("startup",), NOWHERE), Command(BENCH, ("step",), NOWHERE), Command(BENCH, ("kills",), NOWHERE),
    Command(BENCH, ("power",), ("--data", "gone", "--out", "plain.txt/below")), Command(BENCH, ("tune",), ("--data",
        "gone", *NOWHERE)),
    Command(stock.TRAIN, ("small.toml", "--data", "gone"), ("--device", "cpu"), weight=6),
    Command("reproduce.engine.evaluate", ("small.toml", "--data", "gone", "--checkpoint", "gone"), ("--device",
        "cpu"), weight=3),
    Command("reproduce.engine.data.stage", ("--from", "gone", "--to", "to"), weight=3),
    Command("reproduce.engine.data.embedded", ("--out", "data"), ("--source", "gone")),
    Command("reproduce.engine.dist.groups", weight=1), Command("reproduce.engine.preflight.__main__",
                                                               end=("--timeout", "5")),
)  # fmt: skip
ENTRIES = (stock.recipe(), *stock.ODD)


class Parsed(BaseException):
    """Holds the parser of a command, caught as it begins to parse."""


@functools.cache
def options(command: Command) -> tuple[tuple[argparse.Action, ...], ...]:
    """The options of a command, and its positional arguments."""
    parse, known = argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_args

    def caught(parser, *_):
        raise Parsed(parser)

    argparse.ArgumentParser.parse_args = argparse.ArgumentParser.parse_known_args = caught  # type: ignore[method-assign]
    try:
        importlib.import_module(command.module).main([*command.begin])
        raise RuntimeError(f"{command.label}: has no parser")
    except Parsed as parsed:
        actions = [one for one in parsed.args[0]._actions if one.dest != "help"]
    finally:
        argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_args = parse, known  # type: ignore[method-assign]
    return tuple(one for one in actions if one.option_strings), tuple(one for one in actions if not one.option_strings)


def scenes() -> st.SearchStrategy[Scene]:
    every = [command for command in COMMANDS for _ in range(command.weight)]
    drawn = sampled(every).flatmap(called)
    return drawn | drawn | drawn | drawn | drawn | drawn | started() | shell()  # the last one is slow


def ending(fault: str, module: str, words: tuple[str, ...], *environ: tuple[str, str], **more) -> Scene:
    """A command that may write wherever it is told to."""
    return Scene("words", fault, module, words, ENTRIES, environ, writes=("",), codes=(1, 2, 3), chatty=True, **more)


@st.composite
def called(draw, command: Command) -> Scene:
    """One to three options, each with a value; sometimes another word."""
    found, _ = options(command)
    given: list[str] = []
    wrong = False
    for _ in range(draw(st.integers(1, 3))):
        if found:
            words, none = draw(valued(draw(sampled(found))))
            given, wrong = given + words, wrong or none
    if not found or draw(st.integers(0, 5)) == 0:
        given += [argument(draw(texts | paths))]
    words = (*command.begin, *given, *command.end)
    return ending(command.label, command.module, words, must="refuse" if wrong else "either")


@st.composite
def valued(draw, action: argparse.Action) -> tuple[list[str], bool]:
    """An option with a value, and whether that must be refused."""
    name = draw(sampled(action.option_strings))
    if action.nargs == 0:
        return [name], False
    kind = getattr(action.type, "__name__", "")
    values = {"int": numbers, "float": numbers, "Path": paths}.get(kind, texts | paths | numbers)
    if action.choices is not None:
        values = sampled([str(one) for one in action.choices][:20]) | values
    value = argument(draw(values))
    none = value in NO_NUMBERS if action.type in (int, float) else action.type is Path and not value
    return [f"{name}={value}"] if draw(st.booleans()) else [name, value], none


@st.composite
def started(draw) -> Scene:
    """The starter of processes: numbers of them, modules, and what these are told."""
    many = draw(numbers.filter(lambda text: text not in NUMBERS) | sampled(["0", "-1", "1", "2", "9" * 40]))
    module = draw(sampled([(), ("-m",), ("-m", "gone"), ("-m", ""), ("-m", "reproduce.config"), ("-m", "-c")]))
    words = (many, *module, *(argument(draw(texts | paths)) for _ in range(draw(st.integers(0, 2)))))
    return ending("engine.spawn", "reproduce.engine.spawn", tuple(map(argument, words)))


@st.composite
def shell(draw) -> Scene:
    """`run_all.sh` itself: options, and the folder it is called from."""
    value = argument(draw(paths | texts))
    words = (draw(sampled(["--list", "--help", "--nonsense", "--out", "--tier", "--seeds"])), value, "--list")
    cdpath = draw(sampled(["UNSET", ".", f".:{HERE}", "/"]))
    return ending("run_all.sh", "tests.fuzz.shell", words, ("CDPATH", cdpath))
