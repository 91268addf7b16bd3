"""The plan of an addition: what is new in a source folder, added to a dataset that is there.

Earlier examples keep their rows, splits and shards. New images of a known group join its split; new
groups are dealt out so that the whole comes near the shares that were asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfrecords_tools import split
from tfrecords_tools.cut import WINDOW
from tfrecords_tools.discover import discover
from tfrecords_tools.encodings import check_encoding
from tfrecords_tools.errors import PlanError
from tfrecords_tools.examine import examine_images, summary
from tfrecords_tools.examples import TILE, cut_examples, ordered, shard_place, sharded
from tfrecords_tools.images import ImageFacts
from tfrecords_tools.intensity import check_request, intensity_rows
from tfrecords_tools.journal import Journal
from tfrecords_tools.labels import located_tables
from tfrecords_tools.plan import (
    APPEARANCE,
    Look,
    Plan,
    audited,
    blank_pixels,
    class_counts,
    held_out,
    in_order,
    look,
    ordered_problems,
    picture_identities,
    refuse_bad,
    shown,
    tell_similar,
    to_be_joined,
    without_odd_ones,
)
from tfrecords_tools.pool import Progress, Workers
from tfrecords_tools.settings import SPLITS, ConversionSettings
from tfrecords_tools.similar import (
    Similar,
    Sketched,
    find_similar,
    known_similar,
    read_sketches,
    similar_json,
    sketched,
)
from tfrecords_tools.sources import Sources, natural_key
from tfrecords_tools.table import BOX_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

    from tfrecords_tools.dataset import Dataset

# What may differ between a dataset and an addition: where the labels of the new images stand, and
# what to do with images that do not fit.
_FREE = ("table", "annotations", "allow_mixed", "on_bad_image")
_OWN_COLUMNS = frozenset(
    {"example_id", "split", "label", "class_index", "group", "source_id", "source_paths"}
    | {*WINDOW, *TILE, *BOX_COLUMNS, "image_sha256", "image_crc32c", "shard", "index"}
)


@dataclass(frozen=True)
class _Earlier:
    """The dataset that is added to, as the plan needs it."""

    dataset: Dataset
    examples: pd.DataFrame
    looks: Mapping[str, Look]

    @property
    def by(self) -> tuple[str, ...]:
        return tuple(self.dataset.info["split"]["by"])


def addition_settings(dataset: Dataset, given: Mapping[str, Any]) -> ConversionSettings:
    """The dataset's settings with those of `given` that an addition may choose.

    Raises PlanError, by name, where a given one contradicts the dataset.
    """
    settings = ConversionSettings.from_json(dataset.info["settings"])
    for name, value in given.items():
        before = getattr(settings, name)
        if name == "name":
            before = dataset.name
        if name not in _FREE and value != before:
            raise PlanError(
                f"{_option(name)} {_words(value)}: {dataset.folder} was made with "
                f"{_words(before)}, and an addition is made as the dataset was; leave the option "
                "out, or make a new dataset"
            )
    return replace(settings, **{name: given[name] for name in _FREE if name in given})


def plan_addition(
    dataset: Dataset,
    source: str | Path,
    settings: ConversionSettings | None = None,
    *,
    workers: Workers = 1,
    journal: Journal | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Plan to add what is new in `source` to a dataset: images that it does not hold yet.

    Args:
        dataset: the dataset, opened.
        source: the folder that the dataset was made from, with more images in it, or another one.
        settings: from `addition_settings`; by default those of the dataset.
        workers: processes that decode images, or another Executor; the plan does not depend on it.
        journal: as for `make_plan`.
        progress: called with (stage, done, total).

    The plan's examples are those of the dataset, unchanged, and after them the new ones
    (`new_examples` of them, possibly none). Known images of a known source folder are not read
    again. Images identical to known ones are left out and listed in `skipped`; the groups that
    they stand in join the groups of the known ones. Classes that are new come after the known
    ones, so that no class index changes.

    Raises what `make_plan` raises; PlanError also where a new image has the name of another one in
    the dataset, LeakError where a new group would have to stand in two splits.
    """
    source = Path(source)
    original = ConversionSettings.from_json(dataset.info["settings"])
    settings = located_tables(source, settings or original)
    earlier = _earlier(dataset)
    sources = discover(source, settings)
    found = sources.rows["source_id"].nunique()
    sources.rows = _unknown_rows(sources, source, earlier)
    images = dict(zip(sources.rows["source_id"], sources.rows["source_paths"], strict=True))
    facts, problems = examine_images(
        source,
        images,
        sketched=original.find_similar,
        workers=workers,
        journal=journal,
        progress=progress,
    )
    sources.problems += problems
    channels = tuple(dataset.channels)
    others = _earlier_facts(dataset)
    facts = without_odd_ones(facts, sources, settings, len(channels), others)
    check_encoding(settings.encoding, {fact.dtype for fact in facts.values()}, len(channels))
    new = cut_examples(sources, facts, settings)
    prefix = _prefix(new, source, earlier)
    facts = {prefix + key: fact for key, fact in facts.items()}
    new = new.assign(
        **{name: [prefix + text for text in new[name]] for name in ("example_id", "source_id")}
    )
    _refuse_other_pixels(new, earlier)
    new = new[~new["example_id"].isin(set(earlier.examples["example_id"]))]
    problems = ordered_problems(sources)
    refuse_bad(problems, settings)
    looks = {key: look(fact) for key, fact in facts.items()}
    useless = images.keys() & {problem.path for problem in problems}
    known = found - new["source_id"].nunique() - len(useless)
    sketches = read_sketches(dataset) | sketched(facts)
    similar = _similar(new, earlier, sketches, original, workers, progress)
    new, copies, joined = _grouped(new, earlier, looks, similar, original)
    skipped = [problem._asdict() for problem in problems] + copies
    notes = [*sources.notes, *([f"{known} images are in the dataset already"] if known else [])]
    if prefix and not new.empty:
        notes.append(
            f"the dataset has other images of the same names, so these are called {prefix}…"
        )
    if new.empty:
        return _nothing_new(earlier, source, original, notes, skipped)
    names = _classes(dataset, new)
    order = {name: place for place, name in enumerate(names)}
    new.insert(2, "class_index", [order.get(label, -1) for label in new["label"]])
    new.insert(1, "split", _splits(new, earlier, original))
    new = sharded(
        ordered(in_order(new), original.seed),
        dataset.name,
        original.examples_per_shard,
        _next_numbers(dataset),
    )
    examples = _together(earlier, new, names)
    metadata = [str(name) for name in examples if name not in _OWN_COLUMNS]
    split_info, findings = audited(
        examples, earlier.by, metadata, {**looks, **earlier.looks}, original, joined
    )
    _keep_what_is_not_known(findings, earlier)
    alike = similar_json(similar, examples, original.join_similar)
    tell_similar(alike, split_info, findings)
    findings["warnings"] += [
        f"class {name} is new: it is class {order[name]}, after those that there were; networks "
        "trained before do not know it"
        for name in names[len(dataset.classes) :]
    ]
    used = {key: facts[key] for key in dict.fromkeys(new["source_id"]) if key not in earlier.looks}
    all_facts = _merged(dataset.info, summary(used, channels)) if used else _facts(dataset.info)
    check_request(examples, all_facts["sizes"], original, intensity_rows(dataset))
    return Plan(
        settings=original,
        source=source,
        name=dataset.name,
        examples=examples,
        classes=names,
        channels=channels,
        split_info=split_info,
        audit=findings | {"notes": [*dataset.info["audit"].get("notes", []), *notes]},
        skipped=_still_skipped(dataset, skipped, examples),
        facts=all_facts,
        similar=alike,
        sketches={key: sketches[key] for key in examples["source_id"] if key in sketches},
        onto=dataset,
        prefix=prefix,
    )


