"""What a finished run is applied to: a dataset or a folder of new images, checked against the run.

Prediction, explanation and export all read their images through here, so that all three refuse
the same wrong input in the same words.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deadlib.acquisition import (
    AS_TOLD_BY_FILES,
    Acquisition,
    mismatches,
    target_pixel_size,
)
from deadlib.data.plates import PLATE, Correction, check_plates, correction_for
from deadlib.data.view import seen_by, view_of
from deadlib.errors import InputError
from deadlib.recipe import RELATIVE
from deadlib.runs import Run
from tfrecords_tools import ConversionSettings, Plan, make_plan, open_dataset, write_dataset
from tfrecords_tools.conversion import check_out
from tfrecords_tools.dataset import INFO, Dataset
from tfrecords_tools.discover import discover
from tfrecords_tools.shards import PROGRESS_FOLDER
from tfrecords_tools.view import View, viewed

if TYPE_CHECKING:
    import pandas as pd

ProgressCallback = Callable[[str, int, int], None]
Warn = Callable[[str], None]

AUTO = "auto"
ALL = "all"
REFUSE = "refuse"
_LABELS_SHOWN = 5


@dataclass(frozen=True)
class RunInput:
    """A dataset that fits a run: every name of a channel and of a class is one the run knows."""

    run: Run
    dataset: Dataset
    channel_positions: tuple[int, ...]
    """Where each channel of the network's input stands in a record, in the network's order."""

    @property
    def is_training_dataset(self) -> bool:
        return bool(self.dataset.fingerprint == self.run.dataset["fingerprint"])

    def split(self, asked: str) -> str:
        """The split meant by `asked`: a name, `all`, or `auto`.

        `auto` is `test` of the dataset that the run was trained on, and everything of any other.
        """
        if asked == AUTO:
            return "test" if self.is_training_dataset else ALL
        return asked

    def examples(self, asked: str) -> pd.DataFrame:
        """The manifest rows of a split, indexed by row number. Raises InputError where none are."""
        manifest = self.dataset.manifest.reset_index(drop=True)
        split = self.split(asked)
        there = manifest["split"].notna()
        chosen = manifest[there if split == ALL else manifest["split"] == split]
        if chosen.empty:
            found = ", ".join(sorted(manifest["split"][there].unique())) or "nothing"
            raise InputError(
                f"{self.dataset.folder}: no examples in split {split}; it has {found}; "
                "choose one of them, or all, with --split"
            )
        return chosen

    def image(self, row: int) -> np.ndarray:
        """One stored image (H, W, C) in its own data type, channels in the network's order."""
        image = self.dataset.read_example(row)
        return image[..., list(self.channel_positions)]

    def corrected(self, images: np.ndarray, rows: Any) -> np.ndarray:
        """Images (B, H, W, C) float32 in unit range, channels in the network's order, of the rows
        (B,), as the run's recipe wants them: on the scale of the training plates, without shading.
        """
        return images if self.correction is None else np.asarray(self.correction(images, rows))

    @cached_property
    def correction(self) -> Correction | None:
        return correction_for(self.dataset, self.run.recipe.input, self.run.dataset)


def open_input(
    run: Run,
    source: str | Path,
    converted: Path,
    *,
    whole_images: bool = False,
    on_bad_image: str = REFUSE,
    acquisition: Acquisition = AS_TOLD_BY_FILES,
    progress: ProgressCallback | None = None,
    warn: Warn | None = None,
) -> RunInput:
    """Open a dataset, or convert a folder of new images as the run's own dataset was.

    converted: where the dataset made from a folder of images is written.
    whole_images: read such a folder in the same way, but cut nothing.
    on_bad_image: `refuse`, or `skip` images of such a folder that cannot be used.
    acquisition: what the files do not say, and whether to bring them to the run's pixel size.
    `warn` (by default a UserWarning) tells how many images were left out, which labels the run does
    not know, and where images were taken otherwise than those of the training.
    Raises InputError where the images do not fit the run: other channels, labels that the run
    does not know, images smaller than the window that the network sees.
    """
    source = Path(source)
    if not source.is_dir():
        found = "a file" if source.exists() else "not found"
        raise InputError(f"{source}: {found}; give a dataset directory or a folder of images")
    if (source / INFO).is_file() or (source / PROGRESS_FOLDER).is_dir():
        dataset = _as_the_run_sees(run, open_dataset(source))
        _refuse_to_rescale(run, dataset, acquisition)
    else:
        plan = _plan(run, source, converted, on_bad_image, acquisition, progress, whole_images)
        dataset = write_dataset(plan, converted, overwrite=True, progress=progress)
        for sentence in _lost(plan, converted):
            (warn or python_warning)(sentence)
    checked = RunInput(run, dataset, channel_positions(run, dataset))
    _check_labels(run, dataset)
    _check_sizes(run, dataset)
    _check_depth(run, dataset)
    _check_plates(run, dataset)
    size = dataset.pixel_size_um or acquisition.pixel_size_um
    for sentence in mismatches(run, str(source), size, acquisition.modality or dataset.modality):
        (warn or python_warning)(sentence)
    return checked


