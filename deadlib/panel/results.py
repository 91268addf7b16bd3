"""The results of a panel, or of a trial, as one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deadlib.annotation import Page, results_of, results_page
from deadlib.annotation.concordance import HEALTHY
from deadlib.annotation.sections import agreement, answers, pace
from deadlib.annotation.words import lead
from deadlib.bootstrap import Resampling
from deadlib.panel.model import as_annotator
from deadlib.panel.trial import answers_in_trial, model_section, tiles, trial_of, trial_section

if TYPE_CHECKING:
    import pandas as pd

    from deadlib.panel.panel import Panel
    from deadlib.panel.project import Project

SOURCE = "source_id"
TRIAL_TITLE = "Can people tell these images apart?"


def panel_page(
    panel: Panel,
    *,
    predictions: str | Path | None = None,
    resampling: Resampling | None = None,
) -> Page | None:
    """What the panel says so far; None where nobody has answered yet.

    predictions: a table of predictions of the same images, in which the model stands beside the
    people. Raises PredictionError where it cannot be read, or has none of the images.
    """
    project, resampling = panel.project, resampling or Resampling()
    settings = project.settings
    log = with_sources(panel.log(), project)
    responses = with_sources(panel.responses(), project)
    adjudications, classes = panel.adjudications(), tuple(settings.classes)
    found = results_of(
        log,
        responses=responses,
        adjudications=adjudications,
        classes=classes,
        healthy=next((name for name in classes if name.casefold() == HEALTHY), HEALTHY),
        # what a trial teaches on the way is no drift
        random_order=settings.order == "random" and settings.mode == "panel",
        resampling=resampling,
    )
    if found is None:
        return None
    if settings.mode == "panel":
        more = (
            (
                as_annotator(
                    Path(predictions), project.items, responses, adjudications, classes, resampling
                ),
            )
            if predictions
            else ()
        )
        return results_page(found, name=settings.title, more=more)
    given = answers_in_trial(log)
    trial = trial_of(given, classes, resampling)
    sections = [trial_section(trial)]
    if predictions:
        sections.append(model_section(given, Path(predictions), resampling))
    numbers = {"panel": settings.title, **{section.key: section.numbers for section in sections}}
    sections += [answers(found.concordance), agreement(found.concordance), pace(found)]
    return Page(
        stem="results",
        name=settings.title,
        title=TRIAL_TITLE,
        lead=f"{settings.title}: {lead(found.concordance)}",
        tiles=tiles(trial),
        sections=sections,
        numbers=numbers | found.to_json(),
    )


def with_sources(table: pd.DataFrame, project: Project) -> pd.DataFrame:
    """A log with the image that each item lies in: items of one image are alike."""
    if SOURCE in table:
        return table
    paths = project.items.set_index("item")["frame_paths"]
    sources = paths[[len(frames) > 0 for frames in paths]].map(lambda frames: str(frames[0][0]))
    return table.assign(**{SOURCE: table["item"].map(sources)})