def _option(name: str) -> str:
    """The option of a setting; one that is repeated has its singular."""
    return f"--{name.replace('_', '-').replace('label-rules', 'label-rule')}"


def _words(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value) or "none"
    return "none" if value is None else str(value)


def _earlier(dataset: Dataset) -> _Earlier:
    """The examples with their class index, and what is known of the look of their images."""
    examples = dataset.manifest.copy()
    order = {name: place for place, name in enumerate(dataset.classes)}
    examples.insert(3, "class_index", [order.get(label, -1) for label in examples["label"]])
    return _Earlier(dataset, examples, known_looks(dataset, examples))


def known_looks(dataset: Dataset, examples: pd.DataFrame) -> dict[str, Look]:
    """What is known of the look of the images of some of a dataset's examples, by source_id."""
    info, settings = dataset.info, ConversionSettings.from_json(dataset.info["settings"])
    whole = settings.whole_images
    sizes = [f"{size['width_px']}x{size['height_px']}" for size in info["sizes"]]
    depth = next(iter(info["dtypes"])) if len(info["dtypes"]) == 1 else None
    blank = set(info["audit"].get("blank", []))
    looks = {}
    for key, height, width in zip(
        examples["source_id"], examples["height_px"], examples["width_px"], strict=True
    ):
        size = f"{width}x{height}" if whole else sizes[0] if len(sizes) == 1 else None
        looks[key] = Look(size, depth, key in blank)
    return looks


