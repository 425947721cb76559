"""What type a column is, from a sample of its values, conservatively: text unless every value says otherwise.

Text stays text by name (zip, phone, ssn, account, … in the header) and by shape (a leading zero, ten digits that are telephone numbers,
nine that are social security numbers), since a number that nobody calculates with is a code. Dates in other orders and decimal commas are
read where they can mean one thing only (`notations.py`). Mixed formats are text; an empty column is text. A reason shows no value, since
it ends in events and in git, but forms of values, and words for null (`null_words.py`). Nothing here is trusted: on the
way to Parquet every value is checked, and a guess that a later value contradicts gives way to text (`ingest.py`). Refuses to guess decimals
and what "1" and "yes" mean. Next: `shapes.py` for single values.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import orjson

from engines.files import notations, null_words, shapes
from engines.files.notations import Notation
from engines.files.shapes import ZONED, form

SAMPLED_ROWS = 1_000
SAMPLED_CELLS = 100_000
"""A sample of a wide file has fewer rows."""

_CODES = frozenset({
    "zip", "zipcode", "postal", "postcode", "postalcode", "plz", "phone", "phones", "mobile", "fax", "tel", "telephone",
    "phonenumber", "ssn", "sin", "tin", "itin", "ein", "npi", "dea", "passport", "iban", "bic", "swift", "routing", "account",
    "acct", "isbn", "ean", "upc", "gtin", "sku", "imei", "barcode", "vin",
})  # fmt: skip
_QUANTITIES = frozenset({
    "count", "counts", "total", "sum", "avg", "average", "mean", "min", "max", "ratio", "share", "pct", "percent", "minutes",
    "seconds", "duration", "calls", "balance",
})  # fmt: skip
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_PHONE = re.compile(r"1?[2-9][0-9]{2}[2-9][0-9]{6}")
_SSN = re.compile(r"(?!000|666|9)[0-9]{3}(?!00)[0-9]{2}(?!0000)[0-9]{4}")
_SSN_SAMPLE, _SSN_SPREAD = 20, 10**8
_KEPT_TEXTS = 2_000
_NUMBERS = frozenset({"int64", "float64"})
_COUNTED = _NUMBERS | {"number comma", "number comma or thousands"}
_NAMED = {"json": "object", "list": "array"}
_IN_WORDS = {
    "bool": "true or false",
    "date": "ISO dates",
    "timestamp": "ISO timestamps without a zone",
    ZONED: "ISO timestamps with a zone, kept as UTC",
}


@dataclass(frozen=True, slots=True)
class ColumnGuess:
    """A column's type and why, in words for people; format: how its values are written, if as people do; nulls: texts that are read as
    null."""

    name: str
    type: str
    reason: str
    format: Notation | None = None
    nulls: tuple[str, ...] = ()


@dataclass(slots=True)
class Evidence:
    """What was seen of one column: how many values of each kind, an example of each, and some whole numbers as text.

    commas: whether a comma within a cell may stand before decimals. said: the notation that the spec names. grouped: decimal numbers that
    may be whole ones with points between thousands. elements: of arrays. void: texts that the spec calls null; None: words for null are
    told apart, as `words`.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    examples: dict[str, object] = field(default_factory=dict)
    integers: set[str] = field(default_factory=set)
    nulls: int = 0
    types: set[str] = field(default_factory=set)
    elements: Evidence | None = None
    commas: bool = False
    said: Notation | None = None
    grouped: int = 0
    void: frozenset[str] | None = None
    words: Counter[str] = field(default_factory=Counter)

    def add_texts(self, texts: Iterable[str | None]) -> None:
        """Cells of a delimited file; null and empty ones say nothing."""
        for text in texts:
            if not text:
                self.nulls += 1
                continue
            kind = shapes.kind_of(text)
            if self._is_null(text):
                continue
            if kind == "string" and (self.commas or "," not in text):
                kind = notations.kind_of(text) or kind
            self._count(kind, text)
            self.grouped += kind == "float64" and notations.is_grouped(text)
            if kind == "int64" and len(self.integers) < _KEPT_TEXTS:
                self.integers.add(text)

    def add_json(self, value: object) -> None:
        """A value of a JSON document. Texts are texts, but for ISO dates and times; objects become JSON text."""
        kind = json_kind(value)
        if kind is None:
            self.nulls += 1
            return
        if isinstance(value, str) and self._is_null(value):
            return
        self._count(kind, value)
        if kind == "int64" and len(self.integers) < _KEPT_TEXTS:
            self.integers.add(str(value))
        if isinstance(value, list):
            self.elements = self.elements or Evidence(void=frozenset())
            for element in value:
                self.elements.add_json(element)

    def add_type(self, kind: str) -> None:
        """A file that says itself what its values are."""
        self.types.add(kind)

    def add_kind(self, kind: str) -> None:
        """A file whose values are computed, and of this kind."""
        self._count(kind, "1" if kind == "int64" else "")
        if kind == "int64":
            self.integers.add("1")

    def merge(self, other: Evidence) -> None:
        """What another file shows of the column."""
        self.kinds.update(other.kinds)
        self.examples = {**other.examples, **self.examples}
        self.integers |= other.integers
        self.types |= other.types
        self.nulls += other.nulls
        self.words += other.words
        self.grouped += other.grouped
        self.said = self.said or other.said
        if other.elements is not None:
            self.elements = self.elements or Evidence()
            self.elements.merge(other.elements)

    def as_text(self) -> Evidence:
        """With words for null as the texts that they are."""
        if not self.words:
            return self
        kinds, examples = self.kinds + Counter(string=self.words.total()), {"string": next(iter(self.words)), **self.examples}
        return replace(self, kinds=kinds, examples=examples, words=Counter())

    def _is_null(self, text: str) -> bool:
        """Whether it is a word for null, which is counted as such."""
        if self.void is not None:
            self.nulls += text in self.void
            return text in self.void
        if not null_words.is_word(text):
            return False
        self.words[text] += 1
        return True

    def notation(self) -> notations.Decided | None:
        """What the values are if they are written as people do."""
        return notations.decide(self.kinds, self.examples, self.grouped, self.said)

    def _count(self, kind: str, example: object) -> None:
        self.kinds[kind] += 1
        if kind not in self.examples:
            self.examples[kind] = example


