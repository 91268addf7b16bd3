"""May the maps be read? The sanity gate of a call of deadlib-explain: measured, drawn, written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup
from PIL import Image

from deadlib.inputs import ProgressCallback, RunInput, spread_over_labels
from deadlib.interpretation import background, folder, pictures, sanity
from deadlib.interpretation.answers import Answer
from deadlib.interpretation.ascent_pictures import Panel, page
from deadlib.interpretation.examples import as_seen
from deadlib.interpretation.heat import place, seen_window
from deadlib.interpretation.question import Question
from deadlib.interpretation.report import Section, figure, paragraph, table
from deadlib.outputs import write_errors, written_whole

BACKGROUND_IMAGES = 64
SHOWN_IMAGES = 3
SHOWN_PX = 160
CELL_PX = 190


class Trust:
    """Gathers what is said of the maps while they are made."""

    def __init__(self, given: RunInput, question: Question, chosen: pd.DataFrame) -> None:
        self._given, self._question = given, question
        rows = [int(row) for row in spread_over_labels(chosen, BACKGROUND_IMAGES, 0).index]
        self._cells = background.cells(given, rows)
        self._masks = dict(zip(rows, self._cells.masks, strict=True))
        tested = [int(row) for row in spread_over_labels(chosen, sanity.IMAGES, 0).index]
        self._tested: dict[int, Answer | None] = dict.fromkeys(tested)
        self._targets: list[str] = []
        self._shares: list[tuple[float, float]] = []

    def add(self, row: int, answer: Answer) -> None:
        """Take note of the answer about a row of the manifest."""
        if row in self._tested:
            self._tested[row] = answer
        if row not in self._masks:
            return
        section = self._given.run.recipe.input
        top, left, rows, columns = seen_window(answer.heat.shape, section)
        window = (slice(top, top + rows), slice(left, left + columns))
        self._targets.append(answer.line.target)
        self._shares.append(background.shares(answer.heat[window], self._masks[row][window]))

    def write(
        self, out: Path, *, gate: bool, seed: int, progress: ProgressCallback | None = None
    ) -> list[Section]:
        """Write sanity.json, and with `gate` sanity.png; the sections of the page."""
        found = background.by_class(self._targets, self._shares)
        told: dict[str, object] = {
            "background": {
                "cells_from": self._cells.origin,
                "classes": [each.to_json() for each in found],
            }
        }
        sections = [background_section(found, self._cells.origin)]
        if gate:
            cascade = self._cascade(out, seed, progress)
            told = {"weights": cascade.sanity.to_json(), **told}
            sections.insert(0, weights_section(cascade.sanity))
        with written_whole(out / folder.SANITY) as partial:
            partial.write_text(json.dumps(_plain(told), indent=1) + "\n", encoding="utf-8")
        return sections

    def _cascade(self, out: Path, seed: int, progress: ProgressCallback | None) -> sanity.Cascade:
        tested = {row: answer for row, answer in self._tested.items() if answer is not None}
        stored = [answer.image for answer in tested.values()]
        seen = as_seen(self._given, stored, np.array(list(tested)))
        classes = self._given.run.classes
        indices = [classes.index(answer.line.target) for answer in tested.values()]
        cascade = sanity.check(self._question, seen, indices, seed=seed, progress=progress)
        if cascade.stages:
            with write_errors(out):
                self._drawn(cascade, list(tested.values())).save(out / folder.SANITY_FIGURE)
        return cascade

    def _drawn(self, cascade: sanity.Cascade, answers: Sequence[Answer]) -> Image.Image:
        warm = [i for i, heat in enumerate(cascade.trained) if np.ptp(heat) > 0]
        warm = warm[:: -(-len(warm) // SHOWN_IMAGES)]
        maps = [cascade.trained, *cascade.stages]
        panels = []
        for i in warm:
            image = _small(answers[i].image, self._given.run.channels)
            line = [Panel(image, ("",))]
            for number, heat in enumerate(maps):
                said = "as trained"
                if number:
                    correlation, _ = sanity.similarity(cascade.trained[i], heat[i])
                    said = f"correlation {correlation:.2f}"
                line.append(Panel(self._laid(heat[i], answers[i], image), (said,)))
            panels.append(line)
        return page(
            ["The same image and class; the weights randomised from the head downwards."],
            ["image", "heat", *(stage.layer for stage in cascade.sanity.stages)],
            [answers[i].line.example_id for i in warm],
            panels,
            cell_px=CELL_PX,
        )

    def _laid(self, heat: np.ndarray, answer: Answer, image: Image.Image) -> Image.Image:
        section = self._given.run.recipe.input
        placed = place(heat, (answer.image.shape[0], answer.image.shape[1]), section)
        scaled = Image.fromarray(placed / max(float(placed.max()), 1e-12)).resize(image.size)
        return pictures.with_heat(image, np.clip(np.asarray(scaled), 0, 1))


def weights_section(found: sanity.Sanity) -> Section:
    """Adebayo's test."""
    body = paragraph(f"{found.sentence()[:1].upper()}{found.sentence()[1:]}.")
    if found.stages:
        rows = pd.DataFrame(
            [(each.layer, each.correlation, each.ssim) for each in found.stages],
            columns=["randomised from the head to", "rank correlation", "structural similarity"],
        )
        body += figure(folder.SANITY_FIGURE, "Maps while the weights are randomised, first draw.")
        body += table(rows)
    body += paragraph(
        "A map that stays the same when all that was learned is replaced by noise comes from the "
        "image, not from the network: an edge detector would give it too. 1: the same map; around "
        f"0: another one. The limit is {sanity.THRESHOLD:g} after all layers: there the two maps "
        "still share a quarter of the order of their places. Each value is the mean over "
        f"{found.images} images and {found.draws} draws; feature maps were weighted by each "
        "image's own gradient."
    )
    return Section("Do the maps depend on the network?", body)


def background_section(found: Sequence[background.Background], origin: str) -> Section:
    """The confounder of the paper: heat where nothing is."""
    how = {
        background.SIMULATOR: "Which pixels are cells is known: the simulator wrote it down.",
        background.TEXTURE: "Which pixels are cells is guessed from texture: background is "
        "smooth. Take the shares as rough.",
    }[origin]
    rows = pd.DataFrame(
        [
            (each.target, each.images, each.heat_share, each.area_share, each.ratio)
            for each in found
        ],
        columns=["heat for", "images", "heat on background", "area of background", "ratio"],
    )
    listed = Markup().join(paragraph(f"{each.sentence()}.") for each in found)
    return Section(
        "Does it look at cells or at empty places?",
        listed
        + (table(rows) if found else Markup())
        + paragraph(
            f"{how} Ratio 1: as even heat would lie; below: the network looks at cells. Maps are "
            "coarse, so some heat beside a cell is to be expected. Much heat on the background for "
            "one class alone means that the network may count empty places and not sick cells."
        ),
    )


def _small(image: np.ndarray, channels: Sequence[str]) -> Image.Image:
    colours = Image.fromarray(pictures.as_colours(image, channels))
    scale = SHOWN_PX / max(colours.size)
    wide, high = (max(1, round(side * scale)) for side in colours.size)
    return colours.resize((wide, high))


def _plain(tree: object) -> object:
    """The same with None for numbers that JSON does not know."""
    if isinstance(tree, dict):
        return {name: _plain(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_plain(value) for value in tree]
    return None if isinstance(tree, float) and not np.isfinite(tree) else tree
