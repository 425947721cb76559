"""A graph's file, read without holding up every other thread.

hnswlib's `load_index` keeps Python's lock until it has copied the file: 0.1 s for 100 000 vectors of 256 numbers, above a second for a
million, and all that while the daemon answers nobody. Of what it restores, only the links of the upper layers are small: these are given to
it as it unpickles an index, with one made-up vector in the place of all others. Where it keeps the vectors is then looked for: the one
place, two pointers away from the index, that holds what was made up, and of which `get_items` tells what is written there. The file is read
into that place, which takes no lock.

Whatever is not as it was in hnswlib 0.8 (the file, the state it unpickles, where it keeps what) is noticed, and told by None: then
hnswlib reads the file itself. Next: `hnsw.py`, its only user.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import hnswlib
import numpy as np
import numpy.typing as npt

from engines.vectors.engine import Vectors

_HEAD = struct.Struct("<6QiI3QdQ")
_WORD = 8  # bytes of a pointer
_OBJECT = 1024  # bytes of the largest object that is looked at for pointers
_PIECE = 32 << 20
_MADV_HUGEPAGE = 14
_MEMORY = Path("/proc/self/mem")


class _Head(NamedTuple):
    """What hnswlib writes before the vectors; names are those of the state that it unpickles."""

    offset_level0: int
    max_elements: int
    cur_element_count: int
    size_data_per_element: int
    label_offset: int
    offset_data: int
    max_level: int
    enterpoint_node: int
    max_M: int
    max_M0: int
    M: int
    mult: float
    ef_construction: int

    @property
    def vectors_bytes(self) -> int:
        return self.cur_element_count * self.size_data_per_element

    @property
    def layer_bytes(self) -> int:
        """Of the links of one vector in one upper layer."""
        return self.max_M * 4 + 4


def read_graph(path: Path, dimension: int) -> hnswlib.Index | None:
    """The graph of inner products; None where hnswlib itself is to read it, or to refuse it. Blocking, mostly without Python's lock."""
    with path.open("rb", buffering=0) as file:
        raw = file.read(_HEAD.size)
        if len(raw) != _HEAD.size:
            return None
        head = _Head(*_HEAD.unpack(raw))
        size = os.fstat(file.fileno()).st_size
        if not _plausible(head, dimension, size):
            return None
        file.seek(_HEAD.size + head.vectors_bytes)
        upper = _upper_layers(head, np.frombuffer(file.read(), dtype=np.uint8))
        if upper is None:
            return None
        made = _hollow(head, dimension, *upper)
        if made is None:
            return None
        graph, place = made
        _ask_for_large_pages(place, head.vectors_bytes)
        file.seek(_HEAD.size)
        target = memoryview((ctypes.c_char * head.vectors_bytes).from_address(place)).cast("B")
        at = 0
        while at < len(target):
            count = file.readinto(target[at : at + _PIECE])
            if not count:
                return None
            at += count
    return graph


def _plausible(head: _Head, dimension: int, size: int) -> bool:
    """Whether it is full of vectors of this dimension, their links before and their labels, a uint64 each, behind them, and the file has
    them."""
    sizes = (head.offset_level0, head.size_data_per_element - head.label_offset, head.label_offset - head.offset_data)
    return sizes == (0, 8, 4 * dimension) and 0 < head.cur_element_count == head.max_elements and size >= _HEAD.size + head.vectors_bytes


def _upper_layers(head: _Head, raw: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]] | None:
    """Of each vector the highest layer, and the links of all that are above the lowest. raw: of each vector, the size of its links in
    bytes, and these. None where it is anything else."""
    if len(raw) % 4:
        return None
    words = raw.view("<u4")
    nonzero = words.nonzero()[0].tolist()
    levels = np.zeros(head.cur_element_count, np.int32)
    links = []
    vector = at = 0
    while True:
        found = bisect_left(nonzero, at)
        step = (nonzero[found] if found < len(nonzero) else len(words)) - at  # vectors without any
        vector, at = vector + step, at + step
        if vector >= head.cur_element_count or at == len(words):
            break
        layers, rest = divmod(int(words[at]), head.layer_bytes)
        end = at + 1 + int(words[at]) // 4
        if rest or end > len(words):
            return None
        levels[vector] = layers
        links.append(words[at + 1 : end])
        vector, at = vector + 1, end
    if (vector, at) != (head.cur_element_count, len(words)):
        return None
    return levels, np.concatenate(links).view(np.int8) if links else np.zeros(0, np.int8)