def json_kind(value: object) -> str | None:
    """The kind of a parsed JSON value as `Evidence` counts it; None for null."""
    if isinstance(value, str):
        if not 10 <= len(value) <= shapes.SHOWN or value[4] != "-":
            return "string"
        kind = shapes.kind_of(value)
        return kind if kind in ("date", "timestamp", ZONED) else "string"
    if value is None:
        return None
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64" if -(10**18) < value < 10**18 else "string"
    if isinstance(value, dict):
        return "json"
    if isinstance(value, list):
        return "list"
    return shapes.kind_of(str(value)) if not isinstance(value, float) else "float64"


def decide(name: str, evidence: Evidence) -> ColumnGuess:
    """The narrowest type that all evidence bears out."""
    if evidence.types:
        return _decide_typed(name, evidence)
    guess = _decide_text(name, evidence)
    if not evidence.words:
        return guess
    if guess.type == "string":
        return _decide_text(name, evidence.as_text())
    return replace(guess, reason=f"{guess.reason}; {null_words.named(evidence.words)}", nulls=tuple(sorted(evidence.words)))


def _decide_text(name: str, evidence: Evidence) -> ColumnGuess:
    kind, reason = _decide_kind(name, evidence)
    decided = evidence.notation() if kind != "string" else None
    return ColumnGuess(name, kind, reason, decided.notation if decided else None)


def decide_all(columns: Iterable[tuple[str, Evidence]]) -> tuple[ColumnGuess, ...]:
    """One guess a column, in order."""
    return tuple(decide(name, evidence) for name, evidence in columns)


