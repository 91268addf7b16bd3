"""What a report is made of, in the order in which it stands on the page.

A section is made by a function of the evaluation, in a module of its own; None where there is
nothing to say. To add one: write the module and its fragment (`pages.fragment`), and one line here.
"""

from __future__ import annotations

from collections.abc import Callable

from deadlib.evaluation import (
    basics,
    confounding,
    evidence,
    gallery,
    provenance,
    split_proof,
    uncertainty,
    wells_page,
)
from deadlib.evaluation.assess import Evaluation
from deadlib.pages.section import Section

Maker = Callable[[Evaluation], Section | None]

# where sections go that were made elsewhere and handed over finished
GIVEN = "Can it be trusted?"

PARTS: dict[str, tuple[Maker, ...]] = {
    "What it gets right and wrong": (
        basics.confusion,
        wells_page.wells,
        basics.by_column,
        basics.probabilities,
        basics.ranking,
        evidence.comparison,
        evidence.humans,
        gallery.errors,
    ),
    GIVEN: (
        split_proof.split_proof,
        confounding.confounding,
        evidence.levels,
        uncertainty.uncertainty,
        basics.annotators,
        basics.virtual_batches,
    ),
    "Tables": (basics.metrics,),
    "How it was done": (
        basics.learning,
        provenance.data,
        basics.method,
    ),
}
