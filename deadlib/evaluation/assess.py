"""From a prediction table to all the numbers of a report."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deadlib._version import __version__
from deadlib.annotation import Concordance, concordance_of
from deadlib.bootstrap import Resampling
from deadlib.errors import PredictionError
from deadlib.evaluation.measure import Level, measure
from deadlib.evaluation.parts import Part, measure_parts, sample_columns
from deadlib.evaluation.table import Predictions, read_predictions
from deadlib.evaluation.units import Units
from deadlib.evaluation.virtual import PER_CLASS, VirtualBatches, measure_virtual_batches
from tfrecords_tools.annotations import read_annotations
from tfrecords_tools.audit import Confounding, confounding

SCHEMA_VERSION = 1
FEWEST_RESAMPLES = 100
LIBRARIES = ("numpy", "pandas", "scipy", "matplotlib")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Evaluation:
    """Everything that a report says, in numbers.

    by_group is None where no group has several examples of one class; virtual is None where it was
    not asked for, annotations and annotators where no log is given; by_column: column -> values.
    """

    predictions: Predictions
    resampling: Resampling
    by_example: Level
    by_group: Level | None
    virtual: VirtualBatches | None
    annotations: Path | None
    annotators: Concordance | None
    by_column: dict[str, list[Part]]
    confounding: list[Confounding]

    @property
    def alarms(self) -> list[str]:
        """What takes the meaning from every figure here."""
        metadata = self.predictions.metadata
        seen = metadata.get("seen_in_training") or 0
        found = [item.sentence for item in self.confounding]
        told = {
            "In the dataset": (metadata.get("card") or {}).get("confounding"),
            "In the dataset that the model was trained on": metadata.get("trained_on_confounding"),
        }
        for place, items in told.items():
            found += [f"{place}, {item['sentence']}" for item in items or []]
        if seen:
            found.append(
                f"{seen:,} of the predicted images also stand in the training or validation split "
                "that the model learnt from: its answers on them say nothing about new images."
            )
        return found

    def to_json(self) -> dict[str, Any]:
        table = self.predictions
        return {
            "schema_version": SCHEMA_VERSION,
            "predictions": str(table.path),
            "split": table.split,
            "classes": list(table.classes),
            "positive_class": table.classes[1] if len(table.classes) == 2 else None,
            "n": self.by_example.units,
            "groups": self.by_example.groups,
            "group_column": table.group_column,
            "bn_at_test": table.bn_at_test,
            "left_out": {"unlabelled": table.unlabelled, "other_splits": table.other_splits},
            "interval": {
                "level": self.resampling.level,
                "method": "BCa bootstrap over groups",
                "resamples": self.resampling.resamples,
                "seed": self.resampling.seed,
            },
            "alarms": self.alarms,
            "warnings": list(table.warnings),
            "confounding": [found.to_json() for found in self.confounding],
            "by_example": self.by_example.to_json(),
            "by_group": self.by_group.to_json() if self.by_group else None,
            "virtual_batches": self._virtual_to_json(),
            "annotators": self.annotators.to_json() if self.annotators else None,
            "by_column": {
                name: [part.to_json() for part in parts] for name, parts in self.by_column.items()
            },
            "versions": versions(),
        }

    def _virtual_to_json(self) -> dict[str, Any] | None:
        if self.virtual is None:
            return None
        return self.virtual.to_json(
            self.by_example.metrics["balanced_accuracy"],
            self.by_example.groups,
            self.predictions.group_column or "row",
        )


def assess(
    predictions: str | Path,
    *,
    group_by: str | None = None,
    split: str | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
    virtual_batches: int | None = None,
    per_class: int = PER_CLASS,
    annotations: str | Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """The numbers of `evaluate`, without writing anything; the same arguments and errors."""
    if bootstrap < FEWEST_RESAMPLES:
        raise PredictionError(
            f"{bootstrap} resamples are too few for a 95 % interval; ask for at least "
            f"{FEWEST_RESAMPLES}, better 2000"
        )
    table = read_predictions(Path(predictions), group_by=group_by, split=split)
    resampling = Resampling(bootstrap, seed)
    units = Units(table.class_index, table.probabilities, table.group_index)
    # before the bootstrap, which takes its time: this may refuse
    virtual = (
        measure_virtual_batches(
            units, table.classes, resampling, batches=virtual_batches, per_class=per_class
        )
        if virtual_batches is not None
        else None
    )
    annotators = None if annotations is None else _annotators(annotations, table, resampling)
    averaged = units.by_group()
    columns = sample_columns(table.frame)
    levels = [units, averaged] if len(averaged) < len(units) else [units]
    tick = ticker(progress, "bootstrap", bootstrap * (len(levels) + len(columns)))
    measured = [measure(level, table.classes, resampling, tick) for level in levels]
    by_column = {}
    for name, values in columns.items():
        by_column[name] = measure_parts(units, values, table.classes, resampling)
        tick(bootstrap)
    return Evaluation(
        predictions=table,
        resampling=resampling,
        by_example=measured[0],
        by_group=measured[1] if len(measured) > 1 else None,
        virtual=virtual,
        annotations=None if annotations is None else Path(annotations),
        annotators=annotators,
        by_column=by_column,
        confounding=_confounding(table, columns),
    )


def ticker(progress: Progress | None, stage: str, total: int) -> Callable[[int], None]:
    """A function that is told how much more is done."""
    done = 0

    def tick(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(stage, done, total)

    return tick


def versions() -> dict[str, str]:
    """What the figures were made with."""
    found = {"deadlib": __version__, "python": platform.python_version()}
    return found | {name: version(name) for name in LIBRARIES}


def _annotators(log: str | Path, table: Predictions, resampling: Resampling) -> Concordance:
    found = concordance_of(read_annotations(log), resampling=resampling)
    if not set(found.classes) <= set(table.classes):
        raise PredictionError(
            f"{log}: annotators answered {', '.join(found.classes)}, expected the classes of "
            f"{table.path}, {', '.join(table.classes)}: give the log that its labels were made from"
        )
    return found


def _confounding(table: Predictions, columns: Iterable[str]) -> list[Confounding]:
    """The audit of the dataset, made from the rows under evaluation where no data card tells.

    A test split of a few groups often has one class on each plate by chance; what counts is the
    whole dataset, whose card a table made by deadlib carries.
    """
    if table.metadata.get("card"):
        return []
    names = [name for joined in columns for name in joined.split(" = ") if name != "group"]
    examples = table.frame.assign(group=table.group_index)
    if "source_id" not in examples:
        examples["source_id"] = examples.index
    return confounding(examples, names)
