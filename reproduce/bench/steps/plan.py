"""The steps of a campaign, most valuable first: on a GPU in earnest, and the same in small on a CPU."""

from dataclasses import replace

from reproduce.bench.step import PAPER, QUICK, SYNTHETIC, resnet50
from reproduce.bench.steps.step import OUT, Step, timed

# the quick network on a few images: what a campaign's own test and a first look need
TINY = [*SYNTHETIC, "batch.workers=4", "batch.local_batch=8", "data.train_images=256"]
PARITY = [*SYNTHETIC, "batch.workers=4", "data.train_images=2560"]
PAIR = [*SYNTHETIC, "batch.workers=2", "batch.local_batch=8", "data.train_images=512"]
CUT = ["schedule.epochs=4", "schedule.warmup_epochs=1", "schedule.decay_epochs=3", "evaluation.every=2",
       "evaluation.offset=2", "data.unaugmented_epochs=0"]  # fmt: skip
# long enough for a signal to meet it
LONGER = {"cpu": ["schedule.epochs=30", "schedule.warmup_epochs=10", "schedule.decay_epochs=20"],
          "cuda": ["schedule.epochs=1500", "schedule.warmup_epochs=500", "schedule.decay_epochs=1000"]}  # fmt: skip
SMALL_50 = ["data.image_size=64"]


def steps(device: str) -> list[Step]:
    """Of "cuda" or "cpu"; the names are the same, so that results stand side by side."""
    return on_gpu() if device == "cuda" else on_cpu()


def quick_step(device: str, name: str, what: str, module: str, request: dict, estimate: float, deadline: float) -> Step:
    return timed(name, what, module, {"device": device, "config": str(QUICK)} | request, estimate, deadline)


def contest(name: str, size: str, precision: str, device: str, estimate: float, *more: str) -> Step:
    """A step of training of ResNet-50, workers x images, ours by every execution beside timm and torchvision."""
    words = ("reproduce.bench", "step", "--device", device, "--network", "resnet50", "--size", size, "--precision",
             precision, "--no-peers", "--out", OUT, *more)  # fmt: skip
    what = f"training steps of {size} images in {precision}: batch norms, graph, timm and torchvision in turns"
    return Step(name, what, words, estimate, 2 * estimate)


def command(name: str, what: str, words: tuple[str, ...], device: str, estimate: float) -> Step:
    words = ("reproduce.bench", *words, "--device", device, "--out", OUT)
    return Step(name, what, words, estimate, 3 * estimate)


def on_gpu() -> list[Step]:
    node = resnet50(12, 40)["overrides"]
    settings = settings_of(node)
    return [
        *checks("cuda", 40),
        contest("step_1x40_bf16", "1x40", "bf16", "cuda", 300, "--rounds", "6"),
        timed("full_update", "two updates of all 2,048 workers, and the hours of tier node that follow", "full_update",
              {"device": "cuda", "config": str(PAPER), "overrides": SYNTHETIC, "updates": 2}, 150, 400),
        contest("step_12x40_bf16", "12x40", "bf16", "cuda", 420, "--rounds", "6", "--updates", "8"),
        command("lars", "LARS's step against timm's loop and foreach", ("lars", "--no-peers"), "cuda", 60),
        command("profile", "where the time of an update goes, 12 x 40 images",
                ("profile", str(PAPER), *settings), "cuda", 60),
        headline("cuda", [], 150),
        bubble("cuda", resnet50(1, 40)["overrides"], 8, 60),
        command("loader", "the same with JPEGs that the loader reads meanwhile",
                ("profile", str(PAPER), "--photographs", "960", "--set", "batch.workers=12", "--set",
                 "batch.local_batch=40"), "cuda", 150),
        dali("cuda", 240, 60),
        caches("cuda", resnet50(12, 40), 1, 260),
        contest("step_1x40_fp16", "1x40", "fp16", "cuda", 240, "--rounds", "4"),
        contest("step_12x40_fp16", "12x40", "fp16", "cuda", 360, "--rounds", "4", "--updates", "8"),
    ]  # fmt: skip


