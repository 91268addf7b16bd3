"""A run applied to a dataset or to new images: one prediction table, one row per example.

The table is written in row groups while the network works, so memory does not grow with the
number of images, under a temporary name that becomes the asked one at the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deadlib.acquisition import AS_TOLD_BY_FILES, Acquisition
from deadlib.calibration import Calibration, softmax
from deadlib.errors import InputError, PredictionError, RunError
from deadlib.inputs import (
    ALL,
    AUTO,
    REFUSE,
    ProgressCallback,
    RunInput,
    Warn,
    open_input,
    python_warning,
)
from deadlib.outputs import written_whole
from deadlib.predictions import METADATA_KEY, SEEN_BY_SPLIT
from deadlib.runs import DATASET, RECIPE, SNAPSHOTS, Run
from deadlib.views import check_views, dihedral_views, mean_logits
from tfrecords_tools.errors import DatasetError, ToolsError
from tfrecords_tools.table import PROBABILITY

ROWS_PER_GROUP = 4096
IMAGES, CROPS = "images", "crops"
"""What a row of the table can be of."""
LEARNT = ("train", "validation", "calibration")
"""The splits that a run was fitted to, chosen by or calibrated on."""
CALIBRATED = [
    ("prediction_set", pa.list_(pa.string())),
    ("out_of_distribution", pa.float64()),
    ("softmax_temperature", pa.float64()),
]
"""The columns that a calibrated run adds."""


class Answers(NamedTuple):
    """What the network says of a batch of examples."""

    rows: np.ndarray
    """(B,) int: row numbers in the manifest."""
    logits: np.ndarray
    """(B, K) floats."""
    embedding: np.ndarray
    """(B, D) float32."""
    crop: np.ndarray
    """(B,) int: which of five crops was seen, from 1; 0 for whole examples."""


def predict(
    run: Run | str | Path,
    source: str | Path,
    out: str | Path,
    *,
    split: str = AUTO,
    batch: int = 64,
    views: int = 1,
    rows_of: str = IMAGES,
    on_bad_image: str = REFUSE,
    acquisition: Acquisition = AS_TOLD_BY_FILES,
    command: str | None = None,
    progress: ProgressCallback | None = None,
    warn: Warn | None = None,
) -> Path:
    """Apply a run to a dataset or a folder of images and write the prediction table `out`.

    A folder of images is first converted, as the run's own dataset was, into `<out>-dataset/`.
    split: `train`, `validation`, `test`, `all`, or `auto`: `test` of the dataset that the run was
    trained on, everything of any other. Rows stand in the order of the records; for a run with
    model.bn_at_test: batch, of which `warn` tells, in a mixed order, drawn by the recipe's seed,
    and `batch` is that of its training.
    views: 1; 4 for the mean answer of the network to the image and its mirror images; 8 for that to
    its quarter turns as well, for square inputs. Probabilities are averaged, not logits, so that no
    view counts for more because the network is surer there; so is the embedding.
    rows_of: `images`; `crops`, for a run with input.crops: 5, gives one row for each crop, numbered
    from 1 in the column `crop`: corners (top left, top right, bottom left, bottom right), centre.
    on_bad_image: `refuse`, or `skip` images of a folder that cannot be used. acquisition: what the
    files do not say of themselves, and whether to resample them to the pixel size of the training.

    Columns: those of the manifest; `predicted`; `probability_<class>`, float64, one per class in
    the order of the network's outputs; `embedding`, a list of float32. Of a calibrated run the
    probabilities are calibrated, and before the embedding stand `prediction_set`, a list of class
    names, `out_of_distribution`, float64 in 0..1, and `softmax_temperature`, with which
    `deadlib.calibration.uncalibrated` gives the network's own probabilities back.

    The Parquet metadata `deadlib` holds JSON on how the table came about (`read_metadata`). Its
    `seen_in_training` is the number of rows whose image also stands in the training, validation
    or calibration split of the run, or of one whose network it started from; null where none is
    found, but such a dataset is gone; `seen_in_training_by_split` has their number in each split of
    the table. Where there are any, `warn` (by default a UserWarning) says
    so, as it does of images that were skipped and of labels that the run does not know.

    Raises InputError where images do not fit the run, `out` does not end in .parquet, the run
    was calibrated for another number of views or sees one crop of an image where its crops are
    asked for; RunError on a run that is damaged or whose answers are not finite, DatasetError on a
    dataset that is.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    out = Path(out)
    _check_name(out)
    converted = out.with_name(f"{out.stem}-dataset")
    check_views(views, run.recipe.input.size_px)
    _check_calibrated_for(run, views)
    crops = _crops(run, rows_of)
    given = open_input(
        run,
        source,
        converted,
        on_bad_image=on_bad_image,
        acquisition=acquisition,
        progress=progress,
        warn=warn,
    )
    rows = given.examples(split).index.to_numpy()
    manifest = given.dataset.manifest_table
    metadata = {**_metadata(given, split, rows, command), "views": views, "rows_of": rows_of}
    metadata["calibration"] = run.calibration.to_json() if run.calibration else None
    metadata["coverage"] = run.calibration.coverage if run.calibration else None
    said = answers(given, split, batch, views, by_crop=crops > 1)
    found = complete(said, np.repeat(rows, crops), given)
    found = reported(found, len(rows) * crops, progress)
    if metadata["bn_at_test"] == "batch":
        (warn or python_warning)(batch_sentence(run))
    with written_whole(out) as partial:
        _write(partial, manifest, found, run, metadata, by_crop=crops > 1)
    if run.calibration and run.calibration.per not in (None, *manifest.column_names):
        (warn or python_warning)(per_sentence(run.calibration, given))
    if metadata["seen_in_training"]:
        (warn or python_warning)(seen_sentence(metadata, len(rows)))
    return out


