"""Classical classifiers on a feature table, judged as a network is: same splits, same table."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from deadlib import __version__
from deadlib.errors import InputError
from deadlib.features.cleaning import Cleaning, cleaned, standardised
from deadlib.features.splits import TAKEN, with_splits
from deadlib.features.table import CELLS, FeatureTable, check_name, open_features
from deadlib.outputs import written_whole
from deadlib.predictions import METADATA_KEY, SEEN_BY_SPLIT, as_names
from tfrecords_tools.card import data_card
from tfrecords_tools.dataset import Dataset
from tfrecords_tools.rules import parse_conditions
from tfrecords_tools.sources import natural_key
from tfrecords_tools.split import group_names
from tfrecords_tools.table import PROBABILITY

ModelName = Literal["random_forest", "logistic_regression", "adaboost"]
MODELS: tuple[ModelName, ...] = ("random_forest", "logistic_regression", "adaboost")
Scale = Literal["training", "plate"]
TRAINING: Scale = "training"
MOST_STEPS = 2000
"""Steps of logistic regression; scikit-learn's own 100 end before it has converged."""
LEARNT = ("train", "validation", "calibration")

Floats = NDArray[np.float64]
Warn = Callable[[str], None]


@dataclass(frozen=True)
class Classified:
    """What became of a table: the file, the classes, and what was done before."""

    path: Path
    classes: tuple[str, ...]
    training: int
    predicted: int
    cleaning: Cleaning


def classify(
    features: FeatureTable | str | Path,
    out: str | Path,
    *,
    model: ModelName = "random_forest",
    dataset: Dataset | None = None,
    split: str = "test",
    scale: Scale = TRAINING,
    controls: str | None = None,
    seed: int = 0,
    workers: int = 1,
    command: str | None = None,
    warn: Warn | None = None,
) -> Classified:
    """Fit a classifier to the training rows of a feature table and write a prediction table.

    dataset: whose splits and labels count, as a recipe sees it (`deadlib.data.view.open_viewed`);
    by default those that stand in the table. split: `train`, `validation`, `test` or `all`. scale:
    `training`, z-scores by the training rows; `plate`, by the rows of the same plate, whatever
    their split, as labels play no part in it. controls: `column OP value`, the rows of a plate by
    which it is brought to scale, by default all.

    Columns with a value that is not a number, constant ones and copies are left out first; the
    metadata names them. Settings of the classifiers are scikit-learn's own, but logistic regression
    may take more steps. Rows without a cell learn and are predicted as a mean cell.

    Columns of `out`: what is known of each row; `predicted`; `probability_<class>`, classes in the
    dataset's order; `embedding`, the features as the classifier saw them. Raises InputError where
    the table cannot be used: no splits, one class alone, labels that no training row has.
    """
    table = features if isinstance(features, FeatureTable) else open_features(features)
    out = Path(out)
    check_name(out)
    tell = warn or (lambda sentence: None)
    known = _known(table, dataset, tell)
    training = ((known["split"] == "train") & known["label"].notna()).to_numpy()
    wanted = known["split"].notna() if split == "all" else known["split"] == split
    chosen = wanted.to_numpy()
    _check_rows(table, known, chosen, split)
    classes = _classes(table, known, training, chosen, dataset)
    used = training | chosen
    empty = _without_cells(table)
    cleaning = cleaned(table.features, table.values[used], training[used], empty[used])
    if not cleaning.kept:
        raise InputError(
            f"{table.path}: no feature is left: {len(cleaning.unknown)} have values that are not "
            f"numbers, {len(cleaning.constant)} do not vary; look at the table"
        )
    places = [table.features.index(name) for name in cleaning.kept]
    values = table.values[:, places]
    scaled = _to_scale(table, values, known, training & ~empty, scale, controls)
    fitted = _fit(
        model, scaled[training], known["label"][training].to_numpy(str), seed, workers, tell
    )
    probabilities = _in_order(fitted, scaled[chosen], classes)
    splits = known["split"][chosen]
    seen = {name: int((splits == name).sum()) for name in LEARNT if (splits == name).any()}
    metadata = {
        "versions": {"deadlib": __version__, "scikit-learn": version("scikit-learn")},
        "command": {"convert": dataset.info.get("command") if dataset else None,
                    "measure": table.about.get("command"), "classify": command},
        "classes": list(classes),
        "features": {
            "table": str(table.path.resolve()), "rows": table.rows, "model": model, "seed": seed,
            "scale": scale, "controls": controls, "training_rows": int(training.sum()),
            "left_out": cleaning.to_json(),
        },
        "predicted_split": split,
        "seen_in_training": sum(seen.values()),
        SEEN_BY_SPLIT: seen,
        **_of_dataset(dataset),
    }  # fmt: skip
    _write(out, known[chosen], classes, probabilities, scaled[chosen], metadata)
    return Classified(out, classes, int(training.sum()), int(chosen.sum()), cleaning)


