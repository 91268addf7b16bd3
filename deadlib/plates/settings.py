"""What is to be made of a raw plate table; the tables of a published system by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from deadlib.plates.geometry import FORMATS
from deadlib.recipe import Section, read_mapping, validated

Names = tuple[str, ...]


class TableSettings(Section):
    """How a raw plate table is read, normalised and selected from. Raises RecipeError as a recipe
    does."""

    columns: dict[str, Names] = Field(
        default_factory=dict,
        description="deadlib's name of a column: its name in the table, or several of which each "
        "row fills one",
    )
    decimal: Literal["auto", "comma", "point"] = Field(
        "auto", description="what a comma in a number is: auto is a decimal comma"
    )
    plate: str | None = Field(None, description="the plate, of a table that has no such column")
    wells: int | None = Field(None, description="wells of a plate; by default the smallest format")
    edge_width: int = Field(1, ge=0, description="so many outermost wells count as the edge")
    treatments: dict[str, str] = Field(
        default_factory=dict, description="a spelling in the table: the treatment's name"
    )
    empty: Names = Field((), description="treatments that stand for an empty well")
    controls: Names = Field(("DMSO", "Untreated"), description="treatments that do nothing")
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="a treatment: its class, where the table has no column of labels",
    )
    duplicates: Literal["drop", "keep", "refuse"] = Field(
        "drop", description="rows that say the same of one well again"
    )
    normalise: Literal["plate", "all", "none"] = Field(
        "plate", description="viability as a share of the reference wells' mean"
    )
    reference: Names = Field(("DMSO",), description="treatments of the wells whose mean is 1")
    viability_range: tuple[float, float] | None = Field(
        None, description="treated wells must lie within it, bounds included"
    )
    healthy: Literal["all", "in_range", "none"] = Field(
        "all", description="which control wells are kept"
    )
    healthy_per_plate: int | None = Field(
        None, ge=1, description="of these so many on each plate, drawn by lot"
    )
    seed: int = Field(0, ge=0, description="decides which wells are drawn")

    @field_validator("columns", mode="before")
    @classmethod
    def _one_name_is_a_list_of_one(cls, found: Any) -> Any:
        if not isinstance(found, Mapping):
            return found
        return {k: (v,) if isinstance(v, str) else v for k, v in found.items()}

    @model_validator(mode="after")
    def _parts_fit_each_other(self) -> TableSettings:
        if self.wells is not None and self.wells not in FORMATS:
            raise ValueError(f"wells: {self.wells}; expected one of {', '.join(map(str, FORMATS))}")
        if self.viability_range is not None and self.viability_range[0] > self.viability_range[1]:
            low, high = self.viability_range
            raise ValueError(
                f"viability_range: {low:g} to {high:g}; expected the lower bound first"
            )
        if self.healthy == "in_range" and self.viability_range is None:
            raise ValueError("healthy: in_range needs a viability_range")
        return self


PRESETS: dict[str, dict[str, Any]] = {
    # CellDeathPred: Cell_Death is the class of the plate's row, also of the controls in it, and
    # stays out; raw luminescence stands in a column of its own for each plate
    "celldeathpred": {
        "columns": {
            "plate": "plate",
            "well": "Well",
            "treatment": "Treatment",
            "concentration_um": "Concentration_uM",
            "viability": list("ABCDEFGHIJKL"),
            "label": "drug",
            "incubation_hours": "incubation_time",
        },
        "decimal": "comma",
        "wells": 384,
        "treatments": {"Stauro": "Staurosporine", "RLS3": "RSL3"},
        "empty": ["Leer"],
        "normalise": "all",
    }
}


def read_table_settings(source: str | Path, **given: Any) -> TableSettings:
    """Settings from a YAML file or a preset's name, with what was given beside it on top.

    Columns are merged name by name. Raises RecipeError.
    """
    tree = PRESETS.get(str(source)) or read_mapping(source, "settings of a plate table")
    return merged(tree, given, str(source))


def merged(tree: Mapping[str, Any], given: Mapping[str, Any], origin: str) -> TableSettings:
    """Settings from two mappings, the second on top. Raises RecipeError."""
    columns = {**(tree.get("columns") or {}), **(given.get("columns") or {})}
    return validated(TableSettings, {**tree, **given, "columns": columns}, origin)
