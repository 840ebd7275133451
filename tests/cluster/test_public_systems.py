"""Public systems in three parts: the split is the seed's, nothing is chosen on the third, and every error is shown."""

import collections
import csv
import dataclasses
import math
import re
import statistics

import pytest

from reproduce.cluster import choose, evidence, files, interval, predict, systems, validate, validation
from reproduce.cluster.interval import Distance
from reproduce.cluster.step import Work, step
from reproduce.cluster.systems import CALIBRATION, CHOOSING, TESTING
from reproduce.cluster.uncertainty import Spread
from reproduce.errors import DataError
from reproduce.results import output, public

MODELLED = output.ROOT / "figures" / "modelled"
ROWS = systems.systems()


# ---- the table ------------------------------------------------------------------------------------------------------


def test_the_table_has_every_system_once_and_enough_of_many_nodes():
    assert len(ROWS) == 150 and len({(row.round, row.folder) for row in ROWS}) == 150
    assert sum(row.nodes > 1 for row in ROWS) == 49
    assert {row.round for row in ROWS} == {run["round"] for run in systems.read(systems.RUNS)}
    times = collections.defaultdict(list)
    for run in systems.read(systems.RUNS):
        times[run["round"], run["dir"]].append(run["run_seconds"])
    logs = [tuple(sorted(times[row.round, row.folder])) for row in ROWS]
    assert len(set(logs)) == len(logs), "the same logs twice"


def test_mini_batches_are_those_of_the_logs():
    logged = {(run["round"], run["dir"]): run["global_batch_size"] for run in systems.read(systems.RUNS)}
    for row in ROWS:
        if logged[row.round, row.folder]:
            assert row.gpus * row.local_batch == int(logged[row.round, row.folder]), row.name
        else:
            assert row.round == "v0.5"


def test_the_split_is_the_seeds():
    parts = {(row.round, row.folder): row.part for row in ROWS if row.part != CALIBRATION}
    assert parts == systems.split(ROWS) and parts != systems.split(ROWS, systems.SEED + 1)
    for more in (False, True):
        counts = collections.Counter(row.part for row in ROWS if (row.nodes > 1) == more)
        assert abs(counts[CHOOSING] - counts[TESTING]) <= 2
    years = {row.year for row in ROWS if row.nodes > 1}
    assert years == {row.year for row in ROWS if row.nodes > 1 and row.part == CHOOSING}


def test_the_part_of_the_calibration_is_what_it_reads():
    read = {row.source.split(" ", 2)[1:3][1].removesuffix("/resnet").split("results/")[-1]
            for row in evidence.single_node() if row.kind == "training"}  # fmt: skip
    part = {row.folder.removesuffix("/resnet").split("results/")[-1] for row in ROWS if row.part == CALIBRATION}
    assert part == read and {row.nodes for row in ROWS if row.part == CALIBRATION} == {1}


def test_a_rate_is_whole_epochs_over_the_time_between_evaluations():
    row = next(row for row in ROWS if "abci" in row.folder)
    found = systems.measured(row)
    with open(public.FOLDER / public.FILES[0], encoding="utf-8") as file:
        curve = [(int(one["epoch"]), float(one["seconds_since_run_start"])) for one in csv.DictReader(file)
                 if one["run"] == "0"]  # fmt: skip
    gaps = [b[1] - a[1] for a, b in zip(curve, curve[1:])]
    assert (found.epochs, found.n) == (4, 5)
    assert found.seconds == pytest.approx(statistics.median(gaps), abs=0.05, rel=0)
    assert found.images_per_second == pytest.approx(4 * 1_281_167 / found.seconds)


def test_a_system_without_logs_is_said():
    with pytest.raises(DataError, match="no evaluations of v4.0 nowhere"):
        systems.measured(dataclasses.replace(ROWS[0], round="v4.0", folder="nowhere"))


# ---- what is chosen -------------------------------------------------------------------------------------------------


