"""``figures/modelled/validation.md``: every sentence about an error is made from the table it stands over."""

from collections.abc import Sequence

from reproduce import table
from reproduce.cluster import interval, validate
from reproduce.cluster.answer import efficiency
from reproduce.cluster.run import TRAIN_IMAGES
from reproduce.cluster.show import time
from reproduce.cluster.step import step
from reproduce.cluster.systems import CALIBRATION, CHOOSING, SEED, TESTING
from reproduce.cluster.uncertainty import DRAWS
from reproduce.cluster.validate import PARTS, Check, TeamCheck, summary, work
from reproduce.results import paper

ROWS = ["system", "GPUs", "images per GPU", "calibrated on", "images/s, measured", "modelled", "error", "band",
        "interval", ""]  # fmt: skip
SUMMARY = ["part", "systems", "median error", "worst error", "inside the band", "inside the interval"]
WORDS = {
    CALIBRATION: "calibration: one node of each board and software release, fitted to",
    CHOOSING: "choosing: the framework's time across nodes and the interval come from these",
    TESTING: "testing: nothing was chosen on these",
}
FAR = 10.0  # percent


def text(found: Sequence[Check], teams: Sequence[TeamCheck]) -> str:
    """The document. `found`: of all parts."""
    by_part = {part: [one for one in found if one.row.part == part] for part in PARTS}
    lines = [
        "# The cluster model against public systems\n",
        "Modelled: `python -m reproduce.cluster validate`. The systems are all those of MLPerf v0.5 to v4.0 in "
        "`figures/public` that ran MXNet on V100, A100, H100 or H200 boards with NVLink, once each "
        "(`reproduce/cluster/systems.py` has the rule and, with the seed "
        f"{SEED}, the split; what each one is, is in `reproduce/cluster/data/public_systems.csv`). Images/s are whole "
        "epochs over the time from one evaluation to the next, evaluations included; the median of the runs.\n",
        f"- **band**: 5 to 95 % of {DRAWS} draws of the assumed constants; the number modelled is the median of the "
        "same draws.",
        f"- **interval**: {interval.SHARE} %, from the errors on the second part, by how far a system is from the "
        "calibration's (`reproduce/cluster/choose.py`).\n",
        table.markdown(SUMMARY, [row for part in PARTS for row in _summaries(part, by_part[part])]),
        *_sentences(by_part[TESTING]),
        *(section for part in (TESTING, CHOOSING, CALIBRATION) for section in _section(part, by_part[part])),
        "\n## The paper's team\n",
        *(_team(one) for one in teams),
        f"\n{_scaling(teams[-1])}",
    ]
    return "\n".join(lines) + "\n"


def _summaries(part: str, found: Sequence[Check]) -> list[list[str]]:
    """Of a part, and of its one node and many nodes."""
    one, many = ([row for row in found if (row.row.nodes > 1) == more] for more in (False, True))
    groups = [(WORDS[part], found), *((name, rows) for name, rows in (("- one node", one), ("- many nodes", many))
                                      if rows and len(rows) < len(found))]  # fmt: skip
    return [_summary(name, rows) for name, rows in groups]


def _summary(name: str, rows: Sequence[Check]) -> list[str]:
    one = summary(rows)
    inside = [f"{count} of {one.n} ({100 * count / one.n:.0f} %)" for count in (one.in_band, one.in_interval)]
    return [name, str(one.n), f"{one.median_error:.1f} %", f"{one.worst.rate_error:+.1f} % ({one.worst.row.name})",
            *inside]  # fmt: skip


def _sentences(found: Sequence[Check]) -> list[str]:
    """What the third part says, in words, by the rows themselves."""
    out = [one for one in found if not one.in_interval]
    far = [one for one in found if abs(one.rate_error) > FAR]
    many = [one for one in found if one.row.nodes > 1]
    years = sorted({one.row.year for one in many})
    spans = [f"{year}: {_span([one.rate_error for one in many if one.row.year == year])}" for year in years]
    return [
        f"{len(out)} of the {len(found)} systems that nothing was chosen on lie outside their interval: "
        f"{_list(out)}. {len(far)} are more than {FAR:.0f} % off.\n",
        f"Errors on many nodes there, by the framework's year: {'; '.join(spans)}.",
    ]


