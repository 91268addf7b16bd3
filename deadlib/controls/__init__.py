"""What could be told without looking at the cells: controls that show up shortcuts."""

from deadlib.controls.battery import Battery, Control, Examples, run_battery
from deadlib.controls.images import measure

__all__ = ["Battery", "Control", "Examples", "measure", "run_battery"]
