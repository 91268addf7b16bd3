"""The section that proves the split: which groups stand where, and images that show the same cells
in two splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deadlib.evaluation.assess import Evaluation
from deadlib.pages import Remark, Section, fragment
from tfrecords_tools.split import unit_name

_NAMES_SHOWN = 30
_PAIRS_SHOWN = 20


def split_proof(evaluation: Evaluation) -> Section | None:
    metadata = evaluation.predictions.metadata
    split = metadata.get("split") or {}
    proof = split.get("proof")
    if not proof:
        return None
    similar = (metadata.get("card") or {}).get("similar")
    across = [pair for pair in (similar or {}).get("pairs", ()) if len(pair["splits"]) > 1]
    html = fragment(
        "deadlib.evaluation",
        "split_proof.html",
        (),
        unit=unit_name(split.get("by") or ["group"]),
        rows=_rows(split),
        proof=proof,
        similar=similar,
        across=across,
        most=_PAIRS_SHOWN,
    )
    numbers = {
        "by": split.get("by"),
        "counts": split.get("counts"),
        "groups": split.get("groups"),
        "members": split.get("members"),
        "proof": proof,
        "similar": similar,
    }
    learnt_here = metadata.get("fingerprint") == metadata.get("trained_on_fingerprint")
    # The splits of a dataset that the model has never seen say nothing of what it learnt from.
    remarks = _remarks(across, evaluation.predictions.split) if learnt_here else ()
    return Section("split_proof", "Split proof", html, numbers, remarks=remarks)


def _rows(split: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The splits that hold something: examples, groups, and the names of the first groups."""
    counts = split.get("counts") or {}
    return [
        {
            "split": name,
            "examples": sum(found.values()),
            "groups": (split.get("groups") or {}).get(name, 0),
            "names": (split.get("members") or {}).get(name, [])[:_NAMES_SHOWN],
        }
        for name, found in counts.items()
        if sum(found.values())
    ]


def _remarks(
    across: Sequence[Mapping[str, Any]], evaluated: Sequence[str] | str | None
) -> tuple[Remark, ...]:
    """An alarm where the images under evaluation are concerned, else a warning."""
    if not across:
        return ()
    asked = {evaluated} if isinstance(evaluated, str) else set(evaluated or ())
    concerned = [pair for pair in across if not asked or asked & set(pair["splits"])]
    pairs = "1 pair" if len(across) == 1 else f"{len(across):,} pairs"
    text = (
        f"{pairs} of images that show the same cells (overlapping fields or copies) stand in two "
        f"splits, so that {_what_it_means(concerned)}. Convert again with --join-similar."
    )
    return (Remark(text, "alarm" if concerned else "warning"),)


def _what_it_means(concerned: Sequence[Mapping[str, Any]]) -> str:
    if any("train" in pair["splits"] for pair in concerned):
        return "the model was tested on cells that it had learnt from, and its figures are too good"
    if concerned:
        return "the model was chosen or calibrated on cells of its test"
    return "training was judged on cells that it had learnt from"
