"""File names as metadata: patterns with named parts, and the preset `celldeath`.

    {plate}_{well}_{field}_{channel}.tif

Each `{name}` becomes a column; `{label}` is the class, `{channel}` the channel that the file
holds, `{*}` matches anything and is forgotten. A part never reaches over a `/`. `{name:d}` takes
digits only and `{name:w}` letters and digits only. A pattern that contains `/` is matched on the
path below the source folder, any other on the file name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tfrecords_tools.errors import SourceError

WILDCARD = "*"
CHANNEL = "channel"
CHANNEL_PLACE = "{channel}"

_PART = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_KINDS = {"": "[^/]+", "d": "[0-9]+", "w": "[A-Za-z0-9]+"}


class Match(NamedTuple):
    """What a file name says. Channel files of one image share the `source_id`."""

    parts: dict[str, str]
    source_id: str


class NamePattern(Protocol):
    """Anything that reads metadata out of a path below the source folder."""

    @property
    def names(self) -> tuple[str, ...]:
        """The parts it can give."""

    def match(self, path: str) -> Match | None:
        """Read one posix path; None where it does not fit. Raises SourceError if ambiguous."""


def name_pattern(text: str, channels: Sequence[str] = ()) -> NamePattern:
    """The preset of that name, or the pattern compiled. Raises SourceError."""
    if text == "celldeath":
        return CelldeathNames()
    return TextPattern(text, channels)


class TextPattern:
    """A pattern with named parts in braces."""

    def __init__(self, text: str, channels: Sequence[str] = ()) -> None:
        self._text = text
        self._on_path = "/" in text
        pieces = list(_PART.split(text))
        literals, parts = pieces[::2], pieces[1::2]
        self._parts = [self._parse_part(part) for part in parts]
        self.names = tuple(name for name, _ in self._parts if name != WILDCARD)
        self._check(literals)
        # Known channel names are tried first: they settle where the channel begins.
        alternatives = [tuple(channels), ()] if CHANNEL in self.names and channels else [()]
        self._readings = [
            (self._compile(literals, "?", known), self._compile(literals, "", known))
            for known in alternatives
        ]

    def match(self, path: str) -> Match | None:
        start = 0 if self._on_path else path.rfind("/") + 1
        for lazy, greedy in self._readings:
            first, second = lazy.fullmatch(path, start), greedy.fullmatch(path, start)
            if first is None or second is None:
                continue
            found = self._named(first)
            if found != self._named(second):
                raise SourceError(
                    f"{path}: {self._text} can be read in two ways, {_in_words(found)} or "
                    f"{_in_words(self._named(second))}; write {{name:d}} for a part of digits only "
                    "or {name:w} for one of letters and digits only"
                )
            return Match(found, self._source_id(path, first))
        return None

    def _parse_part(self, part: str) -> tuple[str, str]:
        name, _, kind = part.partition(":")
        if kind not in _KINDS or not (name == WILDCARD or _NAME.fullmatch(name)):
            raise SourceError(
                f"pattern {self._text}: {{{part}}} is no part; expected a name like {{well}}, "
                "{field:d} (digits), {plate:w} (letters and digits) or {*} (anything)"
            )
        return name, kind

    def _check(self, literals: Sequence[str]) -> None:
        if any("{" in literal or "}" in literal for literal in literals):
            raise SourceError(f"pattern {self._text}: a brace is left open")
        if not self._parts:
            raise SourceError(
                f"pattern {self._text}: no named part; expected some, for example "
                "{label}_{well}_{field}.tif, or the preset celldeath"
            )
        repeated = {name for name in self.names if self.names.count(name) > 1}
        if repeated:
            raise SourceError(f"pattern {self._text}: {{{repeated.pop()}}} stands twice")
        for (left, left_kind), between, (right, right_kind) in zip(
            self._parts, literals[1:], self._parts[1:], strict=False
        ):
            if not between and left_kind == right_kind:
                raise SourceError(
                    f"pattern {self._text}: nothing stands between {{{left}}} and {{{right}}}, so "
                    "it cannot be told where one ends; put the text that separates them there"
                )

    def _compile(
        self, literals: Sequence[str], lazy: str, channels: Sequence[str]
    ) -> re.Pattern[str]:
        expression = re.escape(literals[0])
        for place, (name, kind) in enumerate(self._parts):
            body = _KINDS[kind] + lazy
            if name == CHANNEL and channels:
                body = "|".join(re.escape(channel) for channel in channels)
            expression += f"(?P<part{place}>{body}){re.escape(literals[place + 1])}"
        return re.compile(expression)

    def _named(self, match: re.Match[str]) -> dict[str, str]:
        return {
            name: match[f"part{place}"]
            for place, (name, _) in enumerate(self._parts)
            if name != WILDCARD
        }

    def _source_id(self, path: str, match: re.Match[str]) -> str:
        """The path; with a channel in the pattern, what differs between channel files replaced."""
        if CHANNEL not in self.names:
            return path
        pieces, end = [], 0
        for place, (name, _) in enumerate(self._parts):
            if name in (CHANNEL, WILDCARD):
                pieces += [path[end : match.start(f"part{place}")], f"{{{name}}}"]
                end = match.end(f"part{place}")
        return "".join([*pieces, path[end:]]).replace("{*}", WILDCARD)


class CelldeathNames:
    """The published celldeath scheme, LINE_TREATMENTWELL_HOURSh_RGB_FIELD_EXPERIMENT.png.

    Tolerant of what the published files do: 1h, 1H or 1HS; the experiment before RGB or missing;
    no well digit. A tile's `_ROW_COLUMN.png` behind the whole name is read too. The treatment is
    the label. `well` is line, treatment and digit as the name has them: two lines or two treatments
    never share a well, and files without a digit count as one well.
    """

    names = (
        "cell_line",
        "treatment",
        "label",
        "well",
        "time_hours",
        "field",
        "experiment",
        "tile_row",
        "tile_column",
    )

    _tile = re.compile(r"(?P<whole>.+\.(?:png|jpe?g|tiff?|bmp))_(?P<row>\d+)_(?P<column>\d+)", re.I)
    _treatment = re.compile(r"(?P<treatment>[A-Za-z]+)\d*")
    _rest = (
        ("time_hours", re.compile(r"(\d+(?:\.\d+)?)hs?", re.I)),
        ("experiment", re.compile(r"(N\d+)")),
        ("field", re.compile(r"(\d+)")),
        ("mode", re.compile(r"(RGB)")),
    )

    def match(self, path: str) -> Match | None:
        stem = path.rpartition("/")[2].rpartition(".")[0]
        tile = self._tile.fullmatch(stem)
        if tile:
            stem = tile["whole"].rpartition(".")[0]
        line, *words = stem.split("_")
        treatment = self._treatment.fullmatch(words[0]) if words else None
        if not line or treatment is None:
            return None
        parts = {
            "cell_line": line,
            "treatment": treatment["treatment"],
            "label": treatment["treatment"],
            "well": f"{line}_{words[0]}",
        }
        for word in words[1:]:
            name, value = self._classify(word)
            if name is None or name in parts:
                return None
            parts[name] = value
        if "time_hours" not in parts or "field" not in parts:
            return None
        parts.pop("mode", None)
        if tile:
            parts |= {"tile_row": tile["row"], "tile_column": tile["column"]}
        return Match(parts, path)

    def _classify(self, word: str) -> tuple[str | None, str]:
        for name, expression in self._rest:
            found = expression.fullmatch(word)
            if found:
                return name, found[1]
        return None, word


def _in_words(parts: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in parts.items())
