#!/usr/bin/env python
"""A conversion on Dask workers that SLURM starts: the cluster, and deadlib-convert with it.

    python bin/slurm_convert.py --partition cpu --jobs 4 --cores 8 --memory 16GB -- SOURCE OUT ...

What follows -- goes to deadlib-convert. SOURCE and OUT lie on a disk that all nodes see. Needs
pip install 'deadlib[dask]'. The jobs end with this command, also after Ctrl-C. docs/scale.md tells
more.
"""

from __future__ import annotations

import signal
import sys

import click

from deadlib.cli import convert


@click.command(help=__doc__.replace("    python", "\b\n    python"))
@click.option("--partition", help="Where the jobs run (SLURM's --partition).")
@click.option("--account", help="Who pays (SLURM's --account).")
@click.option("--jobs", default=4, show_default=True, help="Jobs, each on one node.")
@click.option("--cores", default=8, show_default=True, help="Workers in a job, one core each.")
@click.option("--memory", default="16GB", show_default=True, help="Memory of a job.")
@click.option("--walltime", default="04:00:00", show_default=True, help="Longest time of a job.")
@click.option("--interface", help="Network that all nodes see, such as ib0.")
@click.option("--prologue", multiple=True, help="A line of shell before the workers; repeatable.")
@click.option("--print-script", is_flag=True, help="Show the script of a job and start nothing.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def main(
    partition: str | None,
    account: str | None,
    jobs: int,
    cores: int,
    memory: str,
    walltime: str,
    interface: str | None,
    prologue: tuple[str, ...],
    print_script: bool,
    arguments: tuple[str, ...],
) -> None:
    interrupts = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise click.ClickException(
            "dask-jobqueue is not installed; pip install 'deadlib[dask]'"
        ) from None
    # Its import has Ctrl-C end the process at once, and silently.
    for number, handler in interrupts.items():
        signal.signal(number, handler)
    with SLURMCluster(
        queue=partition,
        account=account,
        cores=cores,
        processes=cores,
        memory=memory,
        walltime=walltime,
        interface=interface,
        job_name="deadlib-convert",
        job_script_prologue=list(prologue),
        scheduler_options={"dashboard_address": None},
    ) as cluster:
        if print_script:
            click.echo(cluster.job_script())
            return
        cluster.scale(jobs=jobs)
        # As if typed: deadlib.json keeps the command without who did the work.
        sys.argv = ["deadlib-convert", *arguments, "--scheduler", cluster.scheduler_address]
        convert.main()


if __name__ == "__main__":
    main()
