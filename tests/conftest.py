"""Fixtures for all tests, and what the markers `serial` and `needs` mean."""

import signal

import pytest

from tests.helpers import turns
from tests.helpers.data import Loaders
from tests.helpers.needs import need

# A shell starts what runs in the background with SIGINT ignored, and all that the tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def opened(tmp_path):
    """A function that opens loaders and has them closed."""
    with Loaders(tmp_path) as loaders:
        yield loaders.open


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # that of pytest-xdist's processes
        turns.begin()
        config.add_cleanup(turns.end)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Whole files, as their tests share fixtures: those with real schedulers first, the serial ones last."""
    system, serial = ({item.path for item in items if item.get_closest_marker(name)} for name in ("system", "serial"))
    items.sort(key=lambda item: (item.path in serial, item.path not in system))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    with turns.turn(alone=item.get_closest_marker("serial") is not None):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    for mark in item.iter_markers("needs"):
        need(*mark.args)
