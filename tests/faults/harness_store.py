"""A bucket that fails: what goes wrong between a process and an object service, by the seed of a schedule.

`ModelBucket` is the service: objects in memory, each change atomic, instants in whole seconds as S3 has them. `FaultyStore` is one
process's way to it. Each operation takes a turn and then is done, fails before it is done, fails although it was done, is done twice (a
retry after an answer that was lost), is done some turns later although it failed, takes seconds, or is done by a process that dies of it.
A listing may break off, and does not see everything at one instant. Next: `harness_world.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from harness_turns import LONG, Killed, Process, Schedule

from state.errors import BucketUnavailable, ObjectExists, ObjectMissing
from state.objects import PIECE, ObjectInfo, ObjectStore, OpenObject, check_key
from state.staging import discard

T = TypeVar("T")

Watch = Callable[[str, str], None]
"""Told of each change that was made: "put" or "delete", and the key."""


@dataclass
class ModelBucket:
    """What the service keeps: content and second of each object."""

    name: str
    clock: Callable[[], float]
    folder: Path
    """For staged files."""
    watch: Watch = lambda operation, key: None
    objects: dict[str, tuple[bytes, float, int]] = field(default_factory=dict)
    puts: int = 0

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        check_key(self.name, key)
        if if_absent and key in self.objects:
            raise ObjectExists(self.name, key)
        self.puts += 1
        self.objects[key] = (data, float(int(self.clock())), self.puts)
        self.watch("put", key)

    def stage(self) -> Path:
        self.puts += 1
        path = self.folder / f"staged-{self.puts}"
        path.write_bytes(b"")
        return path

    def put_file(self, key: str, staged: Path, *, if_absent: bool = False) -> None:
        data = staged.read_bytes()
        self.put(key, data, if_absent=if_absent)

    def get(self, key: str) -> bytes:
        try:
            return self.objects[key][0]
        except KeyError:
            raise ObjectMissing(self.name, key) from None

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return self.get(key)[start : start + length]

    def open(self, key: str, start: int = 0, length: int | None = None) -> OpenObject:
        data = self.get(key)[start:][:length]
        return OpenObject(self.head(key), (data[at : at + PIECE] for at in range(0, len(data), PIECE)))

    def head(self, key: str) -> ObjectInfo:
        data = self.get(key)
        _, modified, number = self.objects[key]
        return ObjectInfo(key, len(data), modified, str(number))

    def sizes(self, keys: Collection[str]) -> Mapping[str, int]:
        return {key: len(self.objects[key][0]) for key in keys if key in self.objects}

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        for key in sorted(self.objects):
            if key in self.objects and key.startswith(prefix) and (after is None or key > after):
                yield self.head(key)

    def folders(self, prefix: str) -> Sequence[str]:
        names = {key.removeprefix(prefix).partition("/") for key in self.objects if key.startswith(prefix)}
        return sorted({name for name, slash, _ in names if slash})

    def delete(self, key: str) -> None:
        if self.objects.pop(key, None) is not None:
            self.watch("delete", key)

    def path(self, key: str) -> Path | None:
        check_key(self.name, key)
        return None


FAULTS = ("before", "before", "after", "after", "twice", "twice", "late", "slow", "died")
ODDS = {"put": 0.12, "delete": 0.15, "get": 0.02, "list": 0.02, "stage": 0.04, "head": 0.01}
"""How many operations go wrong."""
WRITES = ("put", "delete")
LATEST = 8
"""Turns after which what was late has been done."""


class FaultyStore:
    """Another store as one process has it. See `ObjectStore` for what the methods promise."""

    def __init__(self, inner: ObjectStore, process: Process, schedule: Schedule, *, faulty: bool) -> None:
        """faulty: whether operations go wrong; else they only take their turns."""
        self._inner = inner
        self._process = process
        self._schedule = schedule
        self._faulty = faulty

    @property
    def name(self) -> str:
        return self._inner.name

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        self._do("put", key, lambda: self._inner.put(key, data, if_absent=if_absent))

    def stage(self) -> Path:
        return self._do("stage", "", self._inner.stage)

    def put_file(self, key: str, staged: Path, *, if_absent: bool = False) -> None:
        data = staged.read_bytes()
        try:
            if self._faulty:
                self._do("put", key, lambda: self._inner.put(key, data, if_absent=if_absent))
            else:
                self._do("put", key, lambda: self._inner.put_file(key, staged, if_absent=if_absent))
        finally:
            discard(staged)

    def get(self, key: str) -> bytes:
        return self._do("get", key, lambda: self._inner.get(key))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return self._do("get", key, lambda: self._inner.get_range(key, start, length))

    def open(self, key: str, start: int = 0, length: int | None = None) -> OpenObject:
        return self._do("get", key, lambda: self._inner.open(key, start, length))

    def head(self, key: str) -> ObjectInfo:
        return self._do("head", key, lambda: self._inner.head(key))

    def sizes(self, keys: Collection[str]) -> Mapping[str, int]:
        return self._do("list", "", lambda: self._inner.sizes(keys))

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        found = self._do("list", prefix, lambda: self._inner.list(prefix, after))
        for info in found:
            yield info
            if self._drawn() < ODDS["list"]:
                self._schedule.turn(f"list {prefix}, after {info.key}")
            if self._faulty and self._drawn() < ODDS["list"] / 8:
                self._count("list", "broke off")
                raise self._unavailable("list")

    def folders(self, prefix: str) -> Sequence[str]:
        return self._do("list", prefix, lambda: self._inner.folders(prefix))

    def delete(self, key: str) -> None:
        self._do("delete", key, lambda: self._inner.delete(key))

    def path(self, key: str) -> Path | None:
        return self._inner.path(key)

    def _do(self, operation: str, key: str, action: Callable[[], T]) -> T:
        fault = self._schedule.random.choice(FAULTS) if self._faulty and self._drawn() < ODDS[operation] else ""
        if fault == "late" and operation not in WRITES:
            fault = "before"
        if fault or operation != "head" or self._drawn() < 0.2:  # an open probes so often that little else would be disturbed
            self._schedule.turn(f"{operation} {key} {fault}".rstrip())
        if not fault:
            return action()
        self._count(operation, fault)
        return self._wrong(fault, operation, action)

    def _wrong(self, fault: str, operation: str, action: Callable[[], T]) -> T:
        match fault:
            case "slow":
                self._schedule.seconds += self._schedule.random.choice([1.0, 5.0, LONG])
                return action()
            case "twice":
                action()
                return action()
            case "died":
                action()
                self._schedule.die(self._process, "killed after the operation")
                raise Killed
            case "after":
                action()
            case "late":
                self._schedule.later(self._schedule.random.randint(1, LATEST), lambda: _quietly(action))
        raise self._unavailable(operation)

    def _unavailable(self, operation: str) -> BucketUnavailable:
        return BucketUnavailable(self.name, operation, "a fault of the schedule")

    def _drawn(self) -> float:
        return self._schedule.random.random()

    def _count(self, operation: str, fault: str) -> None:
        self._schedule.counts[f"{operation}: {fault}"] += 1


def _quietly(action: Callable[[], object]) -> None:
    try:
        action()
    except (ObjectExists, ObjectMissing):
        return
