"""deadlib-annotate: ask annotators, and see what their answers are worth."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deadlib.cli import terminal
from deadlib.cli.export_log import main as export_log

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from deadlib.annotation import Concordance
    from deadlib.panel import Panel
    from tfrecords_tools import ConversionSettings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Ask annotators what they see in images, and see what their answers are worth.

    \b
    Example:
      deadlib-annotate create panel images
      deadlib-annotate annotators panel --add Ann --add Bob
      deadlib-annotate serve panel
      deadlib-annotate export panel log.csv
      deadlib-annotate concordance log.csv --out concordance
    """


PORT = 8000
QUEUES = ("uncertainty", "label_error", "entropy", "margin", "out_of_distribution")
_LOCAL = ("127.0.0.1", "localhost", "::1")


def _numbers(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[int, ...]:
    parts = terminal.names(text)
    if text is not None and (len(parts) != 3 or not all(part.isdecimal() for part in parts)):
        raise click.BadParameter(f"found {text!r}, expected three numbers, such as 50,500,50")
    return tuple(map(int, parts))


@main.command(cls=terminal.Command)
@click.argument("project", type=click.Path(path_type=Path, file_okay=False))
@click.argument("source", type=click.Path(path_type=Path, file_okay=False))
@click.option("--pattern", metavar="TEXT", help="File names, as in deadlib-convert.")
@click.option("--table", metavar="FILE", help="Metadata of the images: CSV or Parquet.")
@click.option(
    "--labels",
    type=click.Choice(["folder", "pattern", "table", "none"]),
    help="Where known labels stand.  [default: none; in a trial folder, or the table]",
)
@click.option("--channels", metavar="A,B", help="Channels in order; {channel} in the pattern.")
@click.option("--z", help="Of a z-stack: the number of a plane from 1, max, mean or focus.")
@click.option("--pages", type=click.Choice(["time", "z", "channel"]), help="As in deadlib-convert.")
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.yaml",
    help="Settings of a conversion, which say how images are read and cut.",
)
@click.option("--crop-px", type=click.IntRange(min=1), metavar="N", help="Items are crops.")
@click.option("--stride-px", type=click.IntRange(min=1), metavar="N", help="Step of the crops.")
@click.option("--boxes", metavar="FILE", help="Items are boxes: path, xmin, ymin, xmax, ymax.")
@click.option(
    "--windows",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Items are windows: path, top_px, left_px, height_px, width_px.",
)
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    metavar="N",
    help="Items are crops of N consecutive frames, shown as a loop.",
)
@click.option("--where", multiple=True, metavar="CONDITION", help="Of sequences only such frames.")
@click.option("--split", help="Of a dataset only this split.")
@click.option("--classes", metavar="A,B", help="The answers.  [default: healthy,sick]")
@click.option(
    "--unsure/--no-unsure",
    default=None,
    help="Offer the answer unsure.  [default: yes; in a trial no]",
)
@click.option("--assignment", type=click.Choice(["shared", "everyone"]), default="shared",
              help="Whether each image goes to one annotator, or to all.")  # fmt: skip
@click.option("--overlap-every", type=click.IntRange(0), metavar="K", default=5,
              help="Each K-th image is one that another annotator has answered.")  # fmt: skip
@click.option("--repeat-every", type=click.IntRange(0), metavar="K", default=0,
              help="After K images one of the annotator's own comes again; 0: never.")  # fmt: skip
