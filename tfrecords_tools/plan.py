"""The plan: every example with its window, label, split and shard, before anything is written."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tfrecords_tools import audit, split
from tfrecords_tools.annotated import annotated_side
from tfrecords_tools.cut import WINDOW
from tfrecords_tools.discover import discover
from tfrecords_tools.encodings import check_encoding, losses
from tfrecords_tools.errors import ImageError, PlanError
from tfrecords_tools.examine import (
    channel_names,
    examine_images,
    is_blank,
    odd_ones,
    summary,
)
from tfrecords_tools.examples import cut_examples, ordered, sharded
from tfrecords_tools.images import ImageFacts
from tfrecords_tools.intensity import check_request
from tfrecords_tools.journal import Journal
from tfrecords_tools.labels import located_tables
from tfrecords_tools.pool import Progress, Workers
from tfrecords_tools.rules import columns_of
from tfrecords_tools.scale import mixed_scales
from tfrecords_tools.settings import SPLITS, ConversionSettings
from tfrecords_tools.similar import (
    Similar,
    Sketched,
    find_similar,
    similar_json,
    sketched,
    told,
)
from tfrecords_tools.sources import Problem, Sources, natural_key
from tfrecords_tools.table import TIMES, metadata_name

if TYPE_CHECKING:
    import pandas as pd

    from tfrecords_tools.dataset import Dataset

APPEARANCE = ("image_size", "bit_depth")
_PROBLEMS_SHOWN = 200
_NAMES_SHOWN = 6
_MEMBERS_TOLD = 100


@dataclass(frozen=True)
class Plan:
    """What a conversion will write. The same arguments and files give the same plan.

    examples: one row per example in the order of the manifest (train, validation, test; shard;
    index), with the columns

        example_id split label class_index group source_id source_paths
        top_px left_px height_px width_px [tile_row tile_column] image_sha256
        <metadata columns> shard index

    `label` is None and `class_index` -1 where the class is unknown. `source_paths` is a list of
    posix paths relative to `source`, one per channel file. A window may reach past the image's
    border (only boxes do); `cut.read_window` says what is read there.
    """

    settings: ConversionSettings
    source: Path
    name: str
    examples: pd.DataFrame
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    split_info: dict[str, Any]
    """by, fractions, seed, hold_out, counts {split: {class: examples}}, groups, members {split: the
    first 100 groups}, proof."""
    audit: dict[str, Any]
    """blank, identical_groups, conflicting_labels, confounding; sentences: notes, warnings."""
    skipped: tuple[dict[str, str], ...]
    """{path, reason} of every source image or table row that was left out."""
    facts: dict[str, Any]
    """intensity {channel: {low, high, dtypes}}, sizes [{height_px, width_px, images}], dtypes."""
    similar: dict[str, Any] | None = None
    """Images that show the same cells (`similar.similar_json`); None where nobody looked."""
    sketches: Mapping[str, Sketched] = field(default_factory=dict)
    """By source id, so that images that are added later can be compared."""
    onto: Dataset | None = None
    """The dataset that this adds to; its examples then stand first."""
    prefix: str = ""
    """Before the names of new images, where the dataset has others of the same names."""

    @property
    def new_examples(self) -> int:
        """How many examples are to be written: the last ones."""
        earlier = self.onto.info["manifest"]["examples"] if self.onto else 0
        return len(self.examples) - int(earlier)

    @property
    def encoding(self) -> str:
        return self.settings.encoding


def make_plan(
    source: str | Path,
    settings: ConversionSettings | None = None,
    *,
    classes: Sequence[str] | None = None,
    workers: Workers = 1,
    journal: Journal | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Plan a conversion: every image is decoded once, nothing is written but the journal.

    Args:
        source: folder of images, searched with all its subfolders.
        settings: see ConversionSettings; by default a folder per class.
        classes: the only classes there can be, in this order, where images are converted for a
            network that knows them; other labels then count as unknown.
        workers: processes that decode images, or another Executor; the plan does not depend on it.
        journal: keeps what is seen of many images, so that planning goes on where it was stopped.
        progress: called with (stage, done, total).

    Raises SourceError where the source cannot be read as asked, ImageError with the list of all
    images that cannot be used (unless the settings skip them), PlanError where the request does
    not fit the images, LeakError where a group or identical images would stand in two splits.
    """
    source = Path(source)
    settings = located_tables(source, settings or ConversionSettings())
    sources = discover(source, settings, classes, progress)
    # What the files say travels with the settings, so that new images are read by it.
    settings = replace(
        settings,
        channels=sources.channels,
        crop_px=settings.crop_px or annotated_side(sources.windows),
    )
    images = dict(zip(sources.rows["source_id"], sources.rows["source_paths"], strict=True))
    facts, problems = examine_images(
        source,
        images,
        sketched=settings.find_similar,
        workers=workers,
        journal=journal,
        progress=progress,
    )
    sources.problems += problems
    channels = channel_names(settings, facts) if facts else settings.channels
    facts = without_odd_ones(facts, sources, settings, len(channels))
    check_encoding(settings.encoding, {fact.dtype for fact in facts.values()}, len(channels))
    examples = cut_examples(sources, facts, settings)
    problems = ordered_problems(sources)
    refuse_bad(problems, settings)
    if examples.empty:
        raise PlanError(f"no example is left{':' if problems else ''}\n{_lines(problems)}")
    names = tuple(classes) if classes is not None else _class_names(examples, settings)
    order = {name: place for place, name in enumerate(names)}
    examples.insert(2, "class_index", [order.get(label, -1) for label in examples["label"]])
    looks = {key: look(fact) for key, fact in facts.items()}
    by = split.group_columns(settings.split_by, ["source_id", "label", *sources.metadata])
    identities = picture_identities(examples, blank_pixels(examples, looks), by)
    named = list(split.group_names(examples, by))
    sketches = sketched(facts)
    similar = None
    if settings.find_similar:
        similar = find_similar(sketches, examples, named, workers=workers, progress=progress)
    groups, joined = split.join_identical(
        named, identities, together=to_be_joined(similar, examples, named, settings)
    )
    examples.insert(1, "group", groups)
    assigned = split.assign_splits(
        class_counts(examples), settings.fractions, settings.seed, held_out(examples, settings)
    )
    examples.insert(1, "split", [assigned[group] for group in groups])
    split_info, findings = audited(examples, by, sources.metadata, looks, settings, len(joined))
    findings["warnings"] += sources.warnings
    alike = similar_json(similar, examples, settings.join_similar)
    tell_similar(alike, split_info, findings)
    name = _dataset_name(source, settings)
    used = {key: facts[key] for key in dict.fromkeys(examples["source_id"])}
    check_request(examples, summary(used, channels)["sizes"], settings)
    return Plan(
        settings=settings,
        source=source,
        name=name,
        examples=sharded(
            ordered(in_order(examples), settings.seed), name, settings.examples_per_shard
        ),
        classes=names,
        channels=channels,
        split_info=split_info,
        audit=findings | {"notes": sources.notes},
        skipped=tuple(problem._asdict() for problem in problems),
        facts=summary(used, channels),
        similar=alike,
        sketches={key: sketches[key] for key in used if key in sketches},
    )


