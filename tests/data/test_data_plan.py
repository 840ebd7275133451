"""Who sees which image, and where it is cut: pure functions, checked without an image."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from reproduce.engine.data import windows
from reproduce.engine.data.chunks import groups
from reproduce.engine.data.plan import AUGMENT, Plan, epoch_order, fixed_order, share, uniforms
from tests.helpers import ROOT
from tests.helpers.data import make_config

SIZES = np.array([(375, 500), (500, 375), (64, 64), (20, 300), (300, 20), (1, 1), (28, 28), (2, 7)] * 40)


def small(tmp_path, **changes):
    return make_config(tmp_path, **{"data__train_images": 103, "batch__local_batch": 5, **changes})


def test_uniforms_are_pinned():
    """Raw Philox output at an address never changes: not with NumPy's version, nor by a change of ours unseen."""
    values = uniforms(7, AUGMENT, (1, 2, 3), (3,))
    assert values.tolist() == [0.289432746107152, 0.5522819059833657, 0.9756224795130424]
    assert fixed_order(8).tolist() == [5, 4, 6, 7, 0, 1, 2, 3]
    assert epoch_order(1, 0, 8).tolist() == [0, 6, 5, 3, 4, 7, 2, 1]


def test_uniforms_at_different_addresses_are_unrelated():
    addresses = [(s, p, (e, w, u)) for s in (0, 1) for p in (1, 2) for e in (0, 1) for w in (0, 1) for u in (0, 1)]
    rows = np.stack([uniforms(*address, (2000,)) for address in addresses])
    assert rows.min() >= 0 and rows.max() < 1
    assert abs(rows.mean() - 0.5) < 4 * math.sqrt(1 / 12 / rows.size)
    correlation = np.corrcoef(rows) - np.eye(len(rows))
    assert abs(correlation).max() < 5 / math.sqrt(2000)


def test_ceil_each_image_once_and_wraps_in_its_shard(tmp_path):
    config = small(tmp_path)
    plan = Plan.of(config, seed=1)
    for epoch in range(config.schedule.epochs):
        seen = []
        for worker in range(4):
            batches = [plan.batch(epoch, k, range(worker, worker + 1)) for k in range(plan.updates[epoch])]
            stream, shard = np.concatenate(batches, axis=1)[0], share(103, worker, 4)
            seen += stream[: len(shard)].tolist()
            assert stream[len(shard) :].tolist() == stream[: len(stream) - len(shard)].tolist()
        assert sorted(seen) == list(range(103))
    assert plan.updates == (6, 6, 6, 6)  # ceil(ceil(103 / 4) / 5)


