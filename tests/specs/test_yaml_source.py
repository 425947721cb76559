"""Strict YAML: what is read, what is refused, and where the refusal points."""

from __future__ import annotations

import json
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from specs.yaml_source import MAX_CHARACTERS, MAX_DEPTH, Document, YamlInvalid, read_documents, read_single, resolve_plain


def read(text: str) -> list[Document]:
    return list(read_documents(text, MAX_CHARACTERS))


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a: &x 1\n", 1, 4, "anchors (`&x`)"),
        ("a: &x [1]\nb: *x\n", 2, 4, "aliases"),
        ("a: {b: *x}\n", 1, 8, "aliases"),
        ("*x : 1\n", 1, 1, "aliases"),
        ("a: 1\n<<: {b: 2}\n", 2, 1, "merge keys"),
        ("a: !!str 1\n", 1, 4, "tags (`tag:yaml.org,2002:str`)"),
        ("a: !!python/object/apply:os.system [x]\n", 1, 4, "tags"),
        ("a: !mine 1\n", 1, 4, "tags (`!mine`)"),
        ("a: ! 1\n", 1, 4, "tags (`!`)"),
        ("--- !!map\na: 1\n", 1, 5, "tags"),
        ("a: 1\nb: 2\na: 3\n", 3, 1, "`a` is given twice, first on line 1"),
        ("a: {b: 1, b: 2}\n", 1, 11, "`b` is given twice"),
        ("? [a]\n: 1\n", 1, 3, "cannot be a key"),
        ("{[a]: 1}\n", 1, 2, "cannot be a key"),
        ("# note\n%YAML 1.1\n---\na: 1\n", 2, 1, "directives"),
        ("%TAG ! tag:x,2000:\n---\na: !y 1\n", 1, 1, "directives"),
        ("a: 1\nb: \x07\n", 2, 4, "control character 0x07"),
        ("a: b\u2028c\n", 1, 5, "control character 0x2028"),
        ("a: b: c\n", 1, 5, "a `: ` stands where none can be"),
        ("a:\n\tb: 1\n", 2, 1, "a tab is used for indentation"),
        ("a: [1, 2\nb: 3\n", 2, 2, "YAML: a list opened with `[` is not closed"),
        ("a: {b: 1\n", 1, 4, "an object opened with `{` is not closed"),
        ('a: "text\n', 1, 4, "a quoted text is not closed"),
        ("a:\n  - 1\n b: 2\n", 3, 2, ""),
        ("- " * (MAX_DEPTH + 1), 1, 2 * MAX_DEPTH + 1, "nested deeper than 32 levels"),
        ("[" * 100_000, 1, MAX_DEPTH + 1, "nested deeper than 32 levels"),
        ("x" * (MAX_CHARACTERS + 1), 1, 1, "at most 1,048,576 are read"),
    ],
)
def test_refused_with_its_place(text: str, line: int, column: int, message: str) -> None:
    faults = [fault for document in read(text) for fault in document.faults]
    assert any(message in fault.message and (fault.line, fault.column) == (line, column) for fault in faults), faults


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("False", False),
        ("no", "no"), ("on", "on"), ("Yes", "Yes"), ("off", "off"), ("y", "y"),
        ("0", 0), ("-7", -7), ("+5", 5), ("012", "012"), ("0o17", "0o17"), ("0x1F", "0x1F"), ("1_000", "1_000"), ("1:30", "1:30"),
        ("9223372036854775807", 2**63 - 1), ("9223372036854775808", "9223372036854775808"), ("9" * 5000, "9" * 5000),
        ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("-1e3", -1000.0), ("1e400", "1e400"), (".inf", ".inf"), (".nan", ".nan"),
        (".", "."), ("-", "-"), ("+", "+"), ("1.2.3", "1.2.3"), ("e5", "e5"), (".e5", ".e5"), ("00.5", "00.5"),
        ("2026-01-31", "2026-01-31"), ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"), ("=", "="), ("NaN", "NaN"),
    ],
)  # fmt: skip
def test_plain_words(word: str, value: object) -> None:
    read_back = resolve_plain(word)
    assert read_back == value
    assert type(read_back) is type(value)


