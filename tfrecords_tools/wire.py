"""tf.train.Example as bytes and back, without TensorFlow.

Written by hand in the protocol buffer wire format (protobuf.dev/programming-guides/encoding), as
the package protobuf copies a large image several times: of `message Example` in
tensorflow/core/example/example.proto only three kinds of list in a map are needed. Features stand
in the order of their names, so equal examples have equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

# Large images are flat arrays of uint8: google-crc32c takes those as they are, no memoryviews.
Bytes = bytes | np.ndarray
Values = Sequence[Bytes] | Sequence[int] | Sequence[float]

# Field number and wire type, as one byte: a field of known length, then the kinds of Feature.
_FIRST, _SECOND = b"\x0a", b"\x12"
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = b"\x0a", b"\x12", b"\x1a"

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_UINT64 = (1 << 64) - 1
_SMALL = [bytes([number]) for number in range(128)]


def encode(features: Mapping[str, Values]) -> list[Bytes]:
    """Serialise features, in pieces to be written one after another.

    Whole numbers become int64, others float32, the rest bytes; each feature needs one value or
    more, all of one kind. A single value of bytes is a piece of its own and never copied. The bytes
    are those of TensorFlow's deterministic serialisation. Raises ValueError where a whole number
    has more than 64 bits.
    """
    pieces: list[Bytes] = [b""]
    # TensorFlow puts a longer name before its own beginning; no name holds the byte 255.
    for name in sorted(features, key=lambda name: name.encode() + b"\xff"):
        head, tail = _entry(name.encode(), features[name])
        pieces[-1] = bytes(pieces[-1]) + head
        if len(tail):
            pieces += [tail, b""]
    return [_head(_FIRST, sum(len(piece) for piece in pieces)), *pieces]


def decode(data: bytes) -> dict[str, list[memoryview] | list[int] | list[float]]:
    """The values of every feature; bytes are views of `data`. Raises ValueError where damaged."""
    features: dict[str, list[memoryview] | list[int] | list[float]] = {}
    for number, message in _fields(memoryview(data)):
        for _, entry in _fields(_message(message)) if number == 1 else ():
            parts = dict(_fields(_message(entry)))
            features[bytes(_message(parts[1])).decode()] = _values(_message(parts[2]))
    return features


def _entry(name: bytes, values: Values) -> tuple[bytes, Bytes]:
    """A name and its feature as an entry of the map; a single value of bytes stands apart."""
    kind, head, tail = _list(values)
    for tag in (kind, _SECOND):
        head = _head(tag, len(head) + len(tail)) + head
    head = _head(_FIRST, len(name)) + name + head
    return _head(_FIRST, len(head) + len(tail)) + head, tail


def _list(values: Values) -> tuple[bytes, bytes, Bytes]:
    """The tag of a list of values and its contents, the last value of bytes apart."""
    first = values[0]
    if isinstance(first, (bytes, np.ndarray)):
        *before, last = (value for value in values if isinstance(value, (bytes, np.ndarray)))
        head = b"".join(_head(_FIRST, len(value)) + bytes(value) for value in before)
        return _BYTES_LIST, head + _head(_FIRST, len(last)), last
    if isinstance(first, int):
        packed = b"".join(_varint(_twos_complement(int(value))) for value in values)
        return _INT64_LIST, _head(_FIRST, len(packed)) + packed, b""
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite
        packed = np.array(values, "<f4").tobytes()
    return _FLOAT_LIST, _head(_FIRST, len(packed)) + packed, b""


def _head(tag: bytes, length: int) -> bytes:
    return tag + (_SMALL[length] if length < len(_SMALL) else _varint(length))


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have their highest bit set."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _twos_complement(value: int) -> int:
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"{value} has more than 64 bits")
    return value & _UINT64


def _values(feature: memoryview) -> list[memoryview] | list[int] | list[float]:
    for number, content in _fields(feature):
        fields = _fields(_message(content))
        if number == 1:
            return [_message(value) for _, value in fields]
        if number == 2:
            return [float(x) for _, value in fields for x in np.frombuffer(_message(value), "<f4")]
        if number == 3:
            return [x for _, value in fields for x in _int64s(value)]
    return []


def _int64s(value: memoryview | int) -> Iterator[int]:
    """One number, or several packed into one field."""
    if isinstance(value, int):
        yield _signed(value)
        return
    position = 0
    while position < len(value):
        number, position = _read_varint(value, position)
        yield _signed(number)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Field number and content: a number, or the bytes of a field of fixed or given length."""
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        kind = tag & 7
        if kind == _VARINT:
            number, position = _read_varint(data, position)
            yield tag >> 3, number
            continue
        length = {_FIXED64: 8, _FIXED32: 4}.get(kind, 0)
        if kind == _LENGTH_DELIMITED:
            length, position = _read_varint(data, position)
        elif not length:
            raise ValueError(f"wire type {kind}")
        if position + length > len(data):
            raise ValueError(f"a field of {length} bytes where {len(data) - position} are left")
        yield tag >> 3, data[position : position + length]
        position += length


def _message(content: memoryview | int) -> memoryview:
    if isinstance(content, int):
        raise ValueError("a number where bytes were expected")
    return content


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(data):
            raise ValueError("it ends within a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _UINT64, position
    raise ValueError("a number of more than 64 bits")


def byte_spans(data: bytes) -> dict[str, tuple[int, int]]:
    """Where the first value of every feature of bytes lies in a record: its start and its length.

    `data` may be the beginning of a record alone: the last value then reaches beyond its end, and
    features after it are not found. Raises ValueError where it is no beginning of a record.
    """
    view, found = memoryview(data), {}
    _, position = _opened(view, 0)
    while position < len(view):
        size, position = _opened(view, position)
        end = position + size
        length, position = _opened(view, position)
        name = bytes(view[position : position + length]).decode()
        _, position = _opened(view, position + length)
        if view[position : position + 1] == _BYTES_LIST:
            _, position = _opened(view, position)
            length, position = _opened(view, position)
            found[name] = (position, length)
        position = end
    return found


def _opened(data: memoryview, position: int) -> tuple[int, int]:
    """The length of the field of known length that begins here, and where its content does."""
    tag, position = _read_varint(data, position)
    if tag & 7 != _LENGTH_DELIMITED:
        raise ValueError(f"wire type {tag & 7}")
    return _read_varint(data, position)
