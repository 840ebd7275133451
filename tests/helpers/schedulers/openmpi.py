"""Real Open MPI on this machine: mpirun as root, with more ranks than processors."""

import os

from tests.helpers.needs import missing

PACKAGES = "openmpi-bin"
WHY_NOT = missing(["mpirun"], PACKAGES)
MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none"]
SETTINGS = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def environment() -> dict[str, str]:
    """In which mpirun works."""
    return os.environ | SETTINGS
