"""Fixtures for all tests."""

import pytest

from tests.helpers.data import Loaders


@pytest.fixture
def opened(tmp_path):
    """A function that opens loaders and has them closed."""
    with Loaders(tmp_path) as loaders:
        yield loaders.open