def test_the_chosen_file_is_what_the_command_writes():
    assert files.CHOSEN.read_text(encoding="utf-8") == choose.to_toml(*choose.solve())


def test_nothing_is_chosen_on_the_third_part(monkeypatch):
    """With every measurement of it falsified, the same is chosen; with the second part's, something else."""
    before, true = choose.solve(), systems.measured

    def falsify(part):
        def measured(row):
            found = true(row)
            return dataclasses.replace(found, seconds=1.7 * found.seconds) if row.part == part else found

        monkeypatch.setattr(systems, "measured", measured)
        return choose.solve()

    years, found = falsify(TESTING)
    assert (years, found.scale, found.quantiles) == (before[0], before[1].scale, before[1].quantiles)
    assert found.tested != before[1].tested
    assert falsify(CHOOSING)[0] != before[0]


def test_the_frameworks_time_is_found_again(monkeypatch):
    """From rates made with a known one, one of them far off."""
    rows = [row for row in choose.part(CHOOSING) if row.year == 2022 and row.nodes > 1]

    rates = {row: statistics.median(predict.timing(row).images_per_second(0.0123)) for row in rows}
    rates[rows[0]] *= 0.5

    def made(row):
        return systems.Measured(4, 4 * 1_281_167 / rates[row], 5)

    monkeypatch.setattr(systems, "measured", made)
    assert choose.least_error(rows) == pytest.approx(0.0123)


def test_early_frameworks_cost_much_across_nodes_and_late_ones_nothing():
    across = {year: entry["value"] for year, entry in files.across().items()}
    assert across["2018"] > 0.02 > across["2020"] > 0.001 > across["2022"]
    cluster = files.load("abci")
    assert cluster.year == 2019 and cluster.software.across == across["2019"]
    assert cluster.constants["software.across"].status == "chosen"
    assert step(Work(40), 2048, cluster).across == cluster.software.across and step(Work(40), 4, cluster).across == 0


def test_the_size_of_errors_is_found_again():
    found = [(size * sign, Distance(nodes=nodes)) for nodes, spread in ((0, 0.01), (8, 0.08))
             for size in (0.3 * spread, spread, 2 * spread) for sign in (1, -1) for _ in range(20)]  # fmt: skip
    weights = dict(zip(interval.FEATURES, choose.fit(found)))
    assert weights["nodes"] == pytest.approx(math.log(8) / 8, abs=0.03) and weights["batch"] == weights["board"] == 0
    assert math.exp(weights["base"]) == pytest.approx(0.01, rel=0.3)


@pytest.mark.parametrize("count", [5, 24, 42, 66, 200])
def test_the_quantile_is_a_tolerance_limit(count):
    """The share of such systems that lie below the place-th of `count` follows a beta distribution (Wilks 1941)."""
    place = choose.rank(count)

    def sure(place):
        return sum(math.comb(count, k) * 0.9**k * 0.1 ** (count - k) for k in range(place))

    assert sure(place) >= 0.9 or place == count
    assert sure(place - 1) < 0.9


# ---- the interval ---------------------------------------------------------------------------------------------------


def test_an_interval_widens_with_distance_and_holds_the_band():
    known = interval.chosen()
    near, far = Distance(), Distance(nodes=9, batch=2.4, early=True, vendor=True)
    assert known.half_width(far) > 2 * known.half_width(near) > 0
    assert known.half_width(dataclasses.replace(near, board=True)) > 2 * known.half_width(near)
    assert known.around(Spread(90, 100, 110), near) == (90, 110)
    low, high = known.around(Spread(99, 100, 101), far)
    assert low < 80 and high == pytest.approx(1e4 / low)


def test_an_answer_is_as_far_as_the_system_it_is():
    cluster = files.load("abci")
    away = interval.distance(Work(40), 2048, cluster)
    assert away == Distance(True, 9, pytest.approx(math.log2(208 / 40)), True, False)
    assert interval.distance(Work(400), 8, files.load("dgx-h100")) == Distance()
    assert interval.distance(Work(400), 8, files.load("dgx-h100", "A100 NGC 22.04")).board


