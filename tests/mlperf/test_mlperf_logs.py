"""The reader of public MLPerf logs: every known run in every format, damaged as real logs are, and real logs."""

import bz2
import gzip
import json
import lzma
import random
import re
import zipfile
from pathlib import Path

import pytest

from reproduce.errors import LogError
from reproduce.mlperf import formats, summary, table
from reproduce.report import log as command
from tests.helpers import LOGS, ROOT

OURS = ROOT / "figures" / "measured" / "quick" / "logs"
STYLES = {"v0.5": "MLPv0.5.0", "v0.6": "MLL"}  # MLLOG from v0.7 on
START = 1_541_720_386


# ---- a log made from a row of the table -----------------------------------------------------------------------------


def line(style: str, at: float, key: str, value=None, **metadata) -> str:
    """One event as the programs of that round write it."""
    if style == "MLL":
        return f":::MLL {at:.3f} {key}: " + json.dumps({"value": value, "metadata": {**metadata, "file": "fit.py"}})
    if style == "MLLOG":
        fields = {"namespace": "", "time_ms": round(1000 * at), "event_type": "POINT_IN_TIME", "key": key}
        return ":::MLLOG " + json.dumps({**fields, "value": value, "metadata": {"file": "fit.py", **metadata}})
    if "epoch_num" in metadata:
        value = {"epoch": metadata["epoch_num"], "value": value}
    return f":::MLPv0.5.0 resnet {at:.9f} (image_classification/log_utils.py:49) {key}" + (
        "" if value is None else f": {json.dumps(value)}"
    )


def lines_of(run: table.TableRun, curve: tuple[summary.Evaluation, ...], style: str) -> list[str]:
    """The log of a run by one process, holding what the row and the curve say."""
    made = [line(style, START - 20, key, value) for key, value in settings_of(run, style)]
    made.append(line(style, START, "run_start"))
    for one in curve:
        at, epoch = START + one.seconds, int(one.epoch) if one.epoch.is_integer() else one.epoch
        made.append(line(style, at - 0.2, "eval_start"))
        made.append(line(style, at, "eval_accuracy", one.top1, epoch_num=epoch))
    if run.run_seconds is not None:
        made.append(line(style, START + run.run_seconds, "run_stop", **({"status": run.status} if run.status else {})))
    return made


def settings_of(run: table.TableRun, style: str) -> list[tuple[str, object]]:
    about = {"submission_benchmark": "resnet", "submission_org": run.submitter, "submission_division": run.division,
             "opt_name": run.optimizer, "global_batch_size": run.global_batch}  # fmt: skip
    if style == "MLPv0.5.0":
        del about["submission_benchmark"]  # it stands in every line
    return [(key, value) for key, value in about.items() if value] + [
        (key, json.loads(value) if value[0].isdigit() else value) for key, value in run.settings.items()
    ]


JUNK = ["Traceback (most recent call last):", "  5%|#     | 3/60 [00:01<00:20]\r 10%|##    | 6/60 [00:02<00:18]",
        "2019-06-18 20:10:46,528 Node[0] Epoch[59] Batch [740-760]\tSpeed: 11218.10 samples/sec", "caf\xe9 \xff\xfe",
        "\x1b[31mWARNING\x1b[0m: Log validation: Key \"run_final\" is not in known resnet keys.", "{\"loss\": 0.5}"]
PREFIXES = ["", "", "0: ", "[1]: ", "2019-05-23 06:25:34 PM ", "\x1b[32m", "12:  ", "g0220.abci.local: "]  # fmt: skip
GARBAGE = [':::MLLOG {"namespace": "", "time_ms": }', ":::MLL 1560722749.842 epoch_stop: }", ":::MLPv0.5.0 resnet (a:1"]


