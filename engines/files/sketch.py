"""How many distinct values a column has, in one pass and little memory, with a sample of them: a bottom-k sketch.

Every value is hashed to 64 bits; the k smallest hashes of distinct values are kept, with their values. While there are fewer than k, the
count is exact; else the k-th smallest tells how dense they lie, with a standard error of 1/sqrt(k), 4 %. Which values are kept depends on
nothing but the values, so that sketches of several files merge to that of all, and the sample is one of distinct values from everywhere in
the file. Source: Bar-Yossef et al., Counting Distinct Elements in a Data Stream (2002).

Hashes are stored, so that the function must stay as it is. Of texts beyond 64 bytes it sees eight words, evenly spread.
"""

from __future__ import annotations

import base64

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from state.profiles import SKETCH as K

_FIRST = 8_192
"""Rows by which it is known whether a column repeats itself."""
_WORD = 8
_SPREAD = 6
"""Words of a long text between its first and its last."""
_ONE, _TWO = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
_MASKS = np.array([(1 << (8 * size)) - 1 for size in range(_WORD + 1)], np.uint64)

Hashes = npt.NDArray[np.uint64]


class Distinct:
    """The sketch of one column. Values are null-free arrays of one type."""

    def __init__(self) -> None:
        self._hashes: Hashes = np.zeros(0, np.uint64)
        self._values: pa.Array | None = None

    def add(self, values: pa.Array) -> None:
        """More values of the column, without nulls."""
        if len(values) > _FIRST and self._values is None:
            self.add(values.slice(0, _FIRST))
            values = values.slice(_FIRST)
        if not len(values):
            return
        if len(self._hashes) < K:  # what repeats itself is cheap to deduplicate, and the rest soon fills the sketch
            values = pc.unique(values) if len(values) > K else values
            self._merge(hashes(values), values)
            return
        found = hashes(values)
        (below,) = np.nonzero(found < self._hashes[-1])
        if len(below) > K:  # most are there already, many times over
            values = pc.unique(values.take(pa.array(below)))
            self._merge(hashes(values), values)
        elif len(below):
            self._merge(found[below], values.take(pa.array(below)))

    def _merge(self, found: Hashes, values: pa.Array) -> None:
        together, every = found, values
        if self._values is not None:
            together, every = np.concatenate([self._hashes, found]), pa.concat_arrays([self._values, values])
        order = np.argsort(together, kind="stable")
        ordered = together[order]
        first = np.ones(len(ordered), bool)
        np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
        kept = order[first][:K]
        self._hashes, self._values = together[kept], every.take(pa.array(kept))

    @property
    def sample(self) -> pa.Array | None:
        """Up to K distinct values; None before there was any."""
        return self._values

    def encoded(self) -> str:
        """The hashes in ascending order, as `state/profiles.py` reads them."""
        return base64.b64encode(self._hashes.astype("<u8").tobytes()).decode()


def hashes(values: pa.Array) -> Hashes:
    """64 bits a value, the same on every machine. Null-free values of any type but lists."""
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return _of_texts(values)
    if pa.types.is_boolean(kind):
        return _mixed(np.asarray(values.cast(pa.uint8())).astype(np.uint64))
    if pa.types.is_floating(kind):
        return _mixed((np.asarray(values.cast(pa.float64())) + 0.0).view(np.uint64))  # -0.0 is 0.0
    if pa.types.is_integer(kind):
        return _mixed(np.asarray(values.cast(pa.int64())).view(np.uint64))
    if pa.types.is_timestamp(kind):
        return _mixed(np.asarray(values.view(pa.int64())).view(np.uint64))
    if pa.types.is_date32(kind):
        return _mixed(np.asarray(values.view(pa.int32())).astype(np.int64).view(np.uint64))
    return _of_texts(values.cast(pa.string()))


def _of_texts(values: pa.Array) -> Hashes:
    offsets = np.frombuffer(values.buffers()[1], np.int32, len(values) + 1, values.offset * 4).astype(np.intp)
    starts, ends = offsets[:-1], offsets[1:]
    lengths = ends - starts
    buffer = values.buffers()[2]
    size = int(offsets[-1])
    if size < _WORD:
        buffer, size = (buffer.to_pybytes()[:size] if buffer is not None else b"").ljust(_WORD, b"\0"), _WORD
    words = np.ndarray((size - _WORD + 1,), "<u8", buffer, 0, (1,))  # the word at every byte
    result = _first_words(words, starts, lengths) * _ONE
    shortest, longest = (int(lengths.min()), int(lengths.max())) if len(lengths) else (0, 0)
    apart = longest if longest == shortest else 0
    if longest > _WORD:
        longer = _beyond(_WORD, lengths, shortest)
        result[longer] = _step(result[longer], _words(words, ends[longer] - _WORD, apart))
    if longest > 2 * _WORD:
        long = _beyond(2 * _WORD, lengths, shortest)
        first, mixed = starts[long], result[long]
        room = longest - _WORD if longest == shortest else lengths[long] - _WORD
        for number in range(1, _SPREAD + 1):
            mixed = _step(mixed, _words(words, first + room * number // (_SPREAD + 1), apart))
        result[long] = mixed
    return _mixed(result + lengths.astype(np.uint64))


def _beyond(size: int, lengths: npt.NDArray[np.intp], shortest: int) -> slice | npt.NDArray[np.intp]:
    """Which texts are longer."""
    return slice(None) if shortest > size else np.nonzero(lengths > size)[0]


def _words(words: Hashes, places: npt.NDArray[np.intp], apart: int) -> Hashes:
    """Those at the places; where these are equally far from each other, apart says how far, and nothing is copied."""
    return words[places[0] :: apart][: len(places)] if apart else words[places]


def _first_words(words: Hashes, starts: npt.NDArray[np.intp], lengths: npt.NDArray[np.intp]) -> Hashes:
    """The first word of each text, with zeros behind a shorter one. Those that begin in the buffer's last word are shifted into place."""
    last = len(words) - 1
    inside = int(np.searchsorted(starts, last, side="right"))
    first = np.empty(len(starts), np.uint64)
    first[:inside] = words[starts[:inside]]
    first[inside:] = words[last] >> (8 * np.minimum(starts[inside:] - last, _WORD - 1)).astype(np.uint64)
    if len(lengths) and lengths.min() < _WORD:
        first &= _MASKS[np.minimum(lengths, _WORD)]
    return first


def _step(result: Hashes, words: Hashes) -> Hashes:
    result = (result ^ (result >> np.uint64(31))) * _TWO
    return (result ^ words) * _ONE


def _mixed(result: Hashes) -> Hashes:
    result = result + _ONE  # or zero would be zero
    result = (result ^ (result >> np.uint64(30))) * _TWO
    result = (result ^ (result >> np.uint64(27))) * _ONE
    return result ^ (result >> np.uint64(31))


def texts(values: pa.Array | None) -> list[str]:
    """Values as texts, empty ones left out."""
    if values is None:
        return []
    return [str(value) for value in values.to_pylist() if value is not None and str(value).strip()]