def _earlier_facts(dataset: Dataset) -> list[ImageFacts]:
    """Sizes and data types of the earlier images, to tell which new ones are odd."""
    info, channels = dataset.info, len(dataset.channels)
    sizes = [
        (size["height_px"], size["width_px"])
        for size in info["sizes"]
        for _ in range(size["images"])
    ]
    dtypes = [dtype for dtype, count in info["dtypes"].items() for _ in range(count)]
    return [
        ImageFacts(*size, channels, dtype, "", 0, (), ())
        for size, dtype in zip(sizes, dtypes, strict=True)
    ]


def _unknown_rows(sources: Sources, source: Path, earlier: _Earlier) -> pd.DataFrame:
    """The rows of images that the dataset does not hold from this folder, or with fewer boxes or
    items."""
    folder = str(source.resolve())
    held: Counter[str] = Counter()
    items: set[tuple[str, str]] = set()
    first = 0
    for part in earlier.dataset.sources:
        if part["folder"] == folder:
            rows = earlier.examples.iloc[first : first + part["examples"]]
            names = [name.removeprefix(part.get("prefix", "")) for name in rows["source_id"]]
            held.update(names)
            if "item" in rows:
                items.update(zip(names, rows["item"], strict=True))
        first += part["examples"]
    found = Counter(sources.rows["source_id"])
    unknown = {key for key, count in found.items() if count > held[key]}
    if sources.windows:
        pairs = zip(sources.rows["source_id"], sources.rows["item"], strict=True)
        unknown |= {key for key, item in pairs if item is not None and (key, item) not in items}
    return sources.rows[sources.rows["source_id"].isin(unknown)].reset_index(drop=True)


def _prefix(new: pd.DataFrame, source: Path, earlier: _Earlier) -> str:
    """What tells new images from others of the same names: the name of their folder, or nothing.

    A folder of which no image with a known name is the known one holds other images, such as those
    of the next day.
    """
    folder = str(source.resolve())
    for part in earlier.dataset.sources:
        if part["folder"] == folder:
            return str(part.get("prefix", ""))
    pixels = dict(zip(earlier.examples["source_id"], earlier.examples["image_sha256"], strict=True))
    found = dict(zip(new["source_id"], new["image_sha256"], strict=True))
    shared = [key for key in found if key in pixels]
    others = shared and all(found[key] != pixels[key] for key in shared)
    return f"{source.resolve().name}/" if others else ""


