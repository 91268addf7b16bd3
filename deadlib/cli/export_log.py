"""`deadlib-annotate export`: what a panel said, as a log that deadlib-convert takes."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from deadlib.cli import terminal


@click.command(cls=terminal.Command, name="export")
@click.argument("project", type=click.Path(path_type=Path, file_okay=False))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False), metavar="LOG.csv")
@click.option("--overwrite", is_flag=True, help="Replace LOG.csv.")
def main(project: Path, out: Path, overwrite: bool) -> None:
    """Write what annotators of the panel PROJECT said into LOG.csv, for deadlib-convert.

    LOG.csv has every answer that was ever given, also those that were taken back, and what was
    adjudicated. deadlib-convert uses what counts.

    \b
    Example:
      deadlib-annotate export panel log.csv
      deadlib-convert images dataset --annotations log.csv
    """
    from deadlib.errors import PanelError

    if out.exists() and not overwrite:
        raise click.UsageError(f"{out} is there already; give another name, or --overwrite")
    try:
        from deadlib.panel import Panel, Project
        from deadlib.panel.export import export_log
    except ModuleNotFoundError as error:
        raise PanelError(
            f"a panel needs {error.name}, which is an extra: pip install 'deadlib[annotate]'"
        ) from None
    from tfrecords_tools.annotations import judged, read_annotations
    from tfrecords_tools.settings import AGREEMENTS

    panel = Panel(Project.open(project))
    try:
        table = export_log(panel, out)
    finally:
        panel.close()
    terminal.show(f"{out}: {len(table):,} rows, {table['item'].nunique():,} items")
    # read back as a conversion does
    responses = read_annotations(out)
    kept = [judged(responses, rule)["label"].notna().sum() for rule in AGREEMENTS]
    terminal.show(
        f"{len(responses):,} answers of {responses['annotator'].nunique()} annotators count; of "
        f"{responses['item'].nunique():,} items "
        + ", ".join(f"{n:,} are kept by {rule}" for rule, n in zip(AGREEMENTS, kept, strict=True))
    )
    is_dataset = "row" in panel.project.items
    images = "IMAGES" if is_dataset else shlex.quote(panel.project.settings.source)
    log = shlex.quote(str(out))
    terminal.note(f"next: deadlib-convert {images} dataset --annotations {log}")


if __name__ == "__main__":
    main()