def without_odd_ones(
    facts: Mapping[str, ImageFacts],
    sources: Sources,
    settings: ConversionSettings,
    channels: int,
    others: Sequence[ImageFacts] = (),
) -> dict[str, ImageFacts]:
    """The images that fit each other and `others`; what does not goes to the problems."""
    earlier = {f"\0{number}": fact for number, fact in enumerate(others)}
    odd = [
        problem
        for problem in odd_ones({**earlier, **facts}, settings, channels)
        if problem.path in facts
    ]
    sources.problems += odd
    left_out = {problem.path for problem in odd}
    return {key: fact for key, fact in facts.items() if key not in left_out}


def ordered_problems(sources: Sources) -> list[Problem]:
    return sorted(set(sources.problems), key=lambda problem: natural_key(problem.path))


def refuse_bad(problems: Sequence[Problem], settings: ConversionSettings) -> None:
    """Raise ImageError with all problems, unless the settings skip what cannot be used."""
    if problems and settings.on_bad_image == "refuse":
        number = "1 image or row" if len(problems) == 1 else f"{len(problems)} images or rows"
        raise ImageError(
            f"{number} cannot be used:\n{_lines(problems)}\nMend them, or leave them out with "
            "--on-bad-image skip. No dataset was written"
        )


def _lines(problems: Sequence[Problem]) -> str:
    lines = [f"  {problem.path}: {problem.reason}" for problem in problems[:_PROBLEMS_SHOWN]]
    if len(problems) > _PROBLEMS_SHOWN:
        lines.append(f"  and {len(problems) - _PROBLEMS_SHOWN} more")
    return "\n".join(lines)


