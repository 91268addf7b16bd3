"""panel.yaml: what annotators are asked, how, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from deadlib.recipe import Section, read_mapping, validated
from tfrecords_tools.annotations import UNSURE

HEALTHY_SICK = ("healthy", "sick")

_COLOURS = ("#00ffff", "#ff00ff", "#ffff00", "#ff0000", "#00ff00", "#0000ff", "#ffffff")
_KEYS = "123456789abcdefghijklmnopqrstuvwxyz"


def _as_key(key: Any) -> Any:
    """YAML reads the key 1 as a number."""
    return str(key) if isinstance(key, int) and not isinstance(key, bool) else key


def _as_keys(classes: Any) -> Any:
    """A list of classes has the keys 1, 2, 3 and so on."""
    if isinstance(classes, list | tuple):
        return dict(zip(classes, _KEYS, strict=False)) if len(classes) <= len(_KEYS) else classes
    return classes


Key = Annotated[str, BeforeValidator(_as_key), Field(pattern="^[A-Za-z0-9]$")]
Keys = Annotated[dict[str, Key], BeforeValidator(_as_keys)]


class Channel(Section):
    """A channel of the images, and the colour that it is shown in at first."""

    name: str = Field(description="as annotators see it")
    colour: str = Field(pattern="^#[0-9a-fA-F]{6}$", description="such as #00ff00")


class Trial(Section):
    """How many images a person sees before learning, with their label, and after learning."""

    before: PositiveInt = Field(50, description="images to be told apart without having seen any")
    shown: int = Field(500, ge=0, description="images shown with their label")
    after: PositiveInt = Field(50, description="new images to be told apart after that")
    same_images: bool = Field(
        False, description="true: everybody gets the same images; false: everybody their own draw"
    )

    @property
    def images(self) -> int:
        """Images that one person sees."""
        return self.before + self.shown + self.after


class PanelSettings(Section):
    """How a panel is asked."""

    source: str = Field(description="the folder of the images, or a dataset directory")
    title: str = Field("Which cells are dying?", description="what stands above the page")
    mode: Literal["panel", "trial"] = Field(
        "panel",
        description="panel: experts label images; trial: people learn to tell images apart whose "
        "labels are known (celldeath)",
    )
    classes: Keys = Field(
        {"healthy": "1", "sick": "2"},
        description="the answers and their keys, a digit or a letter each: {healthy: h, sick: s}; "
        "a list of answers has the keys 1, 2, 3",
    )
    unsure: Key | None = Field(
        None, description="the key of the answer unsure; null: this answer is not offered"
    )
    assignment: Literal["shared", "everyone"] = Field(
        "shared",
        description="shared: every image goes to one annotator, but for those that are to be "
        "answered by several (overlap_every); everyone: every image goes to every annotator",
    )
    overlap_every: int = Field(
        5,
        ge=0,
        description="every so many images an annotator gets one that another has answered; 0: "
        "only when no other image is left",
    )
    repeat_every: int = Field(
        0,
        ge=0,
        description="after every so many images an annotator gets one of their own again, to "
        "measure how far they agree with themselves; 0: never",
    )
    repeat_after: PositiveInt = Field(
        20, description="an image comes again after so many others at the soonest"
    )
    order: Literal["random", "listed"] = Field(
        "random", description="random, by the seed; listed, as items.parquet has them"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seeds the order and every draw")
    trial: Trial = Field(default_factory=Trial)
    shown: tuple[str, ...] = Field(
        (), description="columns of items.parquet that annotators may see; none keeps them blinded"
    )
    channels: tuple[Channel, ...] = Field((), description="names and colours of the channels")
    interval_ms: PositiveInt = Field(200, description="time of a frame where images are sequences")
    database: str | None = Field(
        None,
        description="where answers are kept: null, in panel.sqlite beside this file; else the "
        "URL of a PostgreSQL database of its own, postgresql+psycopg://user@host/name",
    )

    @model_validator(mode="after")
    def _answers_can_be_told_apart(self) -> PanelSettings:
        if len(self.classes) < 2:
            raise ValueError(f"a panel tells two classes apart or more, found {len(self.classes)}")
        for name in self.classes:
            if name.strip() != name or not name or not name.isprintable():
                raise ValueError(f"a class needs a name of visible letters, found {name!r}")
            if name.lower() in (UNSURE, SEEN):
                raise ValueError(
                    f"{name} is no class; to offer it as an answer give `unsure` a key"
                )
        if len({name.casefold() for name in self.classes}) < len(self.classes):
            raise ValueError(
                "classes that differ by capitals only are one class to a conversion, found "
                f"{', '.join(self.classes)}"
            )
        keys = [key.lower() for key in self.keys.values()]
        if len(set(keys)) < len(keys):
            raise ValueError(f"every answer needs a key of its own, found {', '.join(keys)}")
        return self

    @property
    def keys(self) -> dict[str, str]:
        """Every answer that can be given, with its key; unsure comes last."""
        return self.classes | ({UNSURE: self.unsure} if self.unsure is not None else {})


SEEN = "seen"
"""The answer to an image that was shown with its label."""


def numbered(classes: Sequence[str], unsure: bool) -> dict[str, Any]:
    """`classes` and `unsure` of settings, with the keys 1, 2, 3 and so on, letters after 9."""
    given = dict(zip(classes, _KEYS, strict=False))
    return {"classes": given, "unsure": _KEYS[len(given)] if unsure else None}


def coloured(names: Sequence[str]) -> tuple[Channel, ...]:
    """Channels with colours: one is white, red green blue are what they say."""
    if len(names) == 1:
        return (Channel(name=names[0], colour="#ffffff"),)
    plain = {"red": "#ff0000", "green": "#00ff00", "blue": "#0000ff"}
    return tuple(
        Channel(name=name, colour=plain.get(name.lower(), _COLOURS[place % len(_COLOURS)]))
        for place, name in enumerate(names)
    )


def read_settings(path: Path) -> PanelSettings:
    """The settings in a file. Raises RecipeError, naming every key that is wrong."""
    return validated(PanelSettings, read_mapping(path, "a panel"), str(path))


def settings_text(settings: PanelSettings) -> str:
    """The settings as YAML that `read_settings` reads back."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
