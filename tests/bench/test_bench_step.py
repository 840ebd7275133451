"""The step benchmark: small contests from request to table, equal work of ours and the plain loops, and the floor."""

import importlib.util
import json

import pytest
import torch
from torch import nn

from reproduce.bench import __main__ as bench
from reproduce.bench import contest, process, step
from reproduce.bench.timed import contenders, plain
from reproduce.bench.timed import step as timed
from reproduce.engine.model import build_model
from reproduce.recipe import load as configs

CPU = torch.device("cpu")
HAVE_TIMM = importlib.util.find_spec("timm") is not None
SMALL = [*step.SYNTHETIC, "batch.workers=4", "batch.local_batch=4", "data.train_images=32"]
SMALL_50 = [*SMALL, "batch.workers=2", "batch.local_batch=2", "data.image_size=32"]


def held(*contests: dict, rounds: int = 2) -> contest.Result:
    request = {"rounds": rounds, "contests": [{"matrix": 64, "updates": 2} | one for one in contests]}
    return contest.parse(process.hold("step", request, 1, with_peers=False))


def images_and_labels(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(count, 3, 28, 28, generator=generator)  # of one channel, all layouts are the same
    return noise, torch.randint(10, (count,), generator=generator)


# ---- contests -------------------------------------------------------------------------------------------------------


def test_a_small_contest_of_the_quick_network_measures_everybody():
    asked = {"network": "quick", "config": str(step.QUICK), "overrides": SMALL}
    (table,) = held(asked | {"workers_per_pass": [1, 2, 4], "ordinary": [8, 16]}).tables
    assert table.unit == "images/s" and table.first == table.rows[0].name and table.first.startswith("ours, ")
    assert table.title == "Training step, quick network, 4 x 4 images"
    assert "28 x 28, 2 updates per round, on 1 thread" in table.work
    assert all(len(row.values) == 2 and min(row.values) > 0 for row in table.rows), "the warm-up round was counted"
    best = table.first.removeprefix("ours, ")
    roles = {row.name: row.role for row in table.rows}
    assert roles.pop("ours, fp32") == "ours" and table.row("ours, fp32").note == "4 of 4 workers per pass"
    roles.pop(table.first, None)
    assert roles == {
        f"ours, {best}, 1 per pass": "control", f"ours, {best}, 2 per pass": "control",
        f"ours, {best}, vectorised batch norm": "control",
        "plain loop, one worker after another": "peer", "plain loop without workers": "peer",
        "ordinary batch norm over 8": "control", "ordinary batch norm over 16": "control",
    } | {f"all multiply-adds in {p} matrix products": "floor" for p in {best, "fp32"}}  # fmt: skip
    assert "GFLOP/s over 0.0153 GFLOP per image" in table.rows[-1].note


def test_a_small_contest_of_resnet50_has_the_peers_or_says_why_not():
    asked = {"network": "resnet50", "config": str(step.PAPER), "overrides": SMALL_50}
    (table,) = held(asked | {"updates": 1}, rounds=1).tables
    best = table.first.removeprefix("ours, ")
    names = [row.name for row in table.rows]
    for name in (f"ours, {best}, 1 per pass", f"torchvision, {best}", f"torchvision, {best}, one batch",
                 "torchvision, fp32, NCHW", "plain DDP loop"):  # fmt: skip
        assert len(table.row(name).values) == 1, name
    for name in (f"timm, {best}", f"timm, {best}, one batch"):
        row = table.row(name)
        assert row.role == "peer" and len(row.values) == (1 if HAVE_TIMM else 0)
        assert HAVE_TIMM or row.note == "cannot be imported: No module named 'timm'"
    assert len(names) == len(set(names)) and [row.role for row in table.rows].count("floor") == len({best, "fp32"})


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_row_has_the_precision_of_its_name(precision):
    one = timed.Contest({"config": str(step.QUICK), "overrides": SMALL, "matrix": 8}, CPU)
    one.ours("ours", precision, 1)
    one.plain("plain", lambda: plain.resnet8(1, 10), precision=precision)
    kinds = []
    for entry in one.entries.values():
        made = entry.make()
        network = made.trainer.model if isinstance(made, contenders.Ours) else made.network
        network.fc.register_forward_hook(lambda *args: kinds.append(args[2].dtype))
        made.step()
    assert set(kinds) == {plain.AUTOCAST[precision] or torch.float32}


class Counter:
    """A contender of 10 images per step that counts its steps."""

    images = 10

    def __init__(self):
        self.steps = 0

    def step(self):
        self.steps += 1


def missing():
    raise ImportError("No module named 'nowhere'")


def test_who_cannot_take_part_is_a_row_without_numbers(monkeypatch):
    monkeypatch.setattr(contenders, "seconds", lambda work, device: (work(), 2.0)[1])
    one = Counter()
    entries = {"one": contenders.Entry("ours", lambda: one, "as it is"), "other": contenders.Entry("peer", missing)}
    (table,) = contenders.contest("t", "w", entries, 3, 4, CPU)
    assert table.rows[0] == contest.Row("one", "ours", (20.0, 20.0, 20.0), "as it is"), "4 steps of 10 images in 2 s"
    assert table.rows[1] == contest.Row("other", "peer", (), "cannot be imported: No module named 'nowhere'")
    assert one.steps == 1 + 4 * 4, "one to see whether there is room, three rounds and one before"


def test_ours_goes_on_after_the_last_epoch():
    short = ["schedule.epochs=2", "schedule.warmup_epochs=0.0", "schedule.decay_epochs=2.0", "evaluation.offset=1"]
    config = configs.load(step.QUICK, [*SMALL, *short, "data.unaugmented_epochs=0"])
    ours = contenders.Ours(config, CPU, "fp32", 8)
    assert config.total_updates == 4 and ours.images == 16
    assert {len(chunk.images) for chunk in ours.loader.train_epoch(0)} == {8}, "as many per pass as was asked"
    seen = []
    for _ in range(6):
        ours.step()
        seen.append(ours.trainer.update)
    assert seen == [1, 2, 3, 4, 1, 2]


# ---- equal work -----------------------------------------------------------------------------------------------------


def test_one_worker_after_another_the_plain_loop_has_our_gradients():
    """That is what its row claims: to 1e-5 of each tensor's norm, from our weights, on our images."""
    config = configs.load(step.QUICK, SMALL)
    ours = contenders.Ours(config, CPU, "fp32", 16)
    trainer, network = ours.trainer, plain.resnet8(1, 10)
    trainer.smoothing = plain.SMOOTHING
    weights = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    network.load_state_dict(weights, strict=False)
    (chunk,) = [chunk for chunk in ours.loader.train_epoch(0) if chunk.update == 0]
    trainer.model.train()
    trainer.accumulate(chunk)
    found = {name: p.grad / ours.images for name, p in trainer.model.named_parameters()}
    for pass_images, same in ((4, True), (None, False)):
        loop = plain.Plain(network, plain.sgd, chunk.images, chunk.labels, pass_images=pass_images)
        loop.optimizer.step = lambda: None
        loop.step()
        errors = [(found[n] - p.grad).norm() / p.grad.norm() for n, p in network.named_parameters()]
        assert (max(errors) < 1e-5) == same, max(errors)


def test_a_plain_step_takes_an_update_of_all_its_images():
    network, (images, labels) = plain.resnet8(3, 10), images_and_labels(12)
    before = network.fc.weight.detach().clone()
    loop = plain.Plain(network, plain.sgd, images, labels, "bf16", channels_last=True, pass_images=4)
    seen = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    loop.step()
    loop.step()
    assert loop.images == 12 and [len(x) for x in seen] == [4] * 6
    assert torch.equal(torch.cat(seen[:3]), images) and seen[0].is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(before, network.fc.weight)


def test_a_plain_step_forgets_the_gradients_of_the_one_before():
    loop = plain.Plain(plain.resnet8(3, 10), plain.sgd, *images_and_labels(8))
    loop.optimizer.step = lambda: None
    loop.step()
    first = loop.network.fc.weight.grad.clone()
    loop.step()
    assert torch.equal(first, loop.network.fc.weight.grad)


# ---- the floor ------------------------------------------------------------------------------------------------------


def test_the_floor_counts_every_multiply_add():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 8 * 8, 5))
    conv, linear = 4 * 8 * 8 * 3 * 9, 5 * 256
    assert plain.training_flop(net, torch.zeros(1, 3, 8, 8)) == 2 * (2 * conv + 3 * linear), "no gradient of the image"
    model = build_model(configs.load(step.PAPER, step.SYNTHETIC))
    assert plain.training_flop(model, torch.zeros(1, 3, 224, 224)) == pytest.approx(24.30e9, rel=1e-3)
    assert model.training, "counting leaves the network as it was"