def _class_names(examples: pd.DataFrame, settings: ConversionSettings) -> tuple[str, ...]:
    labels = sorted(examples["label"].dropna().unique(), key=natural_key)
    if settings.labels != "none" and settings.labels_required and len(labels) < 2:
        raise PlanError(
            f"every label is {labels[0]}, expected two classes or more; check where the labels "
            "come from (--labels), or convert without (--labels none)"
        )
    return tuple(labels)


class Look(NamedTuple):
    """What the audit asks of an image's appearance; None where it is not known any more."""

    image_size: str | None
    bit_depth: str | None
    is_blank: bool


def look(fact: ImageFacts) -> Look:
    return Look(f"{fact.width_px}x{fact.height_px}", fact.dtype, is_blank(fact))


def held_out(examples: pd.DataFrame, settings: ConversionSettings) -> dict[str, str]:
    """The groups that the hold-out rules put into a split."""
    return split.held_out_groups(examples, split.held_out(examples, settings.hold_out))


def blank_pixels(examples: pd.DataFrame, looks: Mapping[str, Look]) -> set[str]:
    """The pixel hashes of images with one value only, which are the same only by name."""
    blank = [looks[key].is_blank for key in examples["source_id"]]
    return set(examples["image_sha256"][blank])


def picture_identities(
    examples: pd.DataFrame, blank: Collection[str], by: Sequence[str]
) -> list[Hashable | None]:
    """What makes two examples the same picture: the pixels of their image, and the window where
    windows may be parted. Blank images are the same only by name."""
    windows = zip(*(examples[name] for name in WINDOW), strict=True)
    ungrouped = tuple(by) == ("example_id",)
    return [
        None if sha256 in blank else (sha256, *window) if ungrouped else sha256
        for sha256, window in zip(examples["image_sha256"], windows, strict=True)
    ]