def _refuse_other_pixels(new: pd.DataFrame, earlier: _Earlier) -> None:
    """Two images of one name could not be told apart, in the manifest or by a person."""
    pixels = dict(zip(earlier.examples["source_id"], earlier.examples["image_sha256"], strict=True))
    others = [
        key
        for key, sha256 in dict(zip(new["source_id"], new["image_sha256"], strict=True)).items()
        if pixels.get(key, sha256) != sha256
    ]
    if others:
        number = "1 image has" if len(others) == 1 else f"{len(others)} images have"
        raise PlanError(
            f"{number} the name of another one in {earlier.dataset.folder}, but other pixels: "
            f"{shown(others)}; rename them, or the folder below the source that they lie in"
        )


def _similar(
    new: pd.DataFrame,
    earlier: _Earlier,
    sketches: Mapping[str, Sketched],
    settings: ConversionSettings,
    workers: Workers,
    progress: Progress | None,
) -> Similar | None:
    """What was found before, and pairs of a new image with another one, new or not."""
    import pandas as pd

    if not settings.find_similar:
        return None
    known = known_similar(earlier.dataset.info) or Similar((), 0)
    if new.empty:
        return known
    both = pd.concat([earlier.examples.astype(object), new.astype(object)], ignore_index=True)
    names = _group_names(new, earlier)
    found = find_similar(
        sketches,
        both,
        [*earlier.examples["group"], *names],
        new=frozenset(new["source_id"]) - set(earlier.examples["source_id"]),
        workers=workers,
        progress=progress,
    )
    pairs = sorted((*known.pairs, *found.pairs), key=lambda pair: natural_key(pair.one))
    return Similar(tuple(pairs), known.compared + found.compared)


def _group_names(new: pd.DataFrame, earlier: _Earlier) -> list[str]:
    """The groups of new examples by their own columns; those that there are keep their names."""
    there, by = earlier.examples, earlier.by
    for name in by:
        split.check_column(name, list(new.columns), "split by")
    known = dict(zip(split.group_names(there, by), there["group"], strict=True))
    return [known.get(name, name) for name in split.group_names(new, by)]


def _grouped(
    new: pd.DataFrame,
    earlier: _Earlier,
    looks: Mapping[str, Look],
    similar: Similar | None,
    settings: ConversionSettings,
) -> tuple[pd.DataFrame, list[dict[str, str]], int]:
    """New examples with their group, copies of known images left out and told, sets joined."""
    import pandas as pd

    there, by = earlier.examples, earlier.by
    names = _group_names(new, earlier)
    blank = blank_pixels(there, earlier.looks) | blank_pixels(new, looks)
    columns = ["source_id", "image_sha256", *WINDOW]
    both = pd.concat([there[columns], new[columns]], ignore_index=True)
    groups_before = [*there["group"], *names]
    groups, joined = split.join_identical(
        groups_before,
        picture_identities(both, blank, by),
        dict(zip(there["group"], there["split"], strict=True)),
        to_be_joined(similar, both, groups_before, settings),
    )
    new = new.reset_index(drop=True)
    new.insert(1, "group", groups[len(there) :])
    first = dict(zip(there["image_sha256"][::-1], there["source_id"][::-1], strict=True))
    is_copy = new["image_sha256"].isin(first.keys() - blank) & ~new["source_id"].isin(
        earlier.looks.keys()
    )
    copied = new[is_copy].drop_duplicates("source_id")
    copies = [
        {"path": key, "reason": f"its pixels are those of {first[sha256]}, which is there already"}
        for key, sha256 in zip(copied["source_id"], copied["image_sha256"], strict=True)
    ]
    return new[~is_copy].reset_index(drop=True), copies, len(joined)


def _classes(dataset: Dataset, new: pd.DataFrame) -> tuple[str, ...]:
    found = sorted(set(new["label"].dropna()) - set(dataset.classes), key=natural_key)
    return (*dataset.classes, *found)


