"""The lock file holds versions for every Python that the project runs on, whichever Python it was made with."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_the_lock_can_be_installed(version, tmp_path):
    uv = Path(sys.executable).parent / "uv"
    options = ["--dry-run", "--require-hashes", "--target", tmp_path / "target", "--python-version", version]
    ended = subprocess.run(
        [uv, "pip", "install", *options, "-r", ROOT / "requirements.lock"], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