def audited(
    examples: pd.DataFrame,
    by: Sequence[str],
    metadata: Sequence[str],
    looks: Mapping[str, Look],
    settings: ConversionSettings,
    joined: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What deadlib.json says of the split, and the audit, of examples with `split` and `group`.

    `joined`: how many sets of groups were joined, as they hold identical images. Raises LeakError,
    and PlanError where a split lacks a class that training cannot do without.
    """
    identities = picture_identities(examples, blank_pixels(examples, looks), by)
    proof = audit.check_leaks(examples, by, identities)
    warnings = losses(settings.encoding) + mixed_scales(examples)
    if settings.labels_required:
        warnings += split.check_classes(examples, settings.fractions, split.unit_name(by))
    findings = _findings(examples, metadata, looks, identities, settings)
    warnings += _unknown_levels(examples, by) + findings.pop("sentences")
    if joined:
        identical = "identical or similar" if settings.join_similar else "identical"
        proof.append(f"{joined} sets of groups joined, as they hold {identical} images")
    if tuple(by) == ("example_id",):
        warnings.append(
            "split by example: windows of one image stand in several splits, so the figures say "
            "nothing about new images; leave --split-by out for an honest split"
        )
    split_info = {
        "by": list(by),
        "fractions": list(settings.fractions),
        "seed": settings.seed,
        "hold_out": list(settings.hold_out),
        "counts": _split_counts(examples),
        "groups": {
            name: int(examples["group"][examples["split"] == name].nunique()) for name in SPLITS
        },
        "members": {
            str(name): sorted(found["group"].unique(), key=natural_key)[:_MEMBERS_TOLD]
            for name, found in examples.groupby("split", sort=False)
        },
        "proof": proof,
    }
    return split_info, {**findings, "warnings": warnings}


def to_be_joined(
    similar: Similar | None,
    examples: pd.DataFrame,
    groups: Sequence[str],
    settings: ConversionSettings,
) -> list[tuple[str, str]]:
    """The groups that hold images which show the same cells, two by two, where they are to be
    joined."""
    if similar is None or not settings.join_similar:
        return []
    of_image: dict[str, dict[str, None]] = {}
    for name, group in zip(examples["source_id"], groups, strict=True):
        of_image.setdefault(name, {})[group] = None
    pairs = [(pair.one, pair.other) for pair in similar.pairs]
    return [
        (next(iter(of_image[one])), group)
        for one, other in pairs
        if one in of_image and other in of_image
        for group in (*of_image[one], *of_image[other])
    ]


def tell_similar(
    alike: Mapping[str, Any] | None, split_info: dict[str, Any], findings: dict[str, Any]
) -> None:
    """Add what was found of similar images to the proof of the split, or to the warnings."""
    proof, warnings = told(alike)
    split_info["proof"] += proof
    findings["warnings"] += warnings


def _findings(
    examples: pd.DataFrame,
    metadata: Sequence[str],
    looks: Mapping[str, Look],
    identities: Sequence[Hashable | None],
    settings: ConversionSettings,
) -> dict[str, Any]:
    """Blank and identical images, conflicting labels, confounding; `sentences` says them."""
    sentences = []
    blank = sorted({key for key in examples["source_id"] if looks[key].is_blank}, key=natural_key)
    if blank:
        sentences.append(f"{len(blank)} images are blank (one value only): {shown(blank)}")
    first = examples.drop_duplicates("source_id")
    first = first[~first["source_id"].isin(blank) & first["image_sha256"].duplicated(keep=False)]
    identical = [
        list(found)
        for _, found in first.groupby("image_sha256", sort=False)["source_id"]
        if len(found) > 1
    ]
    if identical:
        names = shown([" = ".join(names) for names in identical])
        sentences.append(
            f"{len(identical)} sets of identical images under different names: {names}"
        )
    conflicts = audit.conflicting_labels(examples, identities, settings.labels == "boxes")
    if conflicts:
        names = shown(
            [
                " = ".join(f"{item['example_id']} ({item['label']})" for item in pair)
                for pair in conflicts
            ]
        )
        sentences.append(
            f"{len(conflicts)} times the same picture has different labels: {names}; correct them"
        )
    appearance = {
        name: [getattr(looks[key], name) for key in examples["source_id"]] for name in APPEARANCE
    }
    known = {name: values for name, values in appearance.items() if None not in values}
    asked = [name for name in metadata if name not in _making_the_label(settings)]
    confounded = audit.confounding(examples.assign(**known), [*asked, *known])
    return {
        "blank": blank,
        "identical_groups": identical,
        "conflicting_labels": conflicts,
        "confounding": [item.to_json() for item in confounded],
        "sentences": [*sentences, *(item.sentence for item in confounded)],
    }


def _making_the_label(settings: ConversionSettings) -> set[str]:
    """Columns that go with the label by design: those of the rules, and the source's own label.

    Times are asked all the same: a class taken from other times is a class told by its time.
    """
    ruling = columns_of(settings.label_rules)
    return {metadata_name("label"), *ruling}.difference(TIMES)


def _unknown_levels(examples: pd.DataFrame, by: Sequence[str]) -> list[str]:
    missing = {name: int(examples[name].isna().sum()) for name in by}
    return [
        f"{count} examples have no {name}: they are kept together, as if it were the same"
        for name, count in missing.items()
        if count
    ]


def class_counts(examples: pd.DataFrame) -> dict[str, dict[str, int]]:
    labels = examples["label"].fillna("")
    counts: dict[str, dict[str, int]] = {}
    for group, label in zip(examples["group"], labels, strict=True):
        found = counts.setdefault(group, {})
        found[label] = found.get(label, 0) + 1
    return counts


def _split_counts(examples: pd.DataFrame) -> dict[str, dict[str, int]]:
    labels = examples["label"].fillna("unlabelled")
    names = sorted(labels.unique(), key=natural_key)
    return {
        name: {
            label: int(((examples["split"] == name) & (labels == label)).sum()) for label in names
        }
        for name in SPLITS
    }


def in_order(examples: pd.DataFrame) -> pd.DataFrame:
    first = ["example_id", "split", "label", "class_index", "group"]
    return examples[[*first, *(name for name in examples if name not in first)]]


def _dataset_name(source: Path, settings: ConversionSettings) -> str:
    return settings.name or re.sub(r"[^A-Za-z0-9._-]+", "_", source.resolve().name) or "dataset"


def shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{', '.join(names[:_NAMES_SHOWN])}{more}"
