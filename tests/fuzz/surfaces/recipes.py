"""Recipe files and ``--set``: read by `reproduce.config`, and trained on synthetic images where they are accepted."""

from hypothesis import strategies as st

from tests.fuzz import stock
from tests.fuzz.scene import Entry, Scene
from tests.fuzz.values import TOML, argument, damaged, sampled, words

SHOW = "reproduce.config"
# a run of these takes as long as it says, or as much memory: read them, but train none
SIZES = ("data.train_images", "data.val_images", "data.image_size", "data.eval_resize", "data.classes", "batch.workers",
         "batch.local_batch", "schedule.epochs", "batch.recalibration_updates", "data.unaugmented_epochs")  # fmt: skip
NUMBERS = ("0.5", "1", "0.0", "1.0", "1e-9", "5e-324", "1e-320", "1e308", "1e38", "1e30", "-0.0", "2", "-1",
           "0.999999999", "1e-45", "3.4e38",
           "true", "false")
WORDS = ('"sgd"', '"fujitsu_mlperf06"', '"mlperf_tf2"', '"apex_larc"', '"timm"', '"nus"', '"rmsprop_warmup"',
         '"mean"', '"local"', '"rank0"',
         '"recalibrated"', '"ceil"', '"carry"', '"bf16"', '"fp16"', '"fp32"', '"linear"', '"polynomial"', '"step"',
         '"flat"', '"two_stage"',
         '"ddp"', '"layer"', '"cubic:3"', '"cubic:1e400"', '"size:1MB"', '"resnet50"', '"resnet8"', '"none"',
         '"size:1e-300MB"')
HEADS = ('extends = "small.toml"', 'extends = "gone.toml"', "extends = 3", 'extends = ["a", 3]', 'extends = ""',
         "extends = []",
         'extends = "."', 'extends = "\\u0000"', 'extends = "/dev/zero"', 'extends = "fifo"',
         'extends = "' + "a" * 300 + '"',
         'extends = "base.toml"', "x = 1", "[[run]]", "run = 3", "[data]\n[data]", '[nowhere]\nx = 1')  # fmt: skip


def scenes() -> st.SearchStrategy[Scene]:
    return changed_values() | changed_values() | changed_entries() | broken_files() | overrides() | odd_places()


def shown(fault: str, content: bytes, **more) -> Scene:
    return Scene("recipes", fault, SHOW, ("small.toml",), (Entry("small.toml", content=content), *more.pop("entries",
        ())), **more)


def trained(fault: str, content: bytes, *words: str, **more) -> Scene:
    given = ("small.toml", "--data", "none", "--out", "out", *stock.ON_CPU, *words)
    return Scene("recipes", fault, stock.TRAIN, given, (Entry("small.toml", content=content),), writes=("out",),
                 chatty=True, **more)  # fmt: skip


def alike(value: object) -> st.SearchStrategy[str]:
    """Values, most of them of the type of this one."""
    pool: tuple[str, ...] = NUMBERS
    if isinstance(value, list):
        pool = tuple(f"[{', '.join([one, *map(str, value[1:])])}]" for one in NUMBERS)
    elif isinstance(value, str):
        pool = WORDS
    return sampled(pool) | sampled(pool) | sampled(TOML)


@st.composite
def changed_values(draw) -> Scene:
    """One or two values replaced; what is accepted is trained, if it is no larger."""
    found, changed = stock.sections(stock.SYNTHETIC), []
    optional = ["optimizer.nesterov", "schedule.decay_milestones", "schedule.decay_ratios", "schedule.decay_factor",
                "batch.bn_workers", "precision.loss_scale", "communication.groups", "communication.wire",
                "optimizer.trust_coefficient", "optimizer.epsilon", "optimizer.momentum_end",
                "schedule.warmup_start_lr",
                "communication.overlap", "model.zero_gamma", "optimizer.rmsprop_lr"]  # fmt: skip
    for _ in range(draw(st.integers(1, 2))):
        name = draw(sampled([*stock.RECIPE, *optional]))
        section, key = name.split(".")
        found.setdefault(section, {})[key] = stock.entry(draw(alike(stock.RECIPE.get(name))))
        changed.append(name)
    content = stock.toml(found).encode()
    if set(changed) & set(SIZES):
        return shown("value", content, names=tuple(key.split(".")[1] for key in changed) + ("TOML", "small.toml"))
    return trained("value, trained", content, codes=(2,))


@st.composite
def changed_entries(draw) -> Scene:
    """An entry or a section of another form, or gone; a head that does not belong there."""
    found = stock.sections(stock.SYNTHETIC)
    section = draw(sampled(list(found)))
    key = draw(sampled(list(found[section])))
    how = draw(st.integers(0, 6))
    if how == 0:
        found[section][key] = draw(sampled(TOML))
    elif how == 1:
        found[section][key] = f'{{ value = 1, source = {draw(sampled(TOML))}, ref = "x" }}'
    elif how == 2:
        found[section][key] = f'{{ value = 1, source = "public", ref = {draw(sampled(TOML))} }}'
    elif how == 3:
        del found[section][key]
    elif how == 4:
        del found[section]
    elif how == 5:
        found[section][draw(sampled(["x", "values", '""', '"a b"', '"\\n"', '"\\u001b[2J"'])) ] = draw(sampled(TOML))
    head = draw(sampled(HEADS)) if how == 6 else ""
    base = Entry("base.toml", content=b'extends = "small.toml"\n')
    names = ("small.toml", "base.toml", "gone.toml", "extends", "fifo", "zero")
    return shown("entry", stock.toml(found, head).encode(), names=names, entries=(base, Entry("fifo", "fifo")))


@st.composite
def broken_files(draw) -> Scene:
    return shown("bytes", draw(damaged(stock.recipe(stock.SYNTHETIC).content)), names=("small.toml",))


@st.composite
def overrides(draw) -> Scene:
    name = draw(sampled([*(name for name in stock.RECIPE if name not in SIZES), "", ".", "data", "data.", ".x",
                         "run.name",
                         "data.dataset.x", "DATA.dataset", "\x1b[2J.x"]))  # fmt: skip
    between = draw(sampled(["=", "", " = ", "==", "=\n"]))
    text = argument(f"{name}{between}{draw(sampled(TOML) | words)}")
    return trained("--set", stock.recipe(stock.SYNTHETIC).content, f"--set={text}")


@st.composite
def odd_places(draw) -> Scene:
    """The file is none."""
    from tests.fuzz.values import paths

    return Scene("recipes", "place", SHOW, ("--", argument(draw(paths))), stock.ODD, must="refuse", names=("error: ",))
