"""An index that cuts by structure: documents of Markdown and HTML are found by section, and each hit says under which headings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_lake import BUCKET, Bench, dataset, index
from test_index_following import Keys

from api.search import document
from engines.search import SearchService
from engines.search_answer import Hit, SearchRequest, SearchResult

BY_STRUCTURE = ", chunk: {by: structure, tokens: 64, overlap: 8}"
GUIDE = "# Guide\n\n## Install\n\nRun pip to install the package.\n\n## Bake bread\n\nFlour, water, salt and yeast.\n"
PAGE = """<html><head><title>Shop</title></head><body><main><h1>Shop</h1><p>We sell things.</p>
<h2>Opening hours</h2><table><tr><th>day</th><th>hours</th></tr><tr><td>monday</td><td>nine to five</td></tr></table></main></body>"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def search(bench: Bench, text: str) -> SearchResult:
    async def ask() -> SearchResult:
        service = SearchService(bench.catalog, bench.state.objects, Keys())
        try:
            return await service.search(SearchRequest("i", text))
        finally:
            service.close()

    return asyncio.run(ask())


def best(bench: Bench, text: str) -> Hit:
    return search(bench, text).hits[0]


def test_documents_are_found_by_section_and_tails_are_cut_alike(bench: Bench) -> None:
    bench.write("data/x/guide.md", GUIDE)
    bench.write("data/x/shop.html", PAGE)
    bench.commit(BUCKET, dataset("x", glob="data/x/*"), index("i", "x", more=BY_STRUCTURE))
    assert bench.settle()["Index/i"].message == "the recommended flat build serves 4 chunks of 2 rows"
    hit = best(bench, "flour and yeast for bread")
    assert (hit.text, hit.headings) == ("# Guide\n## Bake bread\n\nFlour, water, salt and yeast.", ("Guide", "Bake bread"))
    hours = best(bench, "opening hours on monday")
    assert hours.headings == ("Shop", "Opening hours")
    assert hours.text.endswith("| day | hours |\n| --- | --- |\n| monday | nine to five |")
    bench.write("data/x/other.md", "# Garden\n\nTomatoes and beans.\n\n# Cellar\n\nWine.\n")
    assert bench.settle()["Index/i"].message == "the recommended flat build serves 6 chunks of 3 rows"
    assert best(bench, "tomatoes and beans").headings == ("Garden",)
    told = document(search(bench, "tomatoes"))["hits"][0]
    assert (told["headings"], told["path"]) == (("Garden",), "data/x/other.md")
    (bench.folder / "data/x/other.md").rename(bench.folder / "data/x/garden.md")
    bench.settle()
    assert best(bench, "tomatoes and beans").path == "data/x/garden.md"


def test_a_column_of_html_is_read_as_well_and_a_readme_with_some_stays_markdown(bench: Bench) -> None:
    bench.write("data/x/1.csv", 'text\n"<h1>Jobs</h1><p>A nurse is <b>wanted</b>.</p>"\n"<p align=center>logo</p>\n\n# Readme\n\nWords."\n')
    bench.commit(BUCKET, dataset("x"), index("i", "x", more=BY_STRUCTURE))
    bench.settle()
    assert best(bench, "nurse wanted").text == "# Jobs\n\nA nurse is wanted."
    assert best(bench, "readme words").headings == ("Readme",)


def test_another_way_of_cutting_is_another_corpus_and_hits_of_none_tell_no_headings(bench: Bench) -> None:
    bench.write("data/x/guide.md", GUIDE)
    bench.commit(BUCKET, dataset("x", glob="data/x/*"), index("i", "x"))
    assert bench.settle()["Index/i"].message.endswith("serves 1 chunks of 1 rows")
    assert "headings" not in document(search(bench, "bread"))["hits"][0]
    bench.commit(BUCKET, dataset("x", glob="data/x/*"), index("i", "x", more=BY_STRUCTURE))
    assert bench.settle()["Index/i"].message.endswith("serves 2 chunks of 1 rows")