def _known(table: FeatureTable, dataset: Dataset | None, tell: Warn) -> pd.DataFrame:
    if dataset is not None:
        known, strangers = with_splits(table, dataset)
        if strangers:
            tell(
                f"{strangers} of {len(known)} rows of {table.path} are of no example of "
                f"{dataset.folder}, and are left out"
            )
        return known
    known = table.known
    missing = [name for name in TAKEN[:2] if name not in known or known[name].isna().all()]
    if missing:
        raise InputError(
            f"{table.path}: no column {' and '.join(missing)}: nothing says what to learn from; "
            "give the dataset or the recipe whose splits count, with --dataset or --recipe"
        )
    for name in TAKEN[:2]:
        known[name] = as_names(known[name])
    return known


def _check_rows(table: FeatureTable, known: pd.DataFrame, chosen: NDArray[Any], split: str) -> None:
    if not chosen.any():
        found = ", ".join(sorted(known["split"].dropna().unique())) or "none"
        raise InputError(f"{table.path}: no rows of split {split}; it has {found}")
    ids = known.loc[chosen, "example_id"] if "example_id" in known else pd.Series(dtype=object)
    if ids.duplicated().any():
        raise InputError(
            f"{table.path}: {ids[ids.duplicated()].iloc[0]} stands in it more than once "
            f"({int(ids.duplicated().sum())} rows are copies); each row needs a name of its own"
        )


def _classes(
    table: FeatureTable,
    known: pd.DataFrame,
    training: NDArray[Any],
    chosen: NDArray[Any],
    dataset: Dataset | None,
) -> tuple[str, ...]:
    """The classes of the training rows, in the dataset's order."""
    taught = set(known["label"][training])
    if len(taught) < 2:
        found = ", ".join(sorted(taught)) or "no class"
        raise InputError(
            f"{table.path}: the training rows are of {found}; expected at least two classes"
        )
    new = sorted(set(known["label"][chosen].dropna()) - taught)
    if new:
        raise InputError(
            f"{table.path}: no training row is labelled {', '.join(new)}, so nothing can learn it; "
            f"training rows are {', '.join(sorted(taught))}; leave these rows out, or split "
            "otherwise"
        )
    order = dataset.classes if dataset else sorted(taught, key=natural_key)
    return tuple(name for name in order if name in taught)


def _without_cells(table: FeatureTable) -> NDArray[np.bool_]:
    if CELLS not in table.frame:
        return np.zeros(len(table.frame), bool)
    return np.asarray(table.frame[CELLS].to_numpy(np.float64) == 0)