def channel_positions(run: Run, dataset: Dataset) -> tuple[int, ...]:
    """Where each of the run's channels stands in the dataset's records. Raises InputError."""
    expected, found = list(run.channels), list(dataset.channels)
    if sorted(expected) != sorted(found):
        raise InputError(
            f"{dataset.folder}: its channels are {', '.join(found)} ({len(found)}), but the run "
            f"{run.folder} was trained on {', '.join(expected)} ({len(expected)}); convert the "
            "images again with these channel names, or choose another run"
        )
    return tuple(found.index(name) for name in expected)


def spread_over_labels(examples: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """At most `count` examples at random, as many of each label as there are; labels in order."""
    generator = np.random.default_rng(seed)
    shuffled = examples.iloc[generator.permutation(len(examples))]
    turn = shuffled.groupby("label", dropna=False).cumcount().to_numpy()
    kept = shuffled.iloc[np.argsort(turn, kind="stable")[:count]]
    return kept.sort_values("label", kind="stable")


def python_warning(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=3)


def _plan(
    run: Run,
    source: Path,
    converted: Path,
    on_bad_image: str,
    acquisition: Acquisition,
    progress: ProgressCallback | None,
    whole_images: bool,
) -> Plan:
    """Images read as the run's own were; a label that it does not know counts as unknown."""
    settings = ConversionSettings.from_json(run.dataset["settings"]).for_prediction()
    settings = replace(
        settings,
        on_bad_image=on_bad_image,
        pixel_size_um=acquisition.pixel_size_um,
        modality=acquisition.modality,
    )
    if acquisition.rescale:
        settings = replace(settings, rescale_to_um=target_pixel_size(run))
    if whole_images:
        settings = _uncut(settings)
    section = run.recipe.input
    if section.normalise not in PLATE:
        settings = replace(settings, normalise_to=())
    if not section.illumination:
        settings = replace(settings, illumination=False)
    if (converted / INFO).is_file():
        _check_made_by_prediction(converted)
    check_out(source, converted, overwrite=True)
    return make_plan(source, settings, classes=run.classes, progress=progress)


def _uncut(settings: ConversionSettings) -> ConversionSettings:
    """Settings that read the same images whole; labels that belong to windows are left out."""
    whole: dict[str, Any] = {"tile": None, "crop_px": None, "stride_px": None}
    if settings.labels in ("boxes", "annotations"):
        whole |= {"labels": "none", "annotations": None, "context": 0.0, "box_px": None}
    if settings.labels == "boxes":
        whole["table"] = None
    return replace(settings, **whole)


def _lost(plan: Plan, converted: Path) -> list[str]:
    """A sentence each on images that were left out and on labels that were taken off."""
    sentences = []
    if plan.skipped:
        sentences.append(
            f"left out, as they cannot be used: {len(plan.skipped)} of the images or table rows; "
            f"{converted / INFO} names them under skipped"
        )
    # The plan has lost these labels, so the folder is listed again; no image is decoded.
    labels = discover(plan.source, plan.settings).rows["label"].dropna()
    unknown = labels[~labels.isin(plan.classes)]
    if len(unknown):
        names = sorted(unknown.unique())
        more = f" and {len(names) - _LABELS_SHOWN} more" if len(names) > _LABELS_SHOWN else ""
        sentences.append(
            f"{len(unknown)} images have labels that the run does not know "
            f"({', '.join(names[:_LABELS_SHOWN])}{more}); they count as unlabelled; it knows "
            f"{', '.join(plan.classes)}"
        )
    return sentences


def _check_made_by_prediction(folder: Path) -> None:
    """Raise InputError where a dataset that was converted to be kept would be overwritten."""
    settings = ConversionSettings.from_json(open_dataset(folder).info["settings"])
    if settings.labels_required:
        raise InputError(
            f"{folder}: the images would be converted into this place, but a dataset stands there "
            "that no earlier prediction made; give another --out"
        )


def _as_the_run_sees(run: Run, dataset: Dataset) -> Dataset:
    """The dataset that the run was trained on with the splits of the run; any other with its
    classes, where it has the columns that make them."""
    if dataset.fingerprint == run.dataset["fingerprint"]:
        return seen_by(run.recipe, dataset)
    labels = view_of(run.recipe).label
    if not labels:
        return dataset
    if set(labels) <= set(map(str, dataset.manifest.columns)):
        return viewed(dataset, View(label=labels))
    raise InputError(
        f"{dataset.folder}: the classes of the run {run.folder} are made of the columns "
        f"{', '.join(labels)}, and the dataset has not all of them; convert with them, or "
        "predict the folder of images itself"
    )


def _refuse_to_rescale(run: Run, dataset: Dataset, acquisition: Acquisition) -> None:
    if acquisition.rescale:
        raise InputError(
            f"{dataset.folder}: a dataset is not resampled; convert its images again with "
            f"--rescale-to-um {target_pixel_size(run):g}"
        )


def _check_labels(run: Run, dataset: Dataset) -> None:
    labels = dataset.manifest["label"].dropna().unique()
    unknown = sorted(set(labels) - set(run.classes))
    if unknown:
        raise InputError(
            f"{dataset.folder}: labels that the run {run.folder} does not know: "
            f"{', '.join(unknown)}; it knows {', '.join(run.classes)}; rename the labels, or "
            "convert the images without labels"
        )


def _check_sizes(run: Run, dataset: Dataset) -> None:
    """With fit=crop the network sees a window: no image may be smaller, and a batch is one size."""
    window = run.recipe.input
    if window.fit != "crop":
        return
    rows, columns = window.size_px
    sizes = dataset.manifest[["height_px", "width_px"]]
    small = (sizes["height_px"] < rows) | (sizes["width_px"] < columns)
    if small.any():
        first: Any = dataset.manifest[small].iloc[0]
        raise InputError(
            f"{dataset.folder}: {int(small.sum())} of {len(sizes)} images are smaller than the "
            f"{rows} x {columns} px window of the run {run.folder}; the first, "
            f"{first['example_id']}, has {first['height_px']} x {first['width_px']} px; give "
            "images at the magnification of the training, and at least of that size"
        )
    found = sizes.drop_duplicates()
    if len(found) > 1:
        listed = ", ".join(f"{high} x {wide}" for high, wide in found.head(5).to_numpy())
        raise InputError(
            f"{dataset.folder}: images of {len(found)} sizes ({listed} px), but the run "
            f"{run.folder} takes a {rows} x {columns} px window from images of one size; convert "
            "each size into a dataset of its own"
        )


def _check_depth(run: Run, dataset: Dataset) -> None:
    """Where intensities are not relative to the image, 8 bits and 16 bits are different worlds."""
    section = run.recipe.input
    if section.equalise or section.normalise in (*RELATIVE, *PLATE):
        return
    known = set(run.dataset["card"]["dtypes"])
    found = set(dataset.info["dtypes"])
    if not found <= known:
        raise InputError(
            f"{dataset.folder}: intensities are {', '.join(sorted(found))}, but the run "
            f"{run.folder} was trained on {', '.join(sorted(known))} and compares intensities "
            f"(input.normalise: {run.recipe.input.normalise}); give images of the same depth, or "
            "a run with input.normalise: per_image"
        )


def _check_plates(run: Run, dataset: Dataset) -> None:
    """Plates are to be compared by the same wells as in training."""
    section = run.recipe.input
    check_plates(dataset, section)
    expected = run.dataset["settings"].get("normalise_to", [])
    found = dataset.info["settings"].get("normalise_to", [])
    if section.normalise in PLATE and sorted(expected) != sorted(found):
        options = " ".join(f"--normalise-to {condition}" for condition in expected)
        raise InputError(
            f"{dataset.folder}: its plates are compared by {' '.join(found) or 'all wells'}, those "
            f"of the run {run.folder} by {' '.join(expected) or 'all wells'}; convert the images "
            f"again {f'with {options}' if options else 'without --normalise-to'}"
        )
