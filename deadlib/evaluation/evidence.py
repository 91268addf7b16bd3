"""Sections on what the answers prove: at which level, against another model, against people."""

from __future__ import annotations

from collections.abc import Sequence

from deadlib.bootstrap import Estimate
from deadlib.evaluation.assess import Evaluation
from deadlib.evaluation.comparison import Comparison
from deadlib.evaluation.humans import CHANCE, Humans, Trial
from deadlib.evaluation.levels import IMAGE, Tier
from deadlib.metrics import METRICS
from deadlib.pages import Remark, Section, fragment
from deadlib.pages.drawing import COLOURS, GREY, Drawing, figure_of

# a coarser level whose interval is so many times wider is worth a warning
WIDER = 1.3
MOST_ITEMS = 12
PAGES = "deadlib.evaluation"


def levels(evaluation: Evaluation) -> Section | None:
    """How sure, if what differs next time are experiments, plates, wells, or images."""
    tiers = evaluation.levels
    if not tiers:
        return None
    html = fragment(
        PAGES,
        "levels.html",
        (),
        tiers=tiers,
        metrics={name: METRICS[name].title for name in tiers[0].metrics},
        percent=_percent(evaluation),
        words=on_levels(tiers),
    )
    warning = _coarser_than_quoted(evaluation)
    return Section(
        "levels",
        "How sure, for other experiments, plates, wells?",
        html,
        [tier.to_json() for tier in tiers],
        remarks=(Remark(warning, "warning"),) if warning else (),
    )


def comparison(evaluation: Evaluation) -> Section | None:
    """This model and another one, on the same examples."""
    found = evaluation.comparison
    if found is None:
        return None
    words = on_comparison(found, _percent(evaluation))
    drawings = (_differences(found),)
    html = fragment(
        PAGES,
        "comparison.html",
        drawings,
        found=found,
        metrics={name: METRICS[name] for name in found.differences},
        percent=_percent(evaluation),
        unit=evaluation.predictions.group_column or "row",
        words=words,
    )
    remarks = (Remark(words[0], "note"),)
    return Section("comparison", "Against another model", html, found.to_json(), drawings, remarks)


def humans(evaluation: Evaluation) -> Section | None:
    """People and the model on the same images."""
    if evaluation.humans is None:
        return None
    return people_and_model(
        evaluation.humans,
        percent=_percent(evaluation),
        unit=evaluation.predictions.group_column or "row",
    )


def people_and_model(found: Humans, *, percent: str, unit: str) -> Section:
    """The same of any trial. percent: the level of its intervals; unit: what groups images."""
    words = on_humans(found)
    drawings = (_people(found),)
    html = fragment(
        PAGES,
        "humans.html",
        drawings,
        found=found,
        words=words,
        percent=percent,
        unit=unit,
        shown=found.items[:MOST_ITEMS],
        nobody=sum(item.right == 0 for item in found.items),
        nobody_but_model=sum(item.right == 0 and item.model_right for item in found.items),
    )
    remarks = (Remark(words[0], "note"),)
    return Section("humans", "People and the model", html, found.to_json(), drawings, remarks)


def on_levels(tiers: Sequence[Tier]) -> list[str]:
    """What the levels say, and what would narrow the interval."""
    coarsest = tiers[0]
    sentences = [
        f"Quote the first line if you speak of other {coarsest.name}s, the second if you speak of "
        f"other {tiers[1].name}s of the very same {coarsest.name}s, and so on."
    ]
    known = [tier for tier in tiers if tier.share is not None]
    if known:
        most = max(known, key=lambda tier: tier.share or 0)
        advice = (
            f"More {IMAGE}s help."
            if most.name == IMAGE
            else f"More {most.name}s make the interval narrower; more images of the same "
            f"{most.name}s hardly do."
        )
        sentences.append(
            f"About {100 * (most.share or 0):.0f} % of the uncertainty of the accuracy comes from "
            f"differences between {most.name}s. {advice}"
        )
    return sentences


