"""`deadlib-export`: write a SavedModel for TensorFlow Serving."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from deadlib.cli import terminal


@click.command(cls=terminal.Command, name="export")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--report",
    metavar="REPORT",
    type=click.Path(path_type=Path),
    help="What deadlib-evaluate wrote on this run's predictions, for the model card.  [default: "
    "the report that lies in RUN]",
)
@click.option(
    "--card",
    metavar="WORDS.yaml",
    type=click.Path(path_type=Path),
    help="What only you know, for the model card: description, intended_use, not_for, limits, "
    "authors, contact, licence, data_licence, citation.",
)
@click.option(
    "--onnx",
    is_flag=True,
    help="Also write the network with its preprocessing as assets.extra/model.onnx, for programs "
    "that know no TensorFlow. Needs pip install 'deadlib[onnx]'.",
)
def main(run: Path, out: Path, report: Path | None, card: Path | None, onnx: bool) -> None:
    """Write the network of the run RUN as a SavedModel into OUT/1 (or the next free number).

    It takes images as floats, or the bytes of PNG, JPEG and BMP files, and gives class names,
    probabilities and the embedding. Preprocessing is inside; TensorFlow alone runs it. The answers
    are compared with the run's own on stored images before the folder gets its name.

    docs/serve.md shows how to ask it, through TensorFlow Serving and from Python.

    \b
    deadlib-export runs/first served/first
    """
    from deadlib.runs import LOG, Run

    opened = Run.open(run)
    log = run / LOG if os.access(run, os.W_OK) else None
    with terminal.native_output_to(log), terminal.progress() as progress:
        from deadlib.serving import export

        version = export(opened, out, report=report, card=card, onnx=onnx, progress=progress)
    described = json.loads((version / "assets.extra" / "deadlib.json").read_text(encoding="utf-8"))
    terminal.show(_signatures(described))
    check = described["check"]
    largest = max(check["largest_difference"].values())
    terminal.show(
        f"{version}: answers {check['examples']} images ({check['images']}) as the run does, to "
        f"{largest:.0e}"
    )
    terminal.show(f"model card: {version / 'assets.extra' / 'card.html'}")
    made = json.loads((version / "assets.extra" / "card.json").read_text(encoding="utf-8"))
    for remark in made["remarks"]:
        if remark["level"] == "alarm":
            terminal.warn(remark["text"])
    terminal.note(f"next: deadlib-serve {out}")


def _signatures(described: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(title=f"classes: {', '.join(described['classes'])}")
    table.add_column("signature")
    table.add_column("tensor")
    table.add_column("what it is")
    for name, inputs in described["signatures"].items():
        for tensor, meaning in inputs.items():
            table.add_row(name, tensor, meaning)
    for tensor, meaning in described["outputs"].items():
        table.add_row("answer", tensor, meaning)
    return table


if __name__ == "__main__":
    main()
