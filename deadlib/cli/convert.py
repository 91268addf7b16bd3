"""`deadlib-convert`: a folder of images becomes a dataset."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deadlib.cli import terminal

if TYPE_CHECKING:
    from rich.table import Table

    from tfrecords_tools import ConversionSettings, Plan

_SKIPPED_SHOWN = 20
_GROUPS_SHOWN = 40


def _grid(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    rows, separator, columns = value.lower().partition("x")
    if not (separator and rows.isdecimal() and columns.isdecimal()):
        raise click.BadParameter(f"{value!r}; expected ROWSxCOLUMNS, for example 2x2")
    return int(rows), int(columns)


def _shares(_: click.Context, __: click.Parameter, value: str) -> tuple[float, ...]:
    try:
        return tuple(float(share) for share in value.split(","))
    except ValueError:
        message = f"{value!r}; expected three shares such as 0.7,0.15,0.15"
        raise click.BadParameter(message) from None


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip()) if value else ()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@click.command(cls=terminal.Command, name="convert")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path), required=False)
@click.option(
    "--labels",
    type=click.Choice(["folder", "pattern", "table", "boxes", "none"]),
    help="Where the class stands.  [default: by the options given; otherwise the class folder]",
)
@click.option(
    "--pattern",
    metavar="TEXT",
    help="File names with named parts, such as '{plate}_{well}_{field}_{channel}.tif': each "
    "becomes a column, {label} is the class, {*} is anything, {field:d} digits only. With a / it "
    "is matched on the path below SOURCE. Or the preset celldeath.",
)
@click.option(
    "--table",
    metavar="FILE",
    help="CSV or Parquet with one row per image: its path below SOURCE (it may contain {channel}), "
    "its label and any other columns.",
)
@click.option(
    "--boxes",
    metavar="FILE",
    help="CSV or Parquet with one row per object: path, xmin, ymin, xmax, ymax in pixels, label.",
)
@click.option("--path-column", default="path", metavar="NAME", help="The table's column of paths.")
@click.option("--label-column", default="label", metavar="NAME", help="The table's labels.")
@click.option(
    "--channels",
    callback=_names,
    metavar="A,B,...",
    help="Channel names in order; with {channel} each is a file of its own.",
)
@click.option("--tile", callback=_grid, metavar="RxC", help="Cut each image into a grid, as 2x2.")
@click.option("--crop-px", type=int, metavar="N", help="Cut square crops of this side.")
@click.option(
    "--stride-px", type=int, metavar="N", help="Step between crops.  [default: their side]"
)
@click.option(
    "--context",
    type=float,
    default=0.0,
    metavar="SHARE",
    help="Boxes: a square of the longer side x (1 + SHARE) around the object.",
)
@click.option("--box-px", type=int, metavar="N", help="Boxes: a square of this side instead.")
@click.option("--allow-mixed", is_flag=True, help="Accept the odd image of another size or depth.")
@click.option(
    "--split-by",
    multiple=True,
    metavar="COLUMN",
    help="What never crosses splits; may be repeated. Coarser levels (experiment, plate, well, "
    "position, field) count with it. source_id is the image; example is no grouping at all.  "
    "[default: well, else position, else source_id]",
)
@click.option(
    "--fractions",
    default="0.7,0.15,0.15",
    callback=_shares,
    metavar="A,B,C",
    help="Shares of train, validation and test.",
)
@click.option(
    "--hold-out",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Put these into test and nothing else; validation:COLUMN=VALUE into validation.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Decides which groups go where.")
@click.option("--name", metavar="NAME", help="Name of the dataset.  [default: that of SOURCE]")
@click.option(
    "--encoding",
    type=click.Choice(["raw", "png"]),
    default="raw",
    help="raw is read fastest; png is smaller. Both keep every bit.",
)
@click.option("--examples-per-shard", type=click.IntRange(min=1), default=512, metavar="N")
@click.option(
    "--on-bad-image",
    type=click.Choice(["refuse", "skip"]),
    default="refuse",
    help="refuse names every image that cannot be used and writes nothing; skip lists them in the "
    "dataset.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes.  [default: the number of cores]"
)
@click.option("--overwrite", is_flag=True, help="Replace the dataset that is in OUT.")
@click.option("--dry-run", is_flag=True, help="Show the plan, write nothing; OUT may be left out.")
def main(
    source: Path,
    out: Path | None,
    workers: int | None,
    overwrite: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """Turn the images in SOURCE into the dataset OUT: plan, audit, write.

    One folder per class; then microscope files named by plate, well, field and channel, with the
    labels in a table:

    \b
    deadlib-convert images dataset
    deadlib-convert plates dataset --table labels.csv \\
        --pattern '{plate}_{well}_{field}_{channel}.tif' --channels DNA,ER,AGP,Mito

    Whole groups (wells, unless told otherwise) go to train, validation or test, and identical
    images go together whatever their names. --dry-run shows the plan first. The same command
    finishes a conversion that was stopped. docs/convert.md tells more.
    """
    from tfrecords_tools import make_plan, write_dataset
    from tfrecords_tools.conversion import check_out

    if out is None and not dry_run:
        raise click.UsageError("give OUT, the folder for the dataset, or --dry-run")
    settings = _settings(options)
    workers = workers or _cores()
    if out is not None and not dry_run:
        check_out(source, out, overwrite)
    with terminal.progress() as progress:
        plan = make_plan(source, settings, workers=workers, progress=progress)
    _show_plan(plan, groups=dry_run)
    if out is None or dry_run:
        terminal.note("dry run: nothing was written")
        return
    with terminal.native_output_to(None), terminal.progress() as progress:
        dataset = write_dataset(
            plan,
            out,
            workers=workers,
            overwrite=overwrite,
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            progress=progress,
        )
    shards = dataset.info["shards"]
    size_mb = sum(shard["bytes"] for shard in shards) / 1e6
    terminal.show(f"{out}: {len(plan.examples)} examples in {len(shards)} shards, {size_mb:.1f} MB")
    terminal.note(f"next: deadlib-inspect {shlex.quote(str(out))}")


def _settings(options: dict[str, Any]) -> ConversionSettings:
    """The options as settings; a table that lies here is meant, not one of that name in SOURCE."""
    from tfrecords_tools import ConversionSettings

    labels, boxes = options.pop("labels"), options.pop("boxes")
    if boxes is not None and options["table"] is not None:
        raise click.UsageError("--boxes and --table are two tables; give one")
    if boxes is not None and labels not in (None, "boxes"):
        raise click.UsageError(f"--boxes gives the labels, --labels {labels} says otherwise")
    table = boxes if boxes is not None else options["table"]
    if table is not None and Path(table).is_file():
        table = str(Path(table).resolve())
    if labels is None:
        labels = _label_source(boxes, options["table"], options["pattern"])
    return ConversionSettings(**{**options, "labels": labels, "table": table})


def _label_source(boxes: str | None, table: str | None, pattern: str | None) -> str:
    if boxes is not None:
        return "boxes"
    if table is not None:
        return "table"
    if pattern is not None and ("{label" in pattern or "{" not in pattern):
        return "pattern"
    return "folder"


def _show_plan(plan: Plan, groups: bool) -> None:
    for line in _facts(plan):
        terminal.show(line)
    terminal.show(_split_table(plan))
    if groups:
        terminal.show(_group_table(plan))
        terminal.show(_shard_table(plan))
    for sentence in plan.split_info["proof"]:
        terminal.show(f"checked: {sentence}")
    for item in plan.skipped[:_SKIPPED_SHOWN]:
        terminal.note(f"left out: {item['path']}: {item['reason']}")
    if len(plan.skipped) > _SKIPPED_SHOWN:
        terminal.note(
            f"left out: {len(plan.skipped) - _SKIPPED_SHOWN} more, all listed in the dataset"
        )
    for sentence in plan.audit["notes"]:
        terminal.note(sentence)
    for sentence in plan.audit["warnings"]:
        terminal.warn(sentence)


def _facts(plan: Plan) -> list[str]:
    from tfrecords_tools.split import unit_name

    examples, settings = plan.examples, plan.settings
    sizes = [f"{size['height_px']} x {size['width_px']} px" for size in plan.facts["sizes"]]
    more = f" and {len(sizes) - 3} more sizes" if len(sizes) > 3 else ""
    unit = "whole images"
    if settings.tile is not None:
        unit = f"tiles, {settings.tile[0]} x {settings.tile[1]} of each image"
    elif settings.crop_px is not None:
        unit = f"crops of {settings.crop_px} px every {settings.stride_px or settings.crop_px} px"
    elif settings.labels == "boxes":
        unit = f"crops of {settings.box_px} px around boxes" if settings.box_px else "crops by box"
    return [
        f"dataset {plan.name}: {len(examples)} examples ({unit}) of "
        f"{examples['source_id'].nunique()} images",
        f"images of {', '.join(sizes[:3])}{more}; {', '.join(plan.facts['dtypes'])}; "
        f"channels {', '.join(plan.channels)}",
        f"split by {unit_name(plan.split_info['by'])}, seed {plan.split_info['seed']}",
    ]


def _split_table(plan: Plan) -> Table:
    """Examples by class, and what they come from, in each split."""
    from rich.table import Table

    from tfrecords_tools.settings import SPLITS

    table = Table(title="examples by class and split")
    table.add_column("class")
    for name in SPLITS:
        table.add_column(name, justify="right")
    counts = plan.split_info["counts"]
    for label in counts[SPLITS[0]]:
        table.add_row(_plain(label), *(str(counts[name][label]) for name in SPLITS))
    table.add_section()
    parts = [plan.examples[plan.examples["split"] == name] for name in SPLITS]
    table.add_row("all examples", *(str(len(part)) for part in parts))
    table.add_row("images", *(str(part["source_id"].nunique()) for part in parts))
    table.add_row("groups", *(str(part["group"].nunique()) for part in parts))
    return table


def _group_table(plan: Plan) -> Table:
    """Examples by group and class."""
    from rich.table import Table

    names = list(plan.split_info["counts"]["train"])
    labels = plan.examples["label"].fillna("unlabelled")
    found: dict[tuple[str, str], Counter[str]] = {}
    for key, split, label in zip(
        plan.examples["group"], plan.examples["split"], labels, strict=True
    ):
        found.setdefault((key, split), Counter())[label] += 1
    shown = list(found.items())[:_GROUPS_SHOWN]
    table = Table(title=f"groups ({len(shown)} of {len(found)} shown)")
    table.add_column("group")
    table.add_column("split")
    for name in names:
        table.add_column(_plain(name), justify="right")
    for (group, split), counts in shown:
        table.add_row(_plain(group), split, *(str(counts[name]) for name in names))
    return table


def _shard_table(plan: Plan) -> Table:
    from rich.table import Table

    table = Table(title="shards")
    table.add_column("file")
    table.add_column("examples", justify="right")
    for name, count in plan.examples.groupby("shard", sort=False).size().items():
        table.add_row(_plain(str(name)), str(count))
    return table


def _plain(text: str) -> Any:
    """Text in a cell as it is, brackets and all."""
    from rich.text import Text

    return Text(text)


if __name__ == "__main__":
    main()