def read_metadata(predictions: str | Path) -> dict[str, Any]:
    """What `predict` recorded in a prediction table; empty for a table from elsewhere.

    Raises PredictionError where the file is not Parquet.
    """
    try:
        found = pq.read_schema(predictions).metadata or {}
    except (OSError, pa.ArrowInvalid) as error:
        raise PredictionError(f"{predictions}: not a prediction table ({error})") from None
    metadata: dict[str, Any] = json.loads(found.get(METADATA_KEY, b"{}"))
    return metadata


def seen_sentence(metadata: dict[str, Any], rows: int) -> str:
    """What to say of predictions on images that the run was fitted to or chosen by."""
    return (
        f"{metadata['seen_in_training']} of {rows} images also stand in the training, validation "
        f"or calibration split of the run {metadata['run']}; its answers on them say nothing about "
        "new images"
    )


def batch_sentence(run: Run) -> str:
    """What to say of answers that depend on the images beside them."""
    return (
        f"the run {run.folder} normalises by the statistics of the batch (model.bn_at_test: "
        f"batch): each answer depends on the images that it is shown with, up to "
        f"{run.recipe.training.batch} at a time in a mixed order, and is none for an image alone"
    )


def per_sentence(calibration: Calibration, given: RunInput) -> str:
    """What to say of images without the column whose values have thresholds of their own."""
    return (
        f"{given.dataset.folder}: no column {calibration.per}, for whose values the run was "
        "calibrated apart; prediction sets take the thresholds of all"
    )


def _check_calibrated_for(run: Run, views: int) -> None:
    """Raise InputError where the run was calibrated for another number of views."""
    if run.calibration and run.calibration.about["views"] != views:
        was = run.calibration.about["views"]
        raise InputError(
            f"{run.folder}: was calibrated for --views {was}, and {views} make another answer; ask "
            f"for --views {was}, or calibrate again: deadlib-calibrate {run.folder} --views {views}"
        )


