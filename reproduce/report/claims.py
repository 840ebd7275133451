"""The generated blocks of README.md and REPRODUCE.md: the result, claims with their evidence, artefacts with their
minutes, the paper's techniques and values, the kinds of number and the benchmarks; and the list of the published files
behind them.

    python -m reproduce.report.claims --check | --write

Paper numbers come from ``paper_configs/paper.toml``, measured ones from the logs published in ``figures/measured``.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from reproduce import files, table
from reproduce.artefact import REPEATS, TIERS, Artefact
from reproduce.artefacts import ARTEFACTS
from reproduce.errors import UserError, command
from reproduce.judge import power, techniques
from reproduce.judge.claims import by_tier, judged
from reproduce.kinds import KINDS
from reproduce.paths import BENCH, DOCUMENT, JUDGE, PUBLISHED, README
from reproduce.report import campaigns, published
from reproduce.report.result import result_block
from reproduce.report.speed import speed_block
from reproduce.results import measured, output, paper, steptimes
from reproduce.results.measured import Measurement
from reproduce.words import Parser


def claims_block(folder: Path = PUBLISHED) -> str:
    """The claims table as Markdown, from the published logs under `folder`/TIER."""
    rows = [
        [one.claim.id, one.claim.text, one.paper, one.evidence, str(one.verdict), "; ".join(map(str, one.public))]
        for one in judged(by_tier(folder))
    ]
    header = ["ID", "claim", "paper (status)", "measured here (tier, n)", "verdict", "public evidence (not ours)"]
    return table.markdown(header, rows)


def kinds_block() -> str:
    """The kinds of number as Markdown."""
    rows = [[name, kind.what, kind.comes_with, kind.look] for name, kind in KINDS.items()]
    return table.markdown(["kind", "what it is", "what comes with it", "in figures"], rows)


def values_block() -> str:
    """Every paper number with its place, status and the tolerance a comparison allows, with the reason."""
    known, rows = paper.load(), []
    for name, value in known.values.items():
        tiers = ", ".join(value.tiers)
        allowed = f"±{value.tolerance:,g} {value.unit} (tiers: {tiers})" if tiers else "not compared"
        rows.append([name.replace("_", " "), value.text, known.status_text(name), value.place, allowed,
                     value.tolerance_reason, value.note])  # fmt: skip
    return table.markdown(["number", "paper", "status", "place", "tolerance", "because", "note"], rows)


def artefacts_block(folder: Path = PUBLISHED) -> str:
    """Artefact, script, and by tier its runs and the minutes of one seed: the sum of their mean run times."""
    rows = [[piece.title, f"`python {piece.script}`", *(_cost(piece, tier, folder / tier) for tier in TIERS)]
            for piece in ARTEFACTS]  # fmt: skip
    return table.markdown(["artefact", "script", *(f"`--tier {tier}`" for tier in TIERS)], rows)


def _cost(piece: Artefact, tier: str, results: Path) -> str:
    if tier not in piece.runs:
        return "not in this tier"
    if piece.trial:
        return f"`python -m reproduce.trials.{piece.trial}`: hours, `--list` says how many"
    if piece.benchmark:
        return f"`python -m reproduce.bench {piece.benchmark}`: {benchmark_minutes(results)}"
    if timed := piece.speed.get(tier, ()):
        return f"up to {len(timed)} runs for their speed, {REPEATS} times each: {speed_minutes(results, timed)}"
    found = [measured.collect(results, run) for run in piece.runs[tier]]
    return f"{len(found)} run{'s' if len(found) > 1 else ''}: {minutes(found)}" if found else "no runs"


def minutes(found: list[Measurement]) -> str:
    """With the machines."""
    if not all(m.n for m in found):
        return "missing"
    machines = sorted({machine for m in found for machine in m.hardware})
    seconds = [m.seconds.mean for m in found if m.seconds is not None]
    if len(seconds) < len(found):
        return f"not timed: interrupted, or the seeds of a run on different hardware ({'; '.join(machines)})"
    return f"{sum(seconds) / 60:.1f} min ({'; '.join(machines)})"


def speed_minutes(results: Path, runs: Iterable[str]) -> str:
    """Of those that are there: how many there can be is a matter of the devices."""
    found = [m for m in (measured.collect(results, run) for run in runs) if m.n]
    seconds = [log.run_seconds for m in found for log in m.logs]
    return f"{sum(seconds) / 60:.1f} min for {len(seconds)}" if seconds else "missing"


def benchmark_minutes(results: Path) -> str:
    result = steptimes.read(results)
    return f"{result.about['minutes']:.1f} min ({result.about['hardware']})" if result else "missing"


def documents() -> tuple[Path, ...]:
    """All that have generated blocks."""
    return DOCUMENT, README, JUDGE, BENCH


def blocks_of(document: Path, folder: Path) -> dict[str, str]:
    """The generated blocks of a document by name, from the published logs in `folder`."""
    if document.parent.name == JUDGE.parent.name:
        return {"power": power.table_block(folder)}
    if document.parent.name == BENCH.parent.name:
        return {"speed": speed_block(folder / "bench"), "campaign": campaigns.block(folder / "bench")}
    if document.name == README.name:
        return {"result": result_block(folder)}
    return {
        "claims": claims_block(folder), "artefacts": artefacts_block(folder), "values": values_block(),
        "kinds": kinds_block(), "techniques": techniques.block(folder), "power": power.sentence_block(folder),
    }  # fmt: skip


def renew(text: str, folder: Path = PUBLISHED, document: Path = DOCUMENT) -> str:
    """`text` of a document with its blocks regenerated. Raises `UserError` if a marker is missing."""
    for name, block in blocks_of(document, folder).items():
        begin, end = f"<!-- BEGIN {name} -->\n", f"<!-- END {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise UserError(f"{document}: the markers of block '{name}' are missing: write {begin.strip()} and {end}")
        text = f"{before}{begin}{block}{end}{after}"
    return text


def text_of(document: Path) -> str:
    """Raises `UserError`."""
    try:
        return files.read_text(document)
    except (OSError, ValueError) as error:
        raise UserError(f"{document}: not readable: {files.why(error)}: restore it from git") from None


@command
def main(argv=None):
    parser = Parser(prog="python -m reproduce.report.claims", description=__doc__.splitlines()[0])
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="exit with code 1 if a block or a published file departs")
    action.add_argument("--write", action="store_true", help="regenerate the blocks and the list of published files")
    given = parser.parse_args(argv)
    if given.write:
        return write()
    lines = check()
    for line in lines:
        print(line, file=sys.stderr)
    return 1 if lines else 0


def check() -> list[str]:
    """One line per published file that is gone, changed, new or damaged, and one if a block is out of date."""
    lines = published.departures(PUBLISHED) + published.damaged(PUBLISHED)
    if lines:
        lines.append("restore these from git, or, if they are meant, run python -m reproduce.report.claims --write")
    for document in documents():
        text = text_of(document)
        if renew(text, PUBLISHED, document) != text:
            lines.append(f"{document.name}: out of date: run python -m reproduce.report.claims --write")
    return lines


def write() -> int:
    """Regenerate the blocks and the list. Raises `UserError`, before anything is written, for a damaged log."""
    lines = published.damaged(PUBLISHED)
    if lines:
        raise UserError(f"{PUBLISHED}: nothing was written: restore from git, or remove:", *lines)
    texts = {one: renew(text_of(one), PUBLISHED, one) for one in documents()}
    output.write(PUBLISHED, published.NAME, published.listing(PUBLISHED))
    for document, text in texts.items():
        output.write(document.parent, document.name, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
