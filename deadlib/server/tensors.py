"""JSON to tensors and back, as TensorFlow Serving's REST API does it.

What is refused, and in which words, follows its `json_tensor.cc`, so that a client cannot tell the
two servers apart by their answers. The values that a message quotes may be laid out otherwise.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

QUOTED_CHARACTERS = 256
DEFAULT_SIGNATURE = "serving_default"
BYTES_SUFFIX = "_bytes"

_FLOATS: dict[str, Any] = {"DT_FLOAT": np.float32, "DT_DOUBLE": np.float64}
_INTEGERS: dict[str, Any] = {"DT_INT32": np.int32, "DT_INT64": np.int64, "DT_UINT8": np.uint8}
_NAMES = {
    "DT_FLOAT": "float",
    "DT_DOUBLE": "double",
    "DT_INT32": "int32",
    "DT_INT64": "int64",
    "DT_UINT8": "uint8",
    "DT_STRING": "string",
    "DT_BOOL": "bool",
}


class BadRequestError(Exception):
    """INVALID_ARGUMENT: a request that does not say what it should."""


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a signature: `DT_FLOAT` and the like; -1 where a size is free."""

    dtype: str
    shape: tuple[int, ...]


Inputs = Mapping[str, TensorInfo]


@dataclass(frozen=True)
class PredictRequest:
    signature: str
    by_row: bool
    """`instances` (row by row) rather than `inputs` (tensor by tensor)."""
    tensors: dict[str, np.ndarray]
    """Strings as arrays of bytes objects."""


def read_request(body: bytes, inputs_of: Callable[[str], Inputs]) -> PredictRequest:
    """The request of a `:predict` body; `inputs_of` gives the inputs of a signature by name.

    Raises BadRequestError, and what `inputs_of` raises.
    """
    document = read_json(body)
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise BadRequestError(
            f"JSON Value: {_quoted(document)} not formatted correctly. 'signature_name' key must "
            "be a string value."
        )
    signature = signature or DEFAULT_SIGNATURE
    inputs = inputs_of(signature)
    if not inputs:
        raise BadRequestError(f"Failed to get input map for signature: {signature}")
    if "instances" in document and "inputs" in document:
        raise BadRequestError(
            f"JSON Value: {_quoted(document)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist "
        )
    if "instances" in document:
        instances = document["instances"]
        if not isinstance(instances, list):
            raise BadRequestError(
                f"JSON Value: {_quoted(document)} Expecting 'instances' to be an list/array"
            )
        if not instances:
            raise BadRequestError(f"JSON Value: {_quoted(document)} No values in 'instances' array")
        return PredictRequest(signature, True, _from_rows(instances, inputs))
    if "inputs" in document:
        return PredictRequest(signature, False, _from_columns(document["inputs"], inputs))
    raise BadRequestError("Missing 'inputs' or 'instances' key")


