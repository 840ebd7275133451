"""Calibration reads one node only and hits it; what the assumed constants leave open is drawn, not guessed."""

import builtins
import json
import re
import statistics

import pytest

from reproduce.cluster import calibrate, evidence, files, show, uncertainty
from reproduce.cluster.compute import inference
from reproduce.cluster.layers import resnet50
from reproduce.cluster.run import TRAIN_IMAGES, evaluation_seconds
from reproduce.cluster.step import Work, step
from reproduce.errors import DataError
from reproduce.results import output

STACKS = ["V100 NGC 18.11", "V100 NGC 19.05", "V100-H NGC 19.05", "A100 NGC 20.06", "A100 NGC 22.04",
          "H100 NGC 23.04", "H100 NGC 24.04", "H200 NGC 24.04", "A100 NGC 21.05", "A100 NGC 21.09", "A100 NGC 23.04",
          "A100-40GB NGC 21.05", "A100-40GB NGC 21.09", "A100-40GB NGC 22.04", "H100 NGC 22.11", "H100 NGC 23.09",
          "V100 NGC 20.06", "V100-H NGC 18.11", "V100-H NGC 20.06"]  # fmt: skip
MODELLED = output.ROOT / "figures" / "modelled"


# ---- what the calibration may read ----------------------------------------------------------------------------------


def test_every_row_of_the_calibration_is_of_one_node():
    rows = evidence.single_node()
    assert len(rows) == 121 and {row.nodes for row in rows} == {1}
    per_node = {name: files.bare(name).node.gpus for name in files.names()}
    assert all(row.gpus <= per_node[row.cluster] for row in rows)
    assert not re.search(r"_n\d+_|_multi_|abci", evidence.SINGLE_NODE.read_text()), "a run on many nodes"


def test_a_row_of_many_nodes_is_refused(tmp_path):
    path = tmp_path / "single_node.csv"
    text = evidence.SINGLE_NODE.read_text()
    path.write_text(text.replace("training,V100 NGC 19.05,dgx1v,1,8", "training,V100 NGC 19.05,dgx1v,2,16", 1))
    with pytest.raises(DataError, match=r"line 7: training on 2 nodes: calibration reads one node only"):
        calibrate.solve_all(path)


def test_the_calibration_opens_no_other_measurement(monkeypatch):
    opened, before = [], builtins.open

    def watched(path, *args, **kwargs):
        opened.append(str(path))
        return before(path, *args, **kwargs)

    calibrate._evidence.cache_clear()
    monkeypatch.setattr(builtins, "open", watched)
    calibrate.solve_all()
    assert [name for name in opened if name.endswith((".csv", ".json", ".txt"))] == [str(evidence.SINGLE_NODE)]


# ---- what it solves -------------------------------------------------------------------------------------------------


def test_the_calibrated_file_is_what_the_command_writes():
    assert files.CALIBRATED.read_text(encoding="utf-8") == calibrate.to_toml(calibrate.solve_all())
    assert list(files.stacks()) == STACKS


@pytest.mark.parametrize("stack", STACKS)
def test_the_calibrated_model_takes_as_long_as_the_median_of_the_runs(stack):
    rows = [row for row in evidence.single_node() if row.stack == stack and row.kind == "training"]
    job, cluster = Work(rows[0].local_batch, calibrate.RULE), files.load(rows[0].cluster, stack)
    one = step(job, rows[0].gpus, cluster)
    seconds = 4 * TRAIN_IMAGES / (one.gpus * one.local_batch) * one.total + evaluation_seconds(job, one, cluster)
    assert seconds == pytest.approx(statistics.median(row.seconds for row in rows), rel=1e-4)


def test_the_fixed_time_is_found_again():
    """From inference times made up of a known one."""
    machine = files.bare("dgx1v")
    rows = [row for row in evidence.single_node() if row.stack == "V100 NGC 20.12"]
    bare = machine.with_values({"gpu.kernel_gap": 0, "software.slowdown": 1.3})
    made = [row.__class__(**row.__dict__ | {"seconds": 2e-3 + inference(resnet50(), row.local_batch, bare)})
            for row in rows]  # fmt: skip
    assert calibrate.fixed_time(machine, made) == pytest.approx((2e-3, 1.3))


def test_the_jitter_is_found_again():
    """From steps on 1 to 8 GPUs of a node made with a known one; none is worse than nothing."""
    machine = files.bare("dgx1v")
    rows = [row for row in evidence.single_node() if row.stack == "V100 NGC 20.12 DGX-1"]
    made = []
    for spread in (0.03, 0.0):
        known = machine.with_values({"software.jitter": spread, "software.slowdown": 1.2})
        made.append([row.__class__(**row.__dict__ | {"seconds": step(Work(192, calibrate.RULE), row.gpus, known).total})
                     for row in rows])  # fmt: skip
    found, errors = calibrate.jitter(machine, made[0])
    assert found == pytest.approx(0.03, rel=0.01) and max(map(abs, errors.values())) < 0.01
    assert calibrate.jitter(machine, made[1])[0] == pytest.approx(0, abs=1e-9)
    quicker = [row.__class__(**row.__dict__ | {"seconds": row.seconds * (1 - 0.01 * row.gpus)}) for row in made[1]]
    assert calibrate.jitter(machine, quicker)[0] == 0


