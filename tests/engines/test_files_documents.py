"""Documents as rows: text, Markdown, HTML and PDF."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from made_files import DRAWING, LOCKED, pdf, text

from engines.errors import FileUnreadable
from engines.files import documents, front_matter, html_text, pdf_pages, untrusted


@pytest.mark.parametrize(
    ("name", "content", "row"),
    [
        ("a.txt", "2024-01-01", {"path": "a.txt", "title": None, "text": "2024-01-01"}),
        ("a.txt", "\ufeffé\r\n", {"path": "a.txt", "title": None, "text": "é\r\n"}),
        ("a.txt", "é".encode("utf-16"), {"path": "a.txt", "title": None, "text": "é"}),
        ("a.txt", "", {"path": "a.txt", "title": None, "text": ""}),
        ("a.md", "# One #\n\ntext\n", {"path": "a.md", "title": "One", "text": "# One #\n\ntext\n"}),
        ("a.md", "```\n# no\n```\nTwo\n===\n", {"path": "a.md", "title": "Two", "text": "```\n# no\n```\nTwo\n===\n"}),
        ("a.md", "~~~\n```\n# no\n~~~\n# Yes C#\n", {"path": "a.md", "title": "Yes C#", "text": "~~~\n```\n# no\n~~~\n# Yes C#\n"}),
        ("a.md", "## Deeper\n", {"path": "a.md", "title": None, "text": "## Deeper\n"}),
        ("a.html", "<title> A\n B </title><p>x", {"path": "a.html", "title": "A B", "text": "x"}),
        ("a.htm", "<h1>H</h1>x", {"path": "a.htm", "title": "H", "text": "# H\n\nx"}),
        (
            "a.html",
            "<meta charset=iso-8859-2><p>\u0142".encode("iso-8859-2"),
            {"path": "a.html", "title": None, "text": "\u0142"},
        ),
    ],
)
def test_a_file_is_a_row(lake, name, content, row):
    result = lake.ingest(name, content)
    assert lake.rows(result) == [row]
    assert set(lake.types(result).values()) == {"string"}


def test_front_matter_becomes_columns(lake):
    said = "---\ntitle: Guide\ndate: 2024-03-01\ntags: [a, b]\npath: x\nby: {name: Ann, since: 2020}\n---\n# Head\n"
    result = lake.ingest("a.md", said)
    assert lake.rows(result) == [
        {
            "path": "a.md", "title": "Guide", "text": "# Head\n", "date": "2024-03-01", "tags": ["a", "b"], "front_matter.path": "x",
            "by.name": "Ann", "by.since": "2020",
        }
    ]  # fmt: skip
    assert lake.types(result)["tags"] == "list<string>"


def test_no_document_is_refused_for_its_front_matter(lake):
    schema = lake.ingest("a.md", "---\ntags: [a]\nn: 1\ndraft: true\n---\n").schema
    given = {"schema": schema, "next_column_id": 20, "next_schema_id": 2}
    (row,) = lake.rows(lake.ingest("b.md", "---\ntags: b\nn: [1, x]\ndraft:\n---\n", **given))
    assert (row["tags"], row["n"], row["draft"]) == (["b"], '["1","x"]', None)
    (row,) = lake.rows(lake.ingest("a.md", "---\ndate: 2024-03-01\n---\n", overrides={"date": "date"}))
    assert row["date"].isoformat() == "2024-03-01"


@pytest.mark.parametrize(
    "content",
    [
        "--- \nnot closed\n",
        "---\n- a list\n---\nx",
        "---\na: [\n---\nx",
        "---\na: &x [1]\nb: *x\n---\nx",
        "---\na: " + "[" * 100 + "]" * 100 + "\n---\nx",
        "---\na: !!python/object/apply:os.system [ls]\n---\nx",
        "---\na: " + "x" * front_matter.LIMIT + "\n---\nx",
        "x\n---\na: 1\n---\n",
    ],
)
def test_what_is_no_front_matter_is_text(content: str) -> None:
    assert front_matter.split(content) == ({}, content)


def test_values_of_front_matter() -> None:
    said, text_after = front_matter.split("---\n1: .nan\nb: 2024-01-01T10:00:00Z\nc: null\nd: yes\n---\nx")
    assert (said, text_after) == ({"1": "nan", "b": "2024-01-01T10:00:00+00:00", "c": None, "d": "true"}, "x")
    assert front_matter.split("---\n---\nx") == ({}, "x")


PAGE = """<!doctype html><html><head><title>T</title><style>p {}</style></head><body>
<nav><a href="/">Home</a></nav>
<h1>Big <em>one</em></h1>
<p>One
two<br>three <code>x = 1</code> and <a href="q">a link</a>.
<ul><li>a<li>b<ol><li>c<li>d</ol></ul>
<h2>Small</h2>
<table><tr><th>A<th>B</tr><tr><td>1|2<td><p>x</p><p>y</p></tr></table>
<pre>def f():
    return 1
