"""The section on where the images come from: data card and split."""

from __future__ import annotations

from deadlib.evaluation.assess import Evaluation
from deadlib.pages import Remark, Section, fragment
from tfrecords_tools.similar import told as told_of_similar


def data(evaluation: Evaluation) -> Section:
    metadata = evaluation.predictions.metadata
    remarks = []
    if seen := metadata.get("seen_in_training") or 0:
        remarks.append(
            Remark(
                f"{seen:,} of the predicted images also stand in the splits that the model was "
                "trained, chosen or calibrated on: its answers on them say nothing about new ones.",
                "alarm",
            )
        )
    card = metadata.get("card") or {}
    if not card and not metadata.get("split"):
        remarks.append(
            Remark(
                "The table carries no data card and no split proof: nothing here shows that the "
                "model has not learnt from these very images, or from others of the same wells.",
                "warning",
            )
        )
    confounded = [item["sentence"] for item in card.get("confounding") or []]
    confounded += told_of_similar(card.get("similar"))[1]
    if told := [text for text in card.get("warnings", []) if text not in confounded]:
        more = f" ({len(told) - 1} more in Data and split.)" if len(told) > 1 else ""
        remarks.append(Remark(f"On the dataset: {told[0]}{more}", "warning"))
    html = fragment(
        "deadlib.evaluation",
        "data.html",
        (),
        metadata=metadata,
        card=card,
        same_dataset=metadata.get("fingerprint") == metadata.get("trained_on_fingerprint"),
    )
    return Section("data", "Data and split", html, remarks=tuple(remarks))