def _hollow(head: _Head, dimension: int, levels: npt.NDArray[np.int32], links: npt.NDArray[np.int8]) -> tuple[hnswlib.Index, int] | None:
    """The index without its vectors, and the address where they belong. None where it cannot be had."""
    probe = np.random.default_rng().standard_normal(dimension, dtype=np.float32)
    first = np.zeros(head.size_data_per_element, np.int8)
    first[head.offset_data : head.label_offset] = probe.view(np.int8)
    nobody = np.zeros(head.cur_element_count, np.uint64)
    state = {
        **head._asdict(),
        "ser_version": 1,
        "space": "ip",
        "dim": dimension,
        "index_inited": True,
        "ep_added": True,
        "normalize": False,
        "num_threads": 1,
        "seed": 0,
        "ef": 10,
        "has_deletions": False,
        "allow_replace_deleted": False,
        "size_links_per_element": head.layer_bytes,
        "link_lists": links,
        "element_levels": levels,
        "data_level0": first,
        # Only adding and removing look a vector up by its label, which nobody does: a search gives labels that lie with the vectors.
        # So the table has the first alone, and costs neither time nor memory.
        "label_lookup_external": nobody,
        "label_lookup_internal": nobody.astype(np.uint32),
    }
    graph = hnswlib.Index.__new__(hnswlib.Index)
    try:
        graph.__setstate__((state,))
    except (RuntimeError, TypeError, ValueError, KeyError):
        return None
    first[:] = 0  # what is found now is no copy of ours
    place = next(_places(graph, head.offset_data, probe), None)
    return None if place is None or not _is_read_from(graph, place, head, probe) else (graph, place)


def _places(graph: hnswlib.Index, offset: int, probe: Vectors) -> Iterator[int]:
    """Addresses, two pointers away from the C++ object of the index, with the made-up vector so many bytes behind them."""
    wanted = probe.tobytes()
    try:
        memory = os.open(_MEMORY, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        for index in _pointers(ctypes.string_at(id(graph), type(graph).__basicsize__)):
            for algorithm in _pointers(_peek(memory, index, _OBJECT)):
                for place in _pointers(_peek(memory, algorithm, _OBJECT)):
                    if _peek(memory, place + offset, len(wanted)) == wanted:
                        yield place
    finally:
        os.close(memory)


def _is_read_from(graph: hnswlib.Index, place: int, head: _Head, probe: Vectors) -> bool:
    """Whether the index has its first vector there: what is written to the place comes back from it."""
    ctypes.memmove(place + head.offset_data, (-probe).tobytes(), probe.nbytes)
    return bool(np.array_equal(graph.get_items([0])[0], -probe))


def _ask_for_large_pages(place: int, size: int) -> None:
    """They are filled, and given back while Python's lock is held, in a fraction of the time. As the system sees fit: no error."""
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    first, last = -(-place // mmap.PAGESIZE) * mmap.PAGESIZE, (place + size) // mmap.PAGESIZE * mmap.PAGESIZE
    if madvise is not None and first < last:
        madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _MADV_HUGEPAGE)


def _pointers(raw: bytes) -> Iterator[int]:
    """Words that may be addresses, each once."""
    words = struct.unpack(f"<{len(raw) // _WORD}Q", raw[: len(raw) // _WORD * _WORD])
    yield from dict.fromkeys(word for word in words if word % _WORD == 0 and 1 << 16 <= word < 1 << 47)


def _peek(memory: int, address: int, size: int) -> bytes:
    """What is there, as far as anything is; asked of the kernel, which refuses where an access would end the process."""
    try:
        return os.pread(memory, size, address)
    except OSError:
        return b""