def test_matrix_products_are_worth_the_images_they_could_train():
    products = plain.MatrixProducts(flop=1000, images=50, precision="fp32", device=CPU, size=10)
    assert products._times == 25 and products.images == 50  # a product takes 2 x 10^3 operations
    assert plain.MatrixProducts(1000, 1, "fp32", CPU, 10).images == 2, "at least one product"
    assert products.note(3e6) == "3 GFLOP/s over 1e-06 GFLOP per image"
    products.step()
    assert torch.allclose(products._result, products._one @ products._other)


# ---- the command ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_asked_fits_the_recipes(device):
    asked = step.contests(device, "all")
    assert {one["network"] for one in asked} == {"quick", "resnet50"}
    for one in asked:
        config = configs.load(one["config"], one["overrides"])
        assert config.data.dataset == "synthetic" and config.epoch_updates()[0] == 16
        size = (config.batch.workers, config.local_batch(0))
        assert size in ([(20, 40)] if one["network"] == "quick" else step.SIZES[device])
    quick = asked[0]
    assert max(quick["workers_per_pass"]) == 20 and max(quick["ordinary"]) == 800
    assert [one["network"] for one in step.contests(device, "quick")] == ["quick"]
    assert {one["network"] for one in step.contests(device, "resnet50")} == {"resnet50"}


