"""The cheating gap: the same recipe, on a split that lets images of one group stand on both sides.

What a random split reaches above the grouped one is no skill: the network knows the groups of its
test images from training. The published figures of a field are often such.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deadlib.bootstrap import Estimate, Resampling, limits, number
from deadlib.data.view import open_viewed
from deadlib.errors import PredictionError, RunError
from deadlib.inference import read_metadata
from deadlib.metrics import METRICS
from deadlib.pages import Remark, Section, fragment
from deadlib.pages.drawing import COLOURS, Drawing, figure_of
from deadlib.recipe import Recipe
from deadlib.runs import Run
from deadlib.study.answers import TEST_METRICS, read_answers
from deadlib.study.training import Task, work
from deadlib.training.stop import StoppedError
from tfrecords_tools.split import EXAMPLE, group_columns, unit_name
from tfrecords_tools.view import CALIBRATION

KEY = "cheating_gap"
ACCURACY = "accuracy"

Progress = Callable[[str, int, int], None]


def cheating_gap(
    run: Run | str | Path | None,
    predictions: str | Path,
    folder: str | Path,
    *,
    group_by: str | None = None,
    resampling: Resampling | None = None,
    progress: Progress | None = None,
) -> Section:
    """Train the recipe of a run again on a random split, and set the two tests side by side.

    run: None for the one that the table names. predictions: its answers on its own test split.
    folder: where the other training is kept; one that stands there already is taken, or gone on
    with. Both splits have equally many examples in each part. As the two tests are of other images,
    the interval of the gap is made of theirs (Zou & Donner 2008, MOVER).

    Raises PredictionError where the table is not of the run's own test split; RunError where the
    run's split is random already, or its dataset is another one now; and what training and
    prediction raise. After KeyboardInterrupt the same call goes on from a checkpoint.
    """
    run = run if isinstance(run, Run) else Run.open(run or _run_of(Path(predictions)))
    resampling = resampling or Resampling()
    task = Task("random split", random_recipe(run), Path(folder), calibrate=False)
    if not task.is_finished(overwrite=True):
        try:
            # that the split is random is what is wanted
            work(task, _told(progress), warn=lambda sentence: None)
        except StoppedError:
            # its words are for deadlib-train; here the same call goes on
            raise KeyboardInterrupt from None
    grouped = read_answers([Path(predictions)], group_by)
    random = read_answers([task.predictions], None)
    honest, cheating = grouped.measured(resampling), random.measured(resampling)
    gaps = {name: difference(cheating[name], honest[name]) for name in TEST_METRICS}
    unit = unit_name(run.dataset["split"]["by"])
    drawing = _drawn(honest[ACCURACY], cheating[ACCURACY], unit)
    return Section(
        key=KEY,
        title="The cheating gap",
        html=fragment(
            "deadlib.study",
            "gap.html",
            [drawing],
            honest=honest,
            cheating=cheating,
            gaps=gaps,
            titles={name: METRICS[name].title for name in TEST_METRICS},
            unit=unit,
            counts=_counts(run.dataset["split"]["counts"]),
            images=(len(grouped.class_index), len(random.class_index)),
        ),
        numbers={
            "grouped": _to_json(honest),
            "random": _to_json(cheating),
            "gap": _to_json(gaps),
            "by": run.dataset["split"]["by"],
            "run": str(task.run_folder),
        },
        drawings=(drawing,),
        remarks=(Remark(_sentence(honest[ACCURACY], cheating[ACCURACY], gaps[ACCURACY], unit)),),
    )


def random_recipe(run: Run) -> Recipe:
    """The recipe of a run with its examples dealt out at random, as many into each split."""
    if run.dataset["split"]["by"] == list(group_columns((EXAMPLE,), ())):
        raise RunError(
            f"{run.folder}: was trained on a random split already, so there is no gap to show; "
            "split by wells, plates or experiments, and train again"
        )
    dataset = open_viewed(run.recipe, run.dataset["path"])
    if dataset.fingerprint != run.dataset["fingerprint"]:
        raise RunError(
            f"{dataset.folder}: is another dataset now than the run {run.folder} was trained on; "
            "give the former one, or train again"
        )
    counts = dataset.manifest["split"].value_counts()
    apart, train = int(counts.get(CALIBRATION, 0)), int(counts.get("train", 0))
    parts = [train + apart, int(counts.get("validation", 0)), int(counts.get("test", 0))]
    section = run.recipe.split
    split = section.model_copy(
        update={
            "by": (EXAMPLE,),
            "hold_out": (),
            "folds": None,
            "fold": 0,
            "fractions": tuple(part / sum(parts) for part in parts),
            "calibration": apart / (train + apart),
        }
    )
    return run.recipe.model_copy(update={"split": split, "dataset": str(dataset.folder)})


def difference(larger: Estimate, smaller: Estimate) -> Estimate:
    """The difference of two independent figures, its interval recovered from theirs.

    Zou & Donner 2008, equation 3: each limit combines the distances of the two limits that would
    make the difference more extreme.
    """
    if larger.value is None or smaller.value is None:
        return Estimate(None, reason=larger.reason or smaller.reason)
    value = larger.value - smaller.value
    ends = (larger.low, larger.high, smaller.low, smaller.high)
    if any(end is None for end in ends):
        return Estimate(value, reason=larger.reason or smaller.reason)
    low, high, other_low, other_high = (float(end) for end in ends if end is not None)
    below = math.hypot(larger.value - low, other_high - smaller.value)
    above = math.hypot(high - larger.value, smaller.value - other_low)
    return Estimate(value, value - below, value + above, "mover")


def _run_of(predictions: Path) -> str:
    """The run that a table is of. Raises PredictionError."""
    metadata = read_metadata(predictions) if predictions.suffix == ".parquet" else {}
    if not metadata.get("run"):
        raise PredictionError(
            f"{predictions}: does not name the run that it is of, so nothing can be trained again; "
            "give a table that deadlib-predict wrote"
        )
    same = metadata.get("fingerprint") == metadata.get("trained_on_fingerprint")
    if not same or metadata.get("predicted_split") != "test":
        raise PredictionError(
            f"{predictions}: is not of the test split that the run {metadata['run']} left out of "
            "its training; give the table of deadlib-predict RUN DATASET --split test"
        )
    if metadata.get("snapshot") is not None:
        raise PredictionError(
            f"{predictions}: is of a snapshot (step {metadata['snapshot']}), and the gap "
            "compares the weights that runs keep; give the table of deadlib-predict RUN without "
            "--snapshot"
        )
    return str(metadata["run"])


def _told(progress: Progress | None) -> Callable[[float], None]:
    def share(done: float) -> None:
        if progress is not None:
            progress("random split, percent", round(100 * done), 100)

    return share


def _sentence(honest: Estimate, cheating: Estimate, gap: Estimate, unit: str) -> str:
    start = (
        f"On a random split the same recipe reaches an accuracy of {number(cheating)} instead of "
        f"{number(honest)}"
    )
    between = f" ({limits(gap)})" if limits(gap) else ""
    if gap.low is not None and gap.low > 0:
        return (
            f"{start}: the gap of {number(gap)}{between} would be cheating, as images of one "
            f"{unit} would stand in training and in test."
        )
    if gap.low is None:
        return f"{start}; how sure that is nothing tells ({gap.reason})."
    return f"{start}: no gap that stands out from chance ({number(gap)}{between})."


def _drawn(honest: Estimate, cheating: Estimate, unit: str) -> Drawing:
    rows = {f"split by {unit}": (honest, COLOURS[0]), "random split": (cheating, COLOURS[1])}
    with figure_of((5.2, 1.5)) as (figure, finish):
        axes = figure.add_subplot()
        for place, (estimate, colour) in enumerate(rows.values()):
            if estimate.low is not None and estimate.high is not None:
                ends = [estimate.low, estimate.high]
                axes.plot(ends, [place, place], color=colour, linewidth=2.2)
            if estimate.value is not None:
                axes.plot(estimate.value, place, "o", color=colour, markersize=6)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="x", color="#e4e4e4", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel("test accuracy, with its 95 % interval")
        words = ", ".join(f"{name} {number(estimate)}" for name, (estimate, _) in rows.items())
        return finish(KEY, f"Test accuracy: {words}")


def _counts(counts: dict[str, Any]) -> dict[str, int]:
    return {name: sum(by_class.values()) for name, by_class in counts.items()}


def _to_json(found: dict[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.to_json() for name, estimate in found.items()}
