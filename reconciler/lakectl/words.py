"""States, reasons and ages in words and signs: the same in every command."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from reconciler.lakectl.terminal import Terminal
from state import reasons
from state.status import ConditionType, Status, Truth
from state.timestamps import from_iso

Standing = Literal["ready", "waiting", "failed", "stalled", "held", "unknown"]

WAITING = frozenset({
    reasons.PROGRESSING, reasons.DEPENDENCY_NOT_READY, reasons.REFERENCE_MISSING, reasons.SOURCE_EMPTY, reasons.INGESTING,
    reasons.EMBEDDING, reasons.BUILDING, reasons.EVALUATING, reasons.TUNING, reasons.COMPACTING, reasons.MIGRATING, reasons.MIRRORING,
    reasons.PRUNING, reasons.QUEUED, reasons.RETRYING, reasons.AWAITING_OTHERS,
})  # fmt: skip
FAILED = frozenset({
    reasons.FAILED, reasons.INTERNAL_ERROR, reasons.NOT_CONVERGING, reasons.BUCKET_UNAVAILABLE, reasons.BUCKET_DEGRADED,
    reasons.CATALOG_LOST, reasons.DISK_FULL, reasons.SOURCE_UNAVAILABLE, reasons.SECRET_MISSING, reasons.INGEST_FAILED,
    reasons.EMBED_FAILED, reasons.BUILD_FAILED, reasons.JOB_FAILED, reasons.MODEL_UNAVAILABLE, reasons.MODEL_DRIFT, reasons.CONFLICT,
})  # fmt: skip
HELD = frozenset({reasons.SUSPENDED, reasons.PRUNE_HELD, reasons.AWAITING_APPROVAL})


_BUT: Mapping[ConditionType, tuple[Truth, str]] = {
    "Readable": ("False", "closed"),
    "MasksUnfit": ("True", "masks unfit"),
    "TestsFailing": ("True", "tests fail"),
}
"""Conditions of what is Ready and does not do what is meant, by the status that says so, in a word or two."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a standing is shown."""

    word: str
    sign: str
    plain: str
    color: str


LOOKS: Mapping[Standing, Look] = {
    "ready": Look("Ready", "✔", "+", "green"),
    "waiting": Look("Waiting", "◌", "~", "cyan"),
    "failed": Look("Failed", "↻", "!", "yellow"),
    "stalled": Look("Stalled", "✘", "x", "red"),
    "held": Look("Held", "‖", "=", "yellow"),
    "unknown": Look("Unknown", "?", "?", "dim"),
}


def standing(status: Status) -> Standing:
    """What a status comes down to. The condition Stalled decides where it is known, the reason where it is not."""
    if status.ready == "True":
        return "ready"
    if status.ready == "Unknown":
        return "unknown"
    if status.reason in HELD:
        return "held"
    stalled = status.condition("Stalled")
    if stalled is not None and stalled.status == "True":
        return "stalled"
    if status.reason in WAITING:
        return "waiting"
    if stalled is not None:
        return "failed"
    return "failed" if status.reason in FAILED else "stalled"


def sign(terminal: Terminal, state: Standing) -> str:
    """One coloured character."""
    look = LOOKS[state]
    return terminal.style(terminal.mark(look.sign, look.plain), look.color)


def reason_words(reason: str) -> str:
    """A reason as people write it: `file refused`."""
    return " ".join(re.findall(r"[A-Z][a-z]*", reason)).lower() or reason


def state_words(status: Status) -> str:
    """State and reason: `Stalled: file refused`, `Ready`, `Ready, closed`."""
    word = LOOKS[standing(status)].word
    reason = reason_words(status.reason)
    if status.reason == reasons.SUCCEEDED or reason == word.lower():
        said = {condition.type: condition.status for condition in status.conditions}
        return ", ".join([word, *(short for kind, (truth, short) in _BUT.items() if said.get(kind) == truth)])
    if status.reason == reasons.SUCCEEDED_WITH_REFUSALS:
        return f"{word}, with refusals"
    return f"{word}: {reason}"


def age(now: datetime, at: str | None) -> str:
    """How long ago, in one unit: `3s`, `12m`, `5h`, `8d`; `-` where it never was."""
    if not at:
        return "-"
    try:
        seconds = (now - from_iso(at)).total_seconds()
    except ValueError:
        return "-"
    return span(seconds)


def span(seconds: float) -> str:
    """A length of time in one unit."""
    left = max(int(seconds), 0)
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if left >= 2 * size or (unit == "d" and left >= size):
            return f"{left // size}{unit}"
    return f"{left}s"


def took(seconds: float) -> str:
    """How long something took, exactly enough: `0.4s`, `12s`, `3m`."""
    return f"{seconds:.1f}s" if seconds < 10 else span(seconds)


def cost(seconds: float) -> str:
    """About how long something takes: `under 1s`, `about 40s`, `about 12m`."""
    return "under 1s" if seconds < 1 else f"about {span(seconds)}"


def clock_words(at: datetime) -> str:
    """An instant for people, in UTC: `2026-11-22 15:51:52`."""
    return at.strftime("%Y-%m-%d %H:%M:%S")


def short(revision: str | None) -> str:
    """The first characters of a commit, or of a folder's digest; `-` where there is none."""
    if not revision:
        return "-"
    return revision.removeprefix("dir-")[:7]


def size(count: int) -> str:
    """Bytes, as in 1.5 MB."""
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{count / 1e3:.1f} KB"


def number(count: int, noun: str, plural: str | None = None) -> str:
    """`1 object`, `2 objects`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def until(now: datetime, seconds: float) -> datetime:
    """The instant so many seconds from now."""
    return now + timedelta(seconds=seconds)
