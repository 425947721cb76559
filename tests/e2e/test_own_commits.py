"""What `lakectl` commits or asks for itself is followed beside a daemon, whatever becomes of other objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_daemon import lakectl
from harness_shop import dataset

if TYPE_CHECKING:
    from harness_shop import Shop


def test_an_undo_waits_for_what_it_changes_and_not_for_what_is_stalled(shop: Shop) -> None:
    repository, daemon = shop.repository, shop.daemon
    repository.write("data/ragged/1.csv", "a,b\n1,2\n3\n")
    repository.commit("ragged", ragged=dataset("ragged"))
    daemon.wait_status("Dataset/ragged", "FileRefused", ready="False")
    repository.write("data/kept/1.csv", "a\n1\n")
    repository.commit("kept", kept=dataset("kept"))
    assert lakectl(repository, "wait", "Dataset/kept")[1]["met"]
    code, ended = lakectl(repository, "wait", "--all")
    assert (code, [status["name"] for status in ended["unmet"]]) == (1, ["ragged"])
    code, undone = lakectl(repository, "undo")
    assert (code, undone["title"], undone["followed"]) == (0, "kept", True)


def test_a_read_that_is_asked_for_can_be_waited_for(shop: Shop) -> None:
    repository, daemon = shop.repository, shop.daemon
    repository.write("data/held/1.csv", "a\n1\n")
    repository.commit("held", held=dataset("held", refresh="{watch: false}"))
    assert lakectl(repository, "wait", "Dataset/held")[1]["met"]
    repository.write("data/held/2.csv", "a\n2\n")
    code, ended = lakectl(repository, "reconcile", "Dataset/held", "--wait")
    assert (code, ended["met"]) == (0, True)
    assert daemon.value("SELECT count(*) FROM held") == 2
