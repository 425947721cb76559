"""A migration from its draft to its answers, beside a running daemon."""

from __future__ import annotations

from harness_daemon import lakectl
from harness_shop import ITEMS, Shop

SAID = "migrations: [{from: 1, rename: {title: label}, expression: {words: 'array_length(string_to_array(title, '' ''))'}}]"
MIGRATED = ITEMS.replace("write: upsert", f"write: upsert, {SAID}").replace("text: [title]", "text: [label]")


def test_a_file_of_another_shape_is_followed_once_a_migration_says_how(shop: Shop) -> None:
    repository, daemon = shop.repository, shop.daemon
    file = repository.write("data/items/2.csv", "id,label\n1,a red chair\n2,a blue table\n3,a green lamp\n4,a grey sofa\n")
    daemon.wait_status("Dataset/items", "FileRefused", "title seems to be called label now")
    assert shop.serves()
    code, document = lakectl(repository, "migrate", "preview", "items", str(file))
    assert (code, document["migration"], document["unfit"]) == (0, {"from": 1, "rename": {"title": "label"}}, [])
    repository.commit("rename", items=MIGRATED)
    daemon.wait_status("Dataset/items", "Succeeded", "version 3")
    assert daemon.query("SELECT label, words FROM items WHERE id = 4") == [{"label": "a grey sofa", "words": None}]
    answer = daemon.request("POST", "/query", {"sql": "SELECT id, title FROM items ORDER BY id", "schema": 1})
    assert [row["title"] for row in answer.document["rows"]] == ["a red chair", "a blue table", "a green lamp", "a grey sofa"]
    answer = daemon.request("POST", "/query", {"sql": "SELECT 1 FROM items", "schema": {"items": 5}})
    assert (answer.status, answer.document["type"]) == (400, "urn:lakehouse:problem:query-invalid")
    daemon.wait_settled()
    assert shop.nearest("sofa") == "a grey sofa"
