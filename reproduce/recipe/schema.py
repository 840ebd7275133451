"""What a run is: frozen, typed sections; `reproduce.recipe.config` joins them. Read from TOML by `reproduce.config`.

A recipe names *workers* (the paper's GPUs) and a *local batch* (images per worker and update), not devices: the same
recipe runs on 2,048 GPUs, on eight, or on a CPU with the same mathematics. How many devices there are is the
launcher's business. Imports neither torch nor NumPy: the report reads recipes on machines that have neither.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Literal, get_args

SOURCES = {
    "abstract": "printed in the paper's abstract",
    "secondary": "read in a public translation of, or article about, the paper",
    "recalled": "known from memory of the paper; not re-read",
    "mlperf06": "the same team's public MLPerf v0.6 submission, June 2019; not the paper's run",
    "derived": "arithmetic from other values, shown in ref",
    "public": "another public source, named in ref",
    "tuned_here": "tuned on the embedded data set; ref says how",
    "chosen_here": "a choice of this package; ref says why",
    "override": "given on the command line",
}

LarsPreset = Literal["fujitsu_mlperf06", "mlperf_tf2", "apex_larc", "timm", "nus"]
SgdPreset = Literal["sgd", "rmsprop_warmup"]
BnEval = Literal["mean", "local", "rank0", "recalibrated"]
LARS_PRESETS: tuple[str, ...] = get_args(LarsPreset)
SGD_PRESETS: tuple[str, ...] = get_args(SgdPreset)
BN_EVAL: tuple[str, ...] = get_args(BnEval)


@dataclass(frozen=True)
class Run:
    """Names and labels; not part of the recipe hash, so a better title does not make a run stale."""

    name: str
    title: str
    tier: Literal["paper", "quick"]  # paper: ImageNet, also what --tier node runs; quick: embedded data
    scales_down: str | None = None  # quick only: the paper-tier config this one stands for
    note: str = ""
    purpose: Literal["accuracy", "speed"] = "accuracy"  # speed: ends long before its accuracy means anything


@dataclass(frozen=True)
class Data:
    """The data set and the one pipeline every back-end executes. Pixel statistics are on the 0-255 scale."""

    dataset: str  # "fashion_mnist": embedded; "synthetic": noise, no files; any other: the name of a folder of JPEGs
    train_images: int
    val_images: int
    classes: int
    image_size: int  # pixels, square, after the crop
    eval_resize: int  # shorter side before the centre crop, pixels
    crop_area: tuple[float, float]  # fraction of the image's area
    crop_aspect: tuple[float, float]  # width / height
    flip_probability: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    unaugmented_epochs: int  # the last N epochs train on centre crops without flip
    corrupt_images: Literal["error", "skip"] = "error"
    subset: bool = False  # the folder may hold more images than stated: evenly spread ones are taken
    # held_out: val_images of the training set that are not trained on, to choose a recipe's values without the test set
    evaluate_on: Literal["val", "held_out"] = "val"


@dataclass(frozen=True)
class Model:
    name: Literal["resnet50", "resnet8"]
    input_channels: int  # 4: a zero plane is appended, as the team did for Tensor Cores
    bn_momentum: float  # of the running statistics: new = momentum * old + (1 - momentum) * batch
    bn_epsilon: float
    zero_gamma: bool = False  # a block's last batch norm begins with gamma 0, so that the block begins as its shortcut


@dataclass(frozen=True)
class Batch:
    """Workers and what each of them holds. Global batch = workers * local batch."""

    workers: int
    local_batch: tuple[tuple[int, int], ...]  # phases: (first epoch, zero-based; images per worker)
    epoch_rule: Literal["ceil", "carry"]  # a whole number of updates per epoch; the team's: the rest carries over
    bn_eval: BnEval  # whose batch-norm statistics evaluate, see engine/evaluation.py
    bn_workers: int = 1  # so many neighbouring workers share the statistics of a batch
    recalibration_updates: int = 8  # bn_eval = "recalibrated": forward passes over this many updates' images


@dataclass(frozen=True)
class Optimizer:
    preset: LarsPreset | SgdPreset  # momentum convention, trust ratio, who is skipped: engine/optim/formulas.py
    momentum: float
    momentum_end: float | None  # reached linearly at the last update; None: constant
    weight_decay: float
    trust_coefficient: float | None  # LARS only
    epsilon: float | None  # LARS: of the trust ratio; rmsprop_warmup: beside the root
    label_smoothing: float  # MXNet's alpha: gold class 1 - alpha, every other class alpha / (classes - 1)
    nesterov: bool = False
    rmsprop_lr: float | None = None  # rmsprop_warmup only, as the next: the rate of its RMSprop part
    rmsprop_decay: float | None = None  # of the average of squared gradients


@dataclass(frozen=True)
class Schedule:
    """Warm-up, then decay. What a decay pattern does not use may be left out."""

    epochs: int
    peak_lr: float
    warmup_epochs: float
    decay: Literal["polynomial", "linear", "step"]
    decay_epochs: float | None  # polynomial, linear: length after warm-up; the rest runs at the end rate
    decay_power: float | None  # polynomial
    end_lr_ratio: float | None  # polynomial, linear: of the peak
    decay_milestones: tuple[float, ...] = ()  # step: epochs at which the rate is multiplied by decay_factor
    decay_factor: float = 0.1
    decay_ratios: tuple[float, ...] = ()  # step: the rate after each milestone, of the peak, instead of decay_factor
    warmup_start_lr: float | None = None  # warm-up's first rate; none: the first of warm-up's equal steps from 0
    rmsprop_center: float | None = None  # rmsprop_warmup only, as the next: the epoch at which SGD's share is half
    rmsprop_period: float | None = None  # epochs; half of it later, SGD is alone
    weight_decay_follows_warmup: bool = False  # the team's: decay rises with the warm-up (see recipe/schedule.py)


@dataclass(frozen=True)
class Precision:
    compute: Literal["auto", "fp32", "bf16", "fp16"]  # weights, momenta and statistics stay fp32
    loss_scale: float = 1.0


@dataclass(frozen=True)
class Evaluation:
    every: int  # epochs
    offset: int  # first evaluation follows this epoch, one-based as in the MLPerf log


@dataclass(frozen=True)
class Communication:
    """How processes sum their gradients. It changes a run's speed and, by rounding, its last digits."""

    groups: str = "single"  # a rule of grouping.py: "cubic:F" | "size:NMB" | "layer" | "single"; "ddp": PyTorch's
    allreduce: Literal["flat", "two_stage"] = "flat"  # two_stage: within the node, across nodes, within the node
    wire: Literal["fp32", "fp16", "bf16"] = "fp32"  # batch norm always goes as fp32
    overlap: bool = True  # send a group during backward; False: all of them after it
    # same_seed: every process makes the weights; broadcast: rank 0 does and sends them
    initialisation: Literal["same_seed", "broadcast"] = "same_seed"


