"""Fixtures for all tests, and what the markers `serial` and `needs` mean."""

import signal

import pytest

from tests.helpers import turns
from tests.helpers.needs import need

# Begun early, or all processes but one would wait for them at the end: files that take half a minute or more.
LONG = {
    "test_resume", "test_mutations", "test_gpu_update", "test_bench_step", "test_bench_comm", "test_groups_figure",
    "test_execution", "test_train", "test_bench_profile", "test_bench_startup", "test_hosts_training", "test_figure2",
    "test_row_features", "test_report_figures", "test_rehearsal", "test_fuzz", "test_kills", "test_watch_launchers",
    "test_preflight", "test_spawn", "test_page",
}  # fmt: skip

TURNS = turns.Turns()

# A shell starts what runs in the background with SIGINT ignored, and all that the tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def opened(tmp_path):
    """A function that opens loaders and has them closed."""
    from tests.helpers.data import Loaders  # here: the process that only deals out the tests need not import torch

    with Loaders(tmp_path) as loaders:
        yield loaders.open


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # that of pytest-xdist's processes
        turns.begin()
        config.add_cleanup(turns.end)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Whole files, as their tests share fixtures: the longest first, the serial ones last."""
    serial = {item.path for item in items if is_serial(item)}
    system = {item.path for item in items if item.get_closest_marker("system")}
    items.sort(key=lambda item: (item.path in serial, item.path not in system, item.path.stem not in LONG))


def is_serial(item) -> bool:
    return item.get_closest_marker("serial") is not None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    goes_on = nextitem is not None and nextitem.path == item.path and is_serial(item) and is_serial(nextitem)
    with TURNS.test(is_serial(item), goes_on):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    for mark in item.iter_markers("needs"):
        need(*mark.args)
