"""What the controls mean, in plain sentences."""

from __future__ import annotations

from typing import Literal

from deadlib.bootstrap import Estimate
from deadlib.controls.battery import BATCH, MODEL, POSITION, Battery, Control
from deadlib.controls.control import ALARM, Answer
from deadlib.controls.images import BACKGROUND, CELL_COUNT, INTENSITY, SHARPNESS
from deadlib.pages import Remark

TITLES = {
    MODEL: "the model",
    INTENSITY: "intensity alone",
    SHARPNESS: "sharpness alone",
    BACKGROUND: "background alone",
    CELL_COUNT: "cell count alone",
    BATCH: "plate alone",
    POSITION: "place on the plate alone",
}
SEES = {
    MODEL: "The probabilities under evaluation.",
    INTENSITY: "How bright the image is and how its grey values are spread; no shapes.",
    SHARPNESS: "How much of the structure is fine and how much coarse: focus and optics.",
    BACKGROUND: "Level, slope and noise of the light where no cells are.",
    CELL_COUNT: "How many cells or clumps there are and how much of the image they cover.",
    BATCH: "The name of the plate or experiment; no image.",
    POSITION: "Row, column and distance from the edge of the plate; no image.",
}


def title(control: Control) -> str:
    return TITLES.get(control.key, f"{control.key}, from the embedding")


def sees(control: Control) -> str:
    return SEES.get(
        control.key, f"The network's last features, asked which {control.key} an image is from."
    )


def meaning(control: Control, battery: Battery) -> str:
    """What one control says, in a sentence or two."""
    if control.answer is None:
        return f"Not measured: {control.missing}."
    if control in battery.probes:
        return _of_probe(control.key, control.answer)
    if control.key == MODEL:
        return _of_model(control.answer, battery.batch)
    return _of_control(control.key, control.answer, battery.batch)


def _of_control(key: str, answer: Answer, batch: str | None) -> str:
    name = TITLES[key][0].upper() + TITLES[key][1:]
    every, same = hundred(answer.all), hundred(answer.same)
    match answer.verdict:
        case "nothing":
            return (
                f"No sign that {_low(name)} tells the classes ({every} of 100 pairs; "
                f"{_p_of(answer)})."
            )
        case "too_few":
            return f"{name} ranks {every} of 100 pairs rightly, {_too_few(answer)}."
        case "itself" if key == POSITION:
            return (
                f"{name} tells the classes ({every} of 100 pairs): the layout gives them away. "
                "Harmless only if places look alike; a layout drawn by lot for each plate would "
                "show it."
            )
        case "itself" if key == BACKGROUND:
            return (
                f"{name} tells the classes, among images of one {batch} as well ({same} of 100 "
                "pairs): the light around cells goes with them (halos, debris, crowding), or each "
                "class was imaged in a way of its own. Look at some."
            )
        case "itself":
            return (
                f"{name} tells the classes, among images of one {batch} as well ({same} of 100 "
                "pairs). So it is not only a difference between plates: dying cells may well look "
                "like this. A model need see no more than this to do as well."
            )
        case "shortcut" if key == BATCH:
            return (
                f"The classes are spread unevenly over the values of {batch}: its name alone ranks "
                f"{every} of 100 pairs rightly. Whatever shows the {batch} is a shortcut."
            )
        case "shortcut":
            return (
                f"A shortcut: {_low(name)} ranks {every} of 100 pairs rightly, but among images "
                f"of one {batch} only {same}, which may be guessing. It tells the {batch}, and "
                "nothing shows that it tells the cells."
            )
        case "partly":
            return (
                f"{name} ranks {every} of 100 pairs rightly, among images of one {batch} {same}: "
                f"part of it tells the {batch} and not the cells."
            )
        case "inseparable":
            return (
                f"{name} tells the classes ({every} of 100 pairs), but {_hardly(answer, batch)}: "
                f"nobody can say whether it is the cells or the {batch}."
            )
        case _:
            return (
                f"{name} ranks {every} of 100 pairs rightly; "
                f"{_why_unclear(answer.same, batch)}, so this may be the cells or a shortcut."
            )


