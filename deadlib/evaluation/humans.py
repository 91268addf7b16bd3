"""People and the model on the same images, before and after the people's training.

A table of answers: who (`subject`), when (`training`: before or after), on which `image`, and the
`answer`, a class. People differ, and so do images, so an interval counts both: the variance over
subjects plus that over groups of images, less that over their intersections, which both hold
(Cameron, Gelbach & Miller 2011). Tests exchange whole subjects, or whole groups of images.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from deadlib.bootstrap import (
    Estimate,
    Floats,
    Nested,
    Resampling,
    Statistic,
    Sums,
    binomial_interval,
    bootstrap,
    on_groups,
    t_interval,
)
from deadlib.errors import PredictionError
from deadlib.evaluation.permutation import sign_flips
from deadlib.evaluation.table import Predictions
from tfrecords_tools.table import ABSENT

COLUMNS = {
    "subject": "who answered",
    "training": "before or after the subject was shown labelled images",
    "image": "the example_id, or the file name, of an image in the table of predictions",
    "answer": "the class that the subject named",
}
TRAINING = ("before", "after")
CHANCE = 0.05


@dataclass(frozen=True)
class Trial:
    """All answers before, or all after the training.

    people, model: accuracy over the same answers; difference: people less model, with a p-value
    over subjects and one over groups of images; by_subject: accuracy of each, deviation their
    standard deviation.
    """

    training: str
    answers: int
    images: int
    groups: int
    people: Estimate
    model: Estimate
    difference: Estimate
    p_over_subjects: float | None
    p_over_groups: float | None
    by_subject: dict[str, float]

    @property
    def p_value(self) -> float | None:
        """The larger one: the difference should hold for other people and for other images."""
        found = [p for p in (self.p_over_subjects, self.p_over_groups) if p is not None]
        return max(found, default=None)

    @property
    def deviation(self) -> float | None:
        values = list(self.by_subject.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def to_json(self) -> dict[str, Any]:
        return {
            "training": self.training,
            "answers": self.answers,
            "images": self.images,
            "groups": self.groups,
            "people": self.people.to_json(),
            "model": self.model.to_json(),
            "people_less_model": self.difference.to_json(),
            "p_value": self.p_value,
            "p_value_over_subjects": self.p_over_subjects,
            "p_value_over_groups": self.p_over_groups,
            "by_subject": self.by_subject,
            "deviation_over_subjects": self.deviation,
        }


@dataclass(frozen=True)
class Gain:
    """Accuracy after less before, of the subjects who did both: tested over these subjects."""

    subjects: int
    difference: Estimate
    p_value: float | None
    smallest_p_value: float

    @property
    def proved(self) -> bool:
        """Whether it would hold for other people, by the p-value, and for other images too, by the
        interval: those after may be easier than those before."""
        low, high = self.difference.low, self.difference.high
        with_images = low is None or high is None or not low <= 0 <= high
        return self.p_value is not None and self.p_value <= CHANCE and with_images


@dataclass(frozen=True)
class Item:
    """One image: how many people answered, how many right, and whether the model is."""

    image: str
    label: str
    answers: int
    right: int
    model_right: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "image": self.image,
            "label": self.label,
            "answers": self.answers,
            "right": self.right,
            "model_right": self.model_right,
        }


@dataclass(frozen=True)
class Humans:
    """Man against machine. gain: accuracy after less before, None without both; items: by image,
    those that fewest people got right first; unanswered: answers left empty, which count as wrong.
    """

    path: Path
    subjects: tuple[str, ...]
    trials: list[Trial]
    gain: Estimate | None
    gain_p_value: float | None
    gain_proved: bool
    both_trials: int
    smallest_p_value: float
    items: list[Item]
    unanswered: int

    def to_json(self) -> dict[str, Any]:
        return {
            "answers": str(self.path),
            "subjects": list(self.subjects),
            "unanswered": self.unanswered,
            "trials": [trial.to_json() for trial in self.trials],
            "training": self.gain
            and {
                "after_less_before": self.gain.to_json(),
                "p_value": self.gain_p_value,
                "subjects_with_both": self.both_trials,
                "smallest_p_value": self.smallest_p_value,
            },
            "items": [item.to_json() for item in self.items],
        }


def against_humans(predictions: Predictions, answers: Path, resampling: Resampling) -> Humans:
    """People's answers beside the model's on the same images.

    Raises PredictionError where the answers cannot be read, or name images or classes that the
    table does not have.
    """
    frame = read_answers(answers, predictions)
    trials = [
        _trial(name, frame[frame["training"] == name], resampling)
        for name in TRAINING
        if (frame["training"] == name).any()
    ]
    gain = gain_of(frame, resampling)
    return Humans(
        path=answers,
        subjects=tuple(sorted(frame["subject"].unique())),
        trials=trials,
        gain=gain.difference if gain else None,
        gain_p_value=gain.p_value if gain else None,
        gain_proved=gain is not None and gain.proved,
        both_trials=gain.subjects if gain else 0,
        smallest_p_value=gain.smallest_p_value if gain else 1.0,
        items=_items(frame),
        unanswered=int((frame["answer"] == "").sum()),
    )


def read_answers(path: Path, predictions: Predictions) -> pd.DataFrame:
    """The answers with `right`, `model_right` (0.0 or 1.0), `group`, `example` and `label`."""
    if not path.is_file():
        raise PredictionError(f"{path}: no such file; give a CSV table of people's answers")
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=ABSENT)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError, OSError) as error:
        raise PredictionError(f"{path}: cannot be read as a table ({error})") from None
    for name, meaning in COLUMNS.items():
        if name not in frame:
            raise PredictionError(
                f"{path}: no column {name} ({meaning}){_nearest(name, list(frame.columns))}; found "
                f"{', '.join(map(str, frame.columns))}"
            )
    if frame.empty:
        raise PredictionError(f"{path}: the table has no rows")
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    for name in ("subject", "training", "image"):
        for row in frame.index[frame[name].isna()]:
            raise PredictionError(f"{path}, row {row}: {name} is empty; fill it in")
    frame["answer"] = frame["answer"].fillna("")
    _refuse_unknown(path, frame["training"], TRAINING, "before or after")
    answered = frame["answer"][frame["answer"] != ""]
    _refuse_unknown(path, answered, predictions.classes, "a class of the model, or nothing")
    frame["example"] = _examples(path, frame["image"], predictions)
    repeated = frame.duplicated(["subject", "training", "example"])
    for row in frame.index[repeated]:
        subject, training, image = frame.loc[row, ["subject", "training", "image"]]
        raise PredictionError(
            f"{path}, row {row}: {subject} answered {image} twice {training} the training; keep "
            "one of the answers"
        )
    place = frame["example"].to_numpy()
    labels = np.array(predictions.classes)[predictions.class_index[place]]
    right = predictions.predicted_index == predictions.class_index
    return frame.assign(
        label=labels,
        right=(frame["answer"].to_numpy() == labels).astype(float),
        model_right=right[place].astype(float),
        group=predictions.group_index[place],
    )


def _refuse_unknown(path: Path, values: pd.Series, known: Sequence[str], expected: str) -> None:
    for row, value in values[~values.isin(known)].items():
        raise PredictionError(
            f"{path}, row {row}: {values.name} {value!r}{_nearest(value, known)}; expected "
            f"{expected} ({', '.join(known)})"
        )


def _examples(path: Path, images: pd.Series, predictions: Predictions) -> NDArray[np.intp]:
    """The row of the table that each image is: by example_id, source_id, or its file name."""
    frame, places = predictions.frame, dict[str, set[int]]()
    for column in ("example_id", "source_id"):
        for place, name in enumerate(map(str, frame.get(column, ()))):
            stem = PurePosixPath(name).name
            for key in {name, stem, stem.rsplit(".", 1)[0]}:
                places.setdefault(key, set()).add(place)
    if not places:
        raise PredictionError(
            f"{predictions.path}: no column example_id or source_id, by which the images of {path} "
            "could be found: give the table that deadlib-predict wrote"
        )
    found: list[int] = []
    for row, image in images.items():
        stem = PurePosixPath(image).name
        keys = (image, stem, stem.rsplit(".", 1)[0])
        here = next((places[key] for key in keys if key in places), set[int]())
        if len(here) != 1:
            trouble = f"stands for {len(here)} labelled examples" if here else "is not among those"
            raise PredictionError(
                f"{path}, row {row}: image {image} {trouble} of {predictions.path}"
                f"{'' if here else _nearest(image, list(places))}; name each image by its "
                "example_id, and predict all that people were shown"
            )
        found.extend(here)
    return np.array(found, np.intp)


def accuracy_of(answers: pd.DataFrame, resampling: Resampling) -> Estimate:
    """Share right of answers to images, for other people and other images like these.

    answers: one row each with subject, group (of images that are alike) and right (0.0 or 1.0).
    """
    right = answers["right"].to_numpy(float)
    return two_way(_mean(right), _clusters(answers), resampling, is_rate=True)


def gain_of(answers: pd.DataFrame, resampling: Resampling) -> Gain | None:
    """What the training changed; None where nobody answered both before and after.

    answers: as `accuracy_of` takes them, with training (before or after).
    """
    phases = answers.groupby("subject")["training"].nunique()
    both = answers[answers["subject"].isin(phases.index[phases == len(TRAINING)])]
    if both.empty:
        return None
    subjects = both["subject"].nunique()
    flips = sign_flips(subjects, resampling)
    return Gain(
        subjects=subjects,
        difference=_gain(both, resampling),
        p_value=flips.p_value(_by_subject_gain(both)),
        smallest_p_value=flips.smallest,
    )


def _trial(name: str, frame: pd.DataFrame, resampling: Resampling) -> Trial:
    right, model = frame["right"].to_numpy(), frame["model_right"].to_numpy()
    clusters = _clusters(frame)
    subject, group = clusters[:2]
    means = frame.groupby("subject")["right"].mean()
    return Trial(
        training=name,
        answers=len(frame),
        images=frame["example"].nunique(),
        groups=len(group),
        people=accuracy_of(frame, resampling),
        # one answer of the model for each image, however many people answered it
        model=two_way(_mean(model), clusters[1:2], resampling, is_rate=True),
        difference=two_way(_mean(right - model), clusters, resampling),
        p_over_subjects=_flipped(right - model, subject, resampling),
        p_over_groups=_flipped(right - model, group, resampling),
        by_subject={str(who): float(mean) for who, mean in means.items()},
    )


def _gain(frame: pd.DataFrame, resampling: Resampling) -> Estimate:
    """Accuracy after less accuracy before, of the subjects who did both."""
    right, after = frame["right"].to_numpy(), (frame["training"] == "after").to_numpy()
    columns = np.column_stack([right * after, after, right * ~after, ~after]).astype(float)

    def finish(sums: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            return (sums[:, 0] / sums[:, 1] - sums[:, 2] / sums[:, 3])[:, None]

    return two_way(Sums(columns, finish), _clusters(frame), resampling)


def _by_subject_gain(frame: pd.DataFrame) -> Statistic:
    """The mean gain of the subjects; swaps (B, subjects) exchange before and after."""
    means = frame.pivot_table(index="subject", columns="training", values="right", aggfunc="mean")
    gain = (means["after"] - means["before"]).to_numpy(float)
    return lambda swaps: ((1 - 2 * swaps) @ gain / len(gain))[:, None]


def _flipped(gain: Floats, groups: Nested, resampling: Resampling) -> float | None:
    """The p-value of a mean difference, exchanging whole groups; None where there is one."""
    if len(groups) < 2:
        return None
    sums = np.bincount(groups.index, gain) / len(gain)
    flips = sign_flips(len(groups), resampling)
    return flips.p_value(lambda swaps: ((1 - 2 * swaps) @ sums)[:, None])


def _clusters(frame: pd.DataFrame) -> list[Nested]:
    """Subjects, groups of images, and their intersections."""
    subject, group = pd.factorize(frame["subject"])[0], pd.factorize(frame["group"])[0]
    cell = pd.factorize(pd.Series(zip(subject, group, strict=True)))[0]
    return [Nested(index.astype(np.intp)) for index in (subject, group, cell)]


def two_way(
    statistic: Statistic,
    clusters: Sequence[Nested],
    resampling: Resampling,
    *,
    is_rate: bool = False,
) -> Estimate:
    """A figure with an interval over two crossed kinds of groups and their intersections.

    clusters: the two kinds and the intersections, or one kind alone. With one group of a kind, the
    interval is over the other.
    """
    value = float(statistic(np.ones((1, len(clusters[0].index))))[0, 0])
    if not np.isfinite(value):
        return Estimate(None)
    drawn = [one for one in clusters[:2] if len(one) > 1]
    if not drawn:
        return Estimate(value, reason="one group only")
    effective = min(one.effective for one in drawn)
    if is_rate and value in (0, 1):
        hits = value * effective
        return Estimate(value, *binomial_interval(hits, effective, resampling.tail), "binomial")
    variances = [_variance(statistic, one, resampling) for one in drawn]
    both = _variance(statistic, clusters[2], resampling) if len(drawn) > 1 else 0.0
    variance = max(sum(variances) - both, *variances)
    if variance < 1e-24:
        return Estimate(value, reason="no change in any resample")
    deviation, freedom = float(np.sqrt(variance)), max(effective - 1, 1.0)
    if is_rate:
        return Estimate(value, *t_interval(value, deviation, freedom, resampling.tail), "t")
    step = -float(stdtrit(freedom, resampling.tail)) * deviation
    return Estimate(value, value - step, value + step, "t")


def _variance(statistic: Statistic, groups: Nested, resampling: Resampling) -> float:
    on, width = on_groups(statistic, groups.index, len(groups))
    found = bootstrap(on, groups, resampling, width=width)[:, 0]
    freedom = max(groups.effective - 1, 1.0)
    return float(np.nanvar(found) * (freedom + 1) / freedom)


def _mean(values: Floats) -> Statistic:
    columns = np.column_stack([values, np.ones(len(values))])
    return Sums(columns, lambda sums: (sums[:, 0] / sums[:, 1])[:, None])


def _items(frame: pd.DataFrame) -> list[Item]:
    found = [
        Item(
            image=str(rows["image"].iloc[0]),
            label=str(rows["label"].iloc[0]),
            answers=len(rows),
            right=int(rows["right"].sum()),
            model_right=bool(rows["model_right"].iloc[0]),
        )
        for _, rows in frame.groupby("example")
    ]
    return sorted(found, key=lambda item: (item.right / item.answers, -item.answers, item.image))


def _nearest(name: object, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""
