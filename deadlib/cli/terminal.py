"""What every command shares on the terminal: words, progress, one clear message for an error.

Results go to stdout; progress, notes and errors go to stderr. TensorFlow writes to file descriptor
2 from C++, past Python, so `native_output_to` points that descriptor at a log file and keeps
deadlib's own words on a copy of the real one.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from deadlib.errors import ResultsChangedWarning
from deadlib.outputs import write_errors
from tfrecords_tools.errors import ToolsError
from tfrecords_tools.settings import MODALITIES

ProgressCallback = Callable[[str, int, int], None]

SECONDS_BETWEEN_LINES = 10.0

_stderr = Console(stderr=True, highlight=False)
_stdout = Console(highlight=False)


def note(message: str) -> None:
    """One line for the person at the terminal, on stderr."""
    _stderr.print(message, markup=False, soft_wrap=True)


def warn(message: str) -> None:
    """A loud line on stderr."""
    _stderr.print(f"WARNING: {message}", style="bold yellow", markup=False, soft_wrap=True)


def command_line() -> str:
    """What was typed, for whoever does it again."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def show(renderable: Any) -> None:
    """A result on stdout: text or a rich table."""
    if isinstance(renderable, str):
        _stdout.print(renderable, markup=False, soft_wrap=True)
    else:
        _stdout.print(renderable)


def acquisition_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that takes new images: how they were taken."""
    for option in (
        click.option(
            "--rescale",
            is_flag=True,
            help="Resample the images to the pixel size that the run was trained at.",
        ),
        click.option(
            "--modality",
            type=click.Choice(MODALITIES),
            help="How the images were taken, to be compared with the training images.",
        ),
        click.option(
            "--pixel-size-um",
            type=click.FloatRange(min=0, min_open=True),
            metavar="UM",
            help="Micrometres per pixel of the images.  [default: what the files say]",
        ),
    ):
        command = option(command)
    return command


def column_names(
    ctx: click.Context, param: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        ours, equals, theirs = text.partition("=")
        if not (ours and equals and theirs):
            raise click.BadParameter(f"found {text!r}, expected NAME=COLUMN, as in label=truth")
        if ours in found:
            raise click.BadParameter(f"{ours} is asked for twice")
        found[ours] = theirs
    return found


# for tables of other programs
column_option = click.option(
    "--column",
    "columns",
    metavar="NAME=COLUMN",
    multiple=True,
    callback=column_names,
    help="The table calls our column NAME so: label=truth, predicted=call, plate=Plate, "
    "probability_dead=P(dead), or logit_dead=score where it has logits. Can be given several "
    "times.",
)


def names(text: str | None) -> tuple[str, ...]:
    """What stands between commas: "plate, well" is ("plate", "well")."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


class Command(click.Command):
    """A click command that ends with one message and exit 1 where the user can mend something."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", {})
        kwargs["context_settings"].setdefault("help_option_names", ["-h", "--help"])
        kwargs["context_settings"].setdefault("show_default", True)
        super().__init__(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _changes_told():
                return super().invoke(ctx)
        except ToolsError as error:
            _stderr.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            note("stopped; what is finished is kept, the same command goes on from there")
            ctx.exit(130)


@contextmanager
def _changes_told() -> Iterator[None]:
    """A model whose answers have changed is told of here, not in a log."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
        if issubclass(category, ResultsChangedWarning):
            warn(str(message))
        else:
            shown(message, category, *place, **options)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown


@contextmanager
def progress() -> Iterator[ProgressCallback]:
    """A callback (stage, done, total): a bar on a terminal, a line now and then in a pipe."""
    if not _stderr.is_terminal:
        yield _plain_progress()
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=_stderr,
    )
    tasks: dict[str, Any] = {}

    def report(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=total)
        bar.update(tasks[stage], completed=done, total=total)

    with bar:
        yield report


def _plain_progress() -> ProgressCallback:
    started: dict[str, float] = {}
    last: dict[str, float] = {}

    def report(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        started.setdefault(stage, now)
        finished = done >= total
        due = now - last.get(stage, started[stage]) >= SECONDS_BETWEEN_LINES
        if not due and not finished:
            return
        last[stage] = now
        elapsed = now - started[stage]
        left = elapsed / done * (total - done) if done else 0.0
        tail = f"in {elapsed:.0f} s" if finished else f"about {left:.0f} s left"
        note(f"{stage}: {done} of {total}, {tail}")

    return report


@contextmanager
def native_output_to(log: Path | None) -> Iterator[None]:
    """Send what TensorFlow and other libraries write to stderr into `log`.

    With None the log is a temporary file. It is deleted at the end of a clean run; after an
    unexpected error its place is named. deadlib's own words still reach the real stderr.
    Raises WriteError where the log cannot be made.
    """
    global _stderr
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    temporary = log is None
    if log is None:
        descriptor, name = tempfile.mkstemp(prefix="deadlib-", suffix=".log")
        log = Path(name)
    else:
        with write_errors(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stderr.flush()
    saved = os.dup(2)
    ours = _stderr
    interactive = os.isatty(saved)
    with os.fdopen(os.dup(saved), "w", encoding="utf-8", errors="replace") as real:
        _stderr = Console(file=real, highlight=False, force_terminal=interactive or None)
        os.dup2(descriptor, 2)
        os.close(descriptor)
        clean = False
        try:
            yield
            clean = True
        except (ToolsError, KeyboardInterrupt, click.exceptions.Exit):
            clean = True
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            _stderr = ours
            if temporary and clean:
                log.unlink(missing_ok=True)
            elif not clean:
                note(f"the libraries' own output is in {log}")
