"""A small lakehouse that runs: three rows, an index over them, and what both answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness_daemon import BUCKET, Daemon, Repository

ITEMS = """
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: items}
spec: {source: {files: "data/items/*.csv"}, primaryKey: [id], write: upsert}
---
apiVersion: lakehouse/v1
kind: Index
metadata: {name: titles}
spec: {dataset: items, text: [title]}
"""
ROWS = "id,title\n1,a red chair\n2,a blue table\n3,a green lamp\n"


def dataset(name: str, **more: str) -> str:
    """A spec of a dataset over data/<name>/*.csv."""
    fields = "".join(f", {key}: {value}" for key, value in more.items())
    return f'apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {{name: {name}}}\nspec: {{source: {{files: "data/{name}/*"}}{fields}}}\n'


def stocked(path: Path) -> Repository:
    """A repository with a table of three rows and an index over it."""
    made = Repository(path)
    made.write("data/items/1.csv", ROWS)
    made.commit("first", bucket=BUCKET, items=ITEMS)
    return made


@dataclass(frozen=True)
class Shop:
    """A running daemon over a stocked repository."""

    repository: Repository
    daemon: Daemon

    def serves(self) -> bool:
        """The last good state: rows and hits."""
        return self.daemon.value("SELECT count(*) FROM items") == 3 and self.nearest("red chair") == "a red chair"

    def nearest(self, text: str) -> str:
        """The text of the best hit, "" while nothing answers."""
        answer = self.daemon.search("titles", text)
        return str(answer.document["hits"][0]["text"]) if answer.status == 200 else ""
