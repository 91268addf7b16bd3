"""deadlib-simulate: images of dying cells with known truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import click

from deadlib.cli import terminal
from deadlib.simulation.parameters import (
    CHANNELS,
    MODALITIES,
    Parameters,
    SimulationError,
    make_parameters,
)


class NumberList(click.ParamType):
    """Numbers with commas between them."""

    name = "N,N,..."

    def __init__(self, kind: type[int] | type[float]) -> None:
        self.kind = kind

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.kind(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 0,100,200", param, ctx)


class NameList(click.ParamType):
    """Names with commas between them."""

    name = "NAME,NAME,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        return value if isinstance(value, tuple) else tuple(str(value).split(","))


class Strength(click.ParamType):
    """KIND=STRENGTH."""

    name = "KIND=STRENGTH"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, float]:
        if isinstance(value, tuple):
            return value
        kind, _, strength = str(value).partition("=")
        try:
            return kind, float(strength)
        except ValueError:
            self.fail(f"{value!r}, expected for example brightness=0.5", param, ctx)


def _kind(item: Field[Any]) -> click.ParamType | type:
    """The click type of a parameter, told from its default."""
    example = item.default
    if isinstance(example, tuple):
        return NameList() if isinstance(example[0], str) else NumberList(type(example[0]))
    if isinstance(example, str):
        return click.Choice(item.metadata["choices"])
    low, high = item.metadata["low"], item.metadata["high"]
    if isinstance(example, int):
        return click.IntRange(int(low), int(high))
    return click.FloatRange(low, high)


def _option(item: Field[Any]) -> click.Option:
    name = f"--{item.name.replace('_', '-')}"
    if item.default is MISSING:
        return click.Option(
            [name, item.name], type=Strength(), multiple=True, help=item.metadata["help"]
        )
    shown = item.default
    if isinstance(shown, tuple):
        shown = ",".join(
            f"{value:g}" if isinstance(value, float) else str(value) for value in shown
        )
    return click.Option([name], type=_kind(item), default=shown, help=item.metadata["help"])


def _common() -> list[click.Parameter]:
    return [
        click.Argument(["out"], type=click.Path(path_type=Path)),
        click.Option(
            ["--seed"],
            type=click.IntRange(0),
            default=0,
            help="the same seed and options give the same bytes",
        ),
        click.Option(["--workers"], type=click.IntRange(1), default=1, help="processes"),
        click.Option(["--overwrite"], is_flag=True, help="replace an earlier simulation at OUT"),
    ]


def _command(modality: str, parameters: type[Parameters]) -> click.Command:
    return terminal.Command(
        modality,
        callback=_callback(modality),
        params=[*_common(), *(_option(item) for item in fields(parameters))],
        help=f"{parameters.__doc__}\n\nWrites the folder OUT: images/, images.csv (one row per "
        "image, for deadlib-convert --table), truth/ (cells.csv and label masks) and "
        f"simulation.json.\n\nExample: deadlib-simulate {modality} images --seed 1",
        short_help=(parameters.__doc__ or "").splitlines()[0],
    )


def _callback(modality: str) -> Callable[..., None]:
    def run(out: Path, seed: int, workers: int, overwrite: bool, **values: Any) -> None:
        values["shortcut"] = _distinct(values["shortcut"])
        try:
            make_parameters(modality, values)
        except SimulationError as error:
            raise click.UsageError(str(error)) from None
        from deadlib.simulation.run import simulate

        with terminal.progress() as progress:
            simulate(
                modality,
                out,
                seed=seed,
                workers=workers,
                overwrite=overwrite,
                progress=progress,
                **values,
            )
        terminal.show(f"{out}: next\n{_next_command(modality, out, values)}")

    return run


def _next_command(modality: str, out: Path, values: Mapping[str, Any]) -> str:
    if values.get("layout") == "published":
        plates = out / "plates.csv"
        return (
            f"  deadlib-plates table {out / 'viability.csv'} {plates} --settings celldeathpred\n"
            f"  deadlib-convert {out / 'images'} DATASET --table {plates} "
            "--settings configs/celldeathpred_data.yaml"
        )
    channels = f" --channels {','.join(CHANNELS)}" if modality == "painting" else ""
    return f"  deadlib-convert {out} DATASET --table {out / 'images.csv'}{channels}"


def _distinct(pairs: tuple[tuple[str, float], ...]) -> Mapping[str, float]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise click.UsageError("--shortcut: the same kind is given twice")
    return found


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Simulate a microscope: images of healthy and dying cells, with the truth beside them.

    \b
    phase        time-lapse in phase contrast after a dose of light, 16 bit
    transmitted  RGB images of cell lines under camptothecin or vehicle
    painting     four fluorescence channels, inducers of apoptosis and ferroptosis

    Example: deadlib-simulate phase images --positions 24 --seed 1
    """


for _modality, _parameters in MODALITIES.items():
    main.add_command(_command(_modality, _parameters))