@click.option(
    "--trial",
    callback=_numbers,
    metavar="A,B,C",
    help="People learn from labelled images: A unseen, B with their label, C unseen; 50,500,50 as "
    "published.",
)
@click.option("--same-images", is_flag=True, help="In a trial everybody gets the same images.")
@click.option(
    "--queue",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PREDICTIONS",
    help="Ask first about what a model doubts most: a table of deadlib-predict.",
)
@click.option(
    "--by", type=click.Choice(QUEUES), default="uncertainty", help="What --queue goes by."
)
@click.option("--show", metavar="A,B", help="Metadata that annotators may see.  [default: none]")
@click.option("--title", help="What stands above the page.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the order and of every draw.")
@click.option(
    "--database",
    metavar="URL",
    help="postgresql://user@host/name.  [default: panel.sqlite in PROJECT]",
)
def create(
    project: Path,
    source: Path,
    settings_file: Path | None,
    queue: Path | None,
    by: str,
    **options: Any,
) -> None:
    """Make the folder PROJECT, a panel about the images in SOURCE.

    SOURCE is a folder of images as deadlib-convert reads it, or a dataset. Images are shown as they
    are, or cut. PROJECT/panel.yaml holds all settings, and can be edited until the first answer.

    \b
    Example:
      deadlib-annotate create panel images
      deadlib-annotate create panel dataset --queue predictions.parquet
      deadlib-annotate create panel lapse/images --frames 10 --crop-px 256 \\
          --pattern '{position}_t{time_index}.tif'
      deadlib-annotate create trial images --trial 50,500,50
    """
    from deadlib.panel.project import create as create_project

    rank = None if queue is None else partial(_ranked, queue, by, options["seed"])
    given = {
        "assignment": options["assignment"],
        "overlap_every": options["overlap_every"],
        "repeat_every": options["repeat_every"],
        "seed": options["seed"],
        "shown": list(terminal.names(options["show"])),
        "database": options["database"],
        "title": options["title"],
    }
    if options["trial"]:
        before, shown, after = options["trial"]
        same = options["same_images"]
        given["mode"] = "trial"
        given["trial"] = {"before": before, "shown": shown, "after": after, "same_images": same}
    elif options["same_images"]:
        raise click.UsageError("--same-images belongs to --trial")
    with terminal.progress() as progress:
        made = create_project(
            project,
            source,
            conversion=_conversion(settings_file, options),
            frames=options["frames"],
            where=options["where"],
            windows=options["windows"],
            split=options["split"],
            classes=terminal.names(options["classes"]) or None,
            unsure=options["unsure"],
            rank=rank,
            progress=progress,
            notes=terminal.note,
            **{key: value for key, value in given.items() if value is not None},
        )
    answers = ", ".join(f"{name} ({key})" for name, key in made.settings.keys.items())
    terminal.show(f"{project}: {len(made.items):,} items; answers {answers}")
    terminal.note(f"next: deadlib-annotate annotators {shlex.quote(str(project))} --add NAME")


@main.command(cls=terminal.Command)
@click.argument("project", type=click.Path(path_type=Path, file_okay=False))
@click.option("--add", multiple=True, metavar="NAME", help="Add an annotator and show their link.")
@click.option(
    "--new-link", multiple=True, metavar="NAME", help="Show a new link; the old one ends."
)
@click.option("--remove", multiple=True, metavar="NAME", help="Take the link away; answers stay.")
@click.option("--url", default=f"http://127.0.0.1:{PORT}", help="Where the panel will be served.")
def annotators(
    project: Path,
    add: tuple[str, ...],
    new_link: tuple[str, ...],
    remove: tuple[str, ...],
    url: str,
) -> None:
    """Add annotators to the panel PROJECT, give new links, or list who there is.

    A link is shown once: it is kept nowhere. Whoever has it answers in that name.

    \b
    Example:
      deadlib-annotate annotators panel --add Ann --add Bob
      deadlib-annotate annotators panel
    """
    from rich.table import Table

    panel = _panel(project)
    for name in add:
        terminal.show(f"{name}: {url.rstrip('/')}/a/{panel.add_annotator(name)}")
    for name in new_link:
        terminal.show(f"{name}: {url.rstrip('/')}/a/{panel.new_token(name)}")
    for name in remove:
        panel.remove_access(name)
        terminal.show(f"{name}: has no link any more")
    if add or new_link or remove:
        return
    table = Table()
    for heading in ("annotator", "answers", "skipped", "access"):
        table.add_column(heading, justify="left" if heading in ("annotator", "access") else "right")
    for row in panel.annotators().itertuples():
        progress = panel.progress(str(row.name))
        access = "yes" if row.access else "no"
        table.add_row(_plain(str(row.name)), str(progress.answered), str(progress.skipped), access)
    terminal.show(table)