def _coarser_than_quoted(evaluation: Evaluation) -> str | None:
    """A warning where the coarsest level has a much wider interval than the report quotes."""
    tier, quoted = evaluation.levels[0], evaluation.by_example.metrics["accuracy"]
    wide = tier.metrics["accuracy"]
    if tier.groups >= evaluation.by_example.groups or _width(quoted) == 0:
        return None
    if _width(wide) < WIDER * _width(quoted):
        return None
    column = tier.name.split(" = ", maxsplit=1)[0]
    return (
        f"{column.capitalize()}s differ. The intervals of this report are over "
        f"{evaluation.by_example.groups:,} groups; over the {tier.groups} {column}s the accuracy "
        f"lies between {_of_100(wide.low)} and {_of_100(wide.high)} of 100. Quote that if you "
        f"speak of other {column}s: --group-by {column}."
    )


def on_comparison(found: Comparison, percent: str) -> list[str]:
    """Which model is better, in words, the verdict first."""
    accuracy = found.differences["accuracy"]
    gap, p_value = accuracy.difference.value or 0.0, accuracy.p_value
    limits = _points(accuracy.difference, percent)
    if gap == 0:
        verdict = (
            f"This model and {found.other.name} are right equally often on these images ({limits})."
        )
    else:
        better = (
            f"This model is right on {100 * abs(gap):.1f} of 100 images "
            f"{'more' if gap > 0 else 'fewer'} than {found.other.name} ({limits}; "
            f"{_chance(p_value)})"
        )
        verdict = (
            f"{better}: that is more than chance explains."
            if p_value is not None and p_value <= CHANCE
            else f"{better}: chance alone may well make such a difference, so neither is proved "
            "better, nor that they are equal."
        )
    sentences = [verdict]
    if found.flips.smallest > CHANCE:
        sentences.append(
            f"With {found.groups} groups no p-value can be below {found.flips.smallest:.2g}: too "
            "few to prove any difference, however large."
        )
    return sentences


def on_humans(found: Humans) -> list[str]:
    """Who is better, and whether the training helped, the last trial first."""
    sentences = []
    for trial in reversed(found.trials):
        sentences.append(_on_trial(trial, len(trial.by_subject)))
        if trial.groups == 1:
            sentences.append(
                "These images are of one group: the difference is tested over the people alone, "
                "and nothing shows whether it would be the same with other images."
            )
    if found.gain is not None and found.gain.value is not None:
        gain = found.gain.value
        verdict = (
            "the training made a difference"
            if found.gain_proved
            else "no effect of the training is proved"
        )
        sentences.append(
            f"After the training people were right on {100 * abs(gain):.1f} of 100 "
            f"{'more' if gain >= 0 else 'fewer'} than before ({_chance(found.gain_p_value)}, over "
            f"{found.both_trials} subjects): {verdict}."
        )
        if found.smallest_p_value > CHANCE:
            sentences.append(
                f"With {found.both_trials} subjects that p-value cannot be below "
                f"{found.smallest_p_value:.2g}, whatever they answer: ask more people."
            )
    if found.unanswered:
        sentences.append(f"{found.unanswered} answers were left empty and count as wrong.")
    return sentences


def _on_trial(trial: Trial, subjects: int) -> str:
    people, model = _of_100(trial.people.value), _of_100(trial.model.value)
    return (
        f"{trial.training.capitalize()} their training {subjects} people were right on {people} of "
        f"100 of these images, the model on {model} ({_chance(trial.p_value)}): "
        f"{_who_is_better(trial, subjects)}."
    )


def _who_is_better(trial: Trial, subjects: int) -> str:
    found = trial.difference
    better = "people" if (found.value or 0) > 0 else "the model"
    if trial.p_value is not None and trial.p_value <= CHANCE:
        return f"{better} did better by more than chance explains"
    apart = found.low is not None and found.high is not None and found.low * found.high > 0
    if apart and 2 ** (1 - subjects) > CHANCE:
        return (
            f"{better} did better, and the interval of the difference excludes that they are "
            f"equal, but {subjects} people are too few for a smaller p-value"
        )
    return "chance alone may well make such a difference, so neither is proved better"