# ---- validation -----------------------------------------------------------------------------------------------------


def test_the_third_part_is_met_as_promised():
    found = [one for one in validate.checks() if one.row.part == TESTING]
    one = validate.summary(found)
    assert one.n == 65 and one.median_error <= 6 and 0.80 <= one.in_interval / one.n <= 0.97
    many = validate.summary([check for check in found if check.row.nodes > 1])
    assert many.n == 25 and many.median_error <= 6 and many.in_interval / many.n >= 0.80
    known = interval.chosen().tested
    assert (known["n"], known["inside"]) == (one.n, one.in_interval)
    assert known["median_error"] == pytest.approx(one.median_error, abs=0.01)


def test_no_point_lies_outside_its_band_or_interval():
    for one in validate.checks():
        assert one.modelled.low <= one.modelled.median <= one.modelled.high
        assert one.interval[0] <= one.modelled.low and one.modelled.high <= one.interval[1]


def test_a_check_is_the_model_on_the_systems_own_machine():
    row = next(row for row in ROWS if row.name.endswith("8xXE8545x4A100-SXM-40GB"))
    one, rate = validate.check(row), systems.measured(row).images_per_second
    assert one.rate_error == pytest.approx(100 * (one.modelled.median / rate - 1)) and one.measured == rate
    here = predict.machine(row.cluster, row.stack, tuple(row.values.items()))
    assert (here.node.gpus, here.network.adapters, here.network.adapter_bandwidth) == (4, 2, 25e9)
    assert row.work == Work(102, "single", False)


def test_fujitsus_row_is_the_carried_log():
    row = next(row for row in evidence.team() if row.name.startswith("Fujitsu"))
    assert row.images_per_second == pytest.approx(statistics.median(public.steady_rates()), abs=1)
    with open(public.FOLDER / public.FILES[2], encoding="utf-8") as file:
        times = [float(run["run_seconds"]) for run in csv.DictReader(file)]
    assert row.run_seconds == statistics.median(times)


def test_the_papers_two_rates_are_reconciled_and_its_rate_lies_in_the_interval():
    """1.73 million images/s is steady: 68.2 s of updates; 90 epochs in 74.7 s are 1.54 million."""
    paper = validate.teams()[-1]
    assert (paper.row.images_per_second, paper.row.run_seconds) == (1.73e6, 74.7)
    assert paper.interval[0] < 1.73e6 < paper.interval[1]
    text = (MODELLED / "validation.md").read_text(encoding="utf-8")
    assert "1,440 updates x 81,920 images take 68.2 s of the 74.7 s" in text
    assert "the other 6.5 s; 90 epochs over the whole time are 1,543,575 images/s" in text
    assert re.search(r"Modelled: [\d,]+ images/s steady \([-+][\d.]+ %; band", text)
    assert "77.0 % (recalled)" in text and "would put one GPU at 1,097 images/s" in text


def test_the_published_validation_is_that_of_the_model_and_leaves_none_out():
    text = (MODELLED / "validation.md").read_text(encoding="utf-8")
    assert text == validation.document()
    for row in ROWS:
        assert f"| {row.name} | " in text


def test_sentences_about_errors_come_from_the_rows():
    """With other measurements they say something else."""
    found = validate.checks()
    other = [dataclasses.replace(one, measured=2 * one.measured) for one in found]
    before, after = (validation.text(checks, validate.teams()) for checks in (found, other))
    assert "6 of the 65 systems" in before and "65 of the 65 systems" in after
    assert "2018: +1.8 % (1 system)" in before and "2018: -49.1 % (1 system)" in after


def test_the_overview_of_the_modelled_says_the_same():
    text = (MODELLED / "README.md").read_text(encoding="utf-8")
    assert validation.overview(validate.checks()) in text