def _crops(run: Run, rows_of: str) -> int:
    """How many rows the table has for each image. Raises InputError where that cannot be."""
    if rows_of == IMAGES:
        return 1
    if rows_of != CROPS:
        raise InputError(f"rows of {rows_of!r}; expected {IMAGES} or {CROPS}")
    if run.recipe.input.crops == 1:
        raise InputError(
            f"{run.folder}: this run looks at one window of each image (input.crops: 1), so there "
            f"are no crops to tell apart; ask for --rows {IMAGES}"
        )
    if run.calibration:
        raise InputError(
            f"{run.folder}: was calibrated on answers for whole images, and those for single crops "
            f"are less sure; ask for --rows {IMAGES}, or take the calibration away"
        )
    return run.recipe.input.crops


def _check_name(out: Path) -> None:
    """Raise InputError where the table would stand under the name of another kind of file."""
    if out.suffix.lower() != ".parquet":
        raise InputError(
            f"{out}: ends in {out.suffix or 'no suffix'}, expected .parquet, as the table is "
            "written as Parquet; give a name such as predictions.parquet"
        )


def answers(
    given: RunInput,
    split: str,
    batch: int,
    views: int,
    examples: int | None = None,
    *,
    by_crop: bool = False,
) -> Iterator[Answers]:
    """What the network says of a split; of at most `examples`, spread over its classes.

    batch: windows that it sees at a time, which are the images, or five of each. by_crop: one
    answer for each of the five crops, those of an image together.
    """
    from deadlib.crops import one_by_one
    from deadlib.data.preprocess import preprocess_for
    from deadlib.models import answering_network, for_prediction, halves

    run = given.run
    preprocess = preprocess_for(run.recipe.input, run.dataset)
    embed, classify = (for_prediction(half, run.recipe.model) for half in halves(run.network()))
    crops = run.recipe.input.crops
    network = answering_network(embed, classify, 1 if by_crop else crops)
    chosen = given.split(split)
    for name in given.dataset.splits if chosen == ALL else [chosen]:
        for group in _sound_batches(given, name, max(1, batch // crops), examples):
            images = group["image"][..., list(given.channel_positions)]
            inputs = np.asarray(preprocess.crops(given.corrected(images, group["row"])))
            inputs = np.asarray(one_by_one(inputs)) if by_crop else inputs
            answers = [network.predict_on_batch(view) for view in dihedral_views(inputs, views)]
            logits, embeddings = zip(*answers, strict=True)
            size = len(group["row"])
            rows = np.repeat(group["row"], crops) if by_crop else group["row"]
            crop = np.tile(np.arange(1, crops + 1), size) if by_crop else np.zeros(size, int)
            yield Answers(rows, mean_logits(logits), np.mean(embeddings, axis=0), crop)


def _sound_batches(
    given: RunInput, split: str, batch: int, examples: int | None
) -> Iterator[dict[str, np.ndarray]]:
    """The batches of a split; a record that fails its checksum ends them with a DatasetError."""
    import tensorflow as tf

    from deadlib.data.order import Chosen, Order, Shuffled, even_batch
    from deadlib.data.pipeline import open_source
    from deadlib.data.unit import unit_range

    recipe = given.run.recipe
    try:
        source = open_source(given.dataset, split, recipe.input)
        order: Order | None = None
        if recipe.model.bn_at_test == "batch":
            # By chance alone: an order that knew the labels would tell them to the network.
            order = Shuffled(recipe.seed, 0)
            batch = even_batch(len(source.rows), recipe.training.batch)
        if examples is not None:
            order = Chosen(recipe.seed, source.class_index, examples)
        for part in source.batches(batch=batch, order=order).as_numpy_iterator():
            yield {**part, "image": unit_range(part["image"])}
    except tf.errors.OpError as error:
        given.dataset.verify_checksums()
        raise DatasetError(
            f"{given.dataset.folder}: a record of split {split} cannot be read ({error.message}); "
            "convert the images again"
        ) from None


def complete(answers: Iterable[Answers], rows: np.ndarray, given: RunInput) -> Iterator[Answers]:
    """Pass answers on; raise where one is not finite, or where they are not those of `rows`."""
    answered: list[np.ndarray] = []
    for part in answers:
        broken = ~np.isfinite(part.logits).all(axis=1)
        if broken.any():
            example = given.dataset.manifest["example_id"].iloc[int(part.rows[broken][0])]
            raise RunError(
                f"{given.run.folder}: the network's answer for {example} is not a finite number; "
                "look for NaN in the image, or in history.csv for a training that diverged"
            )
        answered.append(part.rows)
        yield part
    found = np.sort(np.concatenate(answered)) if answered else np.zeros(0, int)
    if not np.array_equal(found, np.sort(rows)):
        raise DatasetError(
            f"{given.dataset.folder}: the shards hold {len(found)} examples, the manifest names "
            f"{len(rows)}; the dataset was cut or edited; convert it again"
        )


def reported(
    answers: Iterable[Answers], total: int, progress: ProgressCallback | None
) -> Iterator[Answers]:
    done = 0
    for part in answers:
        yield part
        done += len(part.rows)
        if progress is not None:
            progress("predict", done, total)


def _write(
    path: Path,
    manifest: pa.Table,
    answers: Iterable[Answers],
    run: Run,
    metadata: dict[str, Any],
    *,
    by_crop: bool,
) -> None:
    columns = [("crop", pa.int64())] if by_crop else []
    columns += [("predicted", pa.string())]
    columns += [(PROBABILITY + name, pa.float64()) for name in run.classes]
    if run.calibration:
        columns += CALIBRATED
    columns += [("embedding", pa.list_(pa.float32()))]
    schema = pa.schema([*manifest.schema, *(pa.field(*column) for column in columns)])
    schema = schema.with_metadata({METADATA_KEY: json.dumps(metadata).encode()})
    with pq.ParquetWriter(path, schema) as writer:
        for part in _grouped(answers, ROWS_PER_GROUP):
            writer.write_table(_table(manifest, part, run).cast(schema))


def _grouped(answers: Iterable[Answers], rows: int) -> Iterator[Answers]:
    """Join batches to row groups of at least `rows`, so that the file does not end in crumbs."""
    waiting: list[Answers] = []
    for part in answers:
        waiting.append(part)
        if sum(len(each.rows) for each in waiting) >= rows:
            yield joined(waiting)
            waiting = []
    if waiting:
        yield joined(waiting)


def joined(parts: list[Answers]) -> Answers:
    return Answers(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _table(manifest: pa.Table, part: Answers, run: Run) -> pa.Table:
    classes, calibration = run.classes, run.calibration
    probabilities = (calibration.probabilities if calibration else softmax)(part.logits)
    table = manifest.take(pa.array(part.rows))
    if part.crop.any():
        table = _by_crop(table, part.crop)
    predicted = [classes[index] for index in probabilities.argmax(axis=1)]
    table = table.append_column("predicted", pa.array(predicted, pa.string()))
    for index, name in enumerate(classes):
        table = table.append_column(PROBABILITY + name, pa.array(probabilities[:, index]))
    if calibration:
        for name, values in _calibrated(table, probabilities, part.embedding, calibration).items():
            table = table.append_column(name, values)
    embedding = pa.FixedSizeListArray.from_arrays(
        pa.array(part.embedding.astype(np.float32).ravel()), part.embedding.shape[1]
    )
    return table.append_column("embedding", embedding.cast(pa.list_(pa.float32())))


def _by_crop(table: pa.Table, crop: np.ndarray) -> pa.Table:
    """With the number of the crop in a column and in the name of the example."""
    names = table["example_id"].to_pylist()
    named = pa.array([f"{name}/crop{n}" for name, n in zip(names, crop, strict=True)])
    place = table.schema.get_field_index("example_id")
    return table.set_column(place, "example_id", named).append_column("crop", pa.array(crop))


def _calibrated(
    table: pa.Table, probabilities: np.ndarray, embedding: np.ndarray, calibration: Calibration
) -> dict[str, pa.Array]:
    """The columns that a calibrated run has more."""
    per = calibration.per
    values = table[per].to_pylist() if per in table.column_names else None
    sets = calibration.prediction_sets(probabilities, values)
    named = [[calibration.classes[k] for k in np.flatnonzero(row)] for row in sets]
    columns = (
        pa.array(named, pa.list_(pa.string())),
        pa.array(calibration.out_of_distribution(embedding)),
        pa.array(np.full(len(sets), calibration.temperature)),
    )
    return dict(zip(dict(CALIBRATED), columns, strict=True))


def _metadata(given: RunInput, split: str, rows: np.ndarray, command: str | None) -> dict[str, Any]:
    from tfrecords_tools.card import data_card

    run, dataset = given.run, given.dataset
    return {
        "run": str(run.folder.resolve()),
        "versions": run.versions,
        "command": {
            "convert": dataset.info.get("command"),
            "train": run.versions.get("command"),
            "predict": command,
        },
        "recipe": run.recipe.model_dump(mode="json"),
        "history": json.loads(run.history.to_json(orient="records")),
        "kept_epoch": _kept_epoch(run),
        "snapshot": run.snapshot,
        "bn_at_test": run.recipe.model.bn_at_test,
        "card": data_card(dataset),
        "split": dataset.info["split"],
        "predicted_split": given.split(split),
        "dataset": str(dataset.folder.resolve()),
        "fingerprint": dataset.fingerprint,
        "classes": run.classes,
        "trained_on_fingerprint": run.dataset["fingerprint"],
        "trained_on_split": run.dataset["split"],
        # of the training dataset itself the card tells
        "trained_on_confounding": (
            [] if given.is_training_dataset else run.dataset["card"]["confounding"]
        ),
        **_seen_in_training(given, rows),
    }


def _kept_epoch(run: Run) -> float | None:
    """None where the history lacks the recipe's metric: it is told, and no prediction needs it.
    None for a snapshot, too, whose step need not be one that was validated."""
    if run.snapshot is not None:
        return None
    try:
        return run.kept_epoch
    except KeyError:
        return None


def _seen_in_training(given: RunInput, rows: np.ndarray) -> dict[str, Any]:
    """How many of `rows` have the pixels of an image that the run was trained or chosen on, or one
    whose network it started from, in all and of each split. None in all where there seem to be
    none, but a dataset is gone."""
    hashes: set[str] = set()
    all_known = True
    for run in _taught_by(given.run):
        found = None if run is None else learnt(run)
        hashes |= found or set()
        all_known &= found is not None
    asked = given.dataset.manifest.iloc[rows]
    seen = asked[asked["image_sha256"].isin(hashes)]
    return {
        "seen_in_training": len(seen) if len(seen) or all_known else None,
        SEEN_BY_SPLIT: {str(k): int(n) for k, n in seen["split"].value_counts().items()},
    }


def _taught_by(run: Run) -> Iterator[Run | None]:
    """The run, the one whose network it started from, and so on; None for a file of no run."""
    met: set[Path] = set()
    while run.folder.resolve() not in met:
        met.add(run.folder.resolve())
        yield run
        if run.recipe.model.weights in ("random", "imagenet"):
            return
        folder = Path(run.recipe.model.weights).parent
        folder = folder.parent if folder.name == SNAPSHOTS else folder
        if not all((folder / name).is_file() for name in (RECIPE, DATASET)):
            yield None
            return
        run = Run(folder)


def learnt(run: Run, splits: Sequence[str] = LEARNT) -> set[str] | None:
    """The hashes of the images of these splits of a run; None where they are gone."""
    from deadlib.data.view import open_viewed

    try:
        trained_on = open_viewed(run.recipe, run.dataset["path"])
    except ToolsError:
        return None
    if trained_on.fingerprint != run.dataset["fingerprint"]:
        return None
    used = trained_on.manifest["split"].isin(splits)
    return set(trained_on.manifest.loc[used, "image_sha256"])
