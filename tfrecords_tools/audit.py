"""The audit of a finished plan: leaks stop it, doubts about the labels are said loudly.

It works from the table of examples alone and knows nothing of how the split was made.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfrecords_tools.errors import LeakError
from tfrecords_tools.split import IMAGE, LEVELS, group_names, unit_name

if TYPE_CHECKING:
    import pandas as pd

# Columns that cannot be a shortcut by themselves: they make the label or count what became of the
# cells (words of their names), or they name the places that were treated, so that each value is
# seen with one label by design.
_MAKE_THE_LABEL = frozenset(
    {"treatment", "drug", "compound", "inducer", "concentration", "dose", "exposure", "viability"}
    | {"cells", "dying", "dead", "votes"}
)
_TREATED_PLACES = frozenset(
    {"well", "row", "column", "position", "field", "item", "tile_row", "tile_column"}
)

# A column is doubtful where it removes this share of the errors that guessing the most frequent
# class makes, and where chance would hardly do the same.
_ERRORS_REMOVED = 1 / 3
_CHANCE = 0.01
_FULL_ASSOCIATION = 0.9
# So many independent values of a column in each class count as replicates of it.
_REPLICATES = 4

# A value with more than this of one class cannot tell a model from a guess.
_FAIR_SHARE = 0.9

_SAME_OBJECT_OVERLAP = 0.5
_SHOWN_IDS = 8


@dataclass(frozen=True)
class Confounding:
    """How far one column gives the label away."""

    column: str
    cramers_v: float
    accuracy_from_column: float
    majority: float
    sentence: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_leaks(
    examples: pd.DataFrame, columns: Sequence[str], identities: Sequence[Hashable | None]
) -> list[str]:
    """Prove that no group and no identical image stands in two splits; sentences that say so.

    `columns` are those that name a group, `identities` the pixels of each example's image (None:
    nothing to compare). Raises LeakError with the ids.
    """
    import pandas as pd

    splits = examples["split"]
    frame = pd.DataFrame({"split": splits, "id": examples["example_id"]})
    unit = unit_name(columns)
    by_group = frame.assign(key=group_names(examples, columns))
    _check_one_split(by_group, f"group ({unit})")
    _check_one_split(frame.assign(key=examples["group"]), "joined group")
    pixels = frame.assign(key=pd.Series(list(identities), index=examples.index, dtype=object))
    pixels = pixels[pixels["key"].notna()]
    _check_one_split(pixels, "identical images: pixels")
    return [
        f"{by_group['key'].nunique()} groups ({unit}), none in two splits",
        f"{examples[IMAGE].nunique()} images, {pixels['key'].nunique()} of them different, none in "
        "two splits",
    ]


def confounding(examples: pd.DataFrame, columns: Sequence[str]) -> list[Confounding]:
    """The columns that give the label away, by falling accuracy.

    For each column the label of every image is guessed from the *other* images with the same
    value (their most frequent label; the overall one where there are none). A column that names
    single images, such as a file's number, therefore says nothing. Columns whose values lie each
    within one group of the split, and with several such values in every class, are replicates and
    not doubtful.

    `examples` has label, group, source_id and `columns`; unlabelled rows are left out.
    """
    known = examples[examples["label"].notna()]
    if known.empty or known["label"].nunique() < 2:
        return []
    found = [
        _assess(known, name) for name in columns if may_confound(name) and known[name].nunique() > 1
    ]
    doubtful = [item for item in found if item is not None]
    return sorted(doubtful, key=lambda item: (-item.accuracy_from_column, item.column))


def may_confound(column: str) -> bool:
    """Whether a column may be a shortcut: it neither makes the label nor names treated places."""
    makes_the_label = not _MAKE_THE_LABEL.isdisjoint(column.lower().split("_"))
    return column not in _TREATED_PLACES and not makes_the_label


def part_of_the_label(column: str, table: np.ndarray) -> bool:
    """Whether the classes subdivide the values of a column, as `HeLa dead` does the cell line.

    table: counts, (values, classes). An experiment or a plate is never part of a label.
    """
    there = table > 0
    one_value_each = bool((there.sum(axis=0) <= 1).all())
    return column not in LEVELS and one_value_each and bool((there.sum(axis=1) > 1).any())


def mixed_values(table: np.ndarray) -> int:
    """How many values of a column hold fair shares of two classes, so that they can judge a model.

    table: counts, (values, classes).
    """
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    return int(((shares < _FAIR_SHARE).all(axis=1) & (table.sum(axis=1) > 0)).sum())


def cramers_v(table: np.ndarray) -> float:
    """Cramér's V of a contingency table (rows, columns) of counts, 0 to 1.

    Cramér 1946, Mathematical Methods of Statistics, chapter 21: sqrt(chi2 / (n (min(r, c) - 1))).
    """
    smaller = min(table.shape) - 1
    if smaller < 1:
        return 0.0
    return float(np.sqrt(_chi_squared(table) / (table.sum() * smaller)))


def conflicting_labels(
    examples: pd.DataFrame, identities: Sequence[Hashable | None], boxes: bool
) -> list[list[dict[str, str]]]:
    """Examples that show the same thing under different labels.

    The same window of identical images; with boxes those that overlap by more than half (they
    were drawn by hand twice, so never quite the same).
    """
    import pandas as pd

    identity = pd.Series(list(identities), index=examples.index, dtype=object)
    images = pd.DataFrame({"identity": identity, "image": examples[IMAGE]}).drop_duplicates()
    shared = images["identity"][images["identity"].duplicated()].dropna()
    copies = identity.isin(set(shared))
    conflicts = []
    for _, members in examples[copies].groupby(identity[copies], sort=False):
        rows: list[dict[str, Any]] = [
            dict(zip(members.columns, row, strict=True)) for row in members.itertuples(index=False)
        ]
        pairs = ((a, b) for place, a in enumerate(rows) for b in rows[place + 1 :])
        conflicts += [
            [{"example_id": row["example_id"], "label": row["label"]} for row in (a, b)]
            for a, b in pairs
            if a[IMAGE] != b[IMAGE] and a["label"] != b["label"] and _same_place(a, b, boxes)
        ]
    return conflicts


def _check_one_split(frame: pd.DataFrame, what: str) -> None:
    splits = frame.groupby("key")["split"].nunique()
    torn = splits[splits > 1].index
    if not len(torn):
        return
    members = frame[frame["key"] == torn[0]]
    shown = ", ".join(f"{row.id} ({row.split})" for row in members.head(_SHOWN_IDS).itertuples())
    raise LeakError(
        f"{what} {torn[0]} stands in two splits: {shown}"
        f"{f'; and {len(torn) - 1} more such' if len(torn) > 1 else ''}. The plan is not used"
    )


def _assess(examples: pd.DataFrame, column: str) -> Confounding | None:
    import pandas as pd

    values = pd.Categorical(examples[column].map(str).where(examples[column].notna(), "unknown"))
    labels = pd.Categorical(examples["label"])
    table = np.zeros((len(values.categories), len(labels.categories)))
    np.add.at(table, (values.codes, labels.codes), 1)
    majority = float(table.sum(axis=0).max() / table.sum())
    accuracy = _accuracy_from_others(examples[IMAGE], values.codes, labels.codes, table)
    strength = cramers_v(table)
    # Tiles and boxes of one image are no independent observations.
    images = np.zeros_like(table)
    once = ~pd.DataFrame([examples[IMAGE].array, values.codes, labels.codes]).T.duplicated()
    np.add.at(images, (values.codes[once], labels.codes[once]), 1)
    by_chance = _p_value(images) > _CHANCE and strength < _FULL_ASSOCIATION
    if accuracy < majority + _ERRORS_REMOVED * (1 - majority) or accuracy <= majority or by_chance:
        return None
    if _replicated(examples, column, table) or part_of_the_label(column, table):
        return None
    sentence = _sentence(
        column, accuracy, majority, strength, str(labels.categories[table.sum(axis=0).argmax()])
    )
    if column in LEVELS or column == "cell_line":
        sentence += _no_honest_split(
            column, table, [str(v) for v in values.categories], list(labels.categories)
        )
    return Confounding(column, round(strength, 4), round(accuracy, 4), round(majority, 4), sentence)


def _accuracy_from_others(
    images: pd.Series, values: np.ndarray, labels: np.ndarray, table: np.ndarray
) -> float:
    """Share of examples whose label is the most frequent among other images of the same value."""
    import pandas as pd

    # An image's own examples are taken out of the row that they are in.
    place = pd.factorize(images)[0] * len(table) + values
    _, codes = np.unique(place, return_inverse=True)
    own = np.zeros((codes.max() + 1, table.shape[1]))
    np.add.at(own, (codes, labels), 1)
    others = table[values] - own[codes]
    guess = np.where(others.sum(axis=1) > 0, others.argmax(axis=1), table.sum(axis=0).argmax())
    return float((guess == labels).mean())


def _replicated(examples: pd.DataFrame, column: str, table: np.ndarray) -> bool:
    """Whether the column's values are groups of the split and every class has several of them."""
    groups_of_value = examples.groupby(column)["group"].nunique()
    if (groups_of_value > 1).any():
        return False
    values_with_class = (table > 0).sum(axis=0)
    return bool((values_with_class >= _REPLICATES).all())


