"""The section on being unsure: honest probabilities, prediction sets, leaving images out.

Of a calibrated run the table tells what it says and, by its temperature, what it said before. Of
any other table the same is tried on the table itself: fitted on four fifths of the groups and
applied to the last fifth, each fifth in turn, so that no image tells what is said of its own group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deadlib.bootstrap import Estimate, Stack, Statistic, Sums, estimates
from deadlib.calibration import (
    cooled,
    fit_temperature,
    group_weights,
    least_probabilities,
    uncalibrated,
)
from deadlib.evaluation.assess import Evaluation
from deadlib.evaluation.parts import as_text
from deadlib.evaluation.table import Predictions
from deadlib.evaluation.uncertainty_figures import abstention, claims, distances, reliability
from deadlib.evaluation.units import Floats
from deadlib.metrics import (
    CALIBRATION_BINS,
    SMALLEST_PROBABILITY,
    bin_accuracy,
    calibration_error,
    confidence_bin,
    log_loss,
)
from deadlib.pages import Remark, Section, fragment

SETS, SHARE, TEMPERATURE = "prediction_set", "out_of_distribution", "softmax_temperature"
ALL = "all"
"""What a calibration on every image of a dataset calls its split."""
COVERAGE = 0.9
"""Tried on a table that is not calibrated."""
FOLDS = 5
FEWEST_GROUPS = 20
ANSWERED = np.linspace(1.0, 0.3, 29)
"""Shares of the images that are answered, the surest first."""
UNLIKE = 0.99
MOST_UNLIKE = 0.05
"""Beyond this share of unlike images the report warns: five times what is expected."""
FEWEST_IMAGES = 20
MOST_COLUMNS = 3
MOST_VALUES = 20

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Sureness:
    """What is said of N examples, before and after calibration.

    raw, own (N, K): probabilities; inside (N, K): the prediction sets; share (N,): which share of
    known examples is closer to the training examples, None where the table does not tell; coverage:
    promised, None where the table does not tell; temperatures: the least and the largest;
    tried: by this section, and not by the run.
    """

    raw: Floats
    own: Floats
    inside: Flags
    share: Floats | None
    coverage: float | None
    temperatures: tuple[float, float]
    tried: bool


@dataclass(frozen=True)
class Ratio:
    """A rate: of the examples in `among` (N,), how often `hit` (N,)."""

    hit: Flags
    among: Flags


def uncertainty(evaluation: Evaluation) -> Section | None:
    """None where the table is not calibrated and has too few groups to try it, or only calls."""
    table = evaluation.predictions
    if table.calls_only:
        return None
    found = told(table) if _is_calibrated(table.frame) else tried(table)
    if found is None:
        return None
    numbers = _measure(evaluation, found)
    columns = _by_column(evaluation, found)
    drawings = [
        reliability(numbers["estimates"], numbers["bins"], len(table.classes)),
        abstention(numbers["estimates"], ANSWERED),
        *(
            claims(f"claims_{place}", column, rows)
            for place, (column, rows) in enumerate(columns.items())
        ),
    ]
    if found.share is not None:
        drawings.append(distances(found.share))
    remarks = tuple(_remarks(table, found, numbers["estimates"]))
    html = fragment(
        "deadlib.evaluation",
        "uncertainty.html",
        drawings,
        found=found,
        rates=numbers["estimates"],
        classes=table.classes,
        columns=columns,
        claims=[f"claims_{place}" for place in range(len(columns))],
        percent=f"{100 * evaluation.resampling.level:g}",
        unlike=UNLIKE,
    )
    return Section(
        "uncertainty",
        "When it should say “unsure”",
        html,
        _to_json(found, numbers, columns),
        tuple(drawings),
        remarks,
    )


def told(table: Predictions) -> Sureness:
    """What a calibrated run says in its table."""
    frame = table.frame
    temperature = frame[TEMPERATURE].to_numpy(float)
    sets = frame[SETS]
    inside = [[name in found for name in table.classes] for found in sets]
    metadata = table.metadata
    return Sureness(
        raw=uncalibrated(table.probabilities, temperature),
        own=table.probabilities,
        inside=np.array(inside, bool),
        share=frame[SHARE].to_numpy(float),
        coverage=metadata.get("coverage"),
        temperatures=(float(temperature.min()), float(temperature.max())),
        tried=False,
    )


def tried(table: Predictions) -> Sureness | None:
    """What calibration would say, fitted on other groups of the same table."""
    y, p, group = table.class_index, table.probabilities, table.group_index
    if table.groups < FEWEST_GROUPS or table.group_column is None:
        return None
    fold = np.random.default_rng(0).permutation(table.groups)[group] % FOLDS
    logits = np.log(np.maximum(p, SMALLEST_PROBABILITY))
    own, inside, temperatures = np.empty_like(p), np.empty(p.shape, bool), []
    for number in range(FOLDS):
        here, there = fold == number, fold != number
        temperatures.append(fit_temperature(logits[there], y[there], group_weights(group[there])))
        fitted = cooled(p, temperatures[-1])
        least = least_probabilities(fitted[there], y[there], group[there], COVERAGE)
        own[here], inside[here] = fitted[here], fitted[here] >= least
    return Sureness(
        raw=p,
        own=own,
        inside=inside,
        share=None,
        coverage=COVERAGE,
        temperatures=(min(temperatures), max(temperatures)),
        tried=True,
    )


def _is_calibrated(frame: pd.DataFrame) -> bool:
    """A table that went through CSV has sets as text, and is not told from any other."""
    there = all(name in frame and frame[name].notna().all() for name in (SETS, SHARE, TEMPERATURE))
    return there and not isinstance(frame[SETS].iloc[0], str)


def _measure(evaluation: Evaluation, found: Sureness) -> dict[str, Any]:
    """Every figure with its interval over groups, by name, and the bins of both diagrams."""
    table = evaluation.predictions
    y, group = table.class_index, table.group_index
    both = {"before": found.raw, "after": found.own}
    rates = _rates(table, found) | _answered(found.own, y)
    bin_index = {name: confidence_bin(p) for name, p in both.items()}
    in_bins = {name: bin_accuracy(y, p) for name, p in both.items()}
    statistic = Stack(
        [
            _ratios(list(rates.values())),
            *(calibration_error(y, p) for p in both.values()),
            *(log_loss(y, p) for p in both.values()),
            *in_bins.values(),
        ]
    )
    behind = [len(np.unique(group[rate.among])) for rate in rates.values()] + [0] * 4
    for index in bin_index.values():
        behind += [len(np.unique(group[index == b])) for b in range(CALIBRATION_BINS)]
    each = iter(estimates(statistic, group, np.array(behind, np.intp), evaluation.resampling))
    named = {name: next(each) for name in rates}
    for metric in ("calibration_error", "log_loss"):
        named |= {f"{metric}_{name}": next(each) for name in both}
    bins = {name: [(b, next(each)) for b in range(CALIBRATION_BINS)] for name in bin_index}
    return {
        "estimates": named,
        "bins": {
            name: [
                _bar(both[name][bin_index[name] == b], b, accuracy)
                for b, accuracy in bins[name]
                if (bin_index[name] == b).any()
            ]
            for name in both
        },
    }


def _ratios(rates: Sequence[Ratio]) -> Statistic:
    """Each rate, of any weights; NaN where nothing is among those counted."""
    hits = np.stack([rate.hit & rate.among for rate in rates], axis=1)
    among = np.stack([rate.among for rate in rates], axis=1)
    size = len(rates)
    return Sums(
        np.hstack([hits, among]).astype(float), lambda s: _divided(s[:, :size], s[:, size:])
    )


def _answered(own: Floats, class_index: NDArray[np.intp]) -> dict[str, Ratio]:
    """How often the surest are right: a threshold for each share of `ANSWERED`."""
    confidence, right = own.max(axis=1), own.argmax(axis=1) == class_index
    least = np.quantile(confidence, 1 - ANSWERED, method="lower")
    return {
        f"answered_{share:.3f}": Ratio(right, confidence >= threshold)
        for share, threshold in zip(ANSWERED, least, strict=True)
    }


def _rates(table: Predictions, found: Sureness) -> dict[str, Ratio]:
    """What is counted, by name."""
    y, rows = table.class_index, np.arange(len(table.class_index))
    every = np.ones(len(y), bool)
    covered = found.inside[rows, y]
    size = found.inside.sum(axis=1)
    right = found.own.argmax(axis=1) == y
    rates = {"coverage": Ratio(covered, every)}
    for k, name in enumerate(table.classes):
        if (y == k).any():
            rates[f"coverage of {name}"] = Ratio(covered, y == k)
            rates[f"sure of {name}"] = Ratio(size == 1, y == k)
    rates["sure"] = Ratio(size == 1, every)
    rates["none"] = Ratio(size == 0, every)
    rates["several"] = Ratio(size > 1, every)
    rates["right where sure"] = Ratio(covered, size == 1)
    rates["right where unsure"] = Ratio(right, size != 1)
    if found.share is not None:
        unlike = found.share > UNLIKE
        rates["unlike"] = Ratio(unlike, every)
        rates["right where unlike"] = Ratio(right, unlike)
        rates["right where like"] = Ratio(right, ~unlike)
    return rates


def _by_column(evaluation: Evaluation, found: Sureness) -> dict[str, list[dict[str, Any]]]:
    """Of each value of a few columns: what it claims and what is right, coverage, unlike images."""
    table = evaluation.predictions
    rows: dict[str, list[dict[str, Any]]] = {}
    for column, parts in evaluation.by_column.items():
        name = column.split(" = ")[0]
        large = [part for part in parts if part.units >= FEWEST_IMAGES]
        if name in table.frame and 2 <= len(large) <= MOST_VALUES and len(rows) < MOST_COLUMNS:
            values = table.frame[name].map(as_text)
            told = [
                _of_value(evaluation, found, values == part.value, part.value) for part in large
            ]
            if all(row is not None for row in told):
                rows[column] = [row for row in told if row is not None]
    return rows


def _of_value(
    evaluation: Evaluation, found: Sureness, chosen: pd.Series, value: str
) -> dict[str, Any] | None:
    at = np.flatnonzero(chosen.to_numpy())
    if not len(at):
        return None
    table = evaluation.predictions
    y, own = table.class_index[at], found.own[at]
    groups = np.unique(table.group_index[at], return_inverse=True)[1]
    every = np.ones(len(at), bool)
    statistic = _ratios([Ratio(own.argmax(axis=1) == y, every), Ratio(found.inside[at, y], every)])
    behind = np.full(2, len(np.unique(groups)), np.intp)
    accuracy, coverage = estimates(statistic, groups, behind, evaluation.resampling)
    return {
        "value": value,
        "n": len(at),
        "groups": int(behind[0]),
        "claimed_before": float(found.raw[at].max(axis=1).mean()),
        "claimed": float(own.max(axis=1).mean()),
        "right": accuracy,
        "coverage": coverage,
        "unlike": None if found.share is None else float((found.share[at] > UNLIKE).mean()),
    }


def _remarks(table: Predictions, found: Sureness, rates: dict[str, Estimate]) -> list[Remark]:
    """What is to be said at the top of the report."""
    remarks = []
    before, after = rates["calibration_error_before"].value, rates["calibration_error_after"].value
    if found.tried and before is not None and after is not None and before > after + 0.01:
        remarks.append(
            Remark(
                f"The probabilities are off by {100 * before:.1f} points on average; "
                f"deadlib-calibrate would bring that to about {100 * after:.1f}.",
            )
        )
    if _fitted_here(table):
        remarks.append(
            Remark(
                "The run was calibrated on these very images, so what is said here of its "
                "probabilities and prediction sets is too good: calibrate on other ones.",
                "warning",
            )
        )
    promised = found.coverage
    for name in table.classes:
        rate = rates.get(f"coverage of {name}")
        if found.tried or promised is None or rate is None or rate.high is None:
            continue
        if rate.high < promised and rate.value is not None:
            remarks.append(
                Remark(
                    f"The prediction sets hold the true class of only {100 * rate.value:.0f} of "
                    f"100 images of {name}, where {100 * promised:g} are promised: these images "
                    "differ from those that the run was calibrated on, or those were of too few "
                    "groups.",
                    "warning",
                )
            )
    unlike = rates.get("unlike")
    if unlike and unlike.value is not None and unlike.value > MOST_UNLIKE:
        remarks.append(
            Remark(
                f"{100 * unlike.value:.0f} of 100 images are less like the training images than "
                f"{100 * UNLIKE:g} of 100 known ones: the model has little experience to go by "
                "there.",
                "warning",
            )
        )
    return remarks


def _fitted_here(table: Predictions) -> bool:
    """Whether the run was calibrated on the images under evaluation."""
    fitted = table.metadata.get("calibration") or {}
    same = fitted.get("fingerprint") == table.metadata.get("fingerprint")
    return bool(fitted) and same and fitted.get("split") in (ALL, table.split)


def _to_json(
    found: Sureness, numbers: dict[str, Any], columns: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    return {
        "calibrated": not found.tried,
        "temperature": {"least": found.temperatures[0], "largest": found.temperatures[1]},
        "coverage_promised": found.coverage,
        **{
            name: estimate.to_json()
            for name, estimate in numbers["estimates"].items()
            if not name.startswith("answered_")
        },
        "abstention": [
            {"answered": round(share, 3), **numbers["estimates"][f"answered_{share:.3f}"].to_json()}
            for share in ANSWERED
        ],
        "bins": {
            name: [bar | {"accuracy": bar["accuracy"].to_json()} for bar in bars]
            for name, bars in numbers["bins"].items()
        },
        "by_column": {
            column: [
                row | {name: row[name].to_json() for name in ("right", "coverage")} for row in rows
            ]
            for column, rows in columns.items()
        },
    }


def _bar(chosen: Floats, index: int, accuracy: Estimate) -> dict[str, Any]:
    return {
        "low": index / CALIBRATION_BINS,
        "high": (index + 1) / CALIBRATION_BINS,
        "n": len(chosen),
        "confidence": float(chosen.max(axis=1).mean()),
        "accuracy": accuracy,
    }


def _divided(numerator: Floats, denominator: Floats) -> Floats:
    found = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=found, where=denominator > 0)
