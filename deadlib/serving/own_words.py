"""What people add to a model card, as nothing that is stored can know it."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deadlib.errors import ExportError


class OwnWords(BaseModel):
    """The lines of a --card file; all may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str | None = Field(None, description="what the model is, in a sentence or two")
    intended_use: tuple[str, ...] = Field((), description="what it is meant for")
    not_for: tuple[str, ...] = Field((), description="what it must not be used for")
    limits: tuple[str, ...] = Field((), description="limits that the data cannot tell")
    authors: tuple[str, ...] = Field((), description="who made it")
    contact: str | None = Field(None, description="whom to ask")
    licence: str | None = Field(None, description="of the model")
    data_licence: str | None = Field(None, description="of the training images")
    citation: str | None = Field(None, description="what to cite")


def read_own_words(path: str | Path | None) -> OwnWords:
    """Read a YAML file of the lines of `OwnWords`; none without a file. Raises ExportError."""
    if path is None:
        return OwnWords()
    path = Path(path)
    names = ", ".join(OwnWords.model_fields)
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror}); give a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ExportError(f"{path}: no YAML ({' '.join(str(error).split())})") from None
    if not isinstance(tree, dict):
        raise ExportError(f"{path}: expected lines such as contact: you@lab.org; there are {names}")
    lists = {name for name, field in OwnWords.model_fields.items() if field.default == ()}
    given = {
        name: [value] if name in lists and isinstance(value, str) else value
        for name, value in tree.items()
    }
    try:
        return OwnWords.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise ExportError(
            f"{path}: {first['loc'][0]}: {first['msg'].lower()}; there are {names}"
        ) from None
