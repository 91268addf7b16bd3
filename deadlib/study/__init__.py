"""A family of trainings, and one table of what came of it.

Nothing heavy is imported until a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deadlib.study.definition import Axis, Study, load_study, parse_study
    from deadlib.study.gap import cheating_gap
    from deadlib.study.run import StudyResult, run_study

_HOMES = {
    "Axis": "definition",
    "Study": "definition",
    "StudyResult": "run",
    "cheating_gap": "gap",
    "load_study": "definition",
    "parse_study": "definition",
    "run_study": "run",
}

__all__ = ["Axis", "Study", "StudyResult", "cheating_gap", "load_study", "parse_study", "run_study"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deadlib.study' has no attribute {name!r}")
    return getattr(import_module(f"deadlib.study.{_HOMES[name]}"), name)
