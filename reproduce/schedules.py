"""The schedules: learning rate and mini-batch by epoch, of the ImageNet recipe of each row of Table 1.

    python reproduce/schedules.py --draw [--out DIR]     needs neither logs nor torch

Drawn by the functions that training calls (`reproduce.recipe.schedule`). Writes schedules.png, .pdf, .svg and .json.
"""

import sys
from bisect import bisect_right
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reproduce.artefact import EVERY_TIER, Artefact  # noqa: E402
from reproduce.page.view import Cell, Code, Number, SectionData, numbers_of  # noqa: E402
from reproduce.recipe import load as configs  # noqa: E402
from reproduce.recipe.load import Config  # noqa: E402
from reproduce.recipe.runs import TABLE1_ROWS  # noqa: E402
from reproduce.recipe.schedule import Schedule  # noqa: E402
from reproduce.results import output  # noqa: E402
from reproduce.script import entry  # noqa: E402

ARTEFACT = Artefact("schedules", "Learning rate and mini-batch of each row of Table 1", EVERY_TIER)
SAMPLES = 400  # points of a line, beside those where the schedule changes its form
OPTIMIZERS = {"lars": "LARS", "sgd": "momentum SGD", "rmsprop_warmup": "RMSprop, then momentum SGD"}
NO_RECIPE = "not run: its 256 images, scaled down, would be 2.5"
HEADER = ["work", "recipe", "from epoch", "learning rate", "mini-batch", "how its schedule is known"]


@dataclass(frozen=True)
class Point:
    """The settings of an update. `epoch`: how many are behind it. `batch`: images per update."""

    epoch: float
    rate: float
    batch: int


def recipes() -> dict[str, Config | None]:
    """By row of Table 1, the recipe that its scaled-down run scales down."""
    return {work: scaled_by(run) if run else None for work, run in TABLE1_ROWS.items()}


def scaled_by(run: str) -> Config:
    return configs.load_run(configs.load_run(run).run.scales_down or run)


class Course:
    """A recipe's schedule along its updates."""

    def __init__(self, config: Config):
        self.config, self.schedule = config, Schedule.of(config)
        self._first = [0, *accumulate(config.epoch_updates())]  # update of each epoch, and one beyond the last
        self._last = self._first[-1] - 1

    def at(self, i: int) -> Point:
        epoch = bisect_right(self._first, i) - 1
        first, after = self._first[epoch : epoch + 2]
        behind = epoch + (i - first) / (after - first)
        return Point(behind, self.schedule.lr(i), self.config.global_batch(epoch))

    def joints(self) -> list[int]:
        """The updates from which the schedule has another form, the first and the last."""
        phases = [self._first[epoch] for epoch, _ in self.config.batch.local_batch]
        ends = [] if self.schedule.decay == "step" else [self.schedule.warmup + self.schedule.decay_updates]
        found = {0, self.schedule.warmup, *self.schedule.milestones, *ends, *phases, self._last}
        return sorted(i for i in found if i <= self._last)

    def line(self) -> list[Point]:
        """Points to draw a line through; the one before each joint is there, so that a step is upright."""
        found = {round(self._last * k / SAMPLES) for k in range(SAMPLES + 1)}
        found |= {i for joint in self.joints() for i in (joint - 1, joint) if i >= 0}
        return [self.at(i) for i in sorted(found)]


def optimizer(config: Config) -> str:
    return "Nesterov SGD" if config.optimizer.nesterov else OPTIMIZERS[config.optimizer_name]


def known(config: Config) -> str:
    """How the values of the schedule and the mini-batch are known, without those that are a field's default."""
    mine = [source.kind for key, source in config.sources.items() if key.startswith(("schedule.", "batch.local"))]
    return ", ".join(kind for kind in dict.fromkeys(mine) if kind != "default")


def facts_of(work: str, config: Config | None) -> dict:
    if config is None:
        return {"work": work, "recipe": None, "joints": []}
    course = Course(config)
    return {"work": work, "kind": "setting", "recipe": config.run.name, "config_hash": config.hash,
            "optimizer": optimizer(config), "known": known(config),
            "joints": [asdict(course.at(i)) for i in course.joints()]}  # fmt: skip


def data() -> dict:
    return {"rows": [facts_of(work, config) for work, config in recipes().items()]}


def render(given):
    from reproduce.figures import plot  # here, so that --list needs no matplotlib

    title = f"{ARTEFACT.title}\nsettings of the recipes on ImageNet: put in, not measured"
    figure = plot.plt.figure(figsize=(14, 6.5))
    figure.suptitle(title)
    axes = figure.subplots(2, 4, sharex=True, sharey=True).ravel()
    for name, ax, (work, config) in zip("abcdefgh", axes, recipes().items(), strict=True):
        panel(ax, work, config)
        plot.letter(ax, name)
    figure.supxlabel("epoch")
    figure.supylabel("learning rate")
    facts = {"artefact": "schedules", "title": title, "tier": given.tier} | data()
    return plot.save(figure, given.out, "schedules", facts)


def panel(ax, work: str, config: Config | None) -> None:
    ax.set(title=work, yscale="log", ylim=(5e-5, 60))
    if config is None:
        ax.text(0.5, 0.5, NO_RECIPE.replace(": ", ":\n"), transform=ax.transAxes, ha="center", fontsize=8)
        return
    course = Course(config)
    line = course.line()
    ax.plot([point.epoch for point in line], [point.rate for point in line], color="black", linewidth=1.5)
    joints = [course.at(i) for i in course.joints()]
    ax.plot([p.epoch for p in joints], [p.rate for p in joints], "|", color="black", markersize=10)
    ax.text(0.03, 0.04, "\n".join((optimizer(config), batches(joints), f"values: {known(config)}")),
            transform=ax.transAxes, fontsize=8)  # fmt: skip


def batches(joints: list[Point]) -> str:
    """Such as `8,192 images, 16,384 from epoch 30`."""
    first, *more = joints
    text = f"{first.batch:,} images"
    for before, point in zip(joints, more):
        if point.batch != before.batch:
            text += f", {point.batch:,} from epoch {point.epoch:g}"
    return text


def draw(given) -> None:
    output.announce(render(given), ())


# ---- on the report page ---------------------------------------------------------------------------------------------


def section(given, facts: dict) -> SectionData:
    """Raises `ValueError` if the side-car file is not of the recipes that are here now."""
    if output.to_json(data()) != output.to_json({"rows": facts["rows"]}):
        raise ValueError("not of the recipes that are here now")
    return numbers_of(facts, HEADER, [row for one in facts["rows"] for row in _rows(one)])


def _rows(one: dict) -> list[list[Cell]]:
    if one["recipe"] is None:
        return [[one["work"], Number(NO_RECIPE, "setting", "reproduce/recipe/runs.py"), *["none"] * 4]]
    source = f"paper_configs/{one['recipe']}.toml"
    texts = [(f"{p['epoch']:.4g}", f"{p['rate']:.4g}", f"{p['batch']:,}") for p in one["joints"]]
    return [[one["work"], Code(one["recipe"]), *(Number(text, "setting", source) for text in row), one["known"]]
            for row in texts]  # fmt: skip


main = entry(ARTEFACT, draw)

if __name__ == "__main__":
    sys.exit(main())
