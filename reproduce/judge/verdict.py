"""What a comparison can come to: four words, each with its reason."""

from dataclasses import dataclass

WORDS = ("reproduced", "outside", "missing", "not comparable")


@dataclass(frozen=True)
class Verdict:
    """`word` is one of `WORDS`; `reason` says why, in words."""

    word: str
    reason: str

    def __post_init__(self):
        if self.word not in WORDS or not self.reason:
            raise ValueError(f"no such verdict: {self.word!r}, {self.reason!r}")

    def __str__(self) -> str:
        return f"{self.word}: {self.reason}"
