"""Which split an example belongs to: whole groups, every class everywhere, fixed by the seed."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfrecords_tools.errors import LeakError, PlanError
from tfrecords_tools.settings import SPLITS, parse_hold_out

if TYPE_CHECKING:
    import pandas as pd

# From coarse to fine. Well B03 of plate 1 and well B03 of plate 2 are two wells, so a level is
# always taken together with the coarser ones that the source has.
LEVELS = ("experiment", "plate", "well", "position", "field")
IMAGE = "source_id"
EXAMPLE = "example"

_WELL_PARTS = ("row", "column")
PLACES = (("well",), _WELL_PARTS, ("position",), ("field",))
UNKNOWN = "unknown"
NOTHING_PLACED: Mapping[str, str] = {}

_SHOWN_IDS = 6


def group_columns(split_by: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """The columns whose values together name a group; `columns` are those that there are.

    Without a wish: the coarsest place that there is of well (also as row and column), position,
    field, source image. Raises PlanError.
    """
    if not split_by:
        there = set(columns)
        split_by = next((place for place in PLACES if there.issuperset(place)), (IMAGE,))
    if tuple(split_by) == (EXAMPLE,):
        return ("example_id",)
    chosen: list[str] = []
    for name in split_by:
        check_column(name, columns, "split by")
        level = "well" if name in _WELL_PARTS else name
        coarser = LEVELS[: LEVELS.index(level)] if level in LEVELS else ()
        chosen += [level for level in coarser if level in columns]
        chosen.append(name)
    return tuple(dict.fromkeys(chosen))


def unit_name(columns: Sequence[str]) -> str:
    """What the groups are, in words: `plate / well`, or `image`."""
    return " / ".join({IMAGE: "image", "example_id": "example"}.get(name, name) for name in columns)


def check_column(name: str, columns: Sequence[str], purpose: str) -> None:
    """Raise PlanError, with the nearest column there is, where `name` is none of them."""
    if name in columns:
        return
    close = difflib.get_close_matches(name, columns, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise PlanError(f"{purpose} {name}: no such column; {hint}there are {', '.join(columns)}")


def group_names(examples: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """One text per example; a missing value counts as one value of its own, `unknown`."""
    import pandas as pd

    texts = [
        examples[name].astype(object).where(examples[name].notna(), None).map(as_text)
        for name in columns
    ]
    texts = [text.fillna(UNKNOWN) for text in texts]
    joined = ["/".join(values) for values in zip(*texts, strict=True)]
    return pd.Series(joined, index=examples.index, dtype=object)


def as_text(value: Any) -> str | None:
    """A metadata value as a person writes it: 1 and not 1.0; None where absent."""
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def join_identical(
    groups: Sequence[str],
    identities: Sequence[Hashable | None],
    placed: Mapping[str, str] = NOTHING_PLACED,
    together: Iterable[tuple[str, str]] = (),
) -> tuple[list[str], list[list[str]]]:
    """Join groups that share an identity (the pixels of an image), whatever their names, and those
    that are to be `together`.

    Returns the name of each example's joined group, and the groups that were joined. An identity
    of None joins nothing. Groups that are `placed` in a split keep their names, and others join
    them. Raises LeakError where that would join two splits.
    """
    parent = {group: group for group in groups}

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    def join(group: str, other_group: str) -> None:
        # The smaller name leads, so that the result does not depend on the order of examples.
        one, other = root(group), root(other_group)
        parent[max(one, other)] = min(one, other)

    first_with: dict[Hashable, str] = {}
    for group, identity in zip(groups, identities, strict=True):
        if identity is None:
            continue
        join(group, first_with.setdefault(identity, group))
    for group, other_group in together:
        join(group, other_group)
    members: dict[str, list[str]] = {}
    for group in sorted(parent):
        members.setdefault(root(group), []).append(group)
    names: dict[str, str] = {}
    for found in members.values():
        there = [group for group in found if group in placed]
        _check_one_place(found, there, placed)
        name = there[0] if there else _joined_name(found)
        names |= {group: group if group in placed else name for group in found}
    return [names[group] for group in groups], [
        found for found in members.values() if len(found) > 1
    ]


def _check_one_place(found: Sequence[str], there: Sequence[str], placed: Mapping[str, str]) -> None:
    if len({placed[group] for group in there}) > 1:
        new = [group for group in found if group not in placed]
        places = "; ".join(f"{group} ({placed[group]})" for group in there[:_SHOWN_IDS])
        raise LeakError(
            f"{_shown(new) or 'a new image'} holds images identical or similar to some of "
            f"{places}, which stand in different splits already; leave them out"
        )


def held_out(examples: pd.DataFrame, rules: Sequence[str]) -> pd.Series:
    """The split that the hold-out rules give each example; None where none applies.

    Raises PlanError for a column or value that does not occur, or two rules that disagree.
    """
    import pandas as pd

    target = pd.Series([None] * len(examples), index=examples.index, dtype=object)
    for rule in rules:
        split, column, value = parse_hold_out(rule)
        check_column(
            column, [name for name in examples.columns if name != "source_paths"], "hold out"
        )
        texts = examples[column].map(as_text)
        chosen = texts == value
        if not chosen.any():
            found = sorted(texts.dropna().unique())
            more = f" and {len(found) - 20} more" if len(found) > 20 else ""
            raise PlanError(
                f"hold out {column}={value}: no example has it; {column} has "
                f"{', '.join(found[:20])}{more}"
            )
        disagreeing = chosen & target.notna() & (target != split)
        if disagreeing.any():
            raise PlanError(
                f"hold out {rule}: {examples['example_id'][disagreeing].iloc[0]} is held out for "
                f"{target[disagreeing].iloc[0]} already; each example goes to one split"
            )
        target[chosen] = split
    return target


def held_out_groups(examples: pd.DataFrame, target: pd.Series) -> dict[str, str]:
    """Group -> split for the groups that are held out.

    Raises LeakError, with the ids, where a group would have to be in two places.
    """
    fixed = {}
    places = target.fillna("not held out")
    held = set(examples["group"][target.notna()])
    for group, members in examples[examples["group"].isin(held)].groupby("group", sort=True):
        found = places[members.index]
        if found.nunique() > 1:
            lines = "; ".join(
                f"{place}: {_shown(list(members['example_id'][found == place]))}"
                for place in sorted(found.unique())
            )
            raise LeakError(
                f"hold out: {group} cannot be torn apart, as it is one group or joined by "
                f"identical or similar images, but it has examples for {lines}. Hold out all of "
                "them, or remove the copies"
            )
        fixed[str(group)] = str(found.iloc[0])
    return fixed


def assign_splits(
    counts: Mapping[str, Mapping[str, int]],
    fractions: Sequence[float],
    seed: int,
    fixed: Mapping[str, str] | None = None,
    placed: Mapping[str, str] = NOTHING_PLACED,
) -> dict[str, str]:
    """Give every group one split so that each class comes near its share in each of them.

    Args:
        counts: examples of each class in each group.
        fractions: shares of train, validation and test.
        seed: decides between groups that fit equally well, whatever the order of `counts`.
        fixed: groups held out. A split that has some takes no others; the remaining splits share
            the other groups in the ratio of their fractions.
        placed: groups that have their split already; the others bring the whole near its shares.

    First every class gets a group in every split, as far as its groups suffice (train before test
    before validation). Then each group goes where it is missed most: groups too large to be evened
    out later from the largest on, all others in random order, so that no split collects the
    images with many or few cells.
    """
    held = dict(fixed or {})
    classes = sorted({name for found in counts.values() for name in found})
    amounts = {
        group: np.array([found.get(name, 0) for name in classes], dtype=float)
        for group, found in counts.items()
    }
    open_splits = [
        place
        for place, split in enumerate(SPLITS)
        if fractions[place] > 0 and split not in held.values()
    ]
    free = sorted(
        (group for group in counts if group not in held and group not in placed),
        key=lambda g: draw(seed, g),
    )
    if free and not open_splits:
        raise PlanError(
            f"{len(free)} groups are not held out, but no split is left for them; give a share of "
            "the fractions to a split without held-out groups"
        )
    open_names = [SPLITS[place] for place in open_splits]
    shared = [group for group, name in placed.items() if group in counts and name in open_names]
    total = sum((amounts[group] for group in (*free, *shared)), np.zeros(len(classes)))
    shares = np.array([fractions[place] if place in open_splits else 0.0 for place in range(3)])
    target = np.outer(shares / max(shares.sum(), 1e-12), total)
    free = _large_first(free, amounts, target[open_splits])
    current = np.zeros_like(target)
    for group in shared:
        current[SPLITS.index(placed[group])] += amounts[group]
    chosen: dict[str, int] = {}

    def place_group(group: str, split: int) -> None:
        chosen[group] = split
        current[split] += amounts[group]

    for column in _rarest_first(free, amounts, len(classes)):
        for split in (split for split in (0, 2, 1) if split in open_splits):
            candidates = [g for g in free if g not in chosen and amounts[g][column] > 0]
            if current[split, column] > 0 or not candidates:
                continue
            wanted = target[split, column]
            best = min(candidates, key=lambda g: abs(amounts[g][column] - wanted))
            place_group(best, split)
    weight = 1 / np.maximum(total, 1) ** 2
    for group in free:
        if group not in chosen:
            missing = target[open_splits] - current[open_splits]
            # The change of the squared distance to the target, were the group put there.
            cost = ((amounts[group] ** 2 - 2 * amounts[group] * missing) * weight).sum(axis=1)
            place_group(group, open_splits[int(cost.argmin())])
    return held | dict(placed) | {group: SPLITS[split] for group, split in chosen.items()}


def check_classes(examples: pd.DataFrame, fractions: Sequence[float], unit: str) -> list[str]:
    """Sentences for classes that a split lacks. Raises PlanError where training cannot do without.

    `examples` has label, group and split; `unit` is what a group is.
    """
    warnings = []
    wanted = [split for split, share in zip(SPLITS, fractions, strict=True) if share > 0]
    wanted = [split for split in SPLITS if split in wanted or (examples["split"] == split).any()]
    for label, members in examples.groupby("label", sort=True):
        found = set(members["split"])
        groups = members["group"].nunique()
        lacking = [split for split in wanted if split not in found]
        if not lacking:
            continue
        count = f"class {label}: {groups} group{'s' if groups > 1 else ''} ({unit})"
        if groups == 1 or "train" in lacking:
            examples_found = f"{len(members)} example{'s' if len(members) > 1 else ''}"
            raise PlanError(
                f"{count} with {examples_found}, so {' and '.join(lacking)} would have none of it; "
                f"add images of {label} from other groups, leave the class out, or split by "
                "something finer (--split-by)"
            )
        warnings.append(
            f"{count} do not suffice for {len(wanted)} splits: {' and '.join(lacking)} "
            f"{'has' if len(lacking) == 1 else 'have'} no {label}, so no figure computed there "
            "tells how well it is recognised. Add groups, or split by something finer (--split-by)"
        )
    return warnings


def _large_first(
    groups: Sequence[str], amounts: Mapping[str, np.ndarray], target: np.ndarray
) -> list[str]:
    """The groups of more than a tenth of the smallest split by falling size, then the others."""
    limit = 0.1 * min(target.sum(axis=1), default=0.0)
    large = [group for group in groups if amounts[group].sum() > limit]
    small = [group for group in groups if amounts[group].sum() <= limit]
    return sorted(large, key=lambda group: -amounts[group].sum()) + small


def _rarest_first(
    free: Sequence[str], amounts: Mapping[str, np.ndarray], classes: int
) -> list[int]:
    groups_with = sum((amounts[group] > 0 for group in free), np.zeros(classes, dtype=int))
    return [int(column) for column in np.argsort(groups_with, kind="stable")]


def draw(seed: int, group: str) -> bytes:
    """A place in the order that depends on the seed and this group alone."""
    return hashlib.sha256(f"{seed}:{group}".encode()).digest()


def _joined_name(groups: Sequence[str]) -> str:
    if len(groups) <= 3:
        return " + ".join(groups)
    return f"{groups[0]} + {len(groups) - 1} more"


def _shown(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _SHOWN_IDS} more" if len(ids) > _SHOWN_IDS else ""
    return f"{', '.join(ids[:_SHOWN_IDS])}{more}"
