"""`deadlib-convert`: a folder of images becomes a dataset."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deadlib.cli import terminal
from deadlib.cli.sequences import main as sequences
from deadlib.cli.verify import cores
from deadlib.cli.verify import main as verify
from tfrecords_tools.settings import MODALITIES

if TYPE_CHECKING:
    from rich.table import Table

    from tfrecords_tools import ConversionSettings, DaskCluster, Plan
    from tfrecords_tools.journal import Journal
    from tfrecords_tools.pool import Workers
    from tfrecords_tools.share import Share

_SKIPPED_SHOWN = 20
_GROUPS_SHOWN = 40
_WHO_WORKS = ("--workers", "--scheduler", "--shard-range")


def _grid(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    rows, separator, columns = value.lower().partition("x")
    if not (separator and rows.isdecimal() and columns.isdecimal()):
        raise click.BadParameter(f"{value!r}; expected ROWSxCOLUMNS, for example 2x2")
    if not int(rows) or not int(columns):
        raise click.BadParameter(f"{value!r}; expected 1x1 or more")
    return int(rows), int(columns)


def _shares(_: click.Context, __: click.Parameter, value: str) -> tuple[float, ...]:
    try:
        return tuple(float(share) for share in value.split(","))
    except ValueError:
        message = f"{value!r}; expected three shares such as 0.7,0.15,0.15"
        raise click.BadParameter(message) from None


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip()) if value else ()


def _encoding(_: click.Context, __: click.Parameter, value: str) -> str:
    from tfrecords_tools.errors import PlanError
    from tfrecords_tools.settings import parse_encoding

    try:
        parse_encoding(value)
    except PlanError as error:
        raise click.BadParameter(str(error)) from None
    return value


def _share(_: click.Context, __: click.Parameter, value: str | None) -> Share | None:
    from tfrecords_tools.errors import PlanError
    from tfrecords_tools.share import parse_share

    try:
        return parse_share(value) if value is not None else None
    except PlanError as error:
        raise click.BadParameter(str(error)) from None


class _Convert(terminal.Command):
    """`deadlib-convert SOURCE OUT`, and what follows `verify` and `sequences`."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        other = {"verify": verify, "sequences": sequences}.get(args[0]) if args else None
        if other is not None:
            return other.make_context(f"{info_name} {other.name}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)


@click.command(cls=_Convert, name="convert")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path), required=False)
@click.option(
    "--labels",
    type=click.Choice(
        ["folder", "names", "pattern", "table", "boxes", "rules", "annotations", "none"]
    ),
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
    "--label-names",
    callback=_names,
    metavar="A,B,...",
    help="Classes, one of which stands somewhere in every file name (folders do not count); of "
    "labels within each other the longest.",
)
@click.option(
    "--table",
    metavar="FILE",
    help="CSV or Parquet with one row per image: its path below SOURCE (it may contain {channel}), "
    "its label and any other columns. Without a path column it is joined by the columns that it "
    "shares with the images, such as well.",
)
@click.option(
    "--boxes",
    metavar="FILE",
    help="CSV or Parquet with one row per object: path, xmin, ymin, xmax, ymax in pixels, label.",
)
@click.option(
    "--label-rule",
    "label_rules",
    multiple=True,
    metavar="RULE",
    help="Label by what is known of an image: 'sick: dying_share >= 0.9 and time_index < 5'. May "
    "be repeated: the first rule that holds gives the label, images that meet none are left out.",
)
@click.option(
    "--annotations",
    metavar="LOG.csv",
    help="Label images, crops or sequences by what annotators answered. "
    "Label rules beside it add crops that nobody annotated.",
)
@click.option(
    "--agreement",
    type=click.Choice(["concordance", "majority", "votes"]),
    default="concordance",
    help="Which annotated items are kept: concordance, those on which all agree and nobody is "
    "unsure; majority, those with one answer of more than half; votes, all but those on which all "
    "are unsure. The last two keep the shares of the votes, for training.",
)
@click.option("--path-column", default="path", metavar="NAME", help="The table's column of paths.")
@click.option("--label-column", default="label", metavar="NAME", help="The table's labels.")
@click.option(
    "--unlisted",
    type=click.Choice(["refuse", "skip"]),
    default="refuse",
    help="skip leaves out images that the table does not list, as where it holds chosen wells.",
)
@click.option(
    "--channels",
    callback=_names,
    metavar="A,B,...",
    help="Channel names in order; with {channel} each is a file of its own.",
)
@click.option(
    "--z",
    metavar="PLANE",
    help="Of z-stacks: the number of a plane from 1, max, mean, or focus (the sharpest plane).",
)
@click.option(
    "--pages",
    type=click.Choice(["time", "z", "channel"]),
    help="What the pages of a TIFF are where it does not say.",
)
@click.option(
    "--layout",
    type=click.Choice(["auto", "files", "harmony", "imagexpress", "metamorph"]),
    default="auto",
    help="How a plate export is read. auto goes by its index file, or by the names if there is a "
    "pattern; files reads every file on its own.",
)
@click.option("--tile", callback=_grid, metavar="RxC", help="Cut each image into a grid, as 2x2.")
@click.option(
    "--tiles",
    type=click.Choice(["2", "4", "6", "8"]),
    help="Cut each image into so many tiles: 4 is --tile 2x2, 8 is 2x4.",
)
@click.option("--crop-px", type=int, metavar="N", help="Cut square crops of this side.")
@click.option(
    "--stride-px", type=int, metavar="N", help="Step between crops.  [default: their side]"
)
@click.option(
    "--lattice",
    type=click.Choice(["inclusive", "exclusive"]),
    default="inclusive",
    help="inclusive cuts every crop that fits; exclusive leaves out those that end exactly at the "
    "lower or right border, as DeadNet's published data did (54 instead of 63 of a frame).",
)
@click.option(
    "--context",
    type=float,
    default=0.0,
    metavar="SHARE",
    help="Boxes: a square of the longer side x (1 + SHARE) around the object.",
)
@click.option("--box-px", type=int, metavar="N", help="Boxes: a square of this side instead.")
@click.option(
    "--pixel-size-um",
    type=click.FloatRange(min=0, min_open=True),
    metavar="UM",
    help="Micrometres per pixel of the images.  [default: what the files or the table say]",
)
@click.option(
    "--rescale-to-um",
    type=click.FloatRange(min=0, min_open=True),
    metavar="UM",
    help="Resample every image to this pixel size first, as for images of several objectives.",
)
@click.option("--modality", type=click.Choice(MODALITIES), help="How the images were taken.")
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
@click.option(
    "--find-similar/--no-find-similar",
    default=True,
    help="Look for images that show the same cells: overlapping fields and near-duplicates.  "
    "[default: look]",
)
@click.option(
    "--join-similar",
    is_flag=True,
    help="Make one group of groups with such images, so that they never stand in two splits.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Decides which groups go where.")
