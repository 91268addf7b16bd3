"""The evaluation of a run, as its model card tells it: read from a report of deadlib-evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deadlib.errors import ExportError
from deadlib.metrics import METRICS
from deadlib.runs import Run

REPORT = "report.json"
CONTROLS = "controls"
_TAKEN = ("split", "n", "groups", "group_column", "interval", "verdict", "remarks")


def find_report(run: Run) -> Path | None:
    """The report that lies in the run's folder, as deadlib-evaluate puts it beside the table; the
    newest of several."""
    found = list(run.folder.glob(f"*/{REPORT}"))
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def read_evaluation(report: Path, classes: list[str]) -> dict[str, Any]:
    """What a card takes from a report: report.json, or the folder that holds it.

    split, n, groups, interval, verdict and remarks as they stand there; metrics {name: title,
    value, low, high, reason}; recall {class: value, low, high}; controls: sentences, None where
    shortcuts were not looked for; model: of which model they are, None where it is not told. Raises
    ExportError where it is no report, or on other classes.
    """
    path = report / REPORT if report.is_dir() else report
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        found = {name: told[name] for name in _TAKEN}
        metrics, per_class = (told["by_example"][name] for name in ("metrics", "per_class"))
        of_classes = sorted(told["classes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(
            f"{path}: cannot be read as a report ({type(error).__name__}: {error}); give the "
            f"{REPORT} that deadlib-evaluate wrote, or its folder"
        ) from None
    if of_classes != sorted(classes):
        raise ExportError(
            f"{path}: is a report on the classes {', '.join(of_classes)}, but the run knows "
            f"{', '.join(sorted(classes))}; give the report of this run's predictions"
        )
    shortcuts = [remark["text"] for remark in found["remarks"] if remark["section"] == CONTROLS]
    return {
        "report": str(path.resolve()),
        "predictions": told.get("predictions"),
        "model": told.get("model"),
        **found,
        "metrics": {
            name: {"title": METRICS[name].title, "reason": None, **value}
            for name, value in metrics.items()
            if name in METRICS
        },
        "recall": {name: per_class[name].get("recall") for name in told["classes"]},
        "controls": shortcuts if CONTROLS in told else None,
    }
