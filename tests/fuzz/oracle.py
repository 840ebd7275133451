"""What must never happen, whatever the input."""

import re
from dataclasses import dataclass

from tests.fuzz.child import Outcome
from tests.fuzz.scene import Scene

TRACEBACK = "Traceback (most recent call last)"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")
FRAME = re.compile(r'File "[^"]*/(reproduce/[^"]+)", line \d+, in (\S+)')
CODES = (0, 1, 2, 3, 75, 76, 130)


@dataclass(frozen=True)
class Finding:
    """`kind` is what is counted; `mark` tells one cause from another."""

    kind: str
    mark: str
    text: str


def findings(scene: Scene, outcome: Outcome) -> list[Finding]:
    """All that is wrong with an outcome."""
    said = outcome.out + outcome.err
    found = []
    if TRACEBACK in said:
        found.append(Finding("traceback", _cause(said), "\n".join(said.strip().splitlines()[-12:])))
    if outcome.hung:
        found.append(Finding("hang", scene.fault, f"does not end within {outcome.seconds:.0f} s"))
    elif outcome.code < 0:
        found.append(Finding("died", f"signal {-outcome.code}", outcome.err[-500:]))
    if outcome.damaged:
        found.append(Finding("damage", scene.fault, "changed, new or gone: " + ", ".join(outcome.damaged[:8])))
    if outcome.executed:
        found.append(Finding("execution", scene.fault, "a planted command was executed"))
    if outcome.memory > scene.memory:
        found.append(Finding("memory", scene.fault, f"took {outcome.memory >> 20:,} MB"))
    return found or _answered(scene, outcome)


def _answered(scene: Scene, outcome: Outcome) -> list[Finding]:
    """Whether the answer, if nothing worse happened, is one that helps."""
    if control := CONTROL.search(outcome.out + outcome.err):
        return [Finding("control", scene.fault, f"prints {control[0]!r} as it is: {_last(outcome)!r}")]
    if outcome.code == 0:
        wrong = scene.must == "refuse"
        return [Finding("accepted", scene.fault, f"accepted: {_last(outcome)}")] if wrong else []
    if scene.must == "accept":
        return [Finding("rejected", scene.fault, f"exit code {outcome.code}: {_last(outcome)}")]
    if outcome.code not in scene.codes:
        return [Finding("code", f"{outcome.code} {scene.fault}", f"exit code {outcome.code}: {_last(outcome)}")]
    lines = [line for line in outcome.err.splitlines() if line and not line.startswith(("usage:", " "))]
    said = any("error: " in line for line in lines) or "\npreflight: " in outcome.out  # that of nodes is a table
    if outcome.code == 2 and not said:
        return [Finding("unclear", scene.fault, f"says no error: {_last(outcome)!r}")]
    if outcome.code == 2 and len(lines) > 1 and not scene.chatty:
        return [Finding("unclear", scene.fault, f"says more than one line: {outcome.err[-600:]}")]
    if scene.names and not any(name in outcome.err + outcome.out for name in scene.names):
        return [Finding("unnamed", scene.fault, f"none of {', '.join(scene.names)}: {_last(outcome)}")]
    return []


def _last(outcome: Outcome) -> str:
    return ((outcome.err.strip() or outcome.out.strip()).splitlines() or ["nothing is said"])[-1][:400]


def _cause(said: str) -> str:
    """Type of the exception and the last function of ours, which stay the same while an input is shrunk."""
    frames = FRAME.findall(said)
    last = re.findall(r"^([A-Za-z_][\w.]*)(?::|$)", said[said.rfind(TRACEBACK) :], re.MULTILINE)
    return f"{last[-1] if last else '?'} in {':'.join(frames[-1]) if frames else '?'}"