def _differences(found: Comparison) -> Drawing:
    """Every difference with its interval, favouring this model to the right."""
    metrics = [METRICS[name] for name in found.differences]
    with figure_of((5.2, 0.9 + 0.3 * len(metrics))) as (figure, draw):
        axes = figure.subplots()
        axes.axvline(0, color=GREY, linewidth=1)
        for place, metric in enumerate(metrics):
            one = found.differences[metric.name].difference
            sign = 1 if metric.higher_is_better else -1
            if one.low is not None and one.high is not None:
                axes.plot([sign * one.low, sign * one.high], [place] * 2, color=COLOURS[0])
            if one.value is not None:
                axes.plot(sign * one.value, place, "o", color=COLOURS[0], markersize=5)
        titles = [metric.title for metric in metrics]
        axes.set_yticks(range(len(titles)), titles)
        axes.set_ylim(len(titles) - 0.4, -0.6)
        axes.set(
            xlabel=f"← {found.other.name} is better     this model is better →",
            title="Difference, with interval",
        )
        return draw("comparison", "Difference of each metric between the two models.")


def _people(found: Humans) -> Drawing:
    """The accuracy of every subject, of all, and of the model, before and after."""
    with figure_of((4.4, 3.4)) as (figure, draw):
        axes = figure.subplots()
        for subject in found.subjects:
            places = [
                (place, trial.by_subject[subject])
                for place, trial in enumerate(found.trials)
                if subject in trial.by_subject
            ]
            axes.plot(*zip(*places, strict=True), "o-", color=GREY, markersize=4, linewidth=0.8)
        for shift, colour, label in ((-0.08, COLOURS[0], "people"), (0.08, COLOURS[1], "model")):
            for place, trial in enumerate(found.trials):
                one = trial.people if label == "people" else trial.model
                if one.value is None:
                    continue
                low, high = (one.value if end is None else end for end in (one.low, one.high))
                axes.plot([place + shift] * 2, [low, high], color=colour, linewidth=2)
                axes.plot(place + shift, one.value, "s", color=colour, label="" if place else label)
        axes.plot([], [], "o-", color=GREY, markersize=4, linewidth=0.8, label="each subject")
        axes.set_xticks(range(len(found.trials)), [trial.training for trial in found.trials])
        axes.set_xlim(-0.5, len(found.trials) - 0.5)
        axes.set_ylim(-0.02, 1.02)
        axes.set(xlabel="training", ylabel="accuracy", title="People and the model")
        axes.legend(loc="lower left", bbox_to_anchor=(1, 0))
        said = "; ".join(_on_trial(trial, len(trial.by_subject)) for trial in found.trials)
        return draw("people", said)


def _percent(evaluation: Evaluation) -> str:
    return f"{100 * evaluation.resampling.level:g}"


def _width(estimate: Estimate) -> float:
    if estimate.low is None or estimate.high is None:
        return 0.0
    return estimate.high - estimate.low


def _of_100(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}"


def _points(estimate: Estimate, percent: str) -> str:
    """The limits of a difference of shares, in images of 100."""
    if estimate.low is None or estimate.high is None:
        return f"no interval: {estimate.reason}"
    low, high = sorted(100 * abs(end) for end in (estimate.low, estimate.high))
    if estimate.low < 0 < estimate.high:
        return f"{percent}\u00a0% interval {100 * estimate.low:+.1f} to {100 * estimate.high:+.1f}"
    return f"{percent}\u00a0% interval {low:.1f} to {high:.1f}"


def _chance(p_value: float | None) -> str:
    if p_value is None:
        return "no p-value: one group only"
    return "p\u00a0<\u00a00.001" if p_value < 0.001 else f"p\u00a0=\u00a0{p_value:.2g}"
