"""Images per second of the loader, per core, against torchvision's and timm's; and what loading takes from training.

    python -m reproduce.bench data [--images 240] [--rounds 7] [--data data/fashion_mnist] [--out FILE] [--no-peers]

On generated photographs (500x375, JPEG at quality 90) and on the quick tier's set of 28x28 PNG; where that is not laid
out, generated pictures of its kind stand in. All contenders have one and the same core, where the system can pin them,
and a second is one of processor time: neighbours on the core slow no contender down, as they would in elapsed time.
"""

import argparse
import sys
from pathlib import Path

from reproduce.bench import process
from reproduce.bench.jpegs import Pictures, lay_out
from reproduce.engine.data import folders
from reproduce.errors import UserError, command
from reproduce.paths import CONFIGS, ROOT
from reproduce.words import Parser

LARGE, QUICK = CONFIGS / "headline_b81920_g2048.toml", CONFIGS / "quick" / "headline_b800_w20.toml"
LOCAL_BATCH = 40
STAND_IN = Pictures(train=1600, val=400, height=28, width=28, channels=1, kind="PNG")


def parse(argv) -> argparse.Namespace:
    parser = Parser(prog="python -m reproduce.bench data", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--images", type=int, default=240, help="photographs, a multiple of 40 (default: 240)")
    add("--rounds", type=int, default=7, help="turns of each contender that count (default: 7)")
    add("--data", type=Path, default=ROOT / "data" / "fashion_mnist", help="default: %(default)s")
    add("--out", type=Path, help="default: results/bench/data.json")
    add("--no-peers", action="store_true", help="install no peers: those not installed already are missing")
    given = parser.parse_args(argv)
    if given.images < LOCAL_BATCH or given.images % LOCAL_BATCH or given.rounds < 1:
        raise UserError(f"--images must be a multiple of {LOCAL_BATCH}, and --rounds at least 1")
    return given


def requests(given: argparse.Namespace, cache: Path) -> dict:
    """What `timed.data` is asked, with the folders it needs laid out below `cache`."""
    photographs = Pictures(train=given.images, val=LOCAL_BATCH)
    folder = cache / "jpegs"
    if folders.marker(folder) is None:
        print(f"laying out {given.images} photographs in {folder}, once", file=sys.stderr, flush=True)
    kilobytes = lay_out(folder, photographs)["mean_bytes"] / 1000
    large = {
        "config": str(LARGE), "root": str(folder),
        "what": f"generated photographs, 500x375, JPEG at quality 90, {kilobytes:.0f} kB in the mean, to 224x224",
        "overrides": [*counts(photographs), "batch.workers=1", f"batch.local_batch={LOCAL_BATCH}"],
    }  # fmt: skip
    quick = {"config": str(QUICK), "root": str(given.data.absolute()), "what": "Fashion-MNIST", "overrides": []}
    if folders.marker(given.data) is None:
        folder = cache / "pngs"
        lay_out(folder, STAND_IN)
        quick |= {"root": str(folder), "what": "generated pictures", "overrides": counts(STAND_IN)}
    quick["what"] = f"{quick['what']}, 28x28 grey PNG"
    return {"large": large, "quick": quick, "rounds": given.rounds}


def counts(pictures: Pictures) -> list[str]:
    """Overrides that make a config state what is in a folder of generated pictures."""
    numbers = {"train_images": pictures.train, "val_images": pictures.val, "classes": pictures.classes}
    return [f"data.{key}={value}" for key, value in numbers.items()]


@command
def main(argv=None) -> int:
    given = parse(argv)
    cache = process.FOLDER
    process.check_output(cache)
    return process.run("data", requests(given, cache), threads=1, out=given.out, with_peers=not given.no_peers)