def damaged(written: list[str], dice: random.Random) -> tuple[bytes, int]:
    """Those lines as several processes and other programs leave them, and how many of them cannot be understood.

    A line is cut by another one in its middle; two share a line; colours and other text stand around. What no reader
    could tell apart is left out: a cut in the marker, and a bare number or word of v0.5 that text follows at once.
    """
    text, garbage, index = "", 0, 0
    end = dice.choice(["\n", "\n", "\r\n"])
    while index < len(written):
        one, fate = written[index], dice.random()
        following = written[index + 1] if index + 1 < len(written) else None
        text += dice.choice(PREFIXES)
        if fate < 0.15 and following is not None:  # the next process writes in the middle of this line
            cut = dice.randrange(len(one.partition(" ")[0]) + 1, len(one))
            text += one[:cut] + following
            text += dice.choice(["", end, end + "3: "] if closed(following) else [end]) + one[cut:]
            index += 1
        elif fate < 0.25 and following is not None:
            text += one + (dice.choice(["", " ", "3: "]) if closed(one) else " ") + following
            index += 1
        elif fate < 0.3:
            cut = dice.randrange(len(one.partition(" ")[0]) + 1, len(one))
            text += one[:cut] + "\x1b[0m" + one[cut:]
        else:
            text += one
        if fate > 0.97:
            text += end + dice.choice(GARBAGE)
            garbage += 1
        text += end
        if fate > 0.85:
            text += dice.choice(JUNK) + end
        index += 1
    return text.rstrip().encode("latin-1"), garbage


def closed(one: str) -> bool:
    """Whether the end of a line can be told without a line break: JSON, or a v0.5 event that never has a value."""
    return re.search(r": [\w.+-]+$", one) is None


def repeated(written: list[str], dice: random.Random) -> list[str]:
    """Some of the lines come from a second process too, which says the same."""
    return [copy for one in written for copy in [one] * (1 if dice.random() < 0.7 else 2)]


# ---- all runs -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known():
    return table.runs(), table.curves()


def test_every_public_run_reads_back_from_its_own_format(known):
    runs, curves = known
    assert len(runs) == 1834
    dice, wrong = random.Random(12650), []
    for run in runs:
        style = STYLES.get(run.round, "MLLOG")
        content, garbage = damaged(repeated(lines_of(run, curves[run.key], style), dice), dice)
        lines = formats.read_lines(content.decode("utf-8", errors="replace"))
        log = summary.interpret(Path(run.file), lines)
        seconds = None if log.run_seconds is None else round(log.run_seconds, 3)
        expected = (run.top1, run.run_seconds, run.status if run.run_seconds is not None else summary.NO_STOP,
                    run.global_batch, run.optimizer, run.division, run.last_epoch,
                    len({one.epoch for one in curves[run.key]}), garbage,
                    run.round if run.round in STYLES else "v0.7 or later")  # fmt: skip
        found = (log.top1, seconds, log.status, log.global_batch, log.optimizer, log.division,
                 log.evaluations[-1].epoch, len(log.evaluations), log.not_understood, log.round)  # fmt: skip
        reached = log.reached and log.status in ("", "success")
        if found != expected or reached != run.reached or (log.run_seconds and run not in table.same(log, [run])):
            wrong.append((run.key, expected, found))
    assert wrong == []


@pytest.mark.parametrize("style", ["MLPv0.5.0", "MLL", "MLLOG"])
def test_a_run_reads_the_same_from_every_format(known, style):
    runs, curves = known
    run = next(one for one in runs if one.submitter == "Fujitsu" and one.round == "v0.6")
    log = summary.interpret(Path("a"), formats.read_lines("\n".join(lines_of(run, curves[run.key], style))))
    assert (log.top1, round(log.run_seconds, 3), len(log.evaluations)) == (run.top1, run.run_seconds, 23)
    assert log.settings["opt_base_learning_rate"] == [13.0]
    assert log.evaluations[0].seconds == pytest.approx(curves[run.key][0].seconds, abs=0.001)


def test_runs_that_failed_come_out_so(known):
    runs, curves = known
    failed = [run for run in runs if run.status in ("aborted", "abort", "fail")]
    assert len(failed) == 75
    for run in failed:
        log = summary.interpret(Path("a"), formats.read_lines("\n".join(lines_of(run, curves[run.key], "MLLOG"))))
        assert log.status == run.status and log.reached is False, run.key


# ---- single rules ---------------------------------------------------------------------------------------------------


def of(*written: str) -> summary.PublicLog:
    return summary.interpret(Path("a"), formats.read_lines("\n".join(written)))


def epoch(at: float, number: float, top1, style="MLLOG") -> str:
    return line(style, at, "eval_accuracy", top1, epoch_num=number)


NAMED = line("MLLOG", 1, "submission_benchmark", "resnet")
BEGIN, DONE = line("MLLOG", 100, "run_start"), line("MLLOG", 200, "run_stop", status="success")


