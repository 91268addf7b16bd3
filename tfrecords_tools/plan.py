"""The plan: every example with its window, label, split and shard, before anything is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfrecords_tools import audit, split
from tfrecords_tools.discover import discover
from tfrecords_tools.errors import ImageError, PlanError
from tfrecords_tools.examine import (
    channel_names,
    examine_images,
    is_blank,
    odd_ones,
    summary,
)
from tfrecords_tools.examples import WINDOW, cut_examples, ordered, sharded
from tfrecords_tools.images import ImageFacts
from tfrecords_tools.labels import located_table
from tfrecords_tools.settings import SPLITS, ConversionSettings
from tfrecords_tools.sources import Problem, Sources, natural_key

if TYPE_CHECKING:
    import pandas as pd

ProgressCallback = Callable[[str, int, int], None]

_PROBLEMS_SHOWN = 200
_NAMES_SHOWN = 6


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
    """by, fractions, seed, hold_out, counts {split: {class: examples}}, groups, proof."""
    audit: dict[str, Any]
    """identical_groups, conflicting_labels, confounding, notes and warnings (sentences); JSON."""
    skipped: tuple[dict[str, str], ...]
    """{path, reason} of every source image or table row that was left out."""
    facts: dict[str, Any]
    """intensity {channel: {low, high, dtypes}}, sizes [{height_px, width_px, images}], dtypes."""

    @property
    def encoding(self) -> str:
        return self.settings.encoding


def make_plan(
    source: str | Path,
    settings: ConversionSettings | None = None,
    *,
    classes: Sequence[str] | None = None,
    workers: int = 1,
    progress: ProgressCallback | None = None,
) -> Plan:
    """Plan a conversion: every image is decoded once, nothing is written.

    Args:
        source: folder of images, searched with all its subfolders.
        settings: see ConversionSettings; by default a folder per class.
        classes: the only classes there can be, in this order, where images are converted for a
            network that knows them; other labels then count as unknown.
        workers: processes that decode images; the plan does not depend on it.
        progress: called with (stage, done, total).

    Raises SourceError where the source cannot be read as asked, ImageError with the list of all
    images that cannot be used (unless the settings skip them), PlanError where the request does
    not fit the images, LeakError where a group or identical images would stand in two splits.
    """
    source = Path(source)
    settings = located_table(source, settings or ConversionSettings())
    sources = discover(source, settings, classes)
    images = dict(zip(sources.rows["source_id"], sources.rows["source_paths"], strict=True))
    facts, problems = examine_images(source, images, workers=workers, progress=progress)
    sources.problems += problems
    channels = channel_names(settings, facts) if facts else settings.channels
    odd = odd_ones(facts, settings, len(channels))
    sources.problems += odd
    for problem in odd:
        facts.pop(problem.path, None)
    examples = cut_examples(sources, facts, settings)
    problems = sorted(set(sources.problems), key=lambda problem: natural_key(problem.path))
    _refuse_bad(problems, examples, settings)
    names = tuple(classes) if classes is not None else _class_names(examples, settings)
    order = {name: place for place, name in enumerate(names)}
    examples.insert(2, "class_index", [order.get(label, -1) for label in examples["label"]])
    examples, split_info, findings = _split_and_audit(examples, sources, facts, settings)
    name = _dataset_name(source, settings)
    used = {key: facts[key] for key in dict.fromkeys(examples["source_id"])}
    return Plan(
        settings=settings,
        source=source,
        name=name,
        examples=sharded(ordered(examples, settings.seed), name, settings.examples_per_shard),
        classes=names,
        channels=channels,
        split_info=split_info,
        audit=findings,
        skipped=tuple(problem._asdict() for problem in problems),
        facts=summary(used, channels),
    )


def _refuse_bad(
    problems: Sequence[Problem], examples: pd.DataFrame, settings: ConversionSettings
) -> None:
    lines = [f"  {problem.path}: {problem.reason}" for problem in problems[:_PROBLEMS_SHOWN]]
    if len(problems) > _PROBLEMS_SHOWN:
        lines.append(f"  and {len(problems) - _PROBLEMS_SHOWN} more")
    shown = "\n".join(lines)
    if problems and settings.on_bad_image == "refuse":
        number = "1 image or row" if len(problems) == 1 else f"{len(problems)} images or rows"
        raise ImageError(
            f"{number} cannot be used:\n{shown}\nMend them, or leave them out with "
            "--on-bad-image skip. Nothing was written"
        )
    if examples.empty:
        raise PlanError(f"no example is left{':' if lines else ''}\n{shown}")


def _class_names(examples: pd.DataFrame, settings: ConversionSettings) -> tuple[str, ...]:
    labels = sorted(examples["label"].dropna().unique(), key=natural_key)
    if settings.labels != "none" and settings.labels_required and len(labels) < 2:
        raise PlanError(
            f"every label is {labels[0]}, expected two classes or more; check where the labels "
            "come from (--labels), or convert without (--labels none)"
        )
    return tuple(labels)


def _split_and_audit(
    examples: pd.DataFrame,
    sources: Sources,
    facts: Mapping[str, ImageFacts],
    settings: ConversionSettings,
) -> tuple[pd.DataFrame, dict[str, Any], dict[str, Any]]:
    """The examples with `split` and `group`, what deadlib.json says of it, and the audit."""
    known = ["source_id", "label", *sources.metadata]
    by = split.group_columns(settings.split_by, known)
    identities = _identities(examples, facts, ungrouped=by == ("example_id",))
    groups, joined = split.join_identical(list(split.group_names(examples, by)), identities)
    examples.insert(1, "group", groups)
    fixed = split.held_out_groups(examples, split.held_out(examples, settings.hold_out))
    assigned = split.assign_splits(
        _class_counts(examples), settings.fractions, settings.seed, fixed
    )
    examples.insert(1, "split", [assigned[group] for group in groups])
    proof = audit.check_leaks(examples, by, identities)
    warnings: list[str] = []
    if settings.labels_required:
        warnings += split.check_classes(examples, settings.fractions, split.unit_name(by))
    findings = _findings(examples, sources, facts, identities, settings)
    warnings += _unknown_levels(examples, by) + findings.pop("sentences")
    if joined:
        proof.append(f"{len(joined)} sets of groups joined, as they hold identical images")
    if by == ("example_id",):
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
        "proof": proof,
    }
    return (
        _in_order(examples),
        split_info,
        {**findings, "notes": sources.notes, "warnings": warnings},
    )


def _identities(
    examples: pd.DataFrame, facts: Mapping[str, ImageFacts], ungrouped: bool
) -> list[Hashable | None]:
    """What makes two examples the same picture: the pixels of their image, and the window where
    windows may be parted. Blank images are the same only by name."""
    blank = {fact.sha256 for fact in facts.values() if is_blank(fact)}
    windows = zip(*(examples[name] for name in WINDOW), strict=True)
    return [
        None if sha256 in blank else (sha256, *window) if ungrouped else sha256
        for sha256, window in zip(examples["image_sha256"], windows, strict=True)
    ]


def _findings(
    examples: pd.DataFrame,
    sources: Sources,
    facts: Mapping[str, ImageFacts],
    identities: Sequence[Hashable | None],
    settings: ConversionSettings,
) -> dict[str, Any]:
    """Identical images, conflicting labels and confounding; `sentences` says them in words."""
    sentences = []
    blank = sorted({key for key in examples["source_id"] if is_blank(facts[key])}, key=natural_key)
    if blank:
        sentences.append(f"{len(blank)} images are blank (one value only): {_shown(blank)}")
    first = examples.drop_duplicates("source_id")
    first = first[~first["source_id"].isin(blank) & first["image_sha256"].duplicated(keep=False)]
    identical = [
        list(found)
        for _, found in first.groupby("image_sha256", sort=False)["source_id"]
        if len(found) > 1
    ]
    if identical:
        shown = _shown([" = ".join(names) for names in identical])
        sentences.append(
            f"{len(identical)} sets of identical images under different names: {shown}"
        )
    conflicts = audit.conflicting_labels(examples, identities, settings.labels == "boxes")
    if conflicts:
        shown = _shown(
            [
                " = ".join(f"{item['example_id']} ({item['label']})" for item in pair)
                for pair in conflicts
            ]
        )
        sentences.append(
            f"{len(conflicts)} times the same picture has different labels: {shown}; correct them"
        )
    described = examples.assign(
        image_size=[
            f"{facts[key].width_px}x{facts[key].height_px}" for key in examples["source_id"]
        ],
        bit_depth=[facts[key].dtype for key in examples["source_id"]],
    )
    columns = [*sources.metadata, "image_size", "bit_depth"]
    confounded = audit.confounding(described, columns)
    return {
        "identical_groups": identical,
        "conflicting_labels": conflicts,
        "confounding": [item.to_json() for item in confounded],
        "sentences": [*sentences, *(item.sentence for item in confounded)],
    }


def _unknown_levels(examples: pd.DataFrame, by: Sequence[str]) -> list[str]:
    missing = {name: int(examples[name].isna().sum()) for name in by}
    return [
        f"{count} examples have no {name}: they are kept together, as if it were the same"
        for name, count in missing.items()
        if count
    ]


def _class_counts(examples: pd.DataFrame) -> dict[str, dict[str, int]]:
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


def _in_order(examples: pd.DataFrame) -> pd.DataFrame:
    first = ["example_id", "split", "label", "class_index", "group"]
    return examples[[*first, *(name for name in examples if name not in first)]]


def _dataset_name(source: Path, settings: ConversionSettings) -> str:
    if settings.name is None:
        return re.sub(r"[^A-Za-z0-9._-]+", "_", source.resolve().name) or "dataset"
    if not re.fullmatch(r"[A-Za-z0-9._-]+", settings.name):
        raise PlanError(f"name {settings.name!r}: expected letters, digits, '.', '_' and '-' only")
    return settings.name


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{', '.join(names[:_NAMES_SHOWN])}{more}"
