"""Publish the results of a tier: its logs and renderings go to figures/, and REPRODUCE.md's blocks are regenerated.

    python -m reproduce.report.publish --tier quick|node|paper --results DIR [--dry-run]
    python -m reproduce.report.publish --campaign results/bench/campaign/cuda [--dry-run]

Nothing is published that is incomplete, stale, of an unknown or changed source tree, or not of the tier. A published
seed stays unless the results hold a new log of the same seed and recipe; renderings are drawn from all logs there are
then. Says what changes, line by line; a second call changes nothing.
"""

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from reproduce import files
from reproduce.artefact import TIERS, Artefact
from reproduce.artefacts import ARTEFACTS, script
from reproduce.errors import UserError, command, shown
from reproduce.judge import ablation
from reproduce.paths import FIGURES
from reproduce.recipe.variants import REGIMES
from reproduce.report import campaigns, claims, published
from reproduce.report.staging import staging
from reproduce.results import measured, output, rates, runs
from reproduce.results.measured import Measurement
from reproduce.words import Parser

MACHINE = ("hardware", "revision")  # what a benchmark's file must say


def publish(
    tier: str, results: Path, figures: Path, documents: Sequence[Path], dry_run: bool = False, only: Sequence[str] = ()
) -> list[str]:
    """What changed, or would change, as lines; empty if nothing did.

    `only`: names of artefacts; nothing else needs to be there, and other renderings are renewed where there are any.
    `figures` holds measured/TIER and modelled/. Raises `UserError`, before anything is written, if the results must
    not be published, with the reasons one below the other.
    """
    pieces = [piece for piece in ARTEFACTS if piece.name in only or not only]
    found = runs.collect(results, tier, pieces)
    objections = [line for m in found for line in objections_to(m, tier, figures / "measured" / tier)]
    varied = variants(tier, results, pieces)
    objections += [f"{m.results.relative_to(results)}/{line}" for m in varied for line in objections_to_logs(m, tier)]
    objections += [line for path in benchmarks(tier, results) for line in objections_to_benchmark(path)]
    if objections:
        raise UserError(f"{results}: not published as tier {tier}:", *objections)
    with staging(figures) as beside:
        staged = Path(shutil.copytree(figures / "measured", beside / "measured"))
        paths = [log.path for m in (*found, *varied) for log in m.logs] + benchmarks(tier, results)
        for path in paths + ([results / rates.FILE] if varied else []):
            copy(path, staged / tier / path.relative_to(results))
        old = figures / "measured" / tier
        pieces += [piece for piece in ARTEFACTS if piece not in pieces and any(old.glob(f"{piece.name}.*"))]
        draw(tier, staged / tier, beside / "modelled", figures / "modelled", pieces)
        return take(beside, figures, documents, dry_run)


def publish_campaign(folder: Path, figures: Path, documents: Sequence[Path], dry_run: bool = False) -> list[str]:
    """As `publish`, of the settled steps of a campaign: to measured/bench/DEVICE. Those of other devices stay."""
    found = list(campaigns.files(folder))
    objections = [line for path, _ in found for line in objections_to_benchmark(path)]
    if objections:
        raise UserError(f"{folder}: not published:", *objections)
    with staging(figures) as beside:
        staged = Path(shutil.copytree(figures / "measured", beside / "measured"))
        for path, place in found:
            copy(path, staged / place)
        return take(beside, figures, documents, dry_run)


# ---- what must not be published -------------------------------------------------------------------------------------


def objections_to(m: Measurement, tier: str, published: Path) -> list[str]:
    """Why the logs of a run must not be published as of `tier`, beside those in `published`; empty if they may."""
    lines = [f"{item.log}: {item.reason}: run it again or move it away" for item in m.left_out]
    if not m.n and not m.left_out:
        lines.append(f"logs/{m.name}: no log: bash reproduce/run_all.sh --tier {tier} makes it")
    lines += objections_to_logs(m, tier)
    mine = {log.seed for log in m.logs}
    old = measured.collect(published, m.run)
    for item in old.left_out:  # of another recipe, or damaged: it may be replaced, but not stand beside the new logs
        if not any(item.log == f"logs/{m.name}/result_{seed}.txt" for seed in mine):
            lines.append(f"{item.log}, published before: {item.reason}: run this seed too, or remove the published log")
    return lines


def objections_to_logs(m: Measurement, tier: str) -> list[str]:
    """Of an unknown source tree, or not scaled as the tier is."""
    reasons = [(log, reason) for log in m.logs for reason in (_revision(log.environment), _scale(m, log, tier))]
    return [f"{m.relative(log)}: {reason}" for log, reason in reasons if reason]


def variants(tier: str, results: Path, pieces: Sequence[Artefact]) -> list[Measurement]:
    """Those of the artefacts that vary a run, as far as there are logs."""
    if not any(piece.trial and tier in piece.runs for piece in pieces):
        return []
    return [one.found for regime in REGIMES for one in ablation.effects(results, regime) if one.found and one.found.n]


def _revision(about: dict) -> str:
    revision = about.get("revision")
    if not revision:
        return "does not say of which revision it is: run it from a git checkout"
    if str(revision).endswith("-dirty"):
        return f"of a changed source tree, {revision}: commit the changes and run it again"
    return ""


