"""The rows of Table 1: the paper's, each with its status, and ours, each with what it was measured on."""

from reproduce.results.measured import Measurement, Spread
from reproduce.results.output import about
from reproduce.results.paper import Row

HEADER = [
    "work", "global batch", "processors", "library", "time", "top-1", "kind: status", "n", "measured on",
]  # fmt: skip
LATEX_COLUMNS = "p{3.2cm}p{2cm}p{3cm}p{2.4cm}p{3cm}p{2.4cm}p{3.2cm}rp{3.6cm}"
NOTHING = "–"


def paper_row(row: Row) -> list[str]:
    return [row.work, row.mini_batch, row.processors, row.library, row.time, f"{row.top1:.2f} %",
            f"paper: {row.status_text}", NOTHING, NOTHING]  # fmt: skip


def paper_facts(row: Row) -> dict:
    """The row for the side-car file."""
    return {"work": row.work, "kind": "paper", "status": row.status_text, "time": row.time, "top1_percent": row.top1,
            "cites": row.cites, "check": row.check}  # fmt: skip


def measured_row(m: Measurement, tier: str) -> list[str]:
    hardware = f"; {', '.join(m.hardware)}; {m.environment('precision')}" if m.n else ""
    return [
        m.config.run.title, batches(m), processors(m), library(m), time_cell(m), top1_cell(m), "measured", str(m.n),
        about([m], tier) + hardware,
    ]  # fmt: skip


def measured_facts(m: Measurement) -> dict:
    """The row for the side-car file: numbers in full, null where missing."""
    return {"work": m.config.run.title, "kind": "measured", "time_seconds": facts(m.seconds),
            "top1_percent": facts(m.top1), **m.provenance()}  # fmt: skip


def facts(spread: Spread | None) -> dict | None:
    """Mean, spread and values for a side-car file."""
    if spread is None:
        return None
    return {"mean": spread.mean, "sd": spread.sd, "min": spread.low, "max": spread.high, "values": list(spread.values)}


def batches(m: Measurement) -> str:
    """The global batch; phases are joined by arrows."""
    return " -> ".join(f"{m.config.batch.workers * local:,}" for _, local in m.config.batch.local_batch)


def processors(m: Measurement) -> str:
    """Workers, and how many devices stood in for them where these are fewer."""
    workers = f"{m.config.batch.workers:,} workers"
    if not m.n:
        return workers
    return f"{workers}, emulated on {counts(m.devices)}" if m.emulated else f"{workers}, one device each"


def counts(devices: tuple[int, ...]) -> str:
    return " or ".join(f"{n:,}" for n in devices) + (" device" if devices == (1,) else " devices")


def library(m: Measurement) -> str:
    if not m.n:
        return "PyTorch"
    return f"PyTorch {m.environment('torch')}, {m.environment('backend')}".strip(", ")


def time_cell(m: Measurement) -> str:
    """run_start to run_stop. A run that emulates workers says so: its time is nobody's time-to-accuracy."""
    if m.seconds is None:
        why = "interrupted and resumed" if m.interrupted else f"timed on {len(m.hardware)} kinds of hardware"
        return m.missing or f"missing ({why})"
    return f"{duration(m.seconds.mean)}" + (" (emulated)" if m.emulated else "")


def duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min ({seconds:,.0f} s)"


def top1_cell(m: Measurement) -> str:
    if m.top1 is None:
        return m.missing or "none (synthetic data)"
    return f"{m.top1.mean:.2f} %" + (f" ± {m.top1.sd:.2f} sd" if m.top1.sd is not None else "")
