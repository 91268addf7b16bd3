"""A trial: whether people can learn to tell images apart (celldeath), and whether a model does.

Everybody sees images that they have never seen, then images with their label, then new images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from deadlib.annotation.concordance import units_of
from deadlib.annotation.confusion import Confusion, crossed
from deadlib.annotation.results import answers_of
from deadlib.annotation.words import Tile, percent, percent_interval
from deadlib.bootstrap import Estimate, Resampling
from deadlib.errors import PredictionError
from deadlib.evaluation.evidence import people_and_model
from deadlib.evaluation.humans import CHANCE, TRAINING, Gain, accuracy_of, against_humans, gain_of
from deadlib.evaluation.table import Predictions, read_predictions
from deadlib.pages import Remark, Section, fragment
from tfrecords_tools.annotations import UNSURE

MOST_ITEMS = 12
UNEVEN = 0.05
"""Where the commonest class is above chance by more, the words say what it is to name it always."""


@dataclass(frozen=True)
class Phase:
    """All answers before the labels were shown, or all after.

    accuracy: for other people and other images; by_subject: share right of each; confusion: truth
    in the rows; no_class: answers with unsure, which count as wrong.
    """

    training: str
    answers: int
    images: int
    no_class: int
    accuracy: Estimate
    by_subject: dict[str, float]
    confusion: Confusion

    @property
    def always_one(self) -> tuple[str, float]:
        """The class that most of the images are of, and how often it is right to say it always."""
        shares = self.confusion.counts.sum(axis=1) / self.confusion.total
        return self.confusion.answers[int(shares.argmax())], float(shares.max())

    @property
    def deviation(self) -> float | None:
        """Standard deviation between people."""
        values = list(self.by_subject.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def to_json(self) -> dict[str, Any]:
        return {
            "training": self.training,
            "answers": self.answers,
            "images": self.images,
            "without_a_class": self.no_class,
            "accuracy": self.accuracy.to_json(),
            "right_by_always_one_class": self.always_one[1],
            "by_subject": self.by_subject,
            "deviation_over_subjects": self.deviation,
            "confusion": self.confusion.to_json(),
        }


@dataclass(frozen=True)
class Hardness:
    """One image: how many answered it, and how many of them right."""

    image: str
    label: str
    answers: int
    right: int


@dataclass(frozen=True)
class Trial:
    """phases: those with answers, in order; items: the images that fewest got right first."""

    classes: tuple[str, ...]
    phases: list[Phase]
    gain: Gain | None
    items: list[Hardness]
    resampling: Resampling

    @property
    def by_chance(self) -> float:
        return 1 / len(self.classes)

    def to_json(self) -> dict[str, Any]:
        gain = self.gain
        return {
            "classes": list(self.classes),
            "right_by_chance": self.by_chance,
            "phases": [phase.to_json() for phase in self.phases],
            "training": gain
            and {
                "after_less_before": gain.difference.to_json(),
                "p_value": gain.p_value,
                "subjects_with_both": gain.subjects,
                "smallest_p_value": gain.smallest_p_value,
            },
            "items": [dict(vars(item)) for item in self.items],
        }


def answers_in_trial(log: pd.DataFrame) -> pd.DataFrame:
    """The answers of a trial: subject, training (before, after), image, answer (empty for unsure),
    label, right (0.0 or 1.0), group (of images that are alike). log: as `Panel.log` returns it."""
    given = answers_of(log)
    given = given[given["served"].isin(TRAINING)]
    return pd.DataFrame(
        {
            "subject": given["annotator"],
            "training": given["served"],
            "image": given["item"],
            "answer": given["response"].where(given["response"] != UNSURE, ""),
            "label": given["label"],
            "right": (given["response"] == given["label"]).astype(float),
            "group": given["item"].map(units_of(log)[1]),
        }
    ).reset_index(drop=True)


def trial_of(given: pd.DataFrame, classes: Sequence[str], resampling: Resampling) -> Trial:
    """What people could do. given: as `answers_in_trial` returns them."""
    phases = [
        _phase(name, given[given["training"] == name], classes, resampling)
        for name in TRAINING
        if (given["training"] == name).any()
    ]
    items = [
        Hardness(str(image), str(rows["label"].iloc[0]), len(rows), int(rows["right"].sum()))
        for image, rows in given.groupby("image")
    ]
    return Trial(
        classes=tuple(classes),
        phases=phases,
        gain=gain_of(given, resampling),
        items=sorted(items, key=lambda one: (one.right / one.answers, -one.answers, one.image)),
        resampling=resampling,
    )


def trial_section(found: Trial) -> Section:
    """People before and after, and what they take for what."""
    words = on_trial(found)
    several = [item for item in found.items if item.answers > 1]
    html = fragment(
        "deadlib.panel",
        "templates/results_trial.html",
        (),
        found=found,
        words=words,
        percent=percent,
        percent_interval=percent_interval,
        level=f"{100 * found.resampling.level:g}",
        people=sorted({who for phase in found.phases for who in phase.by_subject}),
        several=several,
        shown=several[:MOST_ITEMS],
        nobody=sum(item.right == 0 for item in several),
    )
    remarks = tuple(Remark(sentence) for sentence in words)
    return Section("trial", "Before and after", html, found.to_json(), remarks=remarks)


def model_section(given: pd.DataFrame, predictions: Path, resampling: Resampling) -> Section:
    """People and the model on the images that both have seen.

    Raises PredictionError where the table cannot be read, or has none of the images.
    """
    table = read_predictions(predictions)
    there = given["image"].isin(names_of(table))
    if not there.any():
        raise PredictionError(
            f"{predictions}: none of the images of the trial is among the labelled ones"
            f"{f' of split {table.split}' if table.split else ''}, such as "
            f"{given['image'].iloc[0]}; predict the images that people were shown"
        )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "answers.csv"
        given[there].to_csv(path, index=False, columns=["subject", "training", "image", "answer"])
        found = against_humans(table, path, resampling)
    section = people_and_model(
        found, percent=f"{100 * resampling.level:g}", unit=table.group_column or "image"
    )
    left_out = int((~there).sum())
    remarks = list(section.remarks)
    if left_out:
        remarks.append(
            Remark(
                f"The table has no answer of the model to the images of {left_out:,} of "
                f"{len(given):,} answers, so these do not stand in the comparison.",
                "warning",
            )
        )
    remarks += [Remark(text, "warning") for text in table.warnings if table.split == "train"]
    numbers = section.numbers | {"answers": str(predictions), "answers_left_out": left_out}
    return Section(
        section.key, section.title, section.html, numbers, section.drawings, tuple(remarks)
    )


def names_of(table: Predictions) -> set[str]:
    """What the images of a table are called."""
    columns = [name for name in ("example_id", "source_id") if name in table.frame]
    return {str(name) for column in columns for name in table.frame[column].dropna()}


def on_trial(found: Trial) -> list[str]:
    """What people could do, and whether the labels that they were shown helped."""
    if not found.phases:
        return ["Nobody has answered an image of the trial yet."]
    sentences = [_on_phase(phase, found) for phase in found.phases]
    gain = found.gain
    if gain is None or gain.difference.value is None:
        return [
            *sentences,
            "Nobody has answered both before and after yet, so nothing shows what the labels "
            "taught.",
        ]
    value = gain.difference.value
    both = "1 person" if gain.subjects == 1 else f"{gain.subjects} people"
    verdict = "they learnt" if value > 0 else "they did worse"
    sentences.append(
        f"After seeing the labelled images, the {both} who did both had "
        f"{abs(100 * value):.1f} of 100 {'more' if value >= 0 else 'fewer'} right "
        f"({'no p-value' if gain.p_value is None else f'p = {gain.p_value:.2g}'}): "
        + (
            f"{verdict}, by more than chance explains."
            if gain.proved
            else "no effect of the labels is proved."
        )
    )
    if gain.smallest_p_value > CHANCE:
        sentences.append(
            f"With so few people ({gain.subjects}) p cannot be below {gain.smallest_p_value:.2g}, "
            "whatever they answer: ask more."
        )
    return sentences


def tiles(found: Trial) -> list[Tile]:
    """People, how right they were, and what guessing gives."""
    people = len({who for phase in found.phases for who in phase.by_subject})
    level = f"{100 * found.resampling.level:g}\u00a0% interval"
    made = [Tile("people", str(people), f"guessing gets {100 * found.by_chance:.0f} of 100 right")]
    for phase in found.phases:
        told = phase.accuracy
        limits = percent_interval(told)
        note = f"{level} {limits}" if limits else (told.reason or "")
        made.append(Tile(f"right {phase.training} the labels were shown", percent(told), note))
    return made


def _phase(name: str, rows: pd.DataFrame, classes: Sequence[str], resampling: Resampling) -> Phase:
    said = rows["answer"].replace("", UNSURE)
    means = rows.groupby("subject")["right"].mean()
    answers = (*classes, UNSURE) if (said == UNSURE).any() else tuple(classes)
    return Phase(
        training=name,
        answers=len(rows),
        images=rows["image"].nunique(),
        no_class=int((said == UNSURE).sum()),
        accuracy=accuracy_of(rows, resampling),
        by_subject={str(who): float(mean) for who, mean in means.items()},
        confusion=Confusion("people", "truth", answers, crossed(rows["label"], said, answers)),
    )


def _on_phase(phase: Phase, found: Trial) -> str:
    told, people = phase.accuracy, len(phase.by_subject)
    who = "1 person was" if people == 1 else f"{people} people were"
    text = (
        f"{phase.training.capitalize()} the labels were shown, {who} right on "
        f"{percent(told)} of {phase.answers:,} answers"
    )
    if told.low is None or told.high is None:
        return f"{text} (no interval: {told.reason})."
    name, always = phase.always_one
    if told.low > max(found.by_chance, always):
        verdict = "better than guessing"
    elif told.high < found.by_chance:
        verdict = "worse than guessing"
    else:
        verdict = "which cannot be told from guessing"
    if always > found.by_chance + UNEVEN:
        verdict += f"; always to say {name} is right on {100 * always:.0f} of 100 of them"
    level = f"{100 * found.resampling.level:g}\u00a0% interval"
    return f"{text} ({level} {percent_interval(told)}), {verdict}."