def test_quoted_words_are_text_and_keys_are_always_text() -> None:
    assert read("{'a': '1', b: \"true\", 1: x, no: y, null: z, 2026-01-01: d}")[0].data == {
        "a": "1", "b": "true", "1": "x", "no": "y", "null": "z", "2026-01-01": "d",
    }  # fmt: skip


def test_documents_are_cut_before_they_are_read() -> None:
    documents = read("# only a note\n---\na: 1\n---\n---\nb: [\n---\r\nc: |\n  x\n  --- y\n...\n---\n# end\n")
    assert [(d.line, d.data, d.broken) for d in documents] == [(3, {"a": 1}, False), (6, {"b": []}, True), (8, {"c": "x\n--- y\n"}, False)]


def test_a_broken_document_keeps_what_came_before() -> None:
    (document,) = read("kind: Dataset\nmetadata: {name: x}\nspec:\n  a: [1, 2\n  b: }\n")
    assert document.broken
    assert document.data["kind"] == "Dataset"
    assert document.data["metadata"] == {"name": "x"}


def test_marks_lead_to_keys_and_values() -> None:
    (document,) = read("a:\n  b: [1, {c: yes}]\n")
    inner = document.mark.children["a"].children["b"].children[1]
    assert document.mark.children["a"].keys["b"] == (2, 3)
    assert inner.keys["c"] == (2, 11)
    assert (inner.children["c"].line, inner.children["c"].column, inner.children["c"].text) == (2, 14, "yes")


@given(st.text(alphabet=st.sampled_from("ab1-: \n\t\r[]{},&*!|>'\"%#?~<.\x00\ufeff\u2028é"), max_size=80))
def test_no_text_makes_it_raise(text: str) -> None:
    for document in read(text):
        assert document.data is not None or document.faults
        assert all(fault.line >= 1 and fault.column >= 1 for fault in document.faults)


words = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn", "Zl", "Zp")), max_size=8)
plain_data = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(words, plain_data, min_size=1, max_size=4))
def test_json_is_read_as_json(data: dict[str, object]) -> None:
    (document,) = read(json.dumps(data, ensure_ascii=False))
    assert document.faults == []
    assert document.data == json.loads(json.dumps(data))


@given(st.dictionaries(words, plain_data, min_size=1, max_size=4))
def test_what_pyyaml_writes_in_blocks_is_read_back(data: dict[str, object]) -> None:
    text = yaml.safe_dump(data, allow_unicode=True, sort_keys=False)
    (document,) = read(text)
    if not document.faults:  # PyYAML writes anchors for repeated empty containers, and YAML 1.1 numbers
        assert _same(document.data, data)


def _same(read_back: object, written: object) -> bool:
    if isinstance(read_back, dict) and isinstance(written, dict):
        return list(read_back) == list(written) and all(_same(read_back[key], written[key]) for key in written)
    if isinstance(read_back, list) and isinstance(written, list):
        return len(read_back) == len(written) and all(map(_same, read_back, written))
    if isinstance(written, float):
        return isinstance(read_back, (int, float, str)) and math.isclose(float(read_back), written)
    if isinstance(written, str) and isinstance(read_back, float):  # as 0E0, which is no number in YAML 1.1
        return float(written) == read_back
    return read_back == written


def test_a_file_of_one_document() -> None:
    assert read_single("lakehouse.yaml", b"\xef\xbb\xbflisten: 127.0.0.1:0\n").data == {"listen": "127.0.0.1:0"}
    assert read_single("lakehouse.yaml", b"# nothing\n").data is None
    with pytest.raises(YamlInvalid, match=r"^lakehouse.yaml:2:1: `a` is given twice"):
        read_single("lakehouse.yaml", b"a: 1\na: 2\n")
    with pytest.raises(YamlInvalid, match=r"lakehouse.yaml:3:1: a second document"):
        read_single("lakehouse.yaml", b"a: 1\n---\nb: 2\n")
    with pytest.raises(YamlInvalid, match="not UTF-8"):
        read_single("lakehouse.yaml", b"a: \xff\n")
