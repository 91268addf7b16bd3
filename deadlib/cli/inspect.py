"""`deadlib-inspect`: what is in a dataset, and what it looks like."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deadlib.cli import terminal

if TYPE_CHECKING:
    from rich.table import Table

    from tfrecords_tools import Dataset

_SIZES_SHOWN = 4
_SKIPPED_SHOWN = 20
_PLATES_SHOWN = 40
_OF_A_PLATE = ("median", "mean", "deviation")

# Columns with this few values are shown with the classes of each value.
_VALUES_SHOWN = 8


@click.command(cls=terminal.Command, name="inspect")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Contact sheet (PNG) to write.  [default: DATASET-sheet.png]",
)
@click.option(
    "--per-class", type=click.IntRange(1, 40), default=8, help="Examples of each class on it."
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Decides which examples are on it.")
@click.option(
    "--augmentations",
    is_flag=True,
    help="Draw what the augmentations of a recipe do; DATASET is then the recipe's YAML file.",
)
@click.option(
    "--image",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With --augmentations: the image to draw.  [default: one of the recipe's dataset]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --example or --augmentations: the picture (PNG) to write.  [default: "
    "DATASET-ID.png or RECIPE-augmentations.png]",
)
@click.option("--verify", is_flag=True, help="Read every byte and compare the checksums as well.")
@click.option(
    "--example", metavar="ID", help="Show one example instead: its columns, and all its channels."
)
@click.option(
    "--similar",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PNG",
    help="Draw instead pairs of images that show the same cells, laid on each other.",
)
def main(
    dataset: Path,
    similar: Path | None,
    sheet: Path | None,
    per_class: int,
    seed: int,
    verify: bool,
    example: str | None,
    augmentations: bool,
    image: Path | None,
    out: Path | None,
) -> None:
    """Show what is in DATASET, a folder that deadlib-convert made.

    Prints a data card: examples by split and class, what plates, wells and other columns there
    are, sizes, bit depths and intensities, the proof that no group stands in two splits, and
    loud warnings where class and plate or experiment go together. Writes a contact sheet of
    every class, to be looked at before training.

    \b
    deadlib-inspect dataset
    deadlib-inspect dataset --sheet look.png --per-class 12 --verify
    deadlib-inspect dataset --similar pairs.png
    deadlib-inspect dataset --example dead/B03_1.tif_01_02 --out look.png
    deadlib-inspect configs/quickstart.yaml --augmentations --out look.png
    """
    if augmentations and example is not None:
        raise click.UsageError("--example and --augmentations are two pictures; choose one")
    if augmentations:
        _draw_augmentations(dataset, image, out)
        return
    if image is not None:
        raise click.UsageError("--image goes with --augmentations and the file of a recipe")
    if out is not None and example is None:
        raise click.UsageError("--out is the picture of --example or --augmentations; give one")
    from tfrecords_tools.card import contact_sheet, data_card
    from tfrecords_tools.dataset import open_dataset

    opened = open_dataset(dataset)
    if similar is not None:
        _show_similar(opened, similar)
        return
    if example is not None:
        _show_example(opened, example, out)
        return
    if verify:
        with terminal.progress() as progress:
            opened.verify_checksums(progress)
    card = data_card(opened)
    _show_card(card, verified=verify)
    sheet = sheet or dataset.resolve().with_name(f"{dataset.resolve().name}-sheet.png")
    with terminal.native_output_to(None):
        contact_sheet(opened, sheet, per_class=per_class, seed=seed)
    terminal.show(f"contact sheet: {sheet}")


def _show_similar(dataset: Dataset, path: Path) -> None:
    """Every pair in words, and a picture of the first ones."""
    from tfrecords_tools.montage import montage

    montage(dataset, path)
    found = dataset.info["similar"]
    for pair in found["pairs"]:
        terminal.show(
            f"{pair['one']} and {pair['other']}: {pair['overlap']:.0%} in common, shifted by "
            f"{pair['down_px']} px down and {pair['right_px']} px right, correlation "
            f"{pair['correlation']:.2f}; {' and '.join(pair['splits'])}"
        )
    count = f"{len(found['pairs'])} pairs of {found['compared']} compared"
    terminal.show(f"{count}, {found['across_splits']} of them in two splits")
    terminal.show(f"pairs laid on each other: {path}")


def _show_example(dataset: Dataset, example_id: str, out: Path | None) -> None:
    """Every column of its row of the manifest, and its picture."""
    from tfrecords_tools.portrait import find_example, portrait

    row = find_example(dataset, example_id)
    columns = dataset.manifest.iloc[row]
    widest = max(len(str(name)) for name in columns.index)
    for name, value in columns.items():
        terminal.show(f"{name:<{widest}}  {_in_words(value)}")
    folder = dataset.folder.resolve()
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", example_id)
    written = portrait(dataset, row, out or folder.with_name(f"{folder.name}-{name}.png"))
    terminal.show(f"picture: {written}")


def _in_words(value: Any) -> str:
    import pandas as pd

    if pd.api.types.is_list_like(value):
        return ", ".join(str(item) for item in value)
    return "absent" if pd.isna(value) else str(value)


def _draw_augmentations(path: Path, image: Path | None, out: Path | None) -> None:
    from deadlib.recipe import load_recipe

    recipe = load_recipe(path)
    out = out or path.with_name(f"{path.stem}-augmentations.png")
    with terminal.native_output_to(None):
        from deadlib.training.sheet import draw_augmentations

        draw_augmentations(recipe, out, image=image)
    terminal.show(f"augmentations: {out}")


def _show_card(card: Mapping[str, Any], verified: bool) -> None:
    terminal.show(
        f"dataset {card['name']}: {card['examples']} examples of {card['images']} images; "
        f"{card['shards']} shards, {card['bytes'] / 1e6:.1f} MB, encoding {card['encoding']}"
    )
    terminal.show(f"examples: {_sizes(card['example_sizes'], 'examples')}")
    terminal.show(f"images: {_sizes(card['image_sizes'], 'images')}{_taken(card)}")
    terminal.show(_count_table(card))
    terminal.show(_channel_table(card["intensity"]))
    if len({fit["plate"] for fit in card["plates"]}) > 1:
        terminal.show(_plate_table(card["plates"]))
    if card["columns"]:
        terminal.show(_column_table(card))
    counted = {
        name: column["by_class"]
        for name, column in card["columns"].items()
        if 1 < column["values"] <= _VALUES_SHOWN
    }
    if counted:
        terminal.show(_value_table(counted, list(next(iter(card["counts"].values())))))
    by = " / ".join("image" if name == "source_id" else name for name in card["split"]["by"])
    terminal.show(f"split by {by}, seed {card['split']['seed']}")
    for sentence in card["split"]["proof"]:
        terminal.show(f"checked: {sentence}")
    if verified:
        terminal.show("checked: all files agree with their checksums")
    for item in card["skipped"][:_SKIPPED_SHOWN]:
        terminal.show(f"left out: {item['path']}: {item['reason']}")
    if len(card["skipped"]) > _SKIPPED_SHOWN:
        terminal.show(f"left out: {len(card['skipped']) - _SKIPPED_SHOWN} more, see deadlib.json")
    for sentence in card["notes"]:
        terminal.show(sentence)
    for sentence in card["warnings"]:
        terminal.warn(sentence)


def _taken(card: Mapping[str, Any]) -> str:
    """How the images were taken, as far as it is known."""
    size, modality = card["pixel_size_um"], card["modality"]
    scale = None if size is None else f"{size:g} µm per pixel"
    return "".join(f", {text}" for text in (scale, modality) if text)


def _sizes(sizes: Sequence[Mapping[str, int]], unit: str) -> str:
    """The most frequent sizes, rows x columns."""
    shown = [f"{size['height_px']} x {size['width_px']} px ({size[unit]})" for size in sizes]
    more = f" and {len(shown) - _SIZES_SHOWN} more sizes" if len(shown) > _SIZES_SHOWN else ""
    return f"{', '.join(shown[:_SIZES_SHOWN])}{more}"


def _count_table(card: Mapping[str, Any]) -> Table:
    counts: Mapping[str, Mapping[str, int]] = card["counts"]
    table = _table("examples by class and split", "class", *counts, "all")
    for label in next(iter(counts.values())):
        row = [found[label] for found in counts.values()]
        _add(table, label, *row, sum(row))
    table.add_section()
    totals = [sum(found.values()) for found in counts.values()]
    _add(table, "all classes", *totals, sum(totals))
    if groups := card["split"].get("groups"):
        found = [groups[split] for split in counts]
        _add(table, "groups", *found, sum(found))
    return table


def _channel_table(intensity: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table("intensities in the files", "channel", "lowest", "highest", "type")
    for name, found in intensity.items():
        low, high = f"{found['low']:g}", f"{found['high']:g}"
        _add(table, name, low, high, ", ".join(found["dtypes"]))
    return table


def _plate_table(plates: Sequence[Mapping[str, Any]]) -> Table:
    """What is typical of each plate, in shares of what the data type can hold."""
    table = _table("intensities of each plate", "plate", "channel", "of", *_OF_A_PLATE)
    for fit in plates[:_PLATES_SHOWN]:
        values = (f"{fit[name]:.4g}" for name in _OF_A_PLATE)
        _add(table, fit["plate"], fit["channel"], fit["fitted_on"], *values)
    if len(plates) > _PLATES_SHOWN:
        _add(table, f"and {len(plates) - _PLATES_SHOWN} more", "", "", *[""] * len(_OF_A_PLATE))
    return table


def _column_table(card: Mapping[str, Any]) -> Table:
    splits = list(card["counts"])
    absent = any(column["absent"] for column in card["columns"].values())
    names = [*splits, "all", *(["absent"] if absent else []), "range"]
    table = _table("different values of each column", "column", *names)
    for name, column in card["columns"].items():
        cells = [column["by_split"][split] for split in splits] + [column["values"]]
        cells += [column["absent"]] if absent else []
        span = f"{column['low']:.4g} to {column['high']:.4g}" if "low" in column else ""
        _add(table, name, *cells, span)
    return table


def _value_table(
    counted: Mapping[str, Mapping[str, Mapping[str, int]]], classes: Sequence[str]
) -> Table:
    """Examples of each class for every value of the columns that have few."""
    table = _table("examples by value and class", "column", "value", *classes)
    for name, by_class in counted.items():
        table.add_section()
        for place, (value, counts) in enumerate(by_class.items()):
            _add(table, "" if place else name, value, *(counts.get(c, 0) for c in classes))
    return table


def _table(title: str, first: str, *others: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left")
    table.add_column(Text(first), overflow="fold")
    for name in others:
        table.add_column(Text(name), justify="right")
    return table


def _add(table: Table, *cells: object) -> None:
    """A row of values as they are: square brackets in a name are no markup."""
    from rich.text import Text

    table.add_row(*(Text(str(cell)) for cell in cells))


if __name__ == "__main__":
    main()
