"""Lets the tests here import `finished_run`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "shared"))