def _of_model(answer: Answer, batch: str | None) -> str:
    every, same = hundred(answer.all), hundred(answer.same)
    chance = f"{100 * answer.chance[1]:.0f}–{100 * answer.chance[2]:.0f}"
    match answer.verdict:
        case "nothing":
            return (
                f"The model ranks {every} of 100 pairs rightly; labels dealt to the groups by lot "
                f"give {chance}. It cannot be told from guessing."
            )
        case "too_few":
            return f"The model ranks {every} of 100 pairs rightly, {_too_few(answer)}."
        case "itself":
            return (
                f"The model ranks {every} of 100 pairs rightly, and {same} where both come from "
                f"one {batch}: it does not live on differences between them alone."
            )
        case "shortcut":
            return (
                f"The model ranks {every} of 100 pairs rightly, but where both images come from "
                f"one {batch} {same}, which cannot be told from guessing: "
                f"it has learnt the {batch}, and nothing shows that it has learnt the cells."
            )
        case "partly":
            return (
                f"The model ranks {every} of 100 pairs rightly, but where both images come from "
                f"one {batch} {same}: part of its skill is knowing the {batch}. The second figure "
                "is the one to quote."
            )
        case "inseparable":
            return (
                f"The model ranks {every} of 100 pairs rightly, but {_hardly(answer, batch)}: "
                f"nobody can say whether it knows the cells or the {batch}."
            )
        case _:
            return (
                f"The model ranks {every} of 100 pairs rightly; {_why_unclear(answer.same, batch)}."
            )


def _of_probe(column: str, answer: Answer) -> str:
    told = answer.same if answer.same.value is not None else answer.all
    p = answer.p_same if answer.p_same is not None else answer.p_all
    if told.value is None:
        return f"Not measured: {told.reason}."
    if p <= ALARM:
        return (
            f"The network's features tell the {column} of images of one class "
            f"({hundred(told)} of 100 pairs). That is common, and harmless while every class is on "
            f"every {column}; where classes are uneven, it is what a shortcut needs. Expect "
            f"other figures on a new {column}."
        )
    least = answer.least_same if answer.p_same is not None else answer.least_all
    few = " The groups are too few to show it, however well they do." if least > ALARM else ""
    return (
        f"No sign that the network's features tell the {column} of images of one class "
        f"({hundred(told)} of 100 pairs, p {p:.2f}).{few}"
    )


def _hardly(answer: Answer, batch: str | None) -> str:
    if answer.same.value is None:
        return f"no {batch} holds images of two classes"
    groups = "one group is" if answer.rarer == 1 else f"{answer.rarer} groups are"
    return f"only {groups} not of the commonest class of their {batch}"


def _too_few(answer: Answer) -> str:
    return (
        "but the groups are too few to tell that from chance, which deals these very labels once "
        f"in {1 / answer.least_all:.0f} times"
    )


def _p_of(answer: Answer) -> str:
    return f"chance does as well {100 * answer.p_all:.0f} times in 100"


def _low(name: str) -> str:
    return name[0].lower() + name[1:]


def _why_unclear(same: Estimate, batch: str | None) -> str:
    if batch is None:
        return "no column experiment or plate says which images were taken together"
    if same.value is None:
        return f"there are no pairs from one {batch}"
    return f"among images of one {batch} {hundred(same)}, of too few groups to be sure"


def hundred(estimate: Estimate) -> str:
    """A share as a count of 100; never 100 or 0 unless all or none."""
    if estimate.value is None:
        return "–"
    value = 100 * estimate.value
    digits = 1 if 0 < value < 1 or 99 < value < 100 else 0
    return f"{value:.{digits}f}"


def conclusions(battery: Battery) -> list[Remark]:
    """What belongs at the top of a report."""
    found: list[Remark] = []
    model = battery.model
    if model.verdict in ("shortcut", "partly"):
        level: Literal["alarm", "warning"] = "alarm" if model.verdict == "shortcut" else "warning"
        found.append(Remark(meaning(model, battery), level))
    elif model.verdict in ("nothing", "too_few", "inseparable"):
        found.append(Remark(meaning(model, battery), "warning"))
    lives_on_it = model.verdict in ("shortcut", "partly")
    for control in battery.controls:
        if control.verdict in ("shortcut", "partly"):
            rest = (
                ""
                if lives_on_it or model.answer is None or model.answer.same.value is None
                else f" The model itself ranks {hundred(model.answer.same)} of 100 pairs from one "
                f"{battery.batch} rightly."
            )
            found.append(Remark(meaning(control, battery) + rest, "warning"))
        elif control.verdict == "too_few" and model.verdict != "too_few":
            found.append(Remark(meaning(control, battery), "note"))
        elif control.verdict == "inseparable" and model.verdict != "inseparable":
            found.append(Remark(meaning(control, battery), "warning"))
    if not found:
        found.append(Remark(_all_clear(battery)))
    return found


def _all_clear(battery: Battery) -> str:
    measured = [control for control in battery.controls if control.answer is not None]
    if not measured:
        return "No control could be measured on this table."
    names = ", ".join(TITLES[control.key].removesuffix(" alone") for control in measured)
    if all(control.verdict == "too_few" for control in measured):
        return f"{names[0].upper()}{names[1:]}: the groups are too few to find any shortcut."
    return f"No shortcut was found among {names}."