def _scale(m: Measurement, log, tier: str) -> str:
    """Whether the run was scaled as its tier says: of `node` the workers are emulated, of `paper` none is."""
    config, devices = m.config, log.environment["devices"]
    if log.config.get("tier") != ("quick" if tier == "quick" else "paper"):
        return f"its config is of tier {log.config.get('tier')}, not {tier}"
    if m.is_rehearsal:
        return "a rehearsal on generated images is not published"
    if config.run.purpose == "speed":
        return "" if devices == config.batch.workers else f"{config.batch.workers:,} workers on {devices:,} devices"
    if tier == "paper" and devices != config.batch.workers:
        return f"{config.batch.workers:,} workers on {devices:,} devices: it belongs to --tier node"
    if tier == "node" and devices == config.batch.workers:
        return f"{config.batch.workers:,} workers on as many devices: it belongs to --tier paper"
    return ""


def benchmarks(tier: str, results: Path) -> list[Path]:
    """The files of the benchmarks of the tier's artefacts, where they are."""
    paths = [results / "bench" / f"{a.benchmark}.json" for a in ARTEFACTS if a.benchmark and tier in a.runs]
    return [path for path in paths if path.exists()]


def objections_to_benchmark(path: Path) -> list[str]:
    try:
        about = files.read_json(path)
        if about["kind"] != "measured" or not all(key in about for key in MACHINE):
            raise ValueError("not a measurement that says what it was made on")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"bench/{path.name}: not readable as a benchmark: {error}"]
    reason = _revision(about)
    return [f"bench/{path.name}: {reason}"] if reason else []


# ---- renderings -----------------------------------------------------------------------------------------------------


def draw(tier: str, staged: Path, modelled: Path, published: Path, pieces: Sequence[Artefact]) -> None:
    """Draw those of `pieces` that are of the tier from the logs in `staged`: into it, what needs none into `modelled`.

    Of the latter, those published stay where the new ones add nothing: they are tier quick's, but for a figure that
    has measurements in it.
    """
    for piece in pieces:
        if tier not in piece.runs:
            continue
        out = staged if piece.measured else modelled
        with contextlib.redirect_stdout(io.StringIO()):
            code = script(piece.name).main(["--tier", tier, "--results", str(staged), "--out", str(out)])
        if code:
            raise UserError(f"{piece.script} could not draw what is to be published; nothing was changed")
        known = (published / f"{piece.name}.json").exists() and (tier != "quick" or _has_measured(published, piece))
        if not piece.measured and known and not _has_measured(out, piece):
            for path in out.glob(f"{piece.name}.*"):
                path.unlink()


def _has_measured(folder: Path, piece: Artefact) -> bool:
    try:
        series = files.read_json(folder / f"{piece.name}.json").get("series", ())
    except (OSError, ValueError):
        return False
    return any(one.get("kind") == "measured" for one in series)


# ---- writing --------------------------------------------------------------------------------------------------------


def copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def take(beside: Path, figures: Path, documents: Sequence[Path], dry_run: bool) -> list[str]:
    """Publish what is staged in `beside`, and renew the list of files and the documents; what changed, as lines."""
    staged = beside / "measured"
    output.write(staged, published.NAME, published.listing(staged))
    # before anything moves: it may be refused
    texts = {one: claims.renew(claims.text_of(one), staged, one) for one in documents}
    lines = move(beside, figures, dry_run)
    return lines + [line for one, text in texts.items() for line in write(one, text, dry_run)]


def move(beside: Path, figures: Path, dry_run: bool) -> list[str]:
    """Rename every file that differs to its place; nothing is deleted. What changed, as lines."""
    lines = []
    for path in sorted(path for path in beside.rglob("*") if path.is_file()):
        target = figures / path.relative_to(beside)
        if target.exists() and target.read_bytes() == path.read_bytes():
            continue
        what = "renewed" if target.exists() else "added"
        lines.append(f"{what} {figures.name}/{path.relative_to(beside).as_posix()}")
        if not dry_run:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    return lines


def write(document: Path, text: str, dry_run: bool) -> list[str]:
    """Give the document its new text; the lines that changed."""
    old = claims.text_of(document)
    if text == old:
        return []
    if not dry_run:
        output.write(document.parent, document.name, text)
    before = set(old.splitlines())
    return [f"renewed {document.name}", *(f"  {line}" for line in text.splitlines() if line not in before)]


def publish_what(args) -> list[str]:
    documents = claims.documents()
    if args.campaign:
        return publish_campaign(args.campaign, FIGURES, documents, args.dry_run)
    results = args.results or output.ROOT / "results" / args.tier
    return publish(args.tier, results, FIGURES, documents, args.dry_run, args.only or ())


@command
def main(argv=None):
    parser = Parser(prog="python -m reproduce.report.publish", description=__doc__.splitlines()[0])
    parser.add_argument("--tier", choices=TIERS)
    parser.add_argument("--results", type=Path, help="folder that holds logs/ (default: results/TIER)")
    parser.add_argument("--only", action="append", choices=[a.name for a in ARTEFACTS], metavar="NAME", help="this "
        "artefact and its runs only; may be repeated")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="say what would change; change nothing")
    parser.add_argument("--campaign", type=Path, metavar="DIR", help="a campaign's folder, instead of a tier's results")
    args = parser.parse_args(argv)
    if (args.tier is None) == (args.campaign is None):
        parser.error("one of --tier and --campaign is needed")
    try:
        lines = publish_what(args)
    except OSError as error:
        raise UserError(f"{FIGURES}: cannot publish: {error}: make it writable and run the command again") from None
    if args.dry_run and lines:
        print("dry run, nothing was written; this would change:")
    print("\n".join(map(shown, lines) if lines else ["nothing changes: all of this is published"]))
    if any(line.endswith("bench/comm.json") for line in lines):
        path = "figures/modelled/local.md"
        print(f"{path} compares with that benchmark: python -m reproduce.cluster local --out {path}")
    if lines:
        print("figures/measured/README.md says in words what these logs are: read it again")


if __name__ == "__main__":
    sys.exit(main())