def _sentence(column: str, accuracy: float, majority: float, strength: float, frequent: str) -> str:
    return (
        f"{column} and label are confounded: knowing {column} gives the label right "
        f"{accuracy:.1%} of the time, against {majority:.1%} by always saying {frequent} "
        f"(Cramér's V {strength:.2f}). Unless {column} is what makes the label, a network that "
        "recognises it needs to see nothing of the cells, and its accuracy here says nothing about "
        "them."
    )


def _no_honest_split(
    column: str, table: np.ndarray, values: Sequence[str], labels: Sequence[str]
) -> str:
    """What is left for an honest test: values of the column with fair shares of two classes."""
    if mixed_values(table) >= 2:
        return f" Only a split by {column} can tell (--split-by {column})."
    largest = table.sum(axis=1).argsort()[::-1][:4]
    parts = "; ".join(
        f"{values[row]}: "
        + ", ".join(
            f"{int(table[row, k])} {labels[k]}" for k in table[row].argsort()[::-1] if table[row, k]
        )
        for row in largest
    )
    return (
        f" No honest split by {column} exists in these images ({parts}): image every class in "
        f"every {column}."
    )


def _same_place(a: dict[str, Any], b: dict[str, Any], boxes: bool) -> bool:
    names = ("top_px", "left_px", "height_px", "width_px")
    if not boxes:
        return all(a[name] == b[name] for name in names)
    height = min(a["ymax"], b["ymax"]) - max(a["ymin"], b["ymin"])
    width = min(a["xmax"], b["xmax"]) - max(a["xmin"], b["xmin"])
    shared = max(height, 0.0) * max(width, 0.0)
    areas = [(row["ymax"] - row["ymin"]) * (row["xmax"] - row["xmin"]) for row in (a, b)]
    return bool(shared / (sum(areas) - shared) > _SAME_OBJECT_OVERLAP)


def _chi_squared(table: np.ndarray) -> float:
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(((table - expected) ** 2 / np.where(expected > 0, expected, 1)).sum())


def _p_value(table: np.ndarray) -> float:
    """Of the chi-squared test of independence."""
    from scipy.special import chdtrc

    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    return float(chdtrc(freedom, _chi_squared(table)))
