"""What tests share: small configs, data, logs, programs to run beside a test, real schedulers. No test is in here."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / "tests" / "logs"
