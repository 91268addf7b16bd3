"""An evaluation written down: report.json, figures, and one page that opens offline."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from deadlib.evaluation.assess import Evaluation, Progress, assess, ticker, versions
from deadlib.evaluation.controls import controls as shortcuts
from deadlib.evaluation.sections import GIVEN, PARTS
from deadlib.evaluation.virtual import PER_CLASS
from deadlib.evaluation.words import details, verdict
from deadlib.pages import FIGURES, Remark, Section, render, write, write_figures
from deadlib.pages.drawing import Drawing

REPORT = "report.html"
NUMBERS = "report.json"
SCHEMA_VERSION = 2
# at the top of the page, the first that the table allows
SHOWN = ("accuracy", "balanced_accuracy", "roc_auc", "macro_f1")
MOST_SHOWN = 3


def evaluate(
    predictions: str | Path,
    out: str | Path,
    *,
    group_by: str | None = None,
    split: str | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
    virtual_batches: int | None = None,
    per_class: int = PER_CLASS,
    annotations: str | Path | None = None,
    dataset: str | Path | None = None,
    controls: bool = False,
    levels: Sequence[str] = (),
    against: str | Path | None = None,
    humans: str | Path | None = None,
    ties: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    calls: bool = False,
    sections: Iterable[Section] = (),
    command: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write report.json, figures/ and report.html on a prediction table into `out`.

    predictions: Parquet or CSV with `label` and one `probability_<class>` per class; all that
    deadlib-predict adds is used, and its absence is said. group_by: the column whose values are
    independent of each other, by default `group`, else `source_id`, else every row alone. split:
    by default `test` where the table holds several. bootstrap: resamples for each interval.
    virtual_batches: how many, of `per_class` images of each class, the accuracy is also measured
    over; None for none. annotations: the log of responses that the labels were made from, whose
    disagreement tells how good a model can be. dataset: where pictures come from, by default the
    dataset that the table names. levels: columns from coarse to fine that lie within each other,
    by default those of experiment, plate, well, position, field that the table has; where given,
    the coarsest is also the default of group_by. against: another model's table on the same
    examples. humans: a CSV of people's answers to the same images. ties: all classes, the one
    that wins a tied vote of the fields of a well first, by default the likelier one. columns: our
    name -> the table's. calls: look at the column `predicted` alone, even where there are
    probabilities. controls: also look for shortcuts (docs/controls.md). sections: finished ones to
    stand in the report too. command: the command line, for whoever does it again.

    Returns the path of report.html. Raises PredictionError where the table cannot be evaluated,
    WriteError where the disk refuses.
    """
    found = assess(
        predictions,
        group_by=group_by,
        split=split,
        bootstrap=bootstrap,
        seed=seed,
        virtual_batches=virtual_batches,
        per_class=per_class,
        annotations=annotations,
        dataset=dataset,
        levels=levels,
        against=against,
        humans=humans,
        ties=ties,
        columns=columns,
        calls=calls,
        progress=progress,
    )
    if controls:
        sections = [*sections, shortcuts(found, progress)]
    return write_report(found, out, sections=sections, command=command, progress=progress)


def write_report(
    evaluation: Evaluation,
    out: str | Path,
    *,
    sections: Iterable[Section] = (),
    command: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write what `evaluate` writes; the page last."""
    return compose(evaluation, sections, progress).write(out, command)


@dataclass(frozen=True)
class Report:
    """The sections of an evaluation, by part of the page."""

    evaluation: Evaluation
    parts: Mapping[str, list[Section]]

    @property
    def sections(self) -> list[Section]:
        return [section for sections in self.parts.values() for section in sections]

    @property
    def drawings(self) -> list[Drawing]:
        return [drawing for section in self.sections for drawing in section.drawings]

    @cached_property
    def remarks(self) -> list[tuple[Section | None, Remark]]:
        """What the sections found, and of the table itself where the section is None."""
        table = self.evaluation.predictions
        found = [(section, remark) for section in self.sections for remark in section.remarks]
        return [*found, *((None, Remark(warning, "warning")) for warning in table.warnings)]

    @cached_property
    def verdict(self) -> dict[str, str]:
        """Three questions, each answered by one sentence."""
        return verdict(self.evaluation, [remark for _, remark in self.remarks])

    def to_json(self) -> dict[str, Any]:
        """The content of report.json: the schema is in docs/evaluate.md."""
        found = {
            "schema_version": SCHEMA_VERSION,
            "verdict": self.verdict,
            "remarks": [
                {
                    "level": remark.level,
                    "section": section.key if section else None,
                    "text": remark.text,
                }
                for section, remark in self.remarks
            ],
            **self.evaluation.to_json(),
        }
        for section in self.sections:
            if section.numbers is not None:
                found[section.key] = section.numbers
        return found | {"figures": [drawing.name for drawing in self.drawings]}

    def write(self, out: str | Path, command: str | None = None) -> Path:
        """Write report.json, figures/ and report.html into `out`, the page last. -> its path."""
        out = Path(out)
        page = self._page(command)
        _remove_earlier_figures(out)
        write_figures(out, self.drawings)
        write(out / NUMBERS, json.dumps(self.to_json(), indent=1, allow_nan=False).encode())
        write(out / REPORT, page.encode())
        return out / REPORT

    def _page(self, command: str | None) -> str:
        evaluation, table = self.evaluation, self.evaluation.predictions
        metadata = table.metadata
        return render(
            "deadlib.evaluation",
            REPORT,
            (),
            table=table,
            metadata=metadata,
            level=evaluation.by_example,
            percent=f"{100 * evaluation.resampling.level:g}",
            metrics=table.metrics,
            shown=[name for name in SHOWN if name in table.metrics][:MOST_SHOWN],
            parts=self.parts,
            remarks=self.remarks,
            verdict=self.verdict,
            words=details(evaluation),
            commands=_commands(metadata, command),
            recipe=(
                yaml.safe_dump(metadata["recipe"], sort_keys=False) if "recipe" in metadata else ""
            ),
            versions=versions(),
        )


def compose(
    evaluation: Evaluation,
    sections: Iterable[Section] = (),
    progress: Progress | None = None,
) -> Report:
    """The sections that the evaluation has something to say in, and those that are given."""
    tick = ticker(progress, "report", sum(map(len, PARTS.values())))
    parts: dict[str, list[Section]] = {}
    for part, makers in PARTS.items():
        parts[part] = []
        for make in makers:
            section = make(evaluation)
            if section is not None:
                parts[part].append(section)
            tick(1)
    parts[GIVEN] += sections
    return Report(evaluation, {part: made for part, made in parts.items() if made})


def _commands(metadata: Mapping[str, Any], command: str | None) -> list[str]:
    told = metadata.get("command")
    earlier = told.values() if isinstance(told, Mapping) else [told]
    return [str(line) for line in [*earlier, command] if line]


def _remove_earlier_figures(out: Path) -> None:
    """Take away the figures that an earlier report in this place made, and nothing else."""
    try:
        earlier = json.loads((out / NUMBERS).read_text(encoding="utf-8"))["figures"]
    except (OSError, ValueError, KeyError):
        return
    for name in earlier:
        for suffix in ("png", "svg"):
            (out / FIGURES / f"{Path(name).name}.{suffix}").unlink(missing_ok=True)
