"""Lets the tests import `reproduce` from this checkout, wherever pytest is started; and a shared fixture."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


@pytest.fixture
def opened(tmp_path):
    """A function that opens loaders and has them closed."""
    from data_helpers import Loaders

    with Loaders(tmp_path) as loaders:
        yield loaders.open