def test_a_log_without_accuracy_or_stop_says_so():
    log = of(NAMED, BEGIN, DONE)
    assert (log.top1, log.reached, log.run_seconds) == (None, None, 100)
    log = of(NAMED, BEGIN, epoch(150, 4, 0.8))
    assert (log.top1, log.run_seconds, log.status) == (0.8, None, summary.NO_STOP)
    log = of(NAMED, epoch(150, 4, 0.8), DONE)
    assert (log.top1, log.run_seconds, log.evaluations[0].seconds) == (0.8, None, None)


def test_processes_that_start_and_stop_apart_are_one_run():
    log = of(NAMED, BEGIN, line("MLLOG", 103, "run_start"), epoch(150, 4, 0.8), DONE, line("MLLOG", 204, "run_stop"))
    assert log.run_seconds == 104 and log.status == "success" and not log.notes


def test_an_evaluation_that_several_processes_log_is_one_at_the_time_of_the_first():
    log = of(NAMED, BEGIN, epoch(150, 4, 0.8), epoch(151, 4, 0.8), DONE)
    assert [(one.top1, one.seconds) for one in log.evaluations] == [(0.8, 50)] and not log.notes
    log = of(NAMED, BEGIN, epoch(150, 4, 0.8), epoch(151, 4, 0.7), DONE)
    assert [(one.top1, one.seconds) for one in log.evaluations] == [(0.7, 51)] and "1 epochs" in log.notes[0]


def test_of_two_runs_in_a_file_the_last_complete_one_counts():
    second = (line("MLLOG", 300, "run_start"), epoch(350, 4, 0.3), line("MLLOG", 420, "run_stop", status="aborted"))
    log = of(NAMED, BEGIN, epoch(150, 4, 0.7), epoch(190, 8, 0.76), DONE, *second)
    assert (log.top1, log.run_seconds, log.status) == (0.76, 100, "success")
    assert log.notes == ("holds 2 runs: run 1 counts, the last complete one "
                         "(1: 100.0 s, 76.00 %, success; 2: 120.0 s, 30.00 %, aborted)",)  # fmt: skip
    log = of(NAMED, BEGIN, epoch(150, 4, 0.7), *second)
    assert (log.top1, log.status) == (0.3, "aborted")
    assert "run 2 counts: none is complete (1: no time, 70.00" in log.notes[0]


def test_nothing_of_one_run_is_told_of_another():
    def run(at: int, system: str, batch: int, top1: float):
        head = (("submission_platform", system), ("init_start", None), ("global_batch_size", batch),
                ("run_start", None))  # fmt: skip
        written = [line("MLLOG", at + i, key, value) for i, (key, value) in enumerate(head)]
        return [*written, epoch(at + 50, 4, top1), line("MLLOG", at + 60, "run_stop", status="success")]

    first, second = run(1000, "64 nodes", 20480, 0.7601), run(2000, "96 nodes", 32256, 0.7602)
    log = of(NAMED, *first, *second)
    assert (log.system, log.global_batch, log.top1, log.run_seconds) == ("96 nodes", 32256, 0.7602, 57)
    log = of(NAMED, *first, *second[:-1])  # the second was cut off
    assert (log.system, log.global_batch, log.top1, log.run_seconds) == ("64 nodes", 20480, 0.7601, 57)
    log = of(NAMED, *first[:4], *second)  # the first ended before an evaluation
    assert (log.system, log.global_batch, log.run_seconds) == ("96 nodes", 32256, 57)
    assert "no time, no accuracy, no run_stop" in log.notes[0]