@main.command(cls=terminal.Command)
@click.argument("project", type=click.Path(path_type=Path, file_okay=False))
@click.option("--host", default="127.0.0.1", help="Address to answer on; 0.0.0.0: the network's.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, help="0: any free one.")
@click.option(
    "--name", "names", multiple=True, metavar="HOST", help="A name that browsers open it by."
)
@click.option(
    "--keep-link", is_flag=True, help="The administrator's earlier link stays; none is shown."
)
def serve(project: Path, host: str, port: int, names: tuple[str, ...], keep_link: bool) -> None:
    """Open the panel PROJECT in browsers, until Ctrl-C.

    By default this machine alone can open it. Every answer is on the disk before the page goes on,
    so that it can be stopped and started at any time.

    \b
    Example:
      deadlib-annotate serve panel
    """
    with _extra():
        from deadlib.panel.site import create_site
        from deadlib.web import serve as serve_site

    panel = _panel(project)
    if host not in _LOCAL:
        terminal.warn(
            "links and answers travel unencrypted in this network; docs/panel.md says how to put "
            "the panel behind https"
        )

    def ready(address: str) -> None:
        if not keep_link:
            terminal.show(f"administrator: {address.rstrip('/')}/admin/{panel.admin_token()}")
        terminal.note(f"{project}: open at {address}; Ctrl-C ends it")

    try:
        serve_site(create_site(panel, hosts=names), host, port, ready=ready)
    finally:
        panel.close()
    terminal.note("stopped; every answer that was given is kept")


@main.command(cls=terminal.Command)
@click.argument("project", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for results.html, results.json and the figures.",
)
@click.option(
    "--predictions",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Table of deadlib-predict: the model stands beside the people.",
)
@click.option("--bootstrap", metavar="N", type=click.IntRange(100), default=2000,
              help="Resamples for each interval.")  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0), default=0, help="The same seed gives the same intervals."
)
def results(project: Path, out: Path, predictions: Path | None, bootstrap: int, seed: int) -> None:
    """Say how far the annotators of the panel PROJECT agree; of a trial, what people could do.

    The panel may be open meanwhile: what was answered until now counts.

    \b
    Example:
      deadlib-annotate results panel --out results
      deadlib-annotate results trial --out results --predictions run/predictions.parquet
    """
    from deadlib.bootstrap import Resampling

    panel = _panel(project)
    from deadlib.panel.results import panel_page

    try:
        page = panel_page(panel, predictions=predictions, resampling=Resampling(bootstrap, seed))
    finally:
        panel.close()
    if page is None:
        terminal.show(f"{project}: nobody has answered yet")
        return
    terminal.show(page.lead)
    for _, remark in page.remarks:
        (terminal.show if remark.level == "note" else terminal.warn)(remark.text)
    terminal.show(f"report: {page.write(out)}")


@main.command(cls=terminal.Command)
@click.argument("log", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for concordance.html, concordance.json and the figures.  [default: none written]",
)
@click.option("--bootstrap", metavar="N", type=click.IntRange(100), default=2000,
              help="Resamples for each interval.")  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0), default=0, help="The same seed gives the same intervals."
)
def concordance(log: Path, out: Path | None, bootstrap: int, seed: int) -> None:
    """Say how far the annotators in LOG agree, and how good a model on their labels can be.

    LOG is a CSV with one row per response and the columns annotator, item, position, response
    (healthy, sick or unsure) and the item's window and frames; docs/annotate.md lists them.
    Intervals are over positions.

    \b
    Example:
      deadlib-annotate concordance annotations.csv
      deadlib-annotate concordance annotations.csv --out concordance
    """
    from deadlib.annotation import concordance_of, write_report
    from deadlib.annotation.words import warnings
    from deadlib.bootstrap import Resampling
    from tfrecords_tools.annotations import read_annotations

    found = concordance_of(read_annotations(log), resampling=Resampling(bootstrap, seed))
    for warning in warnings(found):
        terminal.warn(warning)
    terminal.show(_table(found))
    if out is not None:
        terminal.show(f"report: {write_report(found, out, log=log)}")


