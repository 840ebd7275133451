"""A run end to end on small real files: its log, the public compliance checker, errors, progress."""

import io
import os
import subprocess
import sys

import pytest

from reproduce.engine.progress import Progress, Tick
from reproduce.engine.train import check_apart
from reproduce.errors import ConfigError
from reproduce.events import log_path, point, read_events, read_log
from tests.helpers import ROOT
from tests.helpers.data import NEEDS_DALI, make_config, make_folder
from tests.helpers.runs import TINY, train


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    done = train(folder, processes=2, optimizer__preset="fujitsu_mlperf06", optimizer__trust_coefficient=0.01,
                 optimizer__epsilon=1e-9)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done, log_path(folder, "small", 1)


def test_a_run_leaves_a_complete_log(finished):
    _, path = finished
    log = read_log(path)
    assert log.complete and log.seed == 1 and log.global_batch == 12
    assert [a.epoch for a in log.accuracies] == [1, 3]
    assert log.epoch_images == (24, 24, 24) and log.result["updates"] == 6 and log.images_per_second > 0
    assert log.environment["world_size"] == 2 and log.environment["precision"] == "fp32"
    assert 0 < sum(log.epoch_seconds) + log.eval_seconds < log.run_seconds


def test_every_validation_image_is_counted_once(finished):
    evaluations = [event for _, event in read_events(finished[1]) if event.key == "eval_accuracy"]
    assert [event.metadata["images"] for event in evaluations] == [11, 11]
    assert all(event.value == event.metadata["correct"] / 11 for event in evaluations)


def test_the_public_compliance_checker_accepts_the_log(finished):
    command = [sys.executable, "-m", "mlperf_logging.compliance_checker", "--usage", "training", "--ruleset", "4.0.0"]
    folder, name = finished[1].parent, finished[1].name
    done = subprocess.run([*command, name], capture_output=True, text=True, timeout=60, cwd=folder)
    assert "SUCCESS" in done.stdout + done.stderr, done.stdout + done.stderr
    assert done.returncode == 0


def test_our_mlperf_keys_are_the_packages(finished):
    """Every key but our own three is a constant of mlperf-logging, so that no tool is misled."""
    from mlperf_logging.mllog import constants

    known = {value for name, value in vars(constants).items() if name.isupper() and isinstance(value, str)}
    written = {event.key for _, event in read_events(finished[1])}
    assert written - known == {"reproduce_config", "reproduce_environment", "reproduce_result"}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_non_finite_loss_ends_the_run_with_its_update_and_rate(tmp_path, processes):
    done = train(tmp_path, processes, schedule__peak_lr=1e30)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    assert len(errors) == 1 and "loss is nan at update 1 of 6 (learning rate 5e+29)" in errors[0]
    assert "Traceback" not in done.stderr
    log = read_log(log_path(tmp_path, "small", 1))
    assert log.status == "aborted" and "loss is" in log.reason and log.top1 is None


def test_workers_that_do_not_divide_over_the_processes_are_refused(tmp_path):
    done = train(tmp_path, processes=2, batch__workers=3)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "batch.workers = 3 is not divisible by 2 processes" in done.stderr


@pytest.mark.parametrize("out", ["", "train/new"])
def test_results_do_not_go_among_the_images(tmp_path, out):
    (tmp_path / "train").mkdir()
    with pytest.raises(ConfigError, match="lies in --data"):
        check_apart(tmp_path / out, tmp_path)
    check_apart(tmp_path.parent / f"{tmp_path.name}-results", tmp_path)


def test_missing_data_is_one_line(tmp_path):
    done = train(tmp_path, data=tmp_path / "nowhere")
    assert done.returncode == 2 and "Traceback" not in done.stderr and "nowhere" in done.stderr
    assert read_log(log_path(tmp_path, "small", 1)).status == "aborted"


def test_synthetic_images_report_no_accuracy(tmp_path):
    done = train(tmp_path, data=tmp_path, data__dataset="synthetic")
    assert done.returncode == 0, done.stderr
    log = read_log(log_path(tmp_path, "small", 1))
    assert log.complete and log.accuracies == () and log.top1 is None and log.images_per_second > 0


def test_an_earlier_incomplete_log_is_kept(tmp_path):
    path = log_path(tmp_path, "small", 1)
    path.parent.mkdir(parents=True)
    path.write_text("half a log")
    assert train(tmp_path).returncode == 0
    assert path.with_suffix(".incomplete").read_text() == "half a log" and read_log(path).complete


def test_an_unwritable_output_is_one_line(tmp_path):
    (tmp_path / "logs").write_text("a file where a folder must be")
    done = train(tmp_path)
    assert done.returncode == 2 and "cannot write the log" in done.stderr and "Traceback" not in done.stderr


def test_progress_in_a_pipe_is_plain_lines():
    stream = io.StringIO()
    progress = Progress("run", stream)
    progress.PIPE_SECONDS = 0
    progress(point("eval_accuracy", 0.5, epoch_num=2))
    progress(Tick(3, 10, 20, 800, 1.5))
    line = stream.getvalue()
    assert line.endswith("\n") and "\r" not in line and "\033" not in line
    for part in ("epoch 3", "update 10/20", "images/s", "lr 1.5", "top-1 50.00 % after epoch 2", "ETA"):
        assert part in line


@NEEDS_DALI
def test_a_quick_run_imports_neither_torchvision_nor_the_compiler(tmp_path):
    """Each takes as long as torch itself, in every process of a run."""
    make_config(tmp_path, **TINY)
    given = [str(tmp_path / "small.toml"), "--data", str(make_folder(tmp_path / "images")), "--out", str(tmp_path)]
    code = "import sys; from reproduce.engine import train; train.main(sys.argv[1:]); print(*sys.modules)"
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, cwd=ROOT, env=env)
    assert read_log(log_path(tmp_path, "small", 1)).complete, done.stderr
    assert not {"torchvision", "torch._dynamo", "torch._inductor"} & set(done.stdout.split())
