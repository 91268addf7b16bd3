"""From a prediction table to all the numbers of a report."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deadlib._version import __version__
from deadlib.annotation import Concordance, concordance_of
from deadlib.bootstrap import Resampling
from deadlib.errors import PredictionError
from deadlib.evaluation.comparison import Comparison, compare
from deadlib.evaluation.humans import Humans, against_humans
from deadlib.evaluation.levels import Tier, measure_levels
from deadlib.evaluation.measure import Level, measure
from deadlib.evaluation.parts import Part, measure_parts, sample_columns
from deadlib.evaluation.table import Predictions, read_predictions
from deadlib.evaluation.units import Units
from deadlib.evaluation.virtual import PER_CLASS, VirtualBatches, measure_virtual_batches
from deadlib.evaluation.wells import Wells, measure_wells
from tfrecords_tools.annotations import read_annotations

FEWEST_RESAMPLES = 100
LIBRARIES = ("numpy", "pandas", "scipy", "matplotlib")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Evaluation:
    """Everything that a report says, in numbers.

    by_group is None where no group has several examples of one class, or none has probabilities;
    virtual is None where it was
    not asked for, annotations and annotators where no log is given; by_column: column -> values;
    dataset: where pictures come from, None for the one that the table names; levels: experiments,
    plates, wells, where they are nested; comparison, humans: where another table of predictions, or
    people's answers, are given; wells: fields and wells by plate, where the table names wells.
    """

    predictions: Predictions
    resampling: Resampling
    by_example: Level
    by_group: Level | None
    virtual: VirtualBatches | None
    annotations: Path | None
    annotators: Concordance | None
    by_column: dict[str, list[Part]]
    dataset: Path | None = None
    levels: Sequence[Tier] = ()
    comparison: Comparison | None = None
    humans: Humans | None = None
    wells: Wells | None = None

    def to_json(self) -> dict[str, Any]:
        table = self.predictions
        return {
            "predictions": str(table.path),
            "split": table.split,
            "classes": list(table.classes),
            "positive_class": table.classes[1] if len(table.classes) == 2 else None,
            "n": self.by_example.units,
            "groups": self.by_example.groups,
            "group_column": table.group_column,
            "bn_at_test": table.bn_at_test,
            "model": table.model,
            "left_out": {"unlabelled": table.unlabelled, "other_splits": table.other_splits},
            "interval": {
                "level": self.resampling.level,
                "method": "bootstrap over groups; see the method of each figure",
                "resamples": self.resampling.resamples,
                "seed": self.resampling.seed,
            },
            "by_example": self.by_example.to_json(),
            "by_group": self.by_group.to_json() if self.by_group else None,
            "by_column": {
                name: [part.to_json() for part in parts] for name, parts in self.by_column.items()
            },
            "versions": versions(),
        }


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
    dataset: str | Path | None = None,
    levels: Sequence[str] = (),
    against: str | Path | None = None,
    humans: str | Path | None = None,
    ties: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    calls: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """The numbers of `evaluate`, without writing anything; the same arguments and errors."""
    if bootstrap < FEWEST_RESAMPLES:
        raise PredictionError(
            f"{bootstrap} resamples are too few for a 95 % interval; ask for at least "
            f"{FEWEST_RESAMPLES}, better 2000"
        )
    coarsest = levels[0] if levels else None
    table = read_predictions(
        Path(predictions), group_by=group_by or coarsest, split=split, columns=columns, calls=calls
    )
    resampling = Resampling(bootstrap, seed)
    units = Units(table.class_index, table.probabilities, table.group_index, table.calls_only)
    # before the bootstrap, which takes its time: this may refuse
    virtual = (
        measure_virtual_batches(
            units, table.classes, resampling, batches=virtual_batches, per_class=per_class
        )
        if virtual_batches is not None
        else None
    )
    annotators = None if annotations is None else _annotators(annotations, table, resampling)
    comparison = None if against is None else compare(table, Path(against), resampling)
    people = None if humans is None else against_humans(table, Path(humans), resampling)
    wells = measure_wells(table, ties, resampling)
    tiers = measure_levels(table, levels, resampling)
    averaged = units.by_group()
    sampled = sample_columns(table.frame)
    # calls cannot be averaged
    means = len(averaged) < len(units) and not table.calls_only
    kinds = [units, averaged] if means else [units]
    tick = ticker(progress, "bootstrap", bootstrap * (len(kinds) + len(sampled)))
    measured = [measure(kind, table.classes, resampling, tick) for kind in kinds]
    by_column = {}
    for name, values in sampled.items():
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
        dataset=None if dataset is None else Path(dataset),
        levels=tiers,
        comparison=comparison,
        humans=people,
        wells=wells,
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
