"""What the user asked of a conversion: where labels come from, what an example is, how to split."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import PurePath
from typing import Any

from tfrecords_tools.errors import PlanError
from tfrecords_tools.planes import check_z
from tfrecords_tools.rules import parse_rule

SPLITS = ("train", "validation", "test")
LABEL_SOURCES = ("folder", "names", "pattern", "table", "boxes", "rules", "annotations", "none")
ENCODINGS = ("raw", "png", "jpeg")
JPEG_QUALITY = 95
PAGES = ("time", "z", "channel")
LAYOUTS = ("auto", "files", "harmony", "imagexpress", "metamorph")
BAD_IMAGE_POLICIES = ("refuse", "skip")
UNLISTED_POLICIES = ("refuse", "skip")
MODALITIES = ("phase", "brightfield", "dic", "darkfield", "fluorescence")
LATTICES = ("inclusive", "exclusive")
AGREEMENTS = ("concordance", "majority", "votes")


@dataclass(frozen=True)
class ConversionSettings:
    """All that decides what a source folder becomes; together with the files it fixes every byte.

    Raises PlanError where two settings contradict each other.
    """

    # Labels and metadata.
    labels: str = "folder"
    """folder (SOURCE/<class>/...), names, pattern, table, boxes, rules, annotations, or none."""
    label_names: tuple[str, ...] = ()
    """Classes, one of which stands in every file name; of several the longest (naming.py)."""
    annotations: str | None = None
    """The log of what annotators said of images, crops or sequences (annotations.py); placed as
    `table`."""
    agreement: str = "concordance"
    """Which annotated items are kept: concordance, majority, or votes (annotations.judged)."""
    label_rules: tuple[str, ...] = ()
    """`CLASS: column OP value and ...`; the first rule that holds labels the image (rules.py)."""
    pattern: str | None = None
    """Pattern of file names with named parts, or the preset `celldeath`."""
    table: str | None = None
    """CSV or Parquet: one row per image, or per box. Relative to SOURCE, or absolute."""
    path_column: str = "path"
    label_column: str = "label"
    unlisted: str = "refuse"
    """skip leaves out images that the table does not list, as where it holds chosen wells only."""
    labels_required: bool = True
    """False where new images are converted to be predicted: labels may then be missing."""

    # What one example is: the whole image unless one of these is set.
    tile: tuple[int, int] | None = None
    """Rows and columns of a grid over the image."""
    crop_px: int | None = None
    stride_px: int | None = None
    lattice: str = "inclusive"
    """inclusive: every crop that fits; exclusive: without the last row and column where the lattice
    ends exactly at the border, as DeadNet's published data were cut."""
    context: float = 0.0
    """Boxes: the window's side is the box's longer side x (1 + context)."""
    box_px: int | None = None
    """Boxes: a window of this side instead, whatever the box's size."""

    channels: tuple[str, ...] = ()
    """Channel names in order. With `{channel}` in the pattern or table: one file per name."""
    z: str | None = None
    """Of a z-stack: the number of a plane from 1, or max, mean, focus. None refuses stacks."""
    pages: str | None = None
    """What the pages of a file are that does not say: time, z or channel. None refuses it."""
    layout: str = "auto"
    """How a plate export is laid out: by its index file (auto), or files with no index."""
    allow_mixed: bool = False
    """Accept images that differ in size or bit depth from nearly all the others."""
    pixel_size_um: float | None = None
    """Micrometres per pixel of the files, whatever they say themselves; None: what they say."""
    rescale_to_um: float | None = None
    """Resample every image to this many micrometres per pixel as it is read."""
    modality: str | None = None
    """How the images were taken; models are not applied to another one without a warning."""

    # Splits.
    split_by: tuple[str, ...] = ()
    """Columns whose values never cross splits. Empty: well, else position, else source image."""
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Shares of train, validation and test."""
    hold_out: tuple[str, ...] = ()
    """`column=value` (into test) or `validation:column=value`."""
    seed: int = 0
    find_similar: bool = True
    """Look for images that show the same cells: overlapping fields and near-duplicates."""
    join_similar: bool = False
    """Make one group of the groups of such images."""

    # Intensities of each plate.
    normalise_to: tuple[str, ...] = ()
    """`column=value` of the control wells that plates are compared by; empty: all wells."""
    illumination: bool = False
    """Fit the shading of each plate and channel as well."""

    # Records.
    name: str | None = None
    """Name in the shards' file names; by default the source folder's."""
    encoding: str = "raw"
    """raw, png, or jpeg with its quality: jpeg:90."""
    examples_per_shard: int = 512
    on_bad_image: str = "refuse"

    def __post_init__(self) -> None:
        for field in ("labels", "agreement", "on_bad_image", "unlisted", "layout", "lattice"):
            _check_choice(field, getattr(self, field))
        if self.pages is not None:
            _check_choice("pages", self.pages)
        parse_encoding(self.encoding)
        self._check_labels()
        self._check_unit()
        self._check_split()
        if len(set(self.channels)) < len(self.channels):
            raise PlanError(f"channels {', '.join(self.channels)}: a name stands twice")
        if self.name is not None and not re.fullmatch(r"[A-Za-z0-9._-]+", self.name):
            raise PlanError(f"name {self.name!r}: expected letters, digits, '.', '_' and '-' only")
        wrong = check_z(self.z)
        if wrong:
            raise PlanError(wrong)
        if self.modality is not None:
            _check_choice("modality", self.modality)
        for field in ("pixel_size_um", "rescale_to_um"):
            size = getattr(self, field)
            if size is not None and not 0 < size < 1000:
                raise PlanError(f"{field}: {size:g}; expected micrometres, such as 0.65")
        if self.rescale_to_um is not None and self.labels in ("boxes", "annotations"):
            raise PlanError(
                f"labels from {self.labels} stand in pixels of the files, so these cannot be "
                "resampled; leave out rescale_to_um, or resample files and windows before"
            )
        if self.examples_per_shard < 1:
            raise PlanError(f"examples per shard: {self.examples_per_shard}; expected 1 or more")

    def _check_labels(self) -> None:
        if self.labels == "pattern" and self.pattern is None:
            raise PlanError(
                "labels from the file name need a pattern, for example '{label}_{field}.png'"
            )
        if self.labels in ("table", "boxes") and self.table is None:
            raise PlanError(
                f"labels from {self.labels} need a table: CSV or Parquet with a path column"
            )
        for rule in self.label_rules:
            parse_rule(rule)
        if self.labels == "rules" and not self.label_rules:
            raise PlanError(
                "labels from rules need label rules, for example 'healthy: light_dose_s == 0'"
            )
        if bool(self.label_names) != (self.labels == "names"):
            raise PlanError(
                f"labels from {self.labels}, label names {', '.join(self.label_names) or 'none'}: "
                "the classes that stand in file names go with labels from names"
            )
        if len(set(self.label_names)) < len(self.label_names) or "" in self.label_names:
            raise PlanError(f"label names {', '.join(self.label_names)}: one is empty or twice")
        if (self.labels == "annotations") != (self.annotations is not None):
            raise PlanError(
                f"labels from {self.labels}, annotations {self.annotations or 'none'}: a log of "
                "annotations gives the labels, and labels from annotations need one"
            )
        if self.agreement != "concordance" and self.annotations is None:
            raise PlanError(
                f"agreement {self.agreement} is one of annotators; give a log of annotations"
            )
        if self.label_rules and self.annotations is not None and self.crop_px is None:
            raise PlanError(
                "label rules beside annotations label crops of their own: give a crop size as well"
            )
        if self.label_rules and self.labels not in ("rules", "annotations"):
            raise PlanError(
                f"label rules give the labels, but they are to come from {self.labels}; leave one "
                "of the two out"
            )

    def _check_unit(self) -> None:
        chosen = [
            name
            for name, value in (
                ("tile", self.tile),
                ("crop_px", self.crop_px),
                ("boxes", self.labels == "boxes" or None),
                ("annotations", (self.annotations is not None and self.tile is not None) or None),
            )
            if value is not None
        ]
        if len(chosen) > 1:
            raise PlanError(
                f"{' and '.join(chosen)}: an example is cut in one way only; choose one"
            )
        if self.tile is not None and min(self.tile) < 1:
            raise PlanError(f"tile {self.tile[0]}x{self.tile[1]}: expected 1x1 or more")
        if self.crop_px is not None and self.crop_px < 1:
            raise PlanError(f"crop of {self.crop_px} px: expected 1 px or more")
        if self.stride_px is not None and (self.crop_px is None or self.stride_px < 1):
            raise PlanError(
                f"stride of {self.stride_px} px: expected 1 px or more, and a crop size with it"
            )
        if self.lattice == "exclusive" and self.crop_px is None:
            raise PlanError(
                "an exclusive lattice is one of crops; give a crop size, or leave it out"
            )
        if self.labels != "boxes" and (self.context or self.box_px is not None):
            raise PlanError(
                "context and box_px belong to a table of boxes; give one, or leave them out"
            )
        if self.context < 0 or (self.box_px is not None and self.box_px < 1):
            raise PlanError("context must be 0 or more and box_px 1 px or more")
        if self.context and self.box_px is not None:
            raise PlanError("context and box_px both say how large a box's window is; choose one")

    def _check_split(self) -> None:
        shares = self.fractions
        fair = len(shares) == len(SPLITS) and all(share >= 0 for share in shares)
        if not fair or abs(sum(shares) - 1) > 1e-6:
            raise PlanError(
                f"fractions {', '.join(str(share) for share in shares)}: expected three shares for "
                "train, validation and test that add up to 1, for example 0.7,0.15,0.15"
            )
        if "example" in self.split_by and len(self.split_by) > 1:
            raise PlanError(
                "split by example is the ungrouped split; it combines with no other column"
            )
        if self.join_similar and not self.find_similar:
            raise PlanError(
                "join_similar joins what find_similar finds; look for similar images, or leave the "
                "joining out"
            )
        for rule in self.hold_out:
            parse_hold_out(rule)
        for rule in self.normalise_to:
            parse_condition(rule)

    def for_prediction(self) -> ConversionSettings:
        """The same reading of new images: everything into `test`, labels optional.

        A table outside the source folder is looked for by its file name in the new folder. New
        images are cut by crop_px where the others were annotated sequences.
        """
        table = self.table
        if table is not None and PurePath(table).is_absolute():
            table = PurePath(table).name
        judged = self.labels == "annotations"
        return replace(
            self,
            labels="none" if judged else self.labels,
            annotations=None,
            agreement="concordance",
            label_rules=() if judged else self.label_rules,
            table=table,
            labels_required=False,
            pixel_size_um=None,
            modality=None,
            allow_mixed=True,
            split_by=(),
            fractions=(0.0, 0.0, 1.0),
            hold_out=(),
            find_similar=False,
            join_similar=False,
            name=None,
            encoding="raw",
        )

    @property
    def whole_images(self) -> bool:
        """Whether an example is a whole image."""
        cut = self.tile is not None or self.crop_px is not None
        return not cut and self.labels not in ("boxes", "annotations")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` gives the same settings back."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> ConversionSettings:
        """Settings from `to_json`. Raises PlanError on a key that this version does not know."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(tree) - known)
        if unknown:
            raise PlanError(
                f"conversion settings: unknown {', '.join(unknown)}; written by another version of "
                "deadlib? convert again with this one"
            )
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in tree.items()
        }
        return cls(**values)