def test_forms_of_single_submitters_are_read():
    """Seconds for milliseconds; dates in brackets and percentages; tables as Python prints them."""
    seconds = [re.sub(r'"time_ms": (\d+)', lambda found: f'"time_s": {int(found[1]) / 1000}', one)
               for one in (NAMED, BEGIN, epoch(190, 8, 0.76), DONE)]  # fmt: skip
    dated = [f'MLPerf: resnet [2019-05-22 {at}], {key}: {{"value": {value}, "metadata": {{{more}}}}}'
             for at, key, value, more in (("05:42:46", "run_start", "null", '"file": "a.py"'),
                 ("05:43:36.500", "eval_accuracy", "75.98000%", '"epoch_num": 8'),
                 ("05:44:26", "run_stop", "null", '"status": "success"'))]  # fmt: skip
    python = [re.sub(r'"metadata": (\{.*\})\}$', lambda found: f'"metadata": {json.loads(found[1])!r}}}', one)
              for one in (NAMED, BEGIN, epoch(190, 8, 0.76), DONE)]  # fmt: skip
    whole = [":::MLLOG " + repr(json.loads(one.removeprefix(":::MLLOG ")))
             for one in (NAMED, BEGIN, epoch(190, 8, 0.76), DONE)]  # fmt: skip
    for written, top1 in ((seconds, 0.76), (dated, 0.7598), (python, 0.76), (whole, 0.76)):
        log = of(*written)
        assert (log.top1, log.run_seconds, log.status) == (pytest.approx(top1), 100, "success"), written
        assert log.benchmark == "resnet" and log.not_understood == 0 and log.evaluations[0].epoch == 8


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"])
def test_a_packed_log_is_read(public, tmp_path, capsys, pack):
    path = tmp_path / "packed"
    path.write_bytes(pack(public.read_bytes()))
    assert summary.read(path).top1 == summary.read(public).top1
    path.write_bytes(path.read_bytes()[:-200])
    assert command.main([str(path)]) == 2
    assert f"{path}: not readable: packed with" in capsys.readouterr().err


def test_a_zip_archive_of_one_log_is_read_and_one_of_two_named(public, tmp_path):
    path = tmp_path / "a.zip"
    for count in (1, 2):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(count):
                archive.write(public, f"result_{number}.txt")
        if count == 1:
            assert summary.read(path).top1 == summary.read(public).top1
    with pytest.raises(LogError, match="a zip archive of 2 files: unpack it"):
        summary.read(path)


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(summary.files, "LOG", 1 << 20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"0" * (8 << 20)))
    with pytest.raises(LogError, match="more than 1 MB inside"):
        summary.read(path)


def test_a_log_of_another_benchmark_has_no_top1(tmp_path, capsys):
    path = tmp_path / "bert.txt"
    written = [line("MLLOG", 90, "submission_benchmark", "bert"), BEGIN, epoch(190, 8, 0.72), DONE]
    path.write_text("\n".join(written))
    assert command.main([str(path)]) == 0
    out = capsys.readouterr().out.replace(str(path), "")  # whose folders have numbers
    assert "final top-1: none: the benchmark is bert" in re.sub(" +", " ", out) and "72" not in out
    assert "note: a log of bert, not of ResNet: its 1 accuracies are no top-1" in out


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "9" * 400, "[" * 450 + "]" * 450,
                                   "{'a': {1, 2}}", "{'a': b'x', 'b': 0x" + "f" * 5000 + "}", "{('a', 1): 2j}",
                                   '"\\ud800\\u001b[2J"'])
