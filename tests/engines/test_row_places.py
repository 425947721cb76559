"""Rows found without parsing are those that the exact reading finds."""

from __future__ import annotations

from random import Random

import pytest

from engines.files import physical_lines, row_places
from engines.files.source import ReadOptions, SourceFile

TIDY = ["a", "", '"q,x"', '"l\nb"', '"d""q"', "ü", '"\r\n"', '""', "bb b"]


def written(rng: Random, cells: list[str]) -> str:
    end = rng.choice(["\n", "\r\n"])
    rows = [
        ",".join(rng.choice(cells) for _ in range(3 if rng.random() < 0.9 else rng.randrange(1, 5))) for _ in range(rng.randrange(1, 30))
    ]
    text = "".join(row + end + (end if rng.random() < 0.1 else "") for row in rows)
    return ("\ufeff" if rng.random() < 0.2 else "") + (text.rstrip("\r\n") if rng.random() < 0.3 else text)


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("cells", [TIDY, [*TIDY, '5" x', "a\rb"]], ids=["tidy", "untidy"])
def test_both_ways_agree(lake, monkeypatch, seed, cells):
    monkeypatch.setattr(row_places, "BLOCK_BYTES", 64)
    rng = Random(seed)
    path = lake.write("t.csv", written(rng, cells))
    source = SourceFile(path, "t.csv", "csv", ReadOptions(delimiter=",", header=rng.random() < 0.7))
    exact = [(row.line, row.text) for row in physical_lines.rows(source, blank_rows=False)][1 if source.options.header else 0 :]
    places = sorted(rng.sample(range(len(exact)), rng.randrange(len(exact) + 1)))
    assert list(row_places.originals(source, places, width=3)) == [exact[place] for place in places]
