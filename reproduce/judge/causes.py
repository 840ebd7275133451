"""What usually lies behind a curve that leaves its band: a table of causes seen in practice.

A row says where a run left its band and what to look at first. `seen` names a public thread or code where just that
happened, or the mutation of tests/mutations.py that shows it. A likely cause is a hint; nothing is concluded from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reproduce.judge.runs import Finding

START, PEAK, DECAY, END = "start", "peak", "decay", "end"


@dataclass(frozen=True)
class Cause:
    """`tests` and part of the `quantity` of a finding; its `phase`, one of the four, and its `side`; None: any."""

    tests: tuple[str, ...]
    quantity: str
    phase: str | None
    side: str | None
    look_at: str
    seen: str

    def fits(self, finding: Finding, phase: str) -> bool:
        return (
            finding.test in self.tests
            and self.quantity in finding.quantity
            and self.phase in (None, phase)
            and self.side in (None, finding.side)
        )


CAUSES = (
    Cause(("same seed",), "train loss", START, None,
          "the momentum convention, who takes a trust ratio, the sign and schedule of the weight decay, the warm-up: "
          "with the same seed nothing but rounding may differ", "tests/mutations.py: convention B, LARS on batch norm"),
    Cause(("band", "misfit"), "train loss", START, "above",
          "initial weights, the scaling of the input (mean and deviation are on the 0-255 scale), momentum missing in "
          "the warm-up, a gradient averaged twice", "tests/mutations.py: no momentum in warm-up"),
    Cause(("band", "misfit"), "train loss", START, "below",
          "warm-up missing or shorter, the momentum convention (A, B or C of engine/optim/formulas.py), the rate",
          "noahgolmant/pytorch-lars 1; tests/mutations.py: convention B"),
    Cause(("band", "misfit"), "train loss", None, "below",
          "label smoothing off or by another convention, augmentation left out: both lower the loss itself",
          "tests/mutations.py: label smoothing off, augmentation left out"),
    Cause(("band", "misfit"), "train loss", None, "above",
          "who takes a trust ratio (batch norm and biases must not), the trust coefficient, the sign and schedule of "
          "the weight decay, gradients that are loss-scaled or summed when their norms are taken",
          "NVIDIA/apex 1030; apache/mxnet 15102; tests/mutations.py: sign of decay"),
    Cause(("band", "misfit"), "top-1", START, "below",
          "batch-norm statistics at evaluation, or first epochs that only look bad: under 10 % is normal for very "
          "large batches, so compare it with the band before giving up", "NUS-HPC-AI-Lab/LARS-ImageNet-PyTorch 2"),
    Cause(("band", "misfit", "shape"), "top-1", PEAK, "above",
          "weight decay or label smoothing off, a smaller batch or peak rate than stated: the accuracy stalls too high",
          "mlcommons/training_policies 177, 196"),
    Cause(("band", "misfit", "shape"), "top-1", PEAK, "below",
          "the rate or momentum is too high for this form of LARS: check the convention, the trust coefficient and "
          "that the norms are of mean gradients", "mlcommons/training_policies 272, 296"),
    Cause(("band", "misfit"), "top-1", DECAY, None,
          "the decay of the rate: its power, its length in updates (not epochs), a scheduler that a resumed run set "
          "back", "open_clip 141; xmodaler 15"),
    Cause(("band", "misfit", "final"), "top-1", END, "below",
          "batch-norm statistics at evaluation (rank 0's instead of the mean), the validation resize and its filter, "
          "images repeated to fill the last batch, the un-augmented last epochs",
          "mlcommons/training 289; NVIDIA/DALI 1507; pytorch/vision 4559"),
    Cause(("band", "misfit", "final"), "top-1", END, "above",
          "validation images in the training set, another image size at evaluation, more epochs without augmentation",
          "figures/public/README.md: the tail without augmentation"),
    Cause(("time",), "epochs", None, "above", "the decay of the rate begins late or ends high", "pytorch/vision 5593"),
    Cause(("time",), "epochs", None, "below", "a smaller batch than stated, or a shorter warm-up",
          "reference convergence points: the larger the batch, the more epochs"),
    Cause(("time",), "seconds", None, None, "another load on the machine, another number of processes or threads",
          "figures/measured/README.md"),
    Cause(("misfit",), "", None, "smooth",
          "a curve nearer to the mean than single runs are: averaged over runs, or smoothed",
          "tests/helpers/foreign.py"),
    Cause(("shape",), "unrest", None, "below",
          "a curve smoother than single runs are: averaged, smoothed, or of a smaller batch",
          "tests/helpers/foreign.py"),
    Cause(("band", "misfit", "shape"), "", None, None,
          "a small difference everywhere: data order, augmentation, precision, or another recipe under the same name",
          "NVIDIA/DALI 400, 1567"),
)  # fmt: skip


def phase(finding: Finding, last_epoch: int, peak_epoch: float | None) -> str:
    """Where in a run a finding lies: its first tenth, until a little after the peak rate, the decay, its last tenth."""
    if finding.test == "shape":
        return PEAK
    share, peak = finding.epoch / last_epoch, (peak_epoch or 0) / last_epoch
    if finding.epoch == last_epoch or share > 0.9:
        return END
    if share <= max(0.1, 1 / last_epoch):
        return START
    return PEAK if share <= 1.45 * peak else DECAY


def likely(findings: Sequence[Finding], last_epoch: int, peak_epoch: float | None) -> list[Cause]:
    """The rows that fit any of `findings`, the first of each finding before the second ones; at most four."""
    fitting = [[c for c in CAUSES if c.fits(one, phase(one, last_epoch, peak_epoch))] for one in findings]
    ranked = [rows[i] for i in range(max(map(len, fitting), default=0)) for rows in fitting if i < len(rows)]
    return list(dict.fromkeys(ranked))[:4]