def test_odd_values_are_no_traceback_and_no_odd_json(tmp_path, capsys, value):
    path = tmp_path / "odd.txt"
    path.write_text("\n".join([NAMED, BEGIN, epoch(190, 8, 0.76), DONE, *(
        f':::MLLOG {{"time_ms": 150000, "key": "{key}", "value": {value}, "metadata": {{"epoch_num": null}}}}'
        for key in ("lars_epsilon", "global_batch_size", "eval_accuracy", "submission_org"))]))  # fmt: skip
    assert command.main([str(path)]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert command.main([str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert told[0]["top1"] == 0.76


def test_times_that_run_backwards_are_no_run_time():
    log = of(NAMED, line("MLLOG", 300, "run_start"), epoch(190, 8, 0.76), DONE)
    assert log.run_seconds is None and "times run backwards: run_stop comes 100.000 s before run_start" in log.notes


def test_a_log_of_ours_that_contradicts_itself_is_damaged(tmp_path):
    ours = next(OURS.glob("headline*/result_1.txt")).read_text()
    path = tmp_path / "result_1.txt"
    path.write_text(ours.replace('"correct": 9063', '"correct": 8063'))
    log = summary.read(path)
    assert log.status == "damaged" and "contradicts itself: the accuracy of epoch 90 is 0.9063" in log.notes[-1]


def test_many_unfinished_records_wait_no_longer_than_a_few():
    lines = formats.read_lines(':::MLLOG {"time_ms": 1, "value": ' * 20_000 + "\n" + "x\n" * 10)
    assert (lines.records, lines.not_understood) == ((), 20_000)


@pytest.mark.parametrize("text", ['"' + '\\"' * 9, "'" + "\\'" * 9, '"a\\', "1." * 9, "'a", '"a"', "12.5%"])
def test_no_letter_of_a_damaged_record_begins_another_search(text):
    assert formats.TOKEN.match(text).end() == len(text)
    assert formats.read_lines(f':::MLLOG {{"a": 1%, {text * 1000}').not_understood == 1


def test_a_record_that_waits_is_not_tried_with_every_other_on_its_line(monkeypatch):
    tried, parse = [], formats.parse
    monkeypatch.setattr(formats, "parse", lambda piece, cut=False: tried.append(piece) or parse(piece, cut))
    whole = ':::MLLOG {"time_ms": 1, "key": "a", "value": 0} x '
    lines = formats.read_lines(':::MLLOG {"time_ms": 1, "value": ' * formats.OPEN + whole * 2000)
    assert (len(lines.records), lines.not_understood) == (2000, formats.OPEN)
    assert len(tried) <= 2000 + formats.OPEN * (formats.TRIES + 2)


def test_a_process_that_failed_is_not_outvoted():
    log = of(NAMED, BEGIN, epoch(150, 4, 0.8), DONE, line("MLLOG", 201, "run_stop", status="aborted"))
    assert log.status == "aborted"


def test_evaluations_are_in_the_order_of_epochs_whatever_the_clock_says():
    log = of(NAMED, BEGIN, epoch(1000, 4, 0.5), epoch(150, 8, 0.6), DONE)
    assert [one.top1 for one in log.evaluations] == [0.5, 0.6]


def test_what_is_no_fraction_of_one_is_left_out():
    log = of(NAMED, BEGIN, epoch(150, 4, 0.7), epoch(160, 8, 75.9), epoch(170, 12, "NaN"), epoch(180, None, 0.7), DONE)
    assert log.top1 == 0.7 and len(log.evaluations) == 1 and "3 evaluations" in log.notes[0]


@pytest.mark.parametrize(("value", "status"), [('{"success": true}', "success"), ('{"success": "true"}', "success"),
                                               ('{"success": false}', "not a success"), ("", "")])  # fmt: skip
def test_v05_says_success_in_several_ways(value, status):
    stop = ":::MLPv0.5.0 resnet 1541728484.695 (fit.py:49) run_stop" + (f": {value}" if value else "")
    start = ":::MLPv0.5.0 resnet 1541720386.717 (fit.py:49) run_start"
    log = of(start, epoch(1541728480, 62, 0.7522, "MLPv0.5.0"), stop)
    assert (log.status, log.round, log.benchmark, log.target, log.reached) == (status, "v0.5", "resnet", 0.749, True)


def test_another_benchmark_has_no_target():
    log = of(line("MLLOG", 1, "submission_benchmark", "ssd"), BEGIN, epoch(150, 4, 0.23), DONE)
    assert log.target is None and log.reached is None and command.reached(log) == "none: the benchmark is ssd"
    assert command.reached(of(BEGIN, epoch(150, 4, 0.8), DONE)) == "none: the log names no benchmark"


def test_a_time_that_is_none_has_no_date():
    log = of(NAMED, BEGIN.replace("100000", "1e300"), epoch(150, 4, 0.8), DONE)
    assert log.date == summary.NOT_LOGGED and of(NAMED, BEGIN, DONE).date == "1970-01-01"
    assert command.text(log, []).startswith("a\n")


def test_every_state_of_a_progress_bar_is_a_line_of_other_text():
    lines = formats.read_lines(f"  5%|#  |\r 10%|## |\r{DONE}\r\n\n 15%|###|")
    assert (len(lines.records), lines.other, lines.not_understood) == (1, 3, 0)


def test_two_possible_endings_leave_both_lines_unread():
    one, other = epoch(150, 4, 0.7), epoch(160, 8, 0.8)
    lines = formats.read_lines(f"{one[:40]}{other[:40]}\n{other[40:]}\n{one[40:]}\n{DONE}")
    assert [record.key for record in lines.records] == ["run_stop"] and lines.not_understood == 2


# ---- real logs ------------------------------------------------------------------------------------------------------

ROW = r"^\| `(\S+)` \| (v\d\.\d) \| `(.+?)` \| [0-9a-f]{8} \| (.+) \|$"
SOURCES = re.findall(ROW, (LOGS / "README.md").read_text("utf-8"), re.MULTILINE)  # file, round, path, what is cut


def test_the_real_logs_are_all_named_with_their_source():
    assert sorted(name for name, *_ in SOURCES) == sorted(path.name for path in LOGS.glob("*.txt"))
    rounds = {"v0.5", "v0.6", "v0.7", "v1.0", "v1.1", "v2.0", "v3.0", "v3.1", "v4.0"}
    assert {round_ for _, round_, *_ in SOURCES} == rounds
    assert sum(path.stat().st_size for path in LOGS.glob("*.txt")) < 150_000


@pytest.mark.parametrize(("name", "round_", "source", "cut"), SOURCES, ids=[name for name, *_ in SOURCES])
def test_a_real_log_says_what_the_table_says(known, name, round_, source, cut):
    folder, _, file = source.rpartition("/")
    run = next(one for one in known[0] if one.key == (round_, folder, file))
    log = summary.read(LOGS / name)
    assert round(log.top1, 6) == run.top1 and round(log.run_seconds, 3) == run.run_seconds
    assert log.evaluations[-1].epoch == run.last_epoch and log.not_understood == 0
    assert log.status == run.status or (round_ == "v0.5" and log.status == "success")
    assert log.global_batch == run.global_batch
    assert log.optimizer == ("" if "optimizer" in cut else run.optimizer)
    assert log.reached == (None if "header" in cut else run.reached)  # the header names the benchmark
    assert run in table.same(log, known[0])


def test_our_own_logs_read_as_the_strict_reader_reads_them():
    from reproduce import events

    for path in sorted(OURS.glob("*/result_1.txt")):
        strict, log = events.read_log(path), summary.read(path)
        assert (log.top1, log.global_batch, log.status) == (strict.top1, strict.global_batch, "success")
        assert log.run_seconds == pytest.approx(strict.run_seconds, abs=1e-6)
        assert [(e.epoch, e.top1) for e in log.evaluations] == [(a.epoch, a.top1) for a in strict.accuracies]
        assert log.target is None and log.dataset == "fashion_mnist"


# ---- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def public(tmp_path):
    path = tmp_path / "result_0.txt"
    path.write_text("\n".join((NAMED, BEGIN, epoch(150, 4, 0.61), epoch(199, 8, 0.7599), DONE)), encoding="utf-8")
    return path


def test_the_command_shows_what_it_can_read_and_says_why_not_the_rest(public, tmp_path, capsys):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "other.txt").write_text(NAMED)
    bad = [str(tmp_path / name) for name in ("empty.txt", "binary.txt", "other.txt", "none.txt", ".")]
    assert command.main([*bad, str(public)]) == 0
    out, err = capsys.readouterr()
    assert "75.990 %" in out and "75.9 % top-1: reached" in out and "global batch" in out and "not logged" in out
    assert len(err.splitlines()) == 5 and all(said.startswith("error: ") for said in err.splitlines())
    assert command.main(bad) == 2


def test_json_is_json_and_keeps_holes_as_null(public, capsys):
    assert command.main(["--json", str(public)]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert (said["top1"], said["run_seconds"], said["reached"], said["global_batch"]) == (0.7599, 100.0, True, None)


def test_ours_and_others_are_drawn_in_one_figure(public, tmp_path, capsys):
    mine = OURS / "headline_b800_w20" / "result_1.txt"
    assert command.main([str(public), str(mine), "--draw", str(tmp_path / "new" / "a.png")]) == 0
    assert (tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert command.name(summary.read(mine)).startswith("measured")
    assert command.name(summary.read(public)).startswith("public")
    assert command.main([str(public), "--draw", str(tmp_path / "a.doc")]) == 2
    assert "error: " in capsys.readouterr().err


def test_a_name_that_looks_like_a_formula_is_drawn_as_it_is(tmp_path, capsys):
    path = tmp_path / "odd.txt"
    named = line("MLLOG", 90, "submission_org", r"$\frac$ & \x07")
    path.write_text("\n".join([named, BEGIN, epoch(150, 4, 0.7), epoch(190, 8, 0.76), DONE]))
    assert command.main([str(path), "--draw", str(tmp_path / "odd.svg")]) == 0
    assert "wrote" in capsys.readouterr().out