@click.option(
    "--normalise-to",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="The control wells by which plates are compared, as treatment=DMSO; may be repeated.  "
    "[default: all wells]",
)
@click.option(
    "--illumination", is_flag=True, help="Fit the shading of each plate and channel as well."
)
@click.option("--name", metavar="NAME", help="Name of the dataset.  [default: that of SOURCE]")
@click.option(
    "--encoding",
    default="raw",
    callback=_encoding,
    metavar="NAME",
    help="raw is read fastest; png is smaller. Both keep every bit; jpeg, or jpeg:90 with a "
    "quality, loses data.",
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
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.yaml",
    help="Any of these options by its name in a YAML file (crop_px: 256); what stands on the "
    "command line wins.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes.  [default: the number of cores]"
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Work on the Dask cluster of this scheduler, such as tcp://node7:8786, instead of here.",
)
@click.option(
    "--shard-range",
    "share",
    metavar="i/N",
    callback=_share,
    help="Write only part i of N of the shards: for the jobs of an array on one shared disk. "
    "Whichever finds all shards written finishes the dataset.",
)
@click.option("--overwrite", is_flag=True, help="Replace the dataset that is in OUT.")
@click.option(
    "--append",
    is_flag=True,
    help="Add what is new in SOURCE to the dataset in OUT, with that dataset's own settings; what "
    "it holds keeps its split, its row and its bytes.",
)
@click.option("--dry-run", is_flag=True, help="Show the plan, write nothing; OUT may be left out.")
def main(
    source: Path,
    out: Path | None,
    settings_file: Path | None,
    workers: int | None,
    scheduler: str | None,
    share: Share | None,
    overwrite: bool,
    append: bool,
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

    \b
    deadlib-convert images dataset --append     adds what is new in images
    deadlib-convert verify dataset              reads a dataset back; --help after it tells more
    deadlib-convert sequences images items.csv  lists what experts are to annotate

    A folder of images that is named verify or sequences is given as ./verify.
    """
    from tfrecords_tools import open_dataset, write_dataset
    from tfrecords_tools.conversion import check_out
    from tfrecords_tools.cut import grid_of
    from tfrecords_tools.encodings import in_words
    from tfrecords_tools.journal import Journal
    from tfrecords_tools.memory import peak_memory
    from tfrecords_tools.shards import PROGRESS_FOLDER
    from tfrecords_tools.write import write_share

    if out is None and (append or not dry_run):
        raise click.UsageError("give OUT, the folder for the dataset, or --dry-run")
    if append and overwrite:
        raise click.UsageError("--append keeps the dataset, --overwrite replaces it; choose one")
    if share is not None and (overwrite or append):
        raise click.UsageError(
            "--shard-range makes a new dataset: with --overwrite every job would take away what "
            "the others have written (remove OUT before), and --append is for one command"
        )
    if scheduler is not None and workers is not None:
        raise click.UsageError("--workers are processes here, --scheduler has its own; choose one")
    tiles = options.pop("tiles")
    if tiles is not None and options["tile"] is not None:
        raise click.UsageError("--tile and --tiles are two grids; choose one")
    given = _given(options, settings_file)
    if tiles is not None:
        given["tile"] = grid_of(int(tiles))
    settings = _settings(options | given)
    peak = click.get_current_context().with_resource(peak_memory())
    journal = None
    if out is not None and not dry_run:
        check_out(source, out, overwrite or share is not None, append)
        journal = Journal(out / PROGRESS_FOLDER, source, share.begin if share else 0.0)
    place: Workers = workers or cores()
    if scheduler is not None:
        place = _cluster(scheduler, source, None if dry_run else out)
    with journal or nullcontext(), terminal.progress() as progress:
        onto = out if append else None
        plan = _plan(source, settings, list(given), onto, place, journal, progress)
    nothing_new = append and not plan.new_examples
    _show_plan(plan, groups=dry_run and not nothing_new)
    if out is None or dry_run:
        terminal.note("dry run: nothing was written")
        return
    how: dict[str, Any] = {"workers": place, "command": _command(sys.argv)}
    with terminal.native_output_to(None), terminal.progress() as progress:
        missing = []
        if share is not None:
            missing = write_share(plan, out, share, progress=progress, **how)
        else:
            write_dataset(plan, out, overwrite=overwrite, progress=progress, **how)
    if share is not None and missing:
        terminal.note(
            f"share {share.number}/{share.count} is written; {len(missing)} shards of other "
            "shares are missing yet: the job that writes the last one finishes the dataset, or "
            "the same command without --shard-range does"
        )
        return
    if nothing_new:
        terminal.show(f"{out}: nothing new in {source}; the dataset is as it was")
        return
    shards = open_dataset(out).info["shards"]
    size_mb = sum(shard["bytes"] for shard in shards) / 1e6
    added = f" ({plan.new_examples} of them new)" if append else ""
    terminal.show(
        f"{out}: {len(plan.examples)} examples{added} in {len(shards)} shards, {size_mb:.1f} MB"
    )
    terminal.show(
        in_words(plan.encoding, _pixels_bytes(plan), sum(shard["bytes"] for shard in shards))
    )
    if peak():
        terminal.note(f"peak memory {peak() / 2**20:.0f} MiB, all processes together")
    terminal.note(f"next: deadlib-inspect {shlex.quote(str(out))}")


def _cluster(address: str, source: Path, out: Path | None) -> DaskCluster:
    """The cluster, connected until the command ends, whose workers see the same files."""
    from tfrecords_tools import DaskCluster

    cluster: DaskCluster = click.get_current_context().with_resource(DaskCluster(address, source))
    terminal.note(f"waiting for the workers of {address}")
    cluster.check(out)
    return cluster


def _command(arguments: list[str]) -> str:
    """How the dataset is made again, whoever shared the work: the same for all of them."""
    words = [Path(arguments[0]).name]
    following = iter(arguments[1:])
    for word in following:
        if word in _WHO_WORKS:
            next(following, None)
        elif word.partition("=")[0] not in _WHO_WORKS:
            words.append(word)
    return shlex.join(words)


def _plan(
    source: Path,
    settings: ConversionSettings,
    given: Sequence[str],
    onto: Path | None,
    workers: Workers,
    journal: Journal | None,
    progress: terminal.ProgressCallback,
) -> Plan:
    """A new plan, or that of what is added to the dataset `onto`."""
    from tfrecords_tools import make_plan, open_dataset

    if onto is None:
        return make_plan(source, settings, workers=workers, journal=journal, progress=progress)
    from tfrecords_tools.append import addition_settings, plan_addition

    dataset = open_dataset(onto)
    named = [*given, "table", "labels"] if "boxes" in given else given
    chosen = {name: getattr(settings, name) for name in named if hasattr(settings, name)}
    return plan_addition(
        dataset,
        source,
        addition_settings(dataset, chosen),
        workers=workers,
        journal=journal,
        progress=progress,
    )


def _given(options: dict[str, Any], settings_file: Path | None) -> dict[str, Any]:
    """What stands in the settings file, and what stands on the command line, which wins.

    Raises PlanError where the file cannot be used.
    """
    context = click.get_current_context()
    named = {
        name: value
        for name, value in options.items()
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    if settings_file is None:
        return named
    from tfrecords_tools.settings_file import read_settings

    found = read_settings(settings_file)
    if "boxes" in named:
        found = {name: value for name, value in found.items() if name not in ("table", "labels")}
    return found | named


def _pixels_bytes(plan: Plan) -> int | None:
    import numpy as np

    if len(plan.facts["dtypes"]) > 1:
        return None
    depth = np.dtype(next(iter(plan.facts["dtypes"]))).itemsize
    pixels = int((plan.examples["height_px"] * plan.examples["width_px"]).sum())
    return pixels * len(plan.channels) * depth


def _settings(options: dict[str, Any]) -> ConversionSettings:
    """The options as settings; a table that lies here is meant, not one of that name in SOURCE.

    Raises UsageError where an option's value is none, or options contradict each other.
    """
    from tfrecords_tools import ConversionSettings, PlanError

    labels, boxes = options.pop("labels"), options.pop("boxes")
    if boxes is not None and options["table"] is not None:
        raise click.UsageError("--boxes and --table are two tables; give one")
    if boxes is not None and labels not in (None, "boxes"):
        raise click.UsageError(f"--boxes gives the labels, --labels {labels} says otherwise")
    table = boxes if boxes is not None else options["table"]
    if table is not None and Path(table).is_file():
        table = str(Path(table).resolve())
    log = options["annotations"]
    if log is not None and Path(log).is_file():
        options = {**options, "annotations": str(Path(log).resolve())}
    if labels is None:
        labels = _label_source(boxes, options)
    try:
        return ConversionSettings(**{**options, "labels": labels, "table": table})
    except PlanError as error:
        raise click.UsageError(str(error)) from None


def _label_source(boxes: str | None, options: dict[str, Any]) -> str:
    pattern = options["pattern"]
    if boxes is not None:
        return "boxes"
    if options["annotations"] is not None:
        return "annotations"
    if options["label_rules"]:
        return "rules"
    if options["label_names"]:
        return "names"
    if options["table"] is not None:
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
    if settings.labels == "annotations":
        unit = "crops of annotated sequences"
        unit += f" and of {settings.crop_px} px beside" if settings.label_rules else ""
    elif settings.tile is not None:
        unit = f"tiles, {settings.tile[0]} x {settings.tile[1]} of each image"
    elif settings.crop_px is not None:
        unit = f"crops of {settings.crop_px} px every {settings.stride_px or settings.crop_px} px"
        unit += ", exclusive lattice" if settings.lattice == "exclusive" else ""
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