def _span(errors: Sequence[float]) -> str:
    if len(errors) == 1:
        return f"{errors[0]:+.1f} % (1 system)"
    return f"{min(errors):+.1f} to {max(errors):+.1f} % ({len(errors)} systems)"


def _list(found: Sequence[Check]) -> str:
    return "; ".join(f"{one.row.name} ({one.rate_error:+.1f} %)" for one in found) or "none"


def _section(part: str, found: Sequence[Check]) -> list[str]:
    ordered = sorted(found, key=lambda one: (-one.row.gpus, one.row.name))
    return [f"\n## {WORDS[part].capitalize()}\n", table.markdown(ROWS, [_row(one) for one in ordered])]


def _row(one: Check) -> list[str]:
    row, (low, high) = one.row, one.interval
    return [row.name, f"{row.gpus:,}", str(row.local_batch), row.stack, f"{one.measured:,.0f}",
            f"{one.modelled.median:,.0f}", f"{one.rate_error:+.1f} %",
            f"{one.modelled.low:,.0f} to {one.modelled.high:,.0f}", f"{low:,.0f} to {high:,.0f}",
            "" if one.in_interval else "outside"]  # fmt: skip


def _team(one: TeamCheck) -> str:
    """Why a steady rate and a run time do not divide into each other: measured, then modelled."""
    row, modelled = one.row, one.modelled
    training = modelled.updates * row.gpus * row.local_batch / row.images_per_second
    overall = row.epochs * TRAIN_IMAGES / row.run_seconds
    inside = "inside" if one.interval[0] <= row.images_per_second <= one.interval[1] else "outside"
    return (
        f"- {row.name}: {row.images_per_second:,.0f} images/s is the steady rate: {modelled.updates:,} updates x "
        f"{row.gpus * row.local_batch:,} images take {training:.1f} s of the {row.run_seconds:.1f} s, start-up and "
        f"evaluation the other {row.run_seconds - training:.1f} s; {row.epochs} epochs over the whole time are "
        f"{overall:,.0f} images/s. Modelled: {one.rate.median:,.0f} images/s steady ({one.rate_error:+.1f} %; band "
        f"{one.rate.low:,.0f} to {one.rate.high:,.0f}; {interval.SHARE} % interval {one.interval[0]:,.0f} to "
        f"{one.interval[1]:,.0f}, the measured {inside}), {time(modelled)} (assumed)."
    )


def _scaling(one: TeamCheck) -> str:
    """Where the rate that is missing may be lost, by what is recalled of the paper's scalability."""
    known, job = paper.load(), work(one.row)
    share, each = known.values["scalability"], known.values["images_per_second_per_gpu"]
    alone = step(job, 1, one.cluster).images_per_second
    return (
        f"One GPU alone is modelled at {alone:,.0f} images/s with {job.local_batch} images, and "
        f"{one.row.gpus:,} at {efficiency(job, one.row.gpus, one.cluster):.0%} of as many. The paper's {share.text} "
        f"({share.status}) with its {each.text} at {one.row.gpus:,} ({each.status}) would put one GPU at "
        f"{100 * each.value / share.value:,.0f} images/s. No run of the team's software on one node is public: the GPU "
        "is calibrated on the maker's release of its year, what the framework takes across nodes is chosen on other "
        "public systems of 2019."
    )


def overview(found: Sequence[Check]) -> str:
    """The sentences on errors of figures/modelled/README.md."""
    tested = [one for one in found if one.row.part == TESTING]
    lines = []
    for name, rows in (("one node", [one for one in tested if one.row.nodes == 1]),
                       ("many nodes", [one for one in tested if one.row.nodes > 1])):  # fmt: skip
        one = summary(rows)
        lines.append(f"- {name}: {one.n} systems, median error {one.median_error:.1f} %, worst "
                     f"{one.worst.rate_error:+.1f} % ({one.worst.row.name}), {one.in_interval} inside their "
                     f"{interval.SHARE} % interval")  # fmt: skip
    return "\n".join(lines) + "\n"


def document() -> str:
    return text(validate.checks(), validate.teams())