def on_cpu() -> list[Step]:
    """The same steps in small: they are to pass through the same code, and their numbers say little."""
    shared = ("--rounds", "1", "--updates", "1", "--image-size", "64")  # one process for all contenders
    one = (*shared, "--visits", "1")
    small = {"config": str(PAPER), "overrides": [*resnet50(2, 2)["overrides"], *SMALL_50]}
    settings = settings_of(["batch.workers=2", "batch.local_batch=2", *SMALL_50])
    found = [
        *checks("cpu", 15),
        contest("step_1x40_bf16", "1x2", "bf16", "cpu", 30, *one),
        timed("full_update", "two updates of several passes, and the hours that follow", "full_update",
              {"device": "cpu", "updates": 2} | small, 20, 60),
        contest("step_12x40_bf16", "2x2", "bf16", "cpu", 30, *one),
        command("lars", "LARS's step against timm's loop and foreach",
                ("lars", "--no-peers", "--rounds", "2", "--threads", "1"), "cpu", 20),
        command("profile", "where the time of an update goes",
                ("profile", "--updates", "2", *settings_of(TINY)), "cpu", 15),
        headline("cpu", CUT, 30),
        bubble("cpu", TINY, 2, 10),
        command("loader", "the same with JPEGs that the loader reads meanwhile",
                ("profile", str(PAPER), "--photographs", "40", "--updates", "2", *settings), "cpu", 30),
        dali("cpu", 40, 15),
        caches("cpu", {"config": str(QUICK), "overrides": [*TINY, 'model.name="resnet8"']}, 1, 40),
        contest("step_1x40_fp16", "1x2", "fp32", "cpu", 20, *shared),
        contest("step_12x40_fp16", "2x2", "fp32", "cpu", 20, *shared),
    ]  # fmt: skip
    return [replace(step, deadline=max(300, step.deadline)) for step in found]


def settings_of(overrides: list[str]) -> tuple[str, ...]:
    return tuple(word for one in overrides for word in ("--set", one))


# ---- single steps ---------------------------------------------------------------------------------------------------


def checks(device: str, estimate: float) -> list[Step]:
    """Whether it works at all, and whether it is right."""
    return [
        quick_step(device, "device", "driver, versions and a tiny update", "device",
                   {"overrides": TINY, "updates": 3}, estimate, 180),
        quick_step(device, "parity", "the same weights by GPU and CPU, batch norms, optimizers, graph and resume",
                   "parity", {"overrides": PARITY if device == "cuda" else TINY, "updates": 6}, 2 * estimate, 300),
        quick_step(device, "world", "collectives of a world of one, recorded and disconnected", "world",
                   {"overrides": PAIR}, estimate, 120),
        quick_step(device, "interrupted", "SIGTERM in the middle of a run, and a resume to the same bits", "commands",
                   {"what": "interrupted", "overrides": [*TINY, *LONGER[device]]}, 2 * estimate, 300),
    ]  # fmt: skip


def headline(device: str, overrides: list[str], estimate: float) -> Step:
    return quick_step(device, "headline", "the quick tier's headline run, and report.check of it", "commands",
                      {"what": "headline", "overrides": overrides}, estimate, 4 * estimate)  # fmt: skip


def bubble(device: str, overrides: list[str], epochs: int, estimate: float) -> Step:
    config = PAPER if device == "cuda" else QUICK
    return timed("bubble", "from update to update across the end of an epoch", "bubble",
                 {"device": device, "config": str(config), "overrides": overrides, "epochs": epochs}, estimate,
                 3 * estimate)  # fmt: skip


def dali(device: str, images: int, estimate: float) -> Step:
    return timed("dali", "DALI by threads, hardware decoder and upsampling, and its pixels against PIL's", "dali",
                 {"device": device, "config": str(PAPER), "overrides": [], "images": images, "rounds": 2}, estimate,
                 4 * estimate)  # fmt: skip


def caches(device: str, recipe: dict, rounds: int, estimate: float) -> Step:
    return timed("caches", "start to first update with a cold and a warm compile cache", "startup",
                 {"device": device, "rounds": rounds, "caches": recipe}, estimate, 3 * estimate)  # fmt: skip