@dataclass(frozen=True)
class Source:
    """Where a value came from: a key of `SOURCES` and a place or reason."""

    kind: str
    ref: str


SECTIONS = {
    "run": Run, "data": Data, "model": Model, "batch": Batch, "optimizer": Optimizer,
    "schedule": Schedule, "precision": Precision, "evaluation": Evaluation,
    "communication": Communication,
}  # fmt: skip
RECIPE = tuple(name for name in SECTIONS if name != "run")


def digest(recipe: dict) -> str:
    """`Config.hash` of a recipe, also of one read from a log. Raises `TypeError`, `ValueError` if it is none."""
    stated = {}
    for name in sorted(recipe):
        defaults = _defaults(name)
        values = {key: value for key, value in _plain(recipe[name]).items() if value != defaults.get(key, NO_DEFAULT)}
        if values:
            stated[name] = values
    text = json.dumps(stated, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


NO_DEFAULT = object()


def _plain(section: dict) -> dict:
    """As JSON gives it back: lists for tuples."""
    if not isinstance(section, dict):
        raise TypeError("a section is no table")
    return json.loads(json.dumps(section))


def _defaults(name: str) -> dict:
    found = dataclasses.fields(SECTIONS[name]) if name in SECTIONS else ()
    return _plain({field.name: field.default for field in found if field.default is not dataclasses.MISSING})
