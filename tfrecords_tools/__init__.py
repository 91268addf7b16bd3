"""Image folders to sharded TFRecords with a manifest: discover, plan (audited), write, read.

The public names are loaded when they are first used: looking at images needs no TensorFlow, and
processes that only look at images do not wait for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tfrecords_tools.errors import (
    ClusterError,
    DatasetError,
    ImageError,
    LeakError,
    PlanError,
    SourceError,
    ToolsError,
    WriteError,
)

if TYPE_CHECKING:
    from tfrecords_tools.append import plan_addition
    from tfrecords_tools.cluster import DaskCluster
    from tfrecords_tools.conversion import convert
    from tfrecords_tools.dataset import Dataset, open_dataset
    from tfrecords_tools.plan import Plan, make_plan
    from tfrecords_tools.settings import ConversionSettings
    from tfrecords_tools.write import write_dataset

__all__ = [
    "ClusterError",
    "ConversionSettings",
    "DaskCluster",
    "Dataset",
    "DatasetError",
    "ImageError",
    "LeakError",
    "Plan",
    "PlanError",
    "SourceError",
    "ToolsError",
    "WriteError",
    "convert",
    "make_plan",
    "open_dataset",
    "plan_addition",
    "write_dataset",
]

_HOMES = {
    "ConversionSettings": "settings",
    "DaskCluster": "cluster",
    "Dataset": "dataset",
    "Plan": "plan",
    "convert": "conversion",
    "make_plan": "plan",
    "open_dataset": "dataset",
    "plan_addition": "append",
    "write_dataset": "write",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
