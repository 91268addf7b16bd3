"""Conversion settings from a YAML file, checked by name and by kind."""

from __future__ import annotations

import difflib
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from tfrecords_tools.errors import PlanError
from tfrecords_tools.settings import ConversionSettings

# Set by the program itself, never by a person.
_INTERNAL = frozenset({"labels_required"})


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings that a YAML file gives, by their names in ConversionSettings.

    A list may be given as its only value; a grid as RxC; a label rule as text, or without quotes,
    when YAML reads `healthy: light_dose_s == 0` as a class and its conditions. Raises PlanError for
    a file that is no YAML, a setting that there is not (with the nearest), or a value of another
    kind. What the values mean is checked by ConversionSettings.
    """
    import yaml
    from pydantic import TypeAdapter, ValidationError

    path = Path(path)
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"{path}: cannot be read ({error.strerror}); give a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise PlanError(
            f"{path}: no YAML ({reason}); expected lines such as crop_px: 256"
        ) from None
    if not isinstance(tree, dict):
        raise PlanError(f"{path}: expected lines such as crop_px: 256")
    kinds = get_type_hints(ConversionSettings)
    names = [field.name for field in fields(ConversionSettings) if field.name not in _INTERNAL]
    found = {}
    for key, value in tree.items():
        if key not in names:
            close = difflib.get_close_matches(str(key), names, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise PlanError(f"{path}: {key}: no such setting; {hint}there are {', '.join(names)}")
        try:
            found[key] = TypeAdapter(kinds[key]).validate_python(_as_kind(key, value, kinds[key]))
        except ValidationError as error:
            reason = error.errors()[0]["msg"].lower()
            raise PlanError(
                f"{path}: {key}: {value!r} is not what is expected ({reason})"
            ) from None
    return found


def _as_kind(name: str, value: Any, kind: Any) -> Any:
    """A value as a person writes it, as the setting's kind has it."""
    options = get_args(kind) if get_origin(kind) is not tuple else (kind,)
    is_list = any(get_origin(option) is tuple for option in options)
    if name == "tile" and isinstance(value, str):
        return value.lower().split("x")
    if name == "label_rules":
        return [text for item in _listed(value) for text in _rule_texts(item)]
    if is_list and value is not None:
        texts = (str,) in {get_args(option)[:1] for option in options}
        return [_as_text(item) if texts else item for item in _listed(value)]
    return _as_text(value) if str in (kind, *options) else value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _as_text(value: Any) -> Any:
    """Plane 3 and quality 90 are names here, though YAML reads numbers."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _rule_texts(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return [f"{label}: {conditions}" for label, conditions in item.items()]
    return [item]