def _decide_typed(name: str, evidence: Evidence) -> ColumnGuess:
    if len(evidence.types) == 1 and not evidence.kinds:
        return ColumnGuess(name, next(iter(evidence.types)), "the file says so")
    if evidence.types <= {"int64", "float64"} and not evidence.kinds:
        return ColumnGuess(name, "float64", "the files say int64 and float64")
    named = ", ".join(sorted(evidence.types | set(evidence.kinds)))
    return ColumnGuess(name, "string", f"text, since the files disagree: {named}")


def _decide_kind(name: str, evidence: Evidence) -> tuple[str, str]:
    kinds, seen = set(evidence.kinds), evidence.kinds.total()
    if not kinds:
        return "string", "text, since it is empty in the sample"
    values = f"{seen} sampled value" + ("s" if seen != 1 else "")
    if kinds & _COUNTED and kinds <= {*_COUNTED, "string"} and (code := _code_word(name)):
        return "string", f"text, since `{code}` in the name says that the digits are a code"
    if decided := evidence.notation():
        return decided.type, decided.why if decided.notation is None else f"{values}: {decided.why}"
    if kinds <= _NUMBERS:
        if shape := _code_shape(evidence.integers) if kinds == {"int64"} else None:
            return "string", shape
        if kinds == {"int64"}:
            return "int64", f"{values}: whole numbers of at most 18 digits without a leading zero"
        if all(shapes.is_exact(text) for text in evidence.integers):
            return "float64", f"{values}: decimal numbers that float64 keeps exactly"
        return "string", "text, since float64 cannot keep the longest whole numbers among its decimals"
    if len(kinds) == 1:
        return _decide_single(name, kinds.pop(), values, evidence)
    return "string", _mixture(evidence)


def _decide_single(name: str, kind: str, values: str, evidence: Evidence) -> tuple[str, str]:
    if kind in _IN_WORDS:
        return "timestamp" if kind == ZONED else kind, f"{values}: {_IN_WORDS[kind]}"
    if kind == "json":
        return "string", f"{values}: objects, kept as JSON text"
    if kind == "list":
        element, why = _decide_kind(name, evidence.elements or Evidence())
        return f"list<{element}>", f"{values}: arrays, whose elements are {element} ({why})"
    example = evidence.examples[kind]
    return "string", why_text(example) if isinstance(example, str) else "text, since float64 and int64 cannot keep every number"


def why_text(text: str) -> str:
    """Why a single value makes its column text, without the value."""
    if re.fullmatch(r"0[0-9]+", text):
        return "text, since a number begins with a zero"
    if re.fullmatch(r"-?[0-9]{19,}", text):
        return "text, since a number has more than 18 digits"
    if re.fullmatch(shapes.FLOAT, text):
        return f"text, since float64 cannot keep a number of the form {form(text)} exactly"
    return f"text, of the form {form(text)}" if any(map(str.isnumeric, text)) else "text"


def _mixture(evidence: Evidence) -> str:
    common = evidence.kinds.most_common(4)
    parts = [f"{count} {_NAMED.get(kind, kind)} of the form {_shown(evidence.examples[kind])}" for kind, count in common]
    return "text, since the values are mixed: " + ", ".join(parts)


def _shown(value: object) -> str:
    return form(orjson.dumps(value, default=str).decode() if isinstance(value, dict | list) else value)


def _code_word(name: str) -> str | None:
    """The word of a column's name that says "this is a code", unless another word says that it counts something."""
    words = [word.lower() for word in _WORD.findall(name)]
    if _QUANTITIES.intersection(words):
        return None
    return next((word for word in words if word in _CODES), None)


def _code_shape(integers: set[str]) -> str | None:
    """Why whole numbers are rather telephone or social security numbers; None if they are not."""
    example = min(integers)
    if all(_PHONE.fullmatch(text) for text in integers):
        return f"text, since all values look like telephone numbers, of the form {form(example)}"
    if len(integers) >= _SSN_SAMPLE and all(_SSN.fullmatch(text) for text in integers):
        numbers = [int(text) for text in integers]
        # Numbers handed out in sequence have nine digits too, but lie close together.
        if max(numbers) - min(numbers) > _SSN_SPREAD:
            return f"text, since all values look like social security numbers, of the form {form(example)}"
    return None