def read_json(body: bytes) -> dict[str, Any]:
    """The object that a body holds. Raises BadRequestError."""
    if not body:
        raise BadRequestError("JSON Parse error: The document is empty")
    try:
        document = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRequestError(
            f"JSON Parse error: Invalid encoding in string. at offset: {error.start}"
        ) from None
    except json.JSONDecodeError as error:
        raise BadRequestError(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except (RecursionError, ValueError):  # nested without end, or a number of thousands of digits
        raise BadRequestError("JSON Parse error: Terminate parsing due to Handler error.") from None
    if not isinstance(document, dict):
        raise BadRequestError(f"JSON Value: {_quoted(document)} Is not object")
    return document


def write_answer(outputs: Mapping[str, np.ndarray], *, by_row: bool) -> bytes:
    """The body of an answer: `predictions` or `outputs`; names only where there are several."""
    values = {
        name: _as_json(array, as_bytes=name.endswith(BYTES_SUFFIX))
        for name, array in outputs.items()
    }
    answer: Any
    if not by_row:
        answer = {"outputs": values if len(values) > 1 else next(iter(values.values()))}
    elif len(values) > 1:
        rows = zip(*values.values(), strict=True)
        answer = {"predictions": [dict(zip(values, row, strict=True)) for row in rows]}
    else:
        answer = {"predictions": next(iter(values.values()))}
    return json.dumps(answer, ensure_ascii=False).encode()


def _from_rows(instances: list[Any], inputs: Inputs) -> dict[str, np.ndarray]:
    named = _is_object(instances[0])
    if not named and len(inputs) > 1:
        raise BadRequestError(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    only = next(iter(inputs))
    found: dict[str, list[np.ndarray]] = {}
    for number, instance in enumerate(instances):
        if named != _is_object(instance):
            raise BadRequestError(
                f"Expecting object but got list at item {number} of input list"
                if named
                else f"Expecting value/list but got object at item {number} of input list"
            )
        for name, value in instance.items() if named else ((only, instance),):
            key = f" key: {name}" if named else ""
            try:
                array = _item(value, name, inputs, found.get(name, ()))
            except BadRequestError as error:
                raise BadRequestError(
                    f"Failed to process element: {number}{key} of 'instances' list. Error: "
                    f"INVALID_ARGUMENT: {error}"
                ) from None
            found.setdefault(name, []).append(array)
        if named and set(instance) != set(inputs):
            raise BadRequestError(
                f"Failed to process element: {number} of 'instances' list. JSON object: "
                f"{_quoted(instance)} keys must be equal to: {','.join(sorted(inputs))}"
            )
    return {name: np.stack(arrays) for name, arrays in found.items()}


def _item(value: Any, name: str, inputs: Inputs, before: Sequence[np.ndarray]) -> np.ndarray:
    if name not in inputs:
        raise BadRequestError(f"JSON object: does not have named input: {name}")
    array = to_tensor(value, inputs[name].dtype)
    if before and array.size != before[0].size:
        raise BadRequestError(f"Expecting tensor size: {before[0].size} but got: {array.size}")
    if before and array.shape != before[0].shape:
        raise BadRequestError(
            f"Expecting shape {_shape(before[0].shape)} but got: {_shape(array.shape)}"
        )
    return array


def _from_columns(value: Any, inputs: Inputs) -> dict[str, np.ndarray]:
    if not _is_object(value):
        if len(inputs) > 1:
            raise BadRequestError(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        name, info = next(iter(inputs.items()))
        return {name: to_tensor(value, info.dtype)}
    for name in inputs:
        if name not in value:
            raise BadRequestError(f"Missing named input: {name} in 'inputs' object.")
    return {name: to_tensor(value[name], info.dtype) for name, info in inputs.items()}


def to_tensor(value: Any, dtype: str) -> np.ndarray:
    """A JSON value, nested to any depth, as an array; strings as an object array of bytes.

    Raises BadRequestError where an element has another type, or the nesting is ragged.
    """
    if dtype in _FLOATS:
        quick = _numbers(value, dtype)
        if quick is not None:
            return quick
    shape = _shape_of(value)
    flat: list[Any] = []
    _fill(value, 0, shape, dtype, flat)
    if dtype == "DT_STRING":
        array = np.empty(len(flat), object)
        array[:] = flat
    else:
        kind: Any = {**_FLOATS, **_INTEGERS, "DT_BOOL": np.bool_}.get(dtype)
        array = np.array(flat, kind)
    return array.reshape(shape)


def _numbers(value: Any, dtype: str) -> np.ndarray | None:
    """The whole nested list at once, where it plainly is one of decimals."""
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError, RecursionError):
        return None
    if array.dtype.kind != "f":
        return None
    with np.errstate(over="ignore"):
        converted = array.astype(_FLOATS[dtype])
    return converted if np.array_equal(np.isinf(converted), np.isinf(array)) else None


def _shape_of(value: Any) -> tuple[int, ...]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _fill(value: Any, level: int, shape: tuple[int, ...], dtype: str, flat: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise BadRequestError(
                f"JSON Value: {_quoted(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        flat.append(_scalar(value, dtype))
        return
    if level >= len(shape):
        raise BadRequestError(
            f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(value) != shape[level]:
        raise BadRequestError(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
            f"{shape[level]}"
        )
    for inner in value:
        _fill(inner, level + 1, shape, dtype, flat)


def _scalar(value: Any, dtype: str) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if dtype in _FLOATS and number:
        return _decimal(value, dtype)
    if dtype in _INTEGERS and number and isinstance(value, int):
        limits = np.iinfo(_INTEGERS[dtype])
        if limits.min <= value <= limits.max:
            return value
    if dtype == "DT_BOOL" and isinstance(value, bool):
        return value
    if dtype == "DT_STRING":
        if isinstance(value, str):
            return value.encode("utf-8", "surrogatepass")
        if isinstance(value, dict):
            return _decoded(value)
    raise BadRequestError(
        f"JSON Value: {_quoted(value)} Type: {_kind(value)} is not of expected type: "
        f"{_NAMES.get(dtype, dtype)}"
    )


def _decimal(value: float, dtype: str) -> float:
    kind = _FLOATS[dtype]
    largest = 2 ** (np.finfo(kind).nmant + 1) - 1
    exact = (
        abs(value) <= largest
        if isinstance(value, int)
        else not np.isfinite(value) or abs(value) <= float(np.finfo(kind).max)
    )
    if not exact:
        raise BadRequestError(
            f"Cannot convert JSON value: {_quoted(value)} to {_NAMES[dtype]} without loss of "
            "precision."
        )
    return float(value)


def _decoded(value: dict[str, Any]) -> bytes:
    if not _is_base64(value):
        raise BadRequestError(
            f"JSON Value: {_quoted(value)} not formatted correctly for base64 data"
        )
    text = value["b64"]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    # lines and missing padding are taken as well
    text = "".join(text.split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadRequestError("Unable to base64 decode") from None


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _as_json(array: np.ndarray, *, as_bytes: bool) -> Any:
    if array.dtype == np.float32:
        return short_decimals(array).tolist()
    if array.dtype.kind != "O":
        return array.tolist()
    return _text(array.tolist(), as_bytes)


def short_decimals(array: np.ndarray) -> np.ndarray:
    """Doubles that are written with 6 digits where these tell the float32, otherwise with 9.

    The double of 0.2 in float32 would be written 0.20000000298023224.
    """
    exact = array.astype(np.float64)
    short = exact
    with np.errstate(all="ignore"):
        exponent = np.floor(np.log10(np.abs(exact)))
        for digits in (9, 6):
            scale = 10.0 ** (digits - 1 - exponent)
            rounded = np.round(exact * scale) / scale
            short = np.where(rounded.astype(np.float32) == array, rounded, short)
    return short


def _text(value: Any, as_bytes: bool) -> Any:
    if isinstance(value, list):
        return [_text(inner, as_bytes) for inner in value]
    if as_bytes:
        return {"b64": base64.b64encode(value).decode()}
    return value.decode("utf-8", "replace")


def _quoted(value: Any) -> str:
    return json.dumps(value, indent=4 if isinstance(value, dict) else None)[:QUOTED_CHARACTERS]


def _kind(value: Any) -> str:
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, dict):
        return "Object"
    return "String" if isinstance(value, str) else "Number"


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"