main.add_command(export_log)


def _panel(project: Path) -> Panel:
    with _extra():
        from deadlib.panel import Panel, Project
    return Panel(Project.open(project))


@contextmanager
def _extra() -> Iterator[None]:
    """Raise PanelError where what a panel needs is not installed."""
    from deadlib.errors import PanelError

    try:
        yield
    except ModuleNotFoundError as error:
        raise PanelError(
            f"a panel needs {error.name}, which is an extra: pip install 'deadlib[annotate]'"
        ) from None


def _conversion(settings_file: Path | None, options: dict[str, Any]) -> ConversionSettings | None:
    """How the images are read and cut; None where nothing was said of it. Raises UsageError."""
    from tfrecords_tools import ConversionSettings, PlanError
    from tfrecords_tools.settings_file import read_settings

    found = read_settings(settings_file) if settings_file is not None else {}
    names = ("pattern", "table", "labels", "z", "pages", "crop_px", "stride_px")
    found |= {name: options[name] for name in names if options[name] is not None}
    if options["channels"]:
        found["channels"] = terminal.names(options["channels"])
    if options["boxes"] is not None:
        found |= {"labels": "boxes", "table": options["boxes"]}
    if options["trial"] and "labels" not in found:
        found["labels"] = "table" if found.get("table") else "folder"
    if not found:
        return None
    if found.get("table") is not None and Path(found["table"]).is_file():
        found["table"] = str(Path(found["table"]).resolve())
    try:
        return ConversionSettings(**{"labels": "none", **found})
    except PlanError as error:
        raise click.UsageError(str(error)) from None


def _ranked(queue: Path, by: str, seed: int, items: pd.DataFrame) -> pd.DataFrame:
    from deadlib.panel.queue import queue_of

    found = queue_of(items, queue, by, seed=seed)
    for note in found.notes:
        terminal.note(note)
    return found.items


def _plain(text: str) -> Any:
    """Text in a cell as it is, brackets and all."""
    from rich.text import Text

    return Text(text)


def _table(found: Concordance) -> Table:
    from rich.table import Table

    from deadlib.annotation.sections import IMPLIED
    from deadlib.annotation.words import percent, percent_interval

    table = Table()
    table.add_column(f"{found.responses:,} responses, {found.items:,} items")
    table.add_column("", justify="right")
    table.add_column(f"{100 * found.resampling.level:g} % interval")
    for answer in found.answers:
        given = sum(bar.counts[answer] for bar in found.by_annotator)
        table.add_row(f"answered {answer}", f"{100 * given / found.responses:.1f}\u00a0%")
    table.add_row("items answered by several, none unsure", f"{found.overlapping:,}")
    table.add_row("of these answered differently", f"{found.disagreements:,}")
    rows = {"disagreement": found.disagreement}
    rows |= {name: found.implied[key] for key, name in IMPLIED.items()}
    if found.unexposed:
        rows[f"{found.unexposed.expected}, of answers to unexposed items"] = found.unexposed.share
    for name, estimate in rows.items():
        table.add_row(name, percent(estimate), percent_interval(estimate) or estimate.reason or "")
    for pair in found.pairs:
        table.add_row(
            f"{pair.first} and {pair.second} agree, of {pair.items:,}",
            percent(pair.agreement),
            percent_interval(pair.agreement) or pair.agreement.reason or "",
        )
    return table