def _to_scale(
    table: FeatureTable,
    values: Floats,
    known: pd.DataFrame,
    training: NDArray[np.bool_],
    scale: Scale,
    controls: str | None,
) -> Floats:
    if scale == TRAINING:
        if controls is not None:
            raise InputError("--controls goes with --scale plate: by which wells of each plate")
        return standardised(values, training)
    if "plate" not in known or known["plate"].isna().any():
        raise InputError(f"{table.path}: not every row has a plate; use --scale training")
    by = [name for name in ("experiment", "plate") if name in known and known[name].notna().all()]
    reference = _meeting(table, known, controls)
    scaled = np.zeros_like(values)
    plates = group_names(known, by)
    for plate, rows in plates.groupby(plates).indices.items():
        here = np.zeros(len(known), bool)
        here[rows] = True
        if not (here & reference).any():
            raise InputError(
                f"{table.path}: plate {plate} has no row with {controls}; "
                "every plate needs some to be brought to scale by"
            )
        scaled[here] = standardised(values[here], reference[here])
    return scaled


def _meeting(table: FeatureTable, known: pd.DataFrame, controls: str | None) -> NDArray[np.bool_]:
    """(N,) the rows that meet the conditions; all without any."""
    if controls is None:
        return np.ones(len(known), bool)
    conditions = parse_conditions(controls, "--controls")
    for condition in conditions:
        if condition.column not in known:
            raise InputError(
                f"{table.path}: no column {condition.column}, asked for by --controls {controls}; "
                f"it has {', '.join(map(str, known.columns))}"
            )
    texts = {each.column: as_names(known[each.column]) for each in conditions}
    return np.array(
        [
            all(c.holds({name: column.iloc[row] for name, column in texts.items()})
                for c in conditions)
            for row in range(len(known))
        ]
    )  # fmt: skip


def _fit(
    model: ModelName, values: Floats, labels: NDArray[Any], seed: int, workers: int, tell: Warn
) -> Any:
    from sklearn.ensemble import AdaBoostClassifier, RandomForestClassifier
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if model == "random_forest":
        classifier: Any = RandomForestClassifier(random_state=seed, n_jobs=workers)
    elif model == "adaboost":
        classifier = AdaBoostClassifier(random_state=seed)
    elif model == "logistic_regression":
        classifier = LogisticRegression(random_state=seed, max_iter=MOST_STEPS)
    else:
        raise InputError(f"model {model}: expected one of {', '.join(MODELS)}")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            return classifier.fit(values, labels)
        except ConvergenceWarning:
            pass
    tell(f"{model} has not converged after {MOST_STEPS} steps; its answers are those of the last")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return classifier.fit(values, labels)


def _in_order(fitted: Any, values: Floats, classes: tuple[str, ...]) -> Floats:
    """(N, K) probabilities, classes in the order asked for."""
    found = fitted.predict_proba(values)
    known = list(fitted.classes_)
    return np.asarray(found[:, [known.index(name) for name in classes]], np.float64)


def _of_dataset(dataset: Dataset | None) -> dict[str, Any]:
    if dataset is None:
        return {}
    return {
        "card": data_card(dataset),
        "split": dataset.info["split"],
        "dataset": str(dataset.folder.resolve()),
        "fingerprint": dataset.fingerprint,
        "trained_on_fingerprint": dataset.fingerprint,
        "trained_on_split": dataset.info["split"],
        "trained_on_confounding": [],
    }


def _write(
    out: Path,
    known: pd.DataFrame,
    classes: tuple[str, ...],
    probabilities: Floats,
    embedding: Floats,
    metadata: dict[str, Any],
) -> None:
    frame = known.reset_index(drop=True)
    frame["predicted"] = np.array(classes, object)[probabilities.argmax(axis=1)]
    for place, name in enumerate(classes):
        frame[PROBABILITY + name] = probabilities[:, place]
    frame["embedding"] = list(embedding.astype(np.float32))
    table = pa.Table.from_pandas(frame, preserve_index=False)
    told = {METADATA_KEY: json.dumps(metadata).encode()}
    with written_whole(out) as partial:
        pq.write_table(table.replace_schema_metadata(told), partial)
