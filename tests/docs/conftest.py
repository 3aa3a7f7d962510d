import sys
from pathlib import Path

import pytest


@pytest.fixture
def drivetrain():
    """The installed command."""
    return Path(sys.executable).parent / "drivetrain"
