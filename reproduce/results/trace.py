"""One training step as a time line: when backward ran, and when each group was ready, sent and summed. No torch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

FILE = "groups_trace.json"


@dataclass(frozen=True)
class Step:
    """Events (name, group or -1, nanoseconds): "begin", "forward_end", "backward_end" and "end" of the step.

    Per group "ready", once backward has all its gradients, "send", when its allreduce begins, and "done".
    """

    events: Sequence[tuple[str, int, int]]

    def at(self, name: str, group: int = -1) -> int:
        """Nanoseconds of an event; raises KeyError if it was not seen."""
        return {(event, place): ns for event, place, ns in self.events}[name, group]

    @property
    def groups(self) -> list[int]:
        return sorted(place for event, place, _ in self.events if event == "send")

    @property
    def lead_ms(self) -> float:
        """How long before the end of backward the first allreduce began; negative if after it."""
        return (self.at("backward_end") - min(self.at("send", group) for group in self.groups)) / 1e6

    def spans(self) -> list[tuple[str, str, int, int]]:
        """(row, name, from, to) in nanoseconds since the step began."""
        begin, forward, backward, end = (self.at(name) for name in ("begin", "forward_end", "backward_end", "end"))
        rows = [("compute", "forward", begin, forward), ("compute", "backward", forward, backward)]
        rows.append(("compute", "wait for the sums, update", backward, end))
        for group in self.groups:
            ready, send, done = (self.at(name, group) for name in ("ready", "send", "done"))
            if send > ready:
                rows.append((f"group {group}", f"group {group} waits", ready, send))
            rows.append((f"group {group}", f"group {group} allreduce", send, done))
        return [(row, name, first - begin, last - begin) for row, name, first, last in rows]


def chrome(steps: Sequence[tuple[str, Step]]) -> str:
    """Steps as JSON for chrome://tracing or Perfetto, each as a process of its own with this name."""
    events: list[dict] = []
    for pid, (name, step) in enumerate(steps):
        events.append({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}})
        rows = list(dict.fromkeys(row for row, *_ in step.spans()))
        for tid, row in enumerate(rows):
            events.append({"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": row}})
        for row, span, first, last in step.spans():
            events.append({"ph": "X", "name": span, "cat": row.split()[0], "pid": pid, "tid": rows.index(row),
                           "ts": first / 1e3, "dur": (last - first) / 1e3})  # fmt: skip
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": events}, indent=0) + "\n"