def test_the_share_per_kernel_splits_the_fixed_time():
    machine = files.bare("dgx1v")
    rows = evidence.single_node()
    kernels, host = ({} for _ in range(2))
    for share in (0.0, 0.5, 1.0):
        found = calibrate.solve("V100 NGC 19.05", machine.with_values({"software.per_kernel": share}), rows).values
        kernels[share], host[share] = found["gpu.kernel_gap"], found["software.host"]
    assert kernels[0.0] == host[1.0] == 0
    assert kernels[1.0] * calibrate.KERNELS == pytest.approx(host[0.0]) == pytest.approx(2 * host[0.5])


def test_residuals_stand_in_the_file():
    text = files.CALIBRATED.read_text()
    solution = calibrate.solve_all()[1]
    for row, percent in solution.residuals.items():
        assert f"{json.dumps(row)} = {percent:.1f}" in text
    assert max(abs(percent) for row, percent in solution.residuals.items() if row.startswith("training")) < 1


def test_a_draw_still_fits_the_single_node_runs():
    """Another guess about the GPU may not contradict the runs the calibration rests on."""
    cluster = calibrate.recalibrated(files.load("dgx1v"), {"gpu.tensor_efficiency": 0.4, "software.contention": 0.3})
    job = Work(208, calibrate.RULE)
    one = step(job, 8, cluster)
    seconds = 4 * TRAIN_IMAGES / (8 * 208) * one.total + evaluation_seconds(job, one, cluster)
    assert seconds == pytest.approx(460.9, rel=1e-4) and cluster.gpu.tensor_efficiency == 0.4


# ---- uncertainty ----------------------------------------------------------------------------------------------------


def test_the_published_sensitivity_is_that_of_the_model():
    cluster, job = files.load("abci"), Work(40)
    found = uncertainty.sensitivities(lambda machine: step(job, 2048, machine).images_per_second, cluster)
    assert (MODELLED / "sensitivity.md").read_text(encoding="utf-8") == show.sensitivity_text(job, 2048, cluster, found)


def test_half_of_the_draws_lie_below_what_is_assumed():
    machines = uncertainty.draws(files.load("abci"))
    for name, value in (("software.contention", 0.1), ("software.start_up", 3.0)):
        below = sum(one.get(name) < value for one in machines)
        assert 0.3 * len(machines) < below < 0.7 * len(machines), name


def test_point_and_band_come_from_the_same_draws():
    """As far as the constants go: at every rule and size the point lies in its band, and is a step that was drawn."""
    machines = uncertainty.draws(files.load("abci"), 11)
    for rule in ("layer", "cubic:3", "single"):
        for gpus in (4, 2048):
            found = uncertainty.drawn(Work(40, rule), gpus, machines)
            assert found.rate.low <= found.rate.median <= found.rate.high
            assert found.step.images_per_second == pytest.approx(found.rate.median)
            assert found.step.total == pytest.approx(found.seconds.median)
            assert found.step == step(Work(40, rule), gpus, found.machine)


def test_draws_lie_in_their_ranges_and_are_the_same_each_time():
    cluster = files.load("abci")
    once, again = uncertainty.draws(cluster, 5), uncertainty.draws(cluster, 5)
    assert [one.software for one in once] == [one.software for one in again]
    for one in once:
        for name in cluster.assumed:
            low, high = cluster.constants[name].range
            assert low <= one.get(name) <= high
    assert len({one.software.contention for one in once}) == 5
    assert len({one.software.slowdown for one in once}) == 5, "the calibration was not solved again"


def test_a_band_holds_nine_of_ten_draws():
    assert uncertainty.band(lambda value: value, tuple(range(101))) == (5, 95)


def test_sensitivities_name_every_assumed_constant_by_weight():
    cluster = files.load("abci")
    found = uncertainty.sensitivities(lambda machine: step(Work(40), 2048, machine).images_per_second, cluster)
    assert {one.name for one in found} == set(cluster.assumed)
    assert found[0].name == "software.unlike_stack"
    one = next(one for one in found if one.name == "software.contention")
    assert one.at_high < one.more < 0 < one.less < one.at_low
    changed = calibrate.recalibrated(cluster, {"software.contention": 1.2 * cluster.software.contention})
    base, more = (step(Work(40), 2048, machine).images_per_second for machine in (cluster, changed))
    assert one.more == pytest.approx(100 * (more / base - 1))


def test_what_the_model_may_claim_holds_over_the_draws():
    """Static groups of some megabytes are best; a sum per layer loses much, one sum for all some."""
    rules = ("layer", "size:2MB", "size:4MB", "size:8MB", "single")
    for machine in uncertainty.draws(files.load("abci"), 40):
        times = {rule: step(Work(40, rule), 2048, machine).total for rule in rules}
        best = min(times, key=times.get)
        assert best in ("size:2MB", "size:4MB", "size:8MB")
        assert times["layer"] > 1.1 * times[best] and times["single"] > 1.03 * times[best]