def _splits(new: pd.DataFrame, earlier: _Earlier, settings: ConversionSettings) -> list[str]:
    import pandas as pd

    there = earlier.examples
    columns = [name for name in new if name in there]
    both = pd.concat([there.astype(object), new.astype(object)], ignore_index=True, sort=False)
    both = both.where(both.notna(), None)
    placed = dict(zip(there["group"], there["split"], strict=True))
    assigned = split.assign_splits(
        class_counts(both[columns]),
        settings.fractions,
        settings.seed,
        held_out(both, settings),
        placed,
    )
    return [assigned[group] for group in new["group"]]


def _next_numbers(dataset: Dataset) -> dict[str, int]:
    """The number of the next shard of each split."""
    first = dict.fromkeys(SPLITS, 0)
    for shard in dataset.info["shards"]:
        place = shard_place(shard["file"])
        if place is not None:
            first[shard["split"]] = max(first[shard["split"]], place[1] + 1)
    return first


def _together(earlier: _Earlier, new: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    from tfrecords_tools.dataset import read_document
    from tfrecords_tools.manifest import joined, manifest_frame, manifest_table

    before = read_document(earlier.dataset.manifest_path)
    examples = manifest_frame(joined(before, manifest_table(new)))
    order = {name: place for place, name in enumerate(classes)}
    examples.insert(3, "class_index", [order.get(label, -1) for label in examples["label"]])
    return examples


def _keep_what_is_not_known(findings: dict[str, Any], earlier: _Earlier) -> None:
    """Size and depth of single earlier images may not be known; what was found then stays."""
    for place, column in enumerate(APPEARANCE):
        if any(look[place] is None for look in earlier.looks.values()):
            kept = [
                item
                for item in earlier.dataset.info["audit"]["confounding"]
                if item["column"] == column
            ]
            findings["confounding"] += kept
            findings["warnings"] += [item["sentence"] for item in kept]


def _still_skipped(
    dataset: Dataset, skipped: Sequence[dict[str, str]], examples: pd.DataFrame
) -> tuple[dict[str, str], ...]:
    there = set(examples["source_id"])
    all_of_them = {item["path"]: item for item in (*dataset.info["skipped"], *skipped)}
    return tuple(item for path, item in all_of_them.items() if path not in there)


def _facts(info: Mapping[str, Any]) -> dict[str, Any]:
    return {name: info[name] for name in ("intensity", "sizes", "dtypes")}


def _merged(info: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of all images together."""
    sizes: Counter[tuple[int, int]] = Counter()
    for size in (*info["sizes"], *new["sizes"]):
        sizes[size["height_px"], size["width_px"]] += size["images"]
    return {
        "intensity": {
            name: {
                "low": min(before["low"], new["intensity"][name]["low"]),
                "high": max(before["high"], new["intensity"][name]["high"]),
                "dtypes": sorted({*before["dtypes"], *new["intensity"][name]["dtypes"]}),
            }
            for name, before in info["intensity"].items()
        },
        "sizes": [
            {"height_px": height, "width_px": width, "images": count}
            for (height, width), count in sorted(sizes.items(), key=lambda kv: (-kv[1], kv[0]))
        ],
        "dtypes": dict(sorted((Counter(info["dtypes"]) + Counter(new["dtypes"])).items())),
    }


def _nothing_new(
    earlier: _Earlier,
    source: Path,
    settings: ConversionSettings,
    notes: list[str],
    skipped: Sequence[dict[str, str]],
) -> Plan:
    info = earlier.dataset.info
    return Plan(
        settings=settings,
        source=source,
        name=earlier.dataset.name,
        examples=earlier.examples,
        classes=tuple(earlier.dataset.classes),
        channels=tuple(earlier.dataset.channels),
        split_info=info["split"],
        audit=info["audit"] | {"notes": notes},
        skipped=_still_skipped(earlier.dataset, skipped, earlier.examples),
        facts=_facts(info),
        similar=info.get("similar"),
        sketches=read_sketches(earlier.dataset),
        onto=earlier.dataset,
    )
