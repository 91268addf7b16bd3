"""What stands on a page about annotators, section by section, in order."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from deadlib.annotation import figures, words
from deadlib.annotation.concordance import Concordance
from deadlib.annotation.results import Results
from deadlib.annotation.words import percent, percent_interval
from deadlib.pages import Remark, Section, fragment
from deadlib.pages.drawing import Drawing

# (key of Concordance.implied, what it is)
IMPLIED = {
    "ambiguous": "ambiguous, of all items",
    "left": "ambiguous, of the items on which all agree",
    "ceiling": "ceiling: every ambiguous item counted as wrong",
    "expected_ceiling": "expected ceiling: right on those as often as chance",
}
# more tables than these are folded away
MOST_OPEN = 6


def of_concordance(found: Concordance) -> list[Section]:
    """What can be said of responses alone."""
    made = (answers(found), agreement(found), ceiling(found), method(found))
    return [section for section in made if section]


def of_results(found: Results) -> list[Section]:
    """What can be said of the whole log of a panel."""
    made = (
        answers(found.concordance),
        agreement(found.concordance),
        confusion(found),
        disputes(found),
        repeats(found),
        pace(found),
        ceiling(found.concordance),
        method(found.concordance),
    )
    return [section for section in made if section]


def answers(found: Concordance) -> Section:
    """By dose, by annotator, and of items whose truth is known."""
    drawings = []
    if found.by_dose:
        drawings.append(
            figures.shares("responses_by_dose", found.dose, found.by_dose, found.answers)
        )
    drawings.append(
        figures.shares("responses_by_annotator", "annotator", found.by_annotator, found.answers)
    )
    return Section(
        "answers",
        "What they answered",
        _html("answers.html", found, *drawings),
        drawings=tuple(drawings),
    )


def agreement(found: Concordance) -> Section:
    remarks = [Remark(sentence, "warning") for sentence in words.warnings(found)]
    if found.overlapping:
        remarks.append(Remark(words.strength(found)))
    html = _html("agreement.html", found, many=len(found.pairs) > 2 * MOST_OPEN)
    return Section("agreement", "How far they agree", html, remarks=tuple(remarks))


def ceiling(found: Concordance) -> Section | None:
    if not found.overlapping:
        return None
    html = _html(
        "ceiling.html",
        found,
        names=IMPLIED,
        words=words.summary(found),
        assumptions=words.assumptions(found),
    )
    return Section("ceiling", "What a model on these labels can reach", html)


def confusion(found: Results) -> Section | None:
    """Who calls what what."""
    if not found.against_others:
        return None
    sentence = words.on_confusion(found.pairs)
    html = _html(
        "confusion.html",
        found.concordance,
        words=sentence,
        tables=found.against_others,
        most=MOST_OPEN,
        pairs=found.pairs,
    )
    return Section("confusion", "What they take for what", html, remarks=(Remark(sentence),))


def disputes(found: Results) -> Section:
    """Items that need an adjudicator, and annotators beside the labels that one gave."""
    sentences = words.on_disputes(found.standing)
    html = _html(
        "disputes.html",
        found.concordance,
        words=sentences,
        standing=found.standing,
        judged=found.judged,
        most=MOST_OPEN,
    )
    return Section("disputes", "Disputed items", html, remarks=(Remark(sentences[0]),))


def repeats(found: Results) -> Section | None:
    if not found.repeated:
        return None
    html = _html("repeats.html", found.concordance, repeated=found.repeated)
    return Section("repeats", "Do they agree with themselves?", html)


def pace(found: Results) -> Section:
    """Times, and whether the answers change on the way."""
    timed = [one for one in found.by_annotator if one.quartiles_seconds]
    drawings = [figures.seconds("seconds", timed)] if timed else []
    if found.drifts:
        drawings.append(figures.drift("drift", found.drifts, found.concordance.answers))
    html = _html(
        "pace.html",
        found.concordance,
        *drawings,
        by_annotator=found.by_annotator,
        by_answer=found.by_answer,
        drifts=found.drifts,
        words=words.on_drift(found.drifts),
    )
    proved = [one for one in found.drifts or () if one.proved]
    return Section(
        "pace",
        "Time, and change on the way",
        html,
        drawings=tuple(drawings),
        remarks=tuple(Remark(words.drifted(one), "warning") for one in proved),
    )


def method(found: Concordance) -> Section:
    return Section("method", "How this was computed", _html("method.html", found))


def _html(template: str, found: Concordance, *drawings: Drawing, **values: Any) -> Markup:
    return fragment(
        "deadlib.annotation",
        template,
        drawings,
        found=found,
        level=f"{100 * found.resampling.level:g}",
        unit=words.unit_name(found.unit),
        percent=percent,
        percent_interval=percent_interval,
        **values,
    )