</pre>
<blockquote><p>said</blockquote>
<div>before<div>inner</div>after</div>
<script>alert(1)</script><img alt="a picture"></body></html>"""

SHOWN = """# Big one

One two
three `x = 1` and a link.

- a
- b
  1. c
  2. d

## Small

| A | B |
| --- | --- |
| 1\\|2 | x y |

```
def f():
    return 1
```

> said

before

inner

after

a picture"""


def test_html_keeps_its_structure() -> None:
    assert html_text.page_of(PAGE) == html_text.Page("T", SHOWN)


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ("<header>site</header><main><p>x</main><footer>f</footer>", "x"),
        ("<main>a</main><main>b</main>", "a\n\nb"),
        ("plain", "plain"),
        ("", ""),
        ("<p>a&amp;b &lt;c&gt;", "a&b <c>"),
        ("<pre><code>a  b\n c</code></pre>", "```\na  b\n c\n```"),
        ("<td>loose</td>", "loose"),
        ("<li>loose", "- loose"),
        ("<table><tr><td></td></tr></table>x", "x"),
        ("<p>a</p><!-- c --><p>b</p>", "a\n\nb"),
        ("</p></div></ul>x", "x"),
        ("<b>" * 500 + "x", "x"),
    ],
)
def test_html_of_all_sorts(html: str, shown: str) -> None:
    assert html_text.page_of(html).text == shown


@pytest.mark.parametrize(
    ("html", "apart"),
    [
        ("<div>" * html_text.DEEP, False),
        ("<div>" * (html_text.DEEP + 1), True),
        ("<P>" * 3_000 + "<div></div>" * 3_000 + "<li>" * 3_000 + "<br>" * 3_000, False),
        ("<b>bold</b>" * 3_000, False),
        ("".join(f"<b id={number}>" for number in range(html_text.UNCLOSED + 1)), True),
        ("x" * (html_text.LONG + 1), True),
    ],
)
def test_which_pages_are_read_apart(html: str, apart: bool) -> None:
    assert html_text.may_explode(html) is apart


def test_pages_read_apart(lake, refused, monkeypatch):
    result = lake.ingest("a.html", "<title>T</title>" + "<div>" * 1_000 + "é")
    assert lake.rows(result) == [{"path": "a.html", "title": "T", "text": "é"}]
    again = "<p>" + "".join(f"<b id={number}>" for number in range(900)) + "<p>x" * 100_000
    monkeypatch.setattr(untrusted, "MEMORY", 512 << 20)
    assert "of memory to read" in refused("a.html", again).reason


def test_another_encoding_is_said(lake, refused):
    result = lake.ingest("a.md", "# é\n".encode("cp1252"))
    assert lake.rows(result)[0]["title"] == "é"
    assert "line 1 is not UTF-8, and the file is read as cp1252" in result.warnings[0]
    mixed = refused("a.md", b"\xc3\xa9\n\xe9\n")
    assert (mixed.line, "mixed encodings" in mixed.reason) == (2, True)
    assert "is not ascii" in refused("a.txt", b"\xe9", encoding="ascii").reason


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", b"a\0b", "a NUL byte"),
        ("a.md", b"%PDF-1.4", "is a PDF, not markdown"),
        ("a.txt", b"<!doctype html><p>x", "is an HTML page, not text"),
        ("a.html", b"\x1f\x8b\x08", "compressed by gzip"),
        ("a.pdf", b"<html>", "is an HTML page, not pdf"),
        ("a.pdf", b"%PDF-1.4\nnothing", "is no readable PDF"),
        ("a.pdf", pdf(text("x"))[:300], "is no readable PDF"),
        ("a.pdf", pdf(text("x"), trailer=LOCKED), "is encrypted"),
    ],
)
def test_what_is_refused(refused, name, content, reason):
    assert reason in refused(name, content).reason


def test_a_document_beyond_the_limit(refused, monkeypatch):
    monkeypatch.setattr(documents, "MAX_ROW_BYTES", 1 << 20)
    assert refused("a.txt", "x" * (1 << 20) + "y").reason == "a document larger than 1 MiB"


def test_documents_of_several_formats_are_one_table(lake):
    schema = lake.ingest("a.md", "# A\n").schema
    later = lake.ingest("b.pdf", pdf(text("x")), schema=schema, next_column_id=4, next_schema_id=2)
    assert lake.rows(later) == [{"path": "b.pdf", "title": None, "text": "x", "page": 1}]


class TestPdf:
    def test_a_page_is_a_row(self, lake):
        result = lake.ingest("a.pdf", pdf(text("Hello", "world"), b"", text("last"), title="Book"))
        assert lake.rows(result) == [
            {"path": "a.pdf", "title": "Book", "page": 1, "text": "Hello\nworld"},
            {"path": "a.pdf", "title": "Book", "page": 2, "text": ""},
            {"path": "a.pdf", "title": "Book", "page": 3, "text": "last"},
        ]
        assert result.warnings == ()

    def test_pages_without_text_are_named(self, lake, monkeypatch):
        monkeypatch.setattr(documents.shutil, "which", lambda name: None)
        result = lake.ingest("a.pdf", pdf(text("x"), DRAWING, DRAWING, text("y"), DRAWING))
        assert [row["text"] for row in lake.rows(result)] == ["x", None, None, "y", None]
        assert result.warnings == (
            "a.pdf: pages 2-3, 5 are without text, only pictures: install `tesseract`, then say `source.ocr: true` to read them again",
        )

    def test_pages_without_text_are_recognized(self, lake, tmp_path: Path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        program(tmp_path, 'head -c 14 | tr "\\n" " "')
        result = lake.ingest("a.pdf", pdf(text("x"), DRAWING))
        assert [row["text"] for row in lake.rows(result)] == ["x", "P5 834 834 255"]
        assert result.warnings == ("a.pdf: page 2 is without text of its own, read by OCR",)
        assert lake.rows(lake.ingest("a.pdf", ocr=False))[1]["text"] is None

    def test_a_failing_ocr_costs_its_page(self, lake, tmp_path: Path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        program(tmp_path, "exit 1")
        result = lake.ingest("a.pdf", pdf(text("x"), DRAWING))
        assert [row["text"] for row in lake.rows(result)] == ["x", None]
        assert "tesseract could not read them" in result.warnings[0]

    def test_ocr_that_is_asked_for_waits_for_its_program(self, lake, monkeypatch):
        monkeypatch.setattr(documents.shutil, "which", lambda name: None)
        with pytest.raises(FileUnreadable, match="tesseract") as caught:
            lake.ingest("a.pdf", pdf(text("x")), ocr=True)
        assert caught.value.remedy

    def test_too_many_pages(self, refused):
        error = refused("a.pdf", pdf(text("x"), count=pdf_pages.MAX_PAGES + 1))
        assert "declares 20,001 pages" in error.reason

    def test_limits_of_the_process_that_reads(self, refused, monkeypatch):
        monkeypatch.setattr(untrusted, "MEMORY", 64 << 20)
        assert "of memory to read" in refused("a.pdf", pdf(DRAWING * (1 << 18))).reason
        monkeypatch.undo()
        monkeypatch.setattr(untrusted, "SECONDS", 0)  # a second, at most: pdfium takes five of them
        monkeypatch.setattr(untrusted, "MEMORY", 16 << 30)
        assert "of processor time" in refused("a.pdf", pdf(DRAWING * (8 << 20))).reason

    def test_the_process_has_no_secret_and_no_other_file(self, lake, monkeypatch):
        monkeypatch.setenv("LAKEHOUSE_SECRET_X", "secret")
        started = []
        run = untrusted.subprocess.run
        monkeypatch.setattr(untrusted.subprocess, "run", lambda *words, **given: (started.append(given), run(*words, **given))[1])
        lake.ingest("a.pdf", pdf(text("x")))
        assert set(started[0]["env"]) == {"PATH", "LANG", "PYTHONPATH"}
        assert len(started[0]["pass_fds"]) == 2


def program(folder: Path, script: str) -> None:
    """A stand-in for the binary."""
    path = folder / "tesseract"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
