"""The runs that more than one artefact, claim or tool speaks of, by the names of their configs."""

PAPER_SWEEP = (
    "batch_b49152_g2048", "batch_b65536_g2048", "headline_b81920_g2048",
    "batch_b98304_g2048", "batch_b114688_g2048", "batch_b131072_g2048",
)  # fmt: skip
QUICK_SWEEP = (
    "quick/batch_b480_w20", "quick/batch_b640_w20", "quick/headline_b800_w20",
    "quick/batch_b960_w20", "quick/batch_b1120_w20", "quick/batch_b1280_w20",
)  # fmt: skip
QUICK_PANEL = tuple(
    f"quick/panel_{optimizer}_b{40 * workers}_w{workers}"
    for optimizer in ("lars", "sgd")
    for workers in (20, 40, 80, 160)
)
FULL_RECIPE = ("headline_b81920_g2048", "mlperf06_b86016_g2048")
QUICK_PAIR = ("quick/headline_b800_w20", "quick/baseline_b128_w2")  # the headline recipe and the small-batch baseline
# The rows of Table 1 and the run that stands for each, scaled down. He et al.'s 256 images would be 2.5.
TABLE1_ROWS = {
    "He et al.": None, "Goyal et al.": "quick/goyal_b80_w2", "Smith et al.": "quick/smith_b80_w2",
    "Akiba et al.": "quick/akiba_b320_w10", "Jia et al.": "quick/jia_b640_w20", "Ying et al.": "quick/ying_b640_w20",
    "Mikami et al.": "quick/mikami_b340_w34", "This work": QUICK_PAIR[0],
}  # fmt: skip
EARLIER_ROWS = tuple(run for run in TABLE1_ROWS.values() if run not in (None, *QUICK_PAIR))
ROW_MACHINES = {"Mikami et al.": "abci", "This work": "abci"}  # where the row's machine has a cluster file
