"""deadlib: are these cells dying, how, and how sure are we?

    >>> import deadlib
    >>> deadlib.simulate("phase", "images", seed=1)
    >>> deadlib.convert("images", "dataset")
    >>> run = deadlib.train(deadlib.load_recipe("recipe.yaml"), "run")
    >>> deadlib.calibrate_run(run)
    >>> deadlib.predict(run, "dataset", "predictions.parquet")
    >>> deadlib.evaluate("predictions.parquet", "report")
    >>> deadlib.explain(run, "dataset", "maps")
    >>> deadlib.heatmap(run, "lapse", "heatmaps")
    >>> deadlib.export(run, "served")

Names are imported when first used, so `import deadlib` does not start TensorFlow.
"""

from importlib import import_module
from typing import Any

from deadlib._version import __version__

_HOMES = {
    "ConversionSettings": "tfrecords_tools",
    "DeadlibError": "deadlib.errors",
    "Recipe": "deadlib.recipe",
    "Run": "deadlib.runs",
    "aggregate_file": "deadlib.aggregation",
    "calibrate_run": "deadlib.inference",
    "class_models": "deadlib.interpretation",
    "convert": "tfrecords_tools",
    "evaluate": "deadlib.evaluation",
    "explain": "deadlib.interpretation",
    "explain_frames": "deadlib.interpretation",
    "export": "deadlib.serving",
    "find_label_errors": "deadlib.evaluation.label_errors",
    "heatmap": "deadlib.heatmaps.heatmap",
    "load_recipe": "deadlib.recipe",
    "open_bundle": "deadlib.serving",
    "open_dataset": "tfrecords_tools",
    "parse_recipe": "deadlib.recipe",
    "predict": "deadlib.inference",
    "run_study": "deadlib.study",
    "simulate": "deadlib.simulation",
    "train": "deadlib.training",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deadlib' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
