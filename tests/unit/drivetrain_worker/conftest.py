"""The authors' ``cog`` is put on the path by the worker; here it is put there for the tests."""

import sys
from pathlib import Path

_SRC = Path(__file__).parents[3] / "src"
sys.path[:0] = [str(_SRC / "drivetrain_worker" / "authoring"), str(_SRC)]