def test_each_epoch_and_seed_has_its_own_order(tmp_path):
    orders = [epoch_order(seed, epoch, 103).tolist() for seed in (1, 2) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(103)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    tail = Plan.of(small(tmp_path), seed=1)
    assert tail.batch(3, 0, range(1)).tolist() == [[0, 1, 2, 3, 4]]  # the tail is read as it lies


def test_plan_does_not_depend_on_the_process_split(tmp_path):
    for rule in ("ceil", "carry"):
        plan = Plan.of(small(tmp_path, batch__epoch_rule=rule), seed=3)
        for epoch, update in ((0, 0), (1, 4), (3, 2)):
            whole = plan.batch(epoch, update, range(4))
            draws = plan.augmentation(epoch, update, range(4), 7)
            for parts in ((range(0, 2), range(2, 4)), (range(0, 1), range(1, 4))):
                assert np.array_equal(np.concatenate([plan.batch(epoch, update, part) for part in parts]), whole)
                assert np.array_equal(np.concatenate([plan.augmentation(epoch, update, p, 7) for p in parts]), draws)


def test_carry_is_one_continuous_stream(tmp_path):
    changes = {"batch__local_batch": [[0, 7], [4, 9]], "schedule__epochs": 9, "data__unaugmented_epochs": 2}
    plan = Plan.of(small(tmp_path, batch__epoch_rule="carry", **changes), seed=5)
    for worker in range(4):
        shard = slice(worker * 25, worker * 25 + 25)

        def stream(epochs, worker=worker):
            one = range(worker, worker + 1)
            return np.concatenate([plan.batch(e, k, one)[0] for e in epochs for k in range(plan.updates[e])])

        augmented, tail = stream(range(7)), stream(range(7, 9))
        expected = np.concatenate([epoch_order(5, epoch, 103)[shard] for epoch in range(8)])
        assert 7 * 25 <= len(augmented) < 7 * 25 + 9
        assert len(augmented) % 25, "the tail's own counter shows only if the other stream ends within a shard"
        assert augmented.tolist() == expected[: len(augmented)].tolist()
        assert tail.tolist() == np.tile(np.arange(103)[shard], 3)[: len(tail)].tolist()


def test_carry_totals_of_the_public_run(tmp_path):
    """86,016 images at 2,048 workers: 1,340 updates, ten epochs of 14 (facts h)."""
    config = make_config(
        tmp_path, data__train_images=1_281_167, data__unaugmented_epochs=5, batch__workers=2048,
        batch__local_batch=42, batch__epoch_rule="carry", schedule__epochs=90,
    )  # fmt: skip
    plan = Plan.of(config, seed=0)
    assert sum(plan.updates) == 1340
    short = [epoch + 1 for epoch, count in enumerate(plan.updates) if count == 14]
    assert short == [9, 17, 26, 34, 42, 51, 59, 68, 76, 84]
    last = plan.batch(84, plan.updates[84] - 1, range(2046, 2048))
    assert last.shape == (2, 42) and 0 <= last.min() and last.max() < 1_281_167


def test_groups_hold_whole_workers():
    assert groups(range(20), 40, 512) == [range(0, 10), range(10, 20)]
    assert groups(range(3, 8), 40, 80) == [range(3, 4), range(4, 6), range(6, 8)]
    assert groups(range(2), 40, 8) == [range(0, 1), range(1, 2)]
    assert groups(range(4, 16), 10, 50, span=4) == [range(4, 8), range(8, 12), range(12, 16)]  # shared statistics
    assert groups(range(12), 10, 80, span=4) == [range(0, 4), range(4, 12)]


# ---- windows ------------------------------------------------------------------------------------------------------


def one_window(height, width, draws, data):
    """The definition, one image and one attempt at a time, after torchvision's RandomResizedCrop.get_params."""
    low, high = data.crop_aspect
    for attempt in range(10):
        area = height * width * (data.crop_area[0] + (data.crop_area[1] - data.crop_area[0]) * draws[2 * attempt])
        aspect = math.exp(math.log(low) + (math.log(high) - math.log(low)) * draws[2 * attempt + 1])
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(draws[20] * (height - h + 1)), int(draws[21] * (width - w + 1)), h, w
    if width / height < low:
        h, w = max(1, round(width / low)), width
    elif width / height > high:
        h, w = height, max(1, round(height * high))
    else:
        h, w = height, width
    return (height - h) // 2, (width - w) // 2, h, w


def test_windows_follow_the_definition(tmp_path):
    data = make_config(tmp_path).data
    draws = uniforms(1, AUGMENT, (), (len(SIZES), windows.DRAWS))
    expected = [one_window(*size, row, data) for size, row in zip(SIZES.tolist(), draws)]
    found = windows.random_windows(SIZES, draws, data)
    assert found.tolist() == [list(row) for row in expected]
    assert (found[:, :2] >= 0).all() and (found[:, 2:] >= 1).all()
    assert (found[:, :2] + found[:, 2:] <= SIZES).all()


def test_windows_fall_back_to_the_largest_central_one(tmp_path):
    data = make_config(tmp_path, data__crop_area=[0.9, 0.9]).data
    sizes = np.array([(20, 300), (300, 20), (40, 50)])
    draws = uniforms(1, AUGMENT, (), (3, windows.DRAWS))
    found = windows.random_windows(sizes, draws, data).tolist()
    assert found[:2] == [[0, 135, 20, 30], [135, 0, 30, 20]]
    assert windows.random_windows(np.array([(1, 1)]), draws[:1], data).tolist() == [[0, 0, 1, 1]]


def test_windows_are_distributed_as_torchvisions(tmp_path):
    data = make_config(tmp_path).data
    count = 3000
    sizes = np.tile([375, 500], (count, 1))
    ours = windows.random_windows(sizes, uniforms(2, AUGMENT, (), (count, windows.DRAWS)), data)
    torch.manual_seed(2)
    image = torch.empty(1, 375, 500)
    theirs = np.array([RandomResizedCrop.get_params(image, data.crop_area, data.crop_aspect) for _ in range(count)])
    difference = abs(ours.mean(0) - theirs.mean(0))
    error = np.sqrt((ours.var(0) + theirs.var(0)) / count)
    assert (difference < 4 * error).all()
    fraction = ours[:, 2] * ours[:, 3] / (375 * 500)
    assert 0.049 < fraction.min() < 0.06 and 0.85 < fraction.max() < 0.901


def test_flips_have_the_stated_probability(tmp_path):
    data = make_config(tmp_path, data__flip_probability=0.3).data
    draws = uniforms(4, AUGMENT, (), (4000, windows.DRAWS))
    _, flips = windows.train_geometry(np.tile([50, 60], (4000, 1)), draws, data)
    assert abs(flips.mean() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 4000)


def test_centre_geometry(tmp_path):
    data = make_config(tmp_path, data__image_size=224, data__eval_resize=256).data
    geometry, flips = windows.centre_geometry(np.array([(375, 500), (500, 333), (256, 256)]), data)
    assert geometry.tolist() == [
        [0, 0, 375, 500, 256, 341], [0, 0, 500, 333, 384, 256], [0, 0, 256, 256, 256, 256],
    ]  # fmt: skip
    assert not flips.any()
    assert windows.centre_offsets(geometry, 224).tolist() == [[16, 58], [80, 16], [16, 16]]


@pytest.mark.parametrize("module", ["plan", "windows", "folders", "images", "embedded"])
def test_needs_no_torch(module):
    code = f"import sys; sys.modules['torch'] = None; import reproduce.engine.data.{module}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
