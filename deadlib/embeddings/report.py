"""The page on embeddings, and every number of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deadlib.bootstrap import Estimate, Resampling
from deadlib.embeddings import figures
from deadlib.embeddings.batch import (
    ANSWERS,
    Answer,
    Question,
    answer,
    difference,
    questions,
    was_taught,
)
from deadlib.embeddings.maps import Map, Setting, lay_out
from deadlib.embeddings.pictures import Look, find_pictures
from deadlib.embeddings.retrieval import (
    SHOWN,
    Retrieval,
    neighbour_rows,
    retrieve,
    shown,
    write_calls,
)
from deadlib.embeddings.wells import CONTROLS, Indices, Wells, read_wells
from deadlib.errors import InputError
from deadlib.outputs import written_whole
from deadlib.pages import Remark, render, write, write_figures
from deadlib.pages.drawing import Drawing
from deadlib.predictions import as_names, require_column

PAGE = "embeddings.html"
NUMBERS = "embeddings.json"
TABLE = "batch_effect.csv"
COORDINATES = "coordinates.csv"
NEIGHBOURS = "neighbours.csv"
SCHEMA_VERSION = 1
PERMUTATIONS = 200
KS = (1, 10)
MOST_WELLS = 4000
"""Of more wells so many are drawn for a question, as probes would take minutes."""
COLOURED_BY = ("label", "treatment", "concentration_um", "viability", "split")
MAIN: dict[str, tuple[str, ...]] = {
    "plate_controls": ANSWERS,
    "plate": ANSWERS,
    "class_new": ("probe", "neighbours"),
    "class_seen": ANSWERS,
}
"""The questions of the one table and their answers; `plate` where there are no controls."""
WORDS = {"probe": "linear probe", "neighbours": "10 nearest wells", "silhouette": "silhouette"}
CAPTION_COLUMNS = ("treatment", "concentration_um")
ALPHA = 0.05
LARGE_EFFECT = 0.1
"""Plate told so far above chance is called a batch effect, where chance alone rarely does it."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Found:
    """All that is found on one table."""

    wells: Wells
    answers: list[Answer]
    retrieval: Retrieval | None
    called: dict[int, dict[str, Estimate]]
    map_at_r: Estimate | None
    map: Map | None
    differences: dict[str, dict[str, Estimate]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return self.wells.title

    def by_key(self) -> dict[str, Answer]:
        return {one.question.key: one for one in self.answers}

    def to_json(self) -> dict[str, Any]:
        return {
            "table": str(self.wells.table.path),
            "rows": len(self.wells.unit),
            "wells": len(self.wells),
            "features": self.wells.means.shape[1],
            "batch": list(self.wells.batch_columns),
            "questions": {one.question.key: one.to_json() for one in self.answers},
            "difference_to_first": {
                key: {name: one.to_json() for name, one in found.items()}
                for key, found in self.differences.items()
            },
            "neighbours": None
            if self.retrieval is None
            else {
                "rule": self.retrieval.rule,
                "wells": len(self.retrieval.queries),
                "map_at_r": None if self.map_at_r is None else self.map_at_r.to_json(),
                "called": {
                    str(k): {name: one.to_json() for name, one in found.items()}
                    for k, found in self.called.items()
                },
            },
        }


def examine(
    tables: Sequence[str | Path],
    out: str | Path,
    *,
    titles: Sequence[str] = (),
    batch: Sequence[str] = (),
    split: str | None = None,
    controls: Sequence[str] = CONTROLS,
    ks: Sequence[int] = KS,
    setting: Setting = Setting(),  # noqa: B008  frozen
    colour_by: Sequence[str] = (),
    dataset: str | Path | None = None,
    look: Look = "composite",
    queries: Sequence[str] = (),
    shown_queries: int = SHOWN,
    permutations: int = PERMUTATIONS,
    resampling: Resampling = Resampling(),  # noqa: B008  frozen
    command: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write what the embeddings of prediction tables hold into `out`; return embeddings.html.

    tables: prediction tables with the column `embedding`, best of the same wells (one network with
    and one without a metric loss, say). titles: what to call them, by default their files. batch,
    split, controls: as `read_wells` takes them. ks: how many neighbours call a class. setting: how
    the map is made. colour_by: columns it is coloured by besides those known. dataset: where
    pictures come from, by default the one that each table names. queries: wells to be shown, by
    name (plate1/B03), by default `shown_queries` of them.

    Beside the page: embeddings.json, batch_effect.csv, coordinates.csv (a row per image),
    neighbours.csv, TITLE_knn_K.parquet (a prediction table of the wells) and figures/.

    Raises PredictionError where a table cannot be used, InputError where UMAP is asked for and not
    installed or a table has no well of that name, WriteError where the disk refuses.
    """
    out = Path(out)
    _ = setting.resolved
    every = _read(tables, titles, batch, split, controls)
    for wells in every:
        for name in colour_by:
            require_column(wells.table.path, wells.table.frame, name, "to colour the map by")
    _check_queries(every, queries)
    found = [_examined(wells, ks, setting, permutations, resampling, progress) for wells in every]
    found = [found[0], *(_compared(found[0], one, resampling) for one in found[1:])]
    remarks = [remark for one in found for remark in _remarks(one)] + _of_all(found)
    drawings = _drawings(found, colour_by)
    galleries = {
        one.title: _gallery(one, ks, look, dataset, queries, shown_queries, setting.seed)
        for one in found
    }
    page = _page(found, remarks, drawings, galleries, setting, ks, look, permutations, command)
    _write_tables(out, found, ks)
    write_figures(out, drawings.values())
    numbers = _numbers(found, remarks, setting, permutations, resampling, command)
    write(out / NUMBERS, json.dumps(numbers, indent=1, allow_nan=False).encode())
    write(out / PAGE, page.encode())
    return out / PAGE


def _read(
    tables: Sequence[str | Path],
    titles: Sequence[str],
    batch: Sequence[str],
    split: str | None,
    controls: Sequence[str],
) -> list[Wells]:
    if titles and len(titles) != len(tables):
        raise InputError(
            f"{len(titles)} names for {len(tables)} tables; give --name once for each, or never"
        )
    found = [
        read_wells(
            path,
            title=titles[place] if titles else None,
            batch=batch,
            split=split,
            controls=controls,
        )
        for place, path in enumerate(tables)
    ]
    # files are named after them
    names = [slug(wells.title) for wells in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"two tables are called {twice[0]}; tell them apart with --name, once for each table"
        )
    return found


def _check_queries(every: Sequence[Wells], queries: Sequence[str]) -> None:
    for name in queries:
        if not any((wells.name == name).any() for wells in every):
            some = ", ".join(map(str, every[0].name[:3]))
            raise InputError(f"no well {name}; wells are called as {some}")


def _examined(
    wells: Wells,
    ks: Sequence[int],
    setting: Setting,
    permutations: int,
    resampling: Resampling,
    progress: Progress | None,
) -> Found:
    asked = questions(wells, resampling.seed)
    done, total = 0, len(asked) * len(ANSWERS) + 2

    def tick(steps: int) -> None:
        nonlocal done
        done += steps
        if progress is not None:
            progress(wells.title, done, total)

    answers = [
        answer(
            wells,
            _limited(question, resampling.seed),
            permutations=permutations,
            resampling=resampling,
            tick=tick,
        )
        for question in asked
    ]
    retrieval = retrieve(wells, max(ks))
    called = {k: retrieval.figures(k, resampling) for k in ks} if retrieval else {}
    tick(1)
    laid = lay_out(wells.vectors, setting)
    tick(1)
    precision = retrieval.map_at_r(resampling) if retrieval else None
    return Found(wells, answers, retrieval, called, precision, laid)


def _limited(question: Question, seed: int) -> Question:
    """The question of at most 4,000 of its wells."""
    count = len(question.wells)
    if count <= MOST_WELLS:
        return question
    kept = np.sort(np.random.default_rng(seed).choice(count, MOST_WELLS, replace=False))
    return replace(
        question,
        wells=question.wells[kept],
        target=question.target[kept],
        strata=question.strata[kept],
        fold=question.fold[kept],
    )


def _compared(first: Found, other: Found, resampling: Resampling) -> Found:
    """The same with its differences to the first table."""
    differences: dict[str, dict[str, Estimate]] = {}
    theirs = first.by_key()
    for key, one in other.by_key().items():
        if key not in theirs:
            continue
        for name in ("probe", "neighbours"):
            gap = difference(one, theirs[key], name, (other.wells, first.wells), resampling)
            if gap is not None:
                differences.setdefault(key, {})[name] = gap
    return replace(other, differences=differences)


def _remarks(found: Found) -> list[Remark]:
    """What is to be said of one table, the main finding first."""
    wells, answers = found.wells, found.by_key()
    batch = " and ".join(wells.batch_columns)
    remarks = []
    plate = answers.get("plate_controls") or answers.get("plate")
    if plate is None:
        remarks.append(
            Remark(
                f"{found.title}: fewer than two values of {batch} have 5 wells or more, so nothing "
                "can be said of a batch effect. Predict all splits: deadlib-predict RUN DATASET "
                "--split all.",
                "warning",
            )
        )
    else:
        remarks.append(_plate_remark(found.title, batch, plate))
    new, seen = answers.get("class_new"), answers.get("class_seen")
    if new is not None and seen is not None:
        remarks.append(_class_remark(wells, batch, new, seen))
    taught = int(wells.taught.sum())
    if 0 < taught < len(wells):
        remarks.append(
            Remark(
                f"{found.title}: {taught} of {len(wells)} wells taught the network. What it says "
                "of their class is too good, on the map too; what it says of their plate is not."
            )
        )
    remarks += [Remark(sentence, "warning") for sentence in wells.warnings]
    if not wells.control.any() and "treatment" in wells.table.frame:
        some = ", ".join(map(str, as_names(wells.table.frame["treatment"]).dropna().unique()[:5]))
        remarks.append(
            Remark(
                f"{found.title}: no control wells; treatments are {some}. Name those that are "
                "controls with --controls.",
                "warning",
            )
        )
    return remarks


def _plate_remark(title: str, batch: str, plate: Answer) -> Remark:
    probe, near = plate.measured["probe"], plate.measured["neighbours"]
    among = "control wells" if plate.question.key == "plate_controls" else "wells"
    values = [m.estimate.value or 0.0 for m in (probe, near)]
    strong = any(
        value - m.chance > LARGE_EFFECT and m.p <= ALPHA
        for value, m in zip(values, (probe, near), strict=True)
    )
    figures = (
        f"a linear probe tells the {batch} of {values[0]:.2f} of the {among}, the nearest wells "
        f"that of {values[1]:.2f} (chance {probe.chance:.2f} and {near.chance:.2f})"
    )
    if strong:
        return Remark(f"{title}: the embedding shows {batch}: {figures}.", "warning")
    return Remark(f"{title}: {batch} is hardly or not to be read from the embedding: {figures}.")


def _class_remark(wells: Wells, batch: str, new: Answer, seen: Answer) -> Remark:
    here, there = (one.measured["probe"].estimate.value or 0.0 for one in (seen, new))
    told = (
        f"{wells.title}: where a linear probe has seen other wells of each {batch}, it tells the "
        f"class of {here:.2f} of the wells; of a {batch} that"
    )
    if was_taught(wells, new.question):
        return Remark(
            f"{told} it has not seen, {there:.2f}, but the network has learnt from wells of each: "
            f"this is no test of a new {batch}.",
            "warning",
        )
    return Remark(f"{told} neither it nor the network has seen, {there:.2f}.")


def _of_all(found: Sequence[Found]) -> list[Remark]:
    names = [set(one.wells.name) for one in found]
    shared = len(set.intersection(*names))
    if all(len(each) == shared for each in names):
        return []
    return [
        Remark(
            f"The tables do not hold the same wells: {shared} stand in all of them. Figures of one "
            "table beside another's may differ for that alone; the differences are over the wells "
            "that both have.",
            "warning",
        )
    ]


def _drawings(found: Sequence[Found], colour_by: Sequence[str]) -> dict[str, Drawing]:
    drawings = {}
    keys = _main_keys(found)
    if keys:
        titles = _titles(found)
        drawn = figures.batch_effect({one.title: one.answers for one in found}, keys, titles)
        drawings[drawn.name] = drawn
    for one in found:
        if one.map is not None:
            name = f"map_{slug(one.title)}"
            drawings[name] = figures.maps(
                name, one.title, one.map.positions, _colourings(one, colour_by)
            )
    return drawings


def _colourings(found: Found, colour_by: Sequence[str]) -> list[figures.Colouring]:
    wells = found.wells
    rows: Indices = np.arange(len(wells.unit)) if found.map is None else found.map.rows
    frame = wells.table.frame.iloc[rows]
    columns = [*COLOURED_BY[:1], *wells.batch_columns, *COLOURED_BY[1:], *colour_by]
    there = [name for name in dict.fromkeys(columns) if name in frame and frame[name].notna().any()]
    chosen = [name for name in there if name in colour_by or frame[name].nunique() > 1]
    return [figures.Colouring.of(frame, name) for name in chosen or there[:1]]


def _main_keys(found: Sequence[Found]) -> list[str]:
    there = {answer.question.key for one in found for answer in one.answers}
    instead = {"plate"} if "plate_controls" in there else set()
    return [key for key in MAIN if key in there - instead]


def _titles(found: Sequence[Found]) -> dict[str, str]:
    return {answer.question.key: answer.question.title for one in found for answer in one.answers}


def _gallery(
    found: Found,
    ks: Sequence[int],
    look: Look,
    dataset: str | Path | None,
    queries: Sequence[str],
    count: int,
    seed: int,
) -> dict[str, Any]:
    """The queries of the page with their neighbours, as the template shows them."""
    retrieval = found.retrieval
    if retrieval is None:
        return {"rows": [], "missing": None, "rule": None}
    pictures = find_pictures(found.wells, Path(dataset) if dataset else None)
    k = max(ks)
    shares = retrieval.shares(k)
    rows = []
    for query in shown(retrieval, count, k, seed, queries):
        places = retrieval.places[query]
        places = places[places >= 0]
        wells = [int(retrieval.queries[query]), *map(int, places)]
        shots = pictures.of(found.wells, wells, look)
        called = retrieval.classes[int(shares[query].argmax())]
        cells = [
            _cell(found.wells, well, shot, wells[0], None if i == 0 else cosine)
            for i, (well, shot, cosine) in enumerate(
                zip(wells, shots, [1.0, *retrieval.cosines[query]], strict=False)
            )
        ]
        rows.append({"cells": cells, "called": called, "share": float(shares[query].max())})
    return {"rows": rows, "missing": pictures.missing, "rule": retrieval.rule}


def _cell(
    wells: Wells, well: int, picture: str | None, query: int, cosine: float | None
) -> dict[str, Any]:
    told = [
        f"{value:g} µM" if name == "concentration_um" else str(value)
        for name in CAPTION_COLUMNS
        if name in wells.frame and pd.notna(value := wells.frame[name].iloc[well]) and value != 0
    ]
    return {
        "name": wells.name[well],
        "label": wells.label[well] or "not labelled",
        "told": ", ".join(told),
        "picture": picture,
        "cosine": None if cosine is None else f"{cosine:.4f}",
        "right": wells.label[query] is None or wells.label[well] == wells.label[query],
    }


def _page(
    found: Sequence[Found],
    remarks: Sequence[Remark],
    drawings: Mapping[str, Drawing],
    galleries: Mapping[str, Mapping[str, Any]],
    setting: Setting,
    ks: Sequence[int],
    look: Look,
    permutations: int,
    command: str | None,
) -> str:
    return render(
        "deadlib.embeddings",
        PAGE,
        drawings.values(),
        found=found,
        remarks=remarks,
        keys=_main_keys(found),
        answers_of=MAIN,
        words=WORDS,
        all_keys=list(
            dict.fromkeys(answer.question.key for one in found for answer in one.answers)
        ),
        titles=_titles(found),
        galleries=galleries,
        map_sentence=setting.sentence,
        mapped={one.title: f"map_{slug(one.title)}" for one in found if one.map is not None},
        ks=ks,
        look=look,
        permutations=permutations,
        command=command,
    )


def _write_tables(out: Path, found: Sequence[Found], ks: Sequence[int]) -> None:
    _write_csv(out / TABLE, pd.DataFrame([line for one in found for line in _lines(one)]))
    _write_csv(out / COORDINATES, pd.concat([_coordinates(one) for one in found]))
    near = [neighbour_rows(one.retrieval, one.title) for one in found if one.retrieval]
    if near:
        _write_csv(out / NEIGHBOURS, pd.concat(near))
    for one in found:
        if one.retrieval is not None:
            for k in ks:
                write_calls(one.retrieval, k, out / f"{slug(one.title)}_knn_{k}.parquet")


def _lines(found: Found) -> list[dict[str, Any]]:
    """One line for each question and answer."""
    lines = []
    for one in found.answers:
        for name, measured in one.measured.items():
            gap = found.differences.get(one.question.key, {}).get(name)
            lines.append(
                {
                    "table": found.title,
                    "question": one.question.key,
                    "answer": name,
                    "wells": len(one.question.wells),
                    "names": len(one.question.names),
                    "value": measured.estimate.value,
                    "low": measured.estimate.low,
                    "high": measured.estimate.high,
                    "chance": measured.chance,
                    "p": measured.p,
                    "difference_to_first": gap.value if gap else None,
                    "difference_low": gap.low if gap else None,
                    "difference_high": gap.high if gap else None,
                }
            )
    return lines


def _coordinates(found: Found) -> pd.DataFrame:
    frame = found.wells.table.frame
    if found.map is None:
        return frame.iloc[:0].assign(table=[], x=[], y=[])
    rows = frame.iloc[found.map.rows].copy()
    rows.insert(0, "table", found.title)
    rows.insert(1, "x", found.map.positions[:, 0])
    rows.insert(2, "y", found.map.positions[:, 1])
    return rows


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    with written_whole(path) as partial:
        frame.to_csv(partial, index=False)


def _numbers(
    found: Sequence[Found],
    remarks: Sequence[Remark],
    setting: Setting,
    permutations: int,
    resampling: Resampling,
    command: str | None,
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "command": command,
        "remarks": [{"level": remark.level, "text": remark.text} for remark in remarks],
        "map": {
            "method": setting.resolved,
            "neighbours": setting.neighbours,
            "min_dist": setting.min_dist,
            "seed": setting.seed,
        },
        "permutations": permutations,
        "resamples": resampling.resamples,
        "tables": {one.title: one.to_json() for one in found},
    }


def slug(title: str) -> str:
    """A title as part of a file name."""
    return re.sub(r"[^\w.-]+", "_", title).strip("._") or "table"
