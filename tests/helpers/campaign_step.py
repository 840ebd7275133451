"""A campaign's step that measures nothing: it ends as it is told. No torch, so that it starts at once.

    python -m tests.helpers.campaign_step '{"out": FILE, "do": "measure" | "memory" | "fail" | "absent" | "wait"}'

Every start adds a line to the file "count".
"""

import json
import sys
import time
from pathlib import Path

from reproduce.bench.contest import Result, Row, Table

ABOUT = {"hardware": "a machine", "torch": "0", "revision": "abc"}
TABLE = Table("t", "w", "ms", None, (Row("a", "ours", (2.0,)),))


def main() -> None:
    request = json.loads(sys.argv[1])
    with open(request["count"], "a") as file:
        file.write("started\n")
    about = dict(ABOUT)
    match request["do"]:
        case "memory":
            print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 90 GB", file=sys.stderr)
            sys.exit(1)
        case "fail":
            print("a line before\nRuntimeError: no such kernel", file=sys.stderr)
            sys.exit(3)
        case "absent":
            about |= {"outcome": "not installed", "last_lines": ["it is not here"]}
        case "wait":
            until, give_up = Path(request["until"]), time.monotonic() + 60
            while not until.exists() and time.monotonic() < give_up:
                time.sleep(0.05)
    tables = () if "outcome" in about else (TABLE,)
    Path(request["out"]).write_text(Result("stub", about, tables).to_json())


if __name__ == "__main__":
    main()
