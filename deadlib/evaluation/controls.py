"""The section on shortcuts: what could be told without looking at the cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from deadlib.controls import Battery, Examples, measure, run_battery, words
from deadlib.controls.control import ALARM, FOLDS, Answer
from deadlib.evaluation.assess import Evaluation, Progress, ticker
from deadlib.evaluation.gallery import find_pictures
from deadlib.evaluation.table import Predictions
from deadlib.pages import Section, fragment
from deadlib.pages.drawing import COLOURS, GREY, Drawing, figure_of
from tfrecords_tools.errors import ToolsError

if TYPE_CHECKING:
    from tfrecords_tools import Dataset

KEY = "controls"
TITLE = "Shortcuts: what can be told without looking at the cells"


def controls(evaluation: Evaluation, progress: Progress | None = None) -> Section:
    """Run the battery on the rows under evaluation and say what it means.

    Needs nothing but the table; the controls on images need its dataset too, the one on the
    embedding its column. What could not be measured stands there with the reason.
    """
    table = evaluation.predictions
    if len(np.unique(table.class_index)) < 2:
        missing = "All these examples are of one class: there is nothing to tell."
        html = fragment("deadlib.evaluation", "controls.html", (), missing=missing)
        return Section(KEY, TITLE, html, {"missing": missing})
    if table.calls_only:
        missing = (
            "Probes are compared with the probabilities of the model, and this table has none."
        )
        html = fragment("deadlib.evaluation", "controls.html", (), missing=missing)
        return Section(KEY, TITLE, html, {"missing": missing})
    images, no_images = _images(table, evaluation.dataset, progress)
    examples = Examples(
        frame=table.frame,
        class_index=table.class_index,
        group_index=table.group_index,
        probabilities=table.probabilities,
        embedding=read_embedding(table),
        images=images,
        no_images=no_images,
    )
    told = len([1 for column in ("experiment", "plate") if column in table.frame])
    tick = ticker(progress, "controls", 7 + told)
    battery = run_battery(examples, evaluation.resampling, on_control=lambda: tick(1))
    return section_of(battery, len(table.frame), table.groups)


def section_of(battery: Battery, images: int, groups: int) -> Section:
    """The battery as a section of a report."""
    drawings = (draw(battery),)
    remarks = tuple(words.conclusions(battery))
    html = fragment(
        "deadlib.evaluation",
        "controls.html",
        drawings,
        missing="",
        battery=battery,
        remarks=remarks,
        words=words,
        images=images,
        groups=groups,
        folds=FOLDS,
        alarm=ALARM,
    )
    numbers = battery.to_json()
    for place, found in (("controls", battery.controls), ("probes", battery.probes)):
        for told, control in zip(numbers[place], found, strict=True):
            told["meaning"] = words.meaning(control, battery)
    numbers["model"]["meaning"] = words.meaning(battery.model, battery)
    return Section(KEY, TITLE, html, numbers, drawings, remarks)


def read_embedding(table: Predictions) -> NDArray[np.float32] | None:
    """The embedding (N, D) of the rows under evaluation; None where the table has none."""
    if table.path.suffix.lower() != ".parquet":
        return None
    names = pq.read_schema(table.path).names
    if "embedding" not in names:
        return None
    wanted = ["embedding", "label", *(["split"] if table.split is not None else [])]
    found = pq.read_table(table.path, columns=wanted).to_pandas()
    chosen = found["label"].notna()
    if table.split is not None:
        chosen &= found["split"].astype(str) == table.split
    rows = found.loc[chosen, "embedding"]
    if len(rows) != len(table.frame) or rows.isna().any() or rows.map(len).nunique() != 1:
        return None
    return np.stack(rows.to_list()).astype(np.float32)


def draw(battery: Battery) -> Drawing:
    """Each control: over all pairs and over pairs of one plate, with what chance gives."""
    every = [battery.model, *battery.controls, *battery.probes]
    shown = [
        (words.title(control), control.answer)
        for control in every
        if control.answer is not None and control.answer.all.value is not None
    ]
    with figure_of((6.4, 1.3 + 0.42 * len(shown))) as (figure, finish):
        axes = figure.subplots()
        axes.axvline(0.5, color=GREY, linewidth=1, linestyle=":")
        for place, (_, answer) in enumerate(shown):
            low, high = answer.chance[1:]
            axes.barh(place, high - low, 0.7, left=low, color="#e6e6e6", linewidth=0)
            for estimate, shift, colour, marker in (
                (answer.all, -0.14, COLOURS[0], "o"),
                (answer.same, 0.14, COLOURS[1], "s"),
            ):
                if estimate.value is None:
                    continue
                if estimate.low is not None and estimate.high is not None:
                    axes.plot(
                        [estimate.low, estimate.high], [place + shift] * 2, color=colour, lw=1.4
                    )
                axes.plot(estimate.value, place + shift, marker, color=colour, markersize=5)
        axes.plot([], [], "o", color=COLOURS[0], label="all pairs")
        axes.plot([], [], "s", color=COLOURS[1], label=_same_label(battery))
        axes.barh(0, 0, color="#e6e6e6", label="labels dealt by lot")
        axes.set_yticks(range(len(shown)), [title for title, _ in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set(xlabel="share of pairs ranked rightly (0.5: guessing)", xlim=(0, 1.01))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
        said = "; ".join(_said(*each) for each in shown)
        return finish("controls", f"Share of pairs ranked rightly. {said}.")


def _same_label(battery: Battery) -> str:
    batch = battery.batch or "plate"
    return f"pairs of one {batch}" + (" (probes: one class)" if battery.probes else "")


def _said(title: str, answer: Answer) -> str:
    same = "" if answer.same.value is None else f", within {answer.same.value:.2f}"
    return f"{title} {answer.all.value:.2f}{same}"


def _images(
    table: Predictions, dataset: Any, progress: Progress | None
) -> tuple[dict[str, NDArray[np.float64]], str]:
    """What the stored images of all rows show besides cells; or nothing, and why."""
    pictures = find_pictures(table, dataset)
    if pictures.dataset is None:
        return {}, str(pictures.missing)
    rows = table.frame["example_id"].astype(str).map(pictures.rows)
    if rows.isna().any():
        return {}, f"{int(rows.isna().sum())} of the images are not in {pictures.dataset.folder}"
    numbers = rows.to_numpy(int)
    tick = ticker(progress, "looking at images", len(numbers))
    try:
        read = _reader(pictures.dataset)
        return measure(lambda i: read(int(numbers[i])), len(numbers), tick), ""
    except ToolsError as error:
        return {}, f"the images cannot be read ({error})"


def _reader(dataset: Dataset) -> Callable[[int], NDArray[Any]]:
    """Reads the image of a manifest row, from whichever shard holds it."""
    from tfrecords_tools.random_access import SplitReader

    readers = [SplitReader(dataset, split) for split in dataset.splits]
    place = {
        int(row): (reader, number) for reader in readers for number, row in enumerate(reader.rows)
    }

    def read(row: int) -> NDArray[Any]:
        reader, number = place[row]
        return reader.read(number)

    return read
