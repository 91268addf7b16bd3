"""A whole plate of Cell Painting: conversion and prediction, their speed and memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np
import tifffile
from common import peak_of

WELLS = 384
CHANNELS = ("ch1", "ch2", "ch3", "ch4")
PATTERN = "r{row}c{column}f{field}p01-{channel}sk1fk1fl1.tiff"
RECIPE = """
dataset: {dataset}
model: {{name: efficientnetb0}}
input: {{size_px: [512, 512], fit: crop, crops: 5, equalise: {equalise}, normalise: per_image}}
training: {{steps: 1, batch: 1}}
validation: {{examples: 2}}
"""


@click.command()
@click.option("--wells", default=4, help="of the smaller part of a plate; the larger has 4 times")
@click.option("--fields", default=9)
@click.option("--side-px", default=1080)
@click.option("--equalise/--no-equalise", default=True)
def plate(wells: int, fields: int, side_px: int, equalise: bool) -> None:
    """Convert and predict parts of a 384-well plate with EfficientNet-B0 on five crops of 512 px.

    Memory must not grow with the plate; the time of the whole plate is told from that of a field.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, large = (folder / f"fields-{count}" for count in (wells, 4 * wells))
        write_fields(small, wells, fields, side_px)
        write_fields(large, 4 * wells, fields, side_px)
        for source in (small, large):
            dataset = folder / f"dataset-{source.name}"
            arguments = [str(source), str(dataset), "--pattern", PATTERN, "--channels"]
            arguments += [",".join(CHANNELS), "--table", "plate.csv", "--workers", "2"]
            arguments += ["--fractions", "0.5,0.5,0"]
            report("convert", peak_of("convert", arguments), source, fields)
        recipe = folder / "recipe.yaml"
        recipe.write_text(
            RECIPE.format(dataset=folder / f"dataset-{small.name}", equalise=equalise)
        )
        run = folder / "run"
        peak_of("train", [str(recipe), "--run", str(run)])
        for source in (small, large):
            arguments = [str(run), str(folder / f"dataset-{source.name}"), "--split", "all"]
            arguments += ["--out", str(folder / f"{source.name}.parquet"), "--batch", "40"]
            report("predict", peak_of("predict", arguments), source, fields)


def report(step: str, found: dict[str, float], source: Path, fields: int) -> None:
    wells = int(source.name.rpartition("-")[2])
    each = found["seconds"] / (wells * fields)
    hours = each * WELLS * fields / 3600
    print(
        f"{step}, {wells} wells x {fields} fields: {found['seconds']:.0f} s, "
        f"{1 / each:.2f} fields/s with start-up ({hours:.2f} h for {WELLS} wells), "
        f"peak {found['all_mib']:.0f} MiB"
    )


def write_fields(folder: Path, wells: int, fields: int, side_px: int) -> None:
    """Noise with soft blobs, 16 bit, a file for each channel; no two fields alike."""
    folder.mkdir()
    generator = np.random.default_rng(wells)
    coarse = generator.random((4, side_px // 40 + 1, side_px // 40 + 1))
    soft = np.kron(coarse, np.ones((40, 40)))[:, :side_px, :side_px] * 2000
    lines = ["well,label"]
    for well in range(wells):
        row, column = divmod(well, 24)
        lines.append(f"{'ABCDEFGHIJKLMNOP'[row]}{column + 1:02},{'ab'[well % 2]}")
        for field in range(1, fields + 1):
            for index, channel in enumerate(CHANNELS):
                shifted = np.roll(soft[index], generator.integers(0, side_px, 2), axis=(0, 1))
                pixels = shifted + generator.integers(0, 300, (side_px, side_px))
                name = f"r{row + 1:02}c{column + 1:02}f{field:02}p01-{channel}sk1fk1fl1.tiff"
                tifffile.imwrite(folder / name, pixels.astype(np.uint16))
    (folder / "plate.csv").write_text("\n".join(lines) + "\n")
