"""What a conversion needs of memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
from common import peak_of, write_images


@click.command()
@click.option("--images", default=400, help="images of the smaller folder; the larger has 10 times")
@click.option("--workers", default=2)
def memory(images: int, workers: int) -> None:
    """Peak memory of a conversion, and of one with 10 times the images; the limit is 700 MiB."""
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for count in (images, 10 * images):
            source = Path(folder) / f"source-{count}"
            write_images(source, count)
            arguments = [str(source), f"{folder}/out-{count}", "--workers", str(workers)]
            peak = peak_of("convert", arguments)
            peaks.append(peak["all_mib"])
            print(f"{count} images, {workers} workers: {peak}")
        kilobytes = (peaks[1] - peaks[0]) * 2**20 / (9 * images) / 1e3
        print(f"{kilobytes:.1f} kB for each further image")
