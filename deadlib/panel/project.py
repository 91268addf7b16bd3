"""A project folder: panel.yaml, items.parquet, and where the pixels of each item lie."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from deadlib.errors import PanelError
from deadlib.outputs import write_errors, written_whole
from deadlib.panel import items as listing
from deadlib.panel.settings import (
    HEALTHY_SICK,
    Channel,
    PanelSettings,
    coloured,
    numbered,
    read_settings,
    settings_text,
)
from deadlib.recipe import validated
from tfrecords_tools.cut import WINDOW, Window, read_window
from tfrecords_tools.dataset import INFO, Dataset, open_dataset
from tfrecords_tools.images import read_stack
from tfrecords_tools.locator import Locator
from tfrecords_tools.settings import ConversionSettings

if TYPE_CHECKING:
    import pandas as pd

    from tfrecords_tools.pool import Progress

SETTINGS, ITEMS = "panel.yaml", "items.parquet"


class Project:
    """An open project. Items have numbers here: their rows in items.parquet, from 0."""

    def __init__(self, folder: Path, settings: PanelSettings, items: pd.DataFrame) -> None:
        self.folder = folder
        self.settings = settings
        self.items = items
        self.names: list[str] = items["item"].tolist()
        self.number_of = {name: number for number, name in enumerate(self.names)}
        self._rows: list[dict[Any, Any]] = items.to_dict("records")

    @classmethod
    def open(cls, folder: str | Path) -> Project:
        """Open a project that `create` made.

        Raises PanelError where files are missing, damaged or do not fit each other, and RecipeError
        naming what is wrong in panel.yaml.
        """
        import pandas as pd

        folder = Path(folder)
        if not (folder / SETTINGS).is_file():
            raise PanelError(
                f"{folder}: no panel (no {SETTINGS}); make one with deadlib-annotate create"
            )
        settings = read_settings(folder / SETTINGS)
        try:
            items = pd.read_parquet(folder / ITEMS)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise PanelError(
                f"{folder / ITEMS}: cannot be read ({reason}); copy it back, or make a new panel"
            ) from None
        _check(items, settings, folder)
        return cls(folder, settings, items)

    @property
    def source(self) -> Path:
        """The folder of the images, or the dataset; a relative one begins at the project."""
        return self.folder / self.settings.source

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the items' names: what answers belong to."""
        return hashlib.sha256("\n".join(sorted(self.names)).encode()).hexdigest()

    def frames(self, number: int) -> int:
        """How many frames an item has."""
        return int(self._rows[number]["frames"])

    def label(self, number: int) -> str | None:
        """The label that an item had before anybody was asked."""
        label = self._rows[number].get("label")
        return label if isinstance(label, str) else None

    def shown(self, number: int) -> dict[str, Any]:
        """The metadata of an item that annotators may see: text, numbers or None."""
        row = self._rows[number]
        return {name: _plain(row[name]) for name in self.settings.shown}

    def described(self) -> pd.DataFrame:
        """The items without where their pixels are: item, frames, and what is known of each."""
        return self.items.drop(columns=["frame_paths", "row"], errors="ignore")

    def image(self, number: int, frame: int = 0) -> np.ndarray:
        """One frame of an item, (H, W, C) uint8, uint16 or float32, as it lies on the disk.

        Raises PanelError where there is no such frame, or it has other channels than the panel;
        ImageError or DatasetError where it cannot be read.
        """
        if not 0 <= frame < self.frames(number):
            raise PanelError(f"frame {frame}: the item has {self.frames(number)}, from 0 on")
        image = self._read(self._rows[number], frame)
        expected = self.settings.channels
        if expected and image.shape[2] != len(expected):
            raise PanelError(
                f"{self.names[number]}: {image.shape[2]} channels, the panel has {len(expected)} "
                f"({', '.join(channel.name for channel in expected)})"
            )
        return image

    def _read(self, row: Mapping[Any, Any], frame: int) -> np.ndarray:
        if not len(row["frame_paths"]):
            return self._dataset.read_example(int(row["row"]))
        image = read_stack([self._below_source(path) for path in row["frame_paths"][frame]])
        top = row.get("top_px")
        if top is None or top != top:
            return image
        top, left, height, width = (int(row[name]) for name in WINDOW)
        return read_window(image, Window(top, left, height, width))

    def _below_source(self, path: str) -> Path:
        for file in Locator.parse(path).files:
            if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
                raise PanelError(f"{path}: lies outside the source folder; nothing there is shown")
        return self.source / path

    @cached_property
    def _dataset(self) -> Dataset:
        return open_dataset(self.source)


