"""What a conversion needs of memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from common import write_images


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
            script = _PEAK.format(
                arguments=[str(source), f"{folder}/out-{count}", "--workers", str(workers)]
            )
            done = subprocess.run(
                [sys.executable, "-c", script], capture_output=True, text=True, check=True
            )
            peak = json.loads(done.stdout.strip().splitlines()[-1])
            peaks.append(peak["all_mib"])
            print(f"{count} images, {workers} workers: {peak}")
        kilobytes = (peaks[1] - peaks[0]) * 2**20 / (9 * images) / 1e3
        print(f"{kilobytes:.1f} kB for each further image")


_PEAK = """
import json, sys, threading, time
import psutil
from deadlib.cli.convert import main

peak = {{"all": 0, "largest": 0}}

def watch():
    me = psutil.Process()
    while True:
        sizes = []
        for process in [me, *me.children(recursive=True)]:
            try:
                sizes.append(process.memory_full_info().pss)
            except psutil.Error:
                pass
        peak["all"] = max(peak["all"], sum(sizes))
        peak["largest"] = max(peak["largest"], max(sizes))
        time.sleep(0.05)

if __name__ == "__main__":
    threading.Thread(target=watch, daemon=True).start()
    try:
        main({arguments})
    except SystemExit as end:
        assert not end.code
    print(json.dumps({{key + "_mib": round(value / 2**20) for key, value in peak.items()}}))
"""