def parse_hold_out(rule: str) -> tuple[str, str, str]:
    """`[split:]column=value` as (split, column, value); without a split it is test.

    Raises PlanError.
    """
    target, separator, rest = rule.partition(":")
    # A colon may also belong to the value (well=A:1), so only a split's name counts as one.
    if not separator or "=" in target:
        target, rest = "test", rule
    column, equals, value = rest.partition("=")
    if target not in SPLITS or not equals or not column or not value:
        raise PlanError(
            f"hold out {rule!r}: expected column=value, for example experiment=N4 (into test) or "
            "validation:plate=2"
        )
    return target, column.strip(), value.strip()


def parse_encoding(encoding: str) -> tuple[str, int]:
    """The encoding's name and the quality that it has as a JPEG. Raises PlanError."""
    name, separator, quality = encoding.partition(":")
    known = name in ENCODINGS and (not separator or name == "jpeg")
    if not known or (separator and not (quality.isdecimal() and 1 <= int(quality) <= 100)):
        raise PlanError(
            f"encoding: {encoding!r}; expected one of {', '.join(ENCODINGS)}, or jpeg with a "
            "quality from 1 to 100, for example jpeg:90"
        )
    return name, int(quality) if separator else JPEG_QUALITY


def parse_condition(rule: str) -> tuple[str, str]:
    """`column=value` as (column, value). Raises PlanError."""
    column, equals, value = (part.strip() for part in rule.partition("="))
    if not equals or not column or not value:
        raise PlanError(f"normalise to {rule!r}: expected column=value, for example treatment=DMSO")
    return column, value


def _check_choice(field: str, value: str) -> None:
    known = {
        "labels": LABEL_SOURCES,
        "agreement": AGREEMENTS,
        "on_bad_image": BAD_IMAGE_POLICIES,
        "unlisted": UNLISTED_POLICIES,
        "layout": LAYOUTS,
        "pages": PAGES,
        "modality": MODALITIES,
        "lattice": LATTICES,
    }[field]
    if value not in known:
        raise PlanError(f"{field}: {value!r}; expected one of {', '.join(known)}")
