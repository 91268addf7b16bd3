"""`deadlib-serve`: answer for exported models over HTTP, with a page for people."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

import click

from deadlib.cli import terminal

PORT = 8501
_EXTRA = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")


def _models(ctx: click.Context, param: click.Parameter, given: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        path = Path(folder if equals else text)
        name = name if equals else path.resolve().name
        if not name or any(sign in name for sign in "/:"):
            raise click.BadParameter(f"found {text!r}, expected FOLDER or NAME=FOLDER")
        if name in found:
            raise click.BadParameter(f"two models are named {name!r}; expected NAME=FOLDER")
        found[name] = path
    return found


@click.command(cls=terminal.Command, name="serve")
@click.argument("models", metavar="[NAME=]FOLDER...", nargs=-1, required=True, callback=_models)
@click.option("--host", default="127.0.0.1", help="0.0.0.0: other machines may ask, too.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, help="0: any that is free.")
@click.option(
    "--name", "hosts", multiple=True, help="A name that the server goes by, beside its address."
)
@click.option(
    "--batch", type=click.IntRange(min=1), default=32, help="Images that the model sees together."
)
@click.option(
    "--delay-ms",
    type=click.FloatRange(min=0),
    default=5.0,
    help="How long the first image of a batch waits for others.",
)
@click.option(
    "--queue",
    type=click.IntRange(min=1),
    default=256,
    help="Images that may wait; more are refused at once (503).",
)
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=1,
    help="How many of the highest versions to serve.",
)
@click.option(
    "--largest-mb", type=click.IntRange(min=1), default=256, help="The largest request taken."
)
@click.option(
    "--stop-seconds",
    type=click.FloatRange(min=0),
    default=0.0,
    help="When told to stop: answer for so long yet, not ready any more.",
)
def main(
    models: dict[str, Path],
    host: str,
    port: int,
    hosts: tuple[str, ...],
    batch: int,
    delay_ms: float,
    queue: int,
    keep: int,
    largest_mb: int,
    stop_seconds: float,
) -> None:
    """Answer for the exported models in FOLDER... (see deadlib-export), under their NAMEs.

    \b
    http://127.0.0.1:8501/                      a page: drop images, see answers
    .../predict                                 POST image files: curl -F file=@cell.png
    .../v1/models/NAME:predict                  as TensorFlow Serving
    .../health  .../ready  .../metrics          for whoever runs it

    The highest version of a model answers. A new one, exported into the same FOLDER, takes over
    without a request being lost. Stop it with Ctrl-C.

    \b
    deadlib-serve served/first
    deadlib-serve death=served/first stress=served/second --port 8080
    """
    from deadlib.errors import WebError

    if any(find_spec(name) is None for name in _EXTRA):
        raise WebError("the server needs an extra: pip install 'deadlib[serve]'")
    _log_to(os.fdopen(os.dup(2), "w", encoding="utf-8"))
    from deadlib.web import serve

    # what TensorFlow says while it loads goes to a file, the server's own log does not
    with terminal.native_output_to(None):
        from deadlib.server import Settings, create_app

        settings = Settings(
            largest_batch=batch,
            delay_seconds=delay_ms / 1000,
            queue_images=queue,
            keep_versions=keep,
            largest_request_bytes=largest_mb * 2**20,
        )
        app = create_app(models, settings, hosts=hosts)

    def stopping() -> None:
        app.state.stopping = True
        terminal.note("stopping: what was asked is answered first")

    def ready(address: str) -> None:
        terminal.show(f"{address}/")
        terminal.note(f"serves {', '.join(models)}; stop with Ctrl-C")

    serve(app, host, port, ready=ready, stopping=stopping, notice_seconds=stop_seconds)


def _log_to(stream: TextIO) -> None:
    import logging

    logging.basicConfig(
        stream=stream, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING
    )
    logging.getLogger("deadlib.server").setLevel(logging.INFO)


if __name__ == "__main__":
    main()
