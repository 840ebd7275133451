"""A headless Chromium, driven over the DevTools protocol through a pipe: no packages, no ports."""

import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from base64 import b64decode
from pathlib import Path

PROGRAM = shutil.which("chromium")
PATIENCE = 120  # seconds until a silent browser is given up


class Browser:
    """One browser with one page at a time. `events` holds what the page's sessions reported, in order."""

    def __init__(self, folder: Path):
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()
        # the browser reads its file 3 and writes its file 4: out of the way of these first
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (to_read, from_write)]
        os.close(to_read)
        os.close(from_write)
        command = [PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                   "--no-first-run", "--disable-extensions", "--disable-background-networking",
                   "--remote-debugging-pipe", f"--user-data-dir={folder}"]  # fmt: skip
        self.process = subprocess.Popen(
            command, close_fds=False, preexec_fn=lambda: [os.dup2(end, number) for number, end in enumerate(theirs, 3)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in theirs:
            os.close(end)
        self.to, self.source, self.rest = to_write, from_read, b""
        self.numbers, self.events, self.session = itertools.count(1), [], None

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.to)
        os.close(self.source)

    def call(self, method: str, **params) -> dict:
        """The answer to a command of the protocol. Raises RuntimeError for one that is refused."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _read(self) -> dict:
        give_up = time.monotonic() + PATIENCE
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.source], [], [], max(0, give_up - time.monotonic()))
            part = os.read(self.source, 1 << 20) if ready else b""
            if not part:
                raise RuntimeError("the browser fell silent")
            self.rest += part
        message, _, self.rest = self.rest.partition(b"\0")
        answer = json.loads(message)
        if "method" in answer:
            self.events.append(answer)
        return answer

    def open(self, url: str, width: int = 1280, height: int = 900, script: bool = True, media=()) -> None:
        """Load `url` in a fresh page of that size; returns when it has loaded."""
        self.session, self.events = None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)  # fmt: skip
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.call("Emulation.setEmulatedMedia", features=[{"name": k, "value": v} for k, v in media])
        self.call("Page.navigate", url=url)
        while not self.of("Page.loadEventFired"):
            self._read()

    def of(self, *methods: str) -> list[dict]:
        """The parameters of the events of these names since the page was opened."""
        return [event["params"] for event in self.events if event["method"] in methods]

    def eval(self, expression: str):
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            codes = {"Tab": 9, "ArrowRight": 39, "ArrowLeft": 37, "ArrowDown": 40, "ArrowUp": 38, "Home": 36,
                     "End": 35, "Escape": 27}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key])

    def point(self, x: float, y: float) -> None:
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, path: Path, whole: bool = True) -> None:
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(b64decode(picture["data"]))

    def print(self, path: Path) -> None:
        path.write_bytes(b64decode(self.call("Page.printToPDF", printBackground=False)["data"]))