def create(
    folder: str | Path,
    source: str | Path,
    *,
    conversion: ConversionSettings | None = None,
    frames: int | None = None,
    where: Sequence[str] = (),
    windows: str | Path | None = None,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    unsure: bool | None = None,
    rank: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    progress: Progress | None = None,
    notes: Callable[[str], None] = lambda note: None,
    **settings: Any,
) -> Project:
    """Make a project folder.

    Args:
        folder: new, or empty.
        source: a folder of images, or a dataset directory.
        conversion: how the images are read, named and cut, as deadlib-convert takes it; by default
            every image in the folder is an item, without labels.
        frames: items are sequences of so many frames of crops.
        where: conditions on the frames of sequences, as in label rules.
        windows: a table of windows, which are then the items.
        split: of a dataset only this one.
        classes: the answers; by default healthy and sick, in a trial the labels of the items.
        unsure: whether unsure is an answer; by default yes, in a trial no.
        rank: puts items into the order that annotators get them in; `order` is then listed.
        notes: told what the reader of the source found worth saying.
        settings: further keys of panel.yaml.

    Raises PanelError where the folder is not empty, where items cannot be made or told apart, or a
    trial has too few of them or labels are missing; RecipeError for settings that there are not.
    """
    folder, source = Path(folder), Path(source).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PanelError(f"{folder}: is there already; give a new folder for the panel")
    found = _items(source, conversion, frames, where, windows, split, progress)
    for note in found.notes:
        notes(note)
    taken = {name for name in listing.ANSWERS if name != "item"} & set(found.table)
    table = found.table.rename(columns={name: f"source_{name}" for name in taken})
    if rank is not None:
        table = rank(table).reset_index(drop=True)
        settings.setdefault("order", "listed")
    trial = settings.get("mode") == "trial"
    if classes is None:
        labels = table["label"].dropna().unique().tolist() if trial and "label" in table else []
        classes = sorted(labels) if trial else HEALTHY_SICK
        if len(classes) < 2:
            raise PanelError(
                f"{folder}: a trial shows images of two classes or more with their labels, found "
                f"{', '.join(classes) or 'no labels'} in {source}; put the images into one folder "
                "for each class, or give their labels by a table"
            )
    asked = numbered(classes, not trial if unsure is None else unsure)
    made = validated(PanelSettings, {"source": str(source), **asked, **settings}, str(folder))
    _check(table, made, folder)
    project = Project(folder, made, table)
    project.settings = made.model_copy(update={"channels": _channels(project, found.channels)})
    with write_errors(folder), written_whole(folder) as partial:
        partial.mkdir(parents=True)
        table.to_parquet(partial / ITEMS, index=False)
        (partial / SETTINGS).write_text(settings_text(project.settings), encoding="utf-8")
    return project


def _items(
    source: Path,
    conversion: ConversionSettings | None,
    frames: int | None,
    where: Sequence[str],
    windows: str | Path | None,
    split: str | None,
    progress: Progress | None,
) -> listing.Items:
    if (source / INFO).is_file():
        if conversion is not None or frames is not None or windows is not None:
            raise PanelError(
                f"{source}: a dataset, whose examples are the items; what cuts images belongs to a "
                "folder of images"
            )
        return listing.dataset_items(source, split)
    if split is not None:
        raise PanelError(f"{source}: no dataset, so it has no split {split}")
    chosen = conversion or ConversionSettings(labels="none")
    if windows is not None:
        return listing.window_items(source, chosen, Path(windows))
    if frames is not None:
        return listing.sequence_items(source, chosen, frames, where)
    return listing.image_items(source, chosen, progress)


def _channels(project: Project, names: Sequence[str]) -> tuple[Channel, ...]:
    """The channels as they are to be shown: those asked for, else by the names of the source."""
    asked = project.settings.channels
    count = project.image(0).shape[2]
    usual = {1: ("intensity",), 3: ("red", "green", "blue")}
    known = names or usual.get(count, tuple(f"channel_{n}" for n in range(1, count + 1)))
    found = asked or coloured(known)
    if len(found) != count:
        raise PanelError(
            f"{project.names[0]}: has {count} channels, but {len(found)} are named "
            f"({', '.join(channel.name for channel in found)})"
        )
    return found


def _check(items: pd.DataFrame, settings: PanelSettings, folder: Path) -> None:
    """Raise PanelError where the items and the settings do not fit each other."""
    if items.empty:
        raise PanelError(f"{folder}: no items; expected an image at least")
    twice = items["item"][items["item"].duplicated()]
    if len(twice):
        raise PanelError(f"{folder}: {twice.iloc[0]} stands for two items; each needs its own name")
    absent = [name for name in settings.shown if name not in items or name in listing.OWN]
    if absent:
        known = [str(name) for name in items if name not in listing.OWN]
        raise PanelError(
            f"{folder}: shown: no metadata {', '.join(absent)}; the items have "
            f"{', '.join(known) or 'none'}"
        )
    if settings.mode == "trial":
        _check_trial(items, settings, folder)


def _check_trial(items: pd.DataFrame, settings: PanelSettings, folder: Path) -> None:
    needed = settings.trial.images
    if len(items) < needed:
        raise PanelError(
            f"{folder}: a trial of {settings.trial.before}, {settings.trial.shown} and "
            f"{settings.trial.after} images needs {needed}, found {len(items)}; make it smaller"
        )
    labels = items["label"] if "label" in items else items["item"].map(lambda _: None)
    unknown = items["item"][~labels.isin(list(settings.classes))]
    if len(unknown):
        raise PanelError(
            f"{folder}: a trial is about images whose class is known, and {len(unknown)} have none "
            f"of {', '.join(settings.classes)} as their label, such as {unknown.iloc[0]}"
        )


def _plain(value: Any) -> Any:
    if value is None or value != value:
        return None
    return value.item() if isinstance(value, np.generic) else value
