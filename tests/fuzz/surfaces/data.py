"""Data folders: classes, images, links, pipes and mappings that are not as a recipe states."""

from hypothesis import strategies as st

from tests.fuzz import stock
from tests.fuzz.scene import Entry, Scene
from tests.fuzz.values import argument, paths, sampled

NAMES = ("x.JPEG", "n03", "n01/deep/x.JPEG", "loose.jpg", "é.png", "e\u0301.png", "caf\udce9.jpeg", "new\nline.jpg",
         "\x1b[2J.jpg", "._x.JPEG",
         ".hidden.jpg", "a" * 250 + ".jpg", "x.tar", "x.JPEG.tar.gz", "$(touch canary).jpg", "n01/x.txt",
         "@eaDir/x.jpg", "n02", "n01/x.jpeg",
         "n01/\u202egpj.exe.jpg", "thumbs.db", "n01 ", "N01/x.jpg")  # fmt: skip


def scenes() -> st.SearchStrategy[Scene]:
    return folders() | folders() | mappings() | inside() | places()


def trained(fault: str, entries: tuple[Entry, ...], *words: str, **more) -> Scene:
    changes = more.pop("recipe", {})
    given = ("small.toml", "--data", "images", "--out", "out", *stock.ON_CPU, *words)
    return Scene("data", fault, stock.TRAIN, given, (stock.recipe(changes), *entries), writes=("out",), chatty=True,
                 **more)


@st.composite
def folders(draw) -> Scene:
    """Something gone, more, or of another kind."""
    found = {one.path: one for one in stock.images()}
    faults = set()
    for _ in range(draw(st.integers(1, 3))):
        how, path = draw(st.integers(0, 4)), draw(sampled(list(found)))
        part = draw(sampled(["train", "val"]))
        new = f"images/{part}/{draw(sampled(NAMES))}"
        if how == 0:
            del found[path]
            faults.add("gone")
        elif how == 1:
            found[new] = Entry(new, content=found[path].content)
            faults.add("more")
        elif how == 2:
            target = draw(sampled(["gone", path, "/dev/zero", ".", "..", "/", "/proc/self/mem", "n01", "/dev/stdin"]))
            at = draw(sampled([path, new, f"images/{part}/n03", f"images/{part}/n01/loop"]))
            found[at] = Entry(at, "link", target=target)
            faults.add("link")
        elif how == 3:
            found[path] = Entry(path, draw(sampled(["fifo", "folder", "zeros"])), size=draw(sampled([0, 10, 30 << 30])))
            faults.add("kind")
        else:
            found[path] = Entry(path, content=found[path].content, mode=0)
            faults.add("mode")
    skip = draw(st.booleans())
    return trained("+".join(sorted(faults)), tuple(found.values()),
                   recipe={"data.corrupt_images": "skip" if skip else "error"})


@st.composite
def mappings(draw) -> Scene:
    """A flat val/ and a file that says which image is of which class."""
    images = [one for one in stock.images() if "/train/" in one.path]
    flat = [Entry(f"images/val/v{number}.JPEG", content=one.content) for number, one in enumerate(images[:4])]
    text = "\n".join(f"v{number}.JPEG,n0{1 + number % 2}" for number in range(4))
    content = draw(sampled([text, "ImageId,PredictionString\n" + text.replace(",", " "), text.replace(",", " "),
                            "x," + "a" * 300000, text + "\nv0.JPEG,n02",
                            "\ufeff" + text, text.replace("v0", "val/v0"), "\x00", '"' * 999, "v0.JPEG,²\n", "",
                            text.replace("n01", "n09"),
                            text.replace("\n", "\r"), "\x1b[2J,n01\n" * 4])).encode()  # fmt: skip
    name = draw(sampled(["val_annotations.txt", "LOC_val_solution.csv", "val.txt", "val_map.txt",
                         "ILSVRC2012_validation_ground_truth.txt"]))
    entry = Entry(f"images/{draw(sampled(['', 'val/']))}{name}", draw(sampled(["file", "file", "file", "fifo",
                                                                               "folder"])), content=content)
    return trained("mapping", (*images, *flat, entry))


@st.composite
def inside(draw) -> Scene:
    """Results that would go into the data, or over it."""
    out = draw(sampled(["images", "images/train", "images/train/n01", "images/val/new", "small.toml",
                        "images/train/n01/x"]))
    scene = trained("--out inside", stock.images())
    words = tuple(out if word == "out" else word for word in scene.words)
    return Scene(**{**vars(scene), "words": words, "writes": (), "must": "refuse"})


@st.composite
def places(draw) -> Scene:
    scene = trained("place", stock.ODD, recipe=draw(sampled([{}, {"data.corrupt_images": "skip"}])), must="refuse")
    words = tuple(argument(draw(paths)) if word == "images" else word for word in scene.words)
    words = tuple(f"./{word}" if number == 2 and word.startswith("-") else word for number, word in enumerate(words))
    return Scene(**{**vars(scene), "words": words})
