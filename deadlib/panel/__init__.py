"""The expert panel: who is shown which image, and what they said, whatever happens.

Nothing heavy is imported until a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deadlib.panel.panel import Answered, Panel, Progress, Serving
    from deadlib.panel.project import Project, create
    from deadlib.panel.settings import PanelSettings

_HOMES = {
    "Answered": "panel",
    "Panel": "panel",
    "PanelSettings": "settings",
    "Progress": "panel",
    "Project": "project",
    "Serving": "panel",
    "create": "project",
}

__all__ = ["Answered", "Panel", "PanelSettings", "Progress", "Project", "Serving", "create"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deadlib.panel' has no attribute {name!r}")
    return getattr(import_module(f"deadlib.panel.{_HOMES[name]}"), name)