def test_the_command_asks_for_what_was_given(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(process, "run", lambda *a, **k: asked.append((a, k)) or 0)
    options = ["--network", "quick", "--rounds", "3", "--threads", "2", "--no-peers", "--out", str(tmp_path / "s.json")]
    assert bench.main(["step", *options]) == 0
    ((name, request, threads, out), options) = asked[0]
    assert (name, threads, out, options) == ("step", 2, tmp_path / "s.json", {"with_peers": False})
    assert request == {"device": "cpu", "rounds": 3, "contests": step.contests("cpu", "quick")}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--rounds", "0"], "--rounds 0: must be at least 1"),
        (["--threads", "-1"], "--threads -1: must be at least 1"),
        (["--device", "cuda"], "--device cuda: no NVIDIA GPU found"),
        (["--out", "/proc/bench/step.json"], "cannot write results"),
    ],
)
def test_bad_input_is_one_line_and_starts_nothing(options, says, capsys, monkeypatch):
    monkeypatch.setattr(process, "hold", lambda *_: pytest.fail("started"))
    monkeypatch.setattr(step, "gpu_count", lambda: 0)
    assert bench.main(["step", *options]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and says in err


def test_a_measurement_that_fails_writes_nothing(tmp_path, monkeypatch, capfd):
    broken = {"network": "quick", "config": str(step.QUICK), "overrides": ["batch.workers=0"]}
    monkeypatch.setattr(step, "contests", lambda *_: [broken])
    out = tmp_path / "step.json"
    assert bench.main(["step", "--no-peers", "--out", str(out)]) == 2
    err = capfd.readouterr().err
    assert "batch.workers = 0" in err and "Traceback" not in err and not out.exists()
    assert err.splitlines()[-1].startswith("error: bench step: the measurement failed")


def test_the_file_holds_what_was_shown(tmp_path, monkeypatch, capsys):
    table = contest.Table("t", "w", "images/s", "a", (contest.Row("a", "ours", (2.0,)),))
    found = json.loads(contest.Result("step", {"hardware": "h"}, (table,)).to_json())
    monkeypatch.setattr(process, "hold", lambda *_: found)
    out = tmp_path / "bench" / "step.json"
    assert bench.main(["step", "--out", str(out)]) == 0
    read = contest.read(out)
    assert read.tables == (table,) and read.about == {"hardware": "h", "minutes": 0.0}
    assert "| a | ours | 2.00 images/s |" in capsys.readouterr().out
