"""A daemon over HTTP: a real socket with canned documents stands in for it, so that what is sent and read is what is tested."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

import reconciler.lakectl as lakectl_package
from reconciler.lakectl.errors import DaemonProblem, DaemonUnreachable
from reconciler.lakectl.http import _ANSWERS, DaemonClient
from state import reasons

if TYPE_CHECKING:
    from conftest import Lakehouse, Said

ROW = {
    "kind": "Dataset", "name": "people", "ready": "True", "reason": "Succeeded", "message": "3 rows from 1 file, version 1",
    "revision": "a" * 40, "appliedRevision": "a" * 40, "observedAt": "2026-03-01T11:59:58.000Z", "digest": "d",
}  # fmt: skip
STATUS = {"revision": "a" * 40, "objects": [ROW], "daemon": {"since": "2026-03-01T10:00:00.000Z", "listen": "127.0.0.1:8484", "pid": 4711}}
ANSWER = {
    "columns": [{"name": "city", "type": "string"}, {"name": "people", "type": "int64"}],
    "rows": [{"city": "Chicago", "people": 3}, {"city": None, "people": 12}],
    "truncated": True,
    "versions": {"people": 1},
}
HITS = {
    "hits": [{"key": '["c1"]', "chunk": 0, "text": "writes kafka streams in java", "score": 0.4539}],
    "mode": "vector", "index": "resumes", "generation": "resumes-g1", "versions": {"people": 1},
}  # fmt: skip


class Daemon(ThreadingHTTPServer):
    """Answers a path by the document in `answers`, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.answers: dict[str, Any] = {"/status": STATUS, "/query": ANSWER, "/search": HITS}
        self.asked: list[tuple[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    server: Daemon

    def log_message(self, *args: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        self.answer({name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()})

    def do_POST(self) -> None:
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, given: Any) -> None:
        path = urlsplit(self.path).path
        self.server.asked.append((path, given))
        found = self.server.answers[path]
        document = found(given) if callable(found) else found
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(document.get("status", 200) if isinstance(document, dict) and "type" in document else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    server = Daemon()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_a_daemon_says(daemon: Daemon, lakectl: Callable[..., Said], golden: Any) -> None:
    said = "".join(
        lakectl("--url", daemon.url, *words).all
        for words in (["status"], ["query", "SELECT 1"], ["search", "resumes", "java"], ["query", "SELECT 1", "-o", "csv"])
    )
    golden.check("daemon.txt", said.replace(daemon.url, "http://127.0.0.1:8484"))


def test_a_reader_is_told_of_objects_and_not_of_the_daemon(daemon: Daemon, lakectl: Callable[..., Said]) -> None:
    daemon.answers["/status"] = {"revision": None, "objects": [ROW | {"message": ""}], "daemon": None}
    said = lakectl("--url", daemon.url, "status")
    assert said.out.startswith(f"what this reader may know of, by the daemon at {daemon.url}\n")
    assert "Dataset/people" in said.out


def test_documents_are_handed_on_as_they_are(daemon: Daemon, lakectl: Callable[..., Said]) -> None:
    assert lakectl("--url", daemon.url, "query", "SELECT $a", "-p", "a=1", "-n", "5", "-o", "json").document == ANSWER
    assert daemon.asked[-1] == ("/query", {"sql": "SELECT $a", "params": {"a": 1}, "maxRows": 5})
    assert lakectl("--url", daemon.url, "search", "resumes", "java", "-k", "3", "-o", "json").document == HITS
    assert daemon.asked[-1] == ("/search", {"index": "resumes", "text": "java", "k": 3})
    status = lakectl("--url", daemon.url, "status", "-o", "json").document
    assert (status["revision"], status["objects"]) == (STATUS["revision"], STATUS["objects"])


def test_the_audit_of_a_daemon_is_listed_and_counted(daemon: Daemon, lakectl: Callable[..., Said]) -> None:
    row = {
        "id": "01", "at": "2026-03-01T11:59:58.000Z", "reader": "ada", "profile": "recruiting", "role": "recruiter", "action": "query",
        "outcome": "done", "rows": 4, "tables": ["people"], "columns": {"people": ["phone"]}, "masks": {"people": {"phone": "lastFour"}},
        "statement": "SELECT phone FROM people",
    }  # fmt: skip
    daemon.answers["/access/audit"] = {"rows": [row], "next": None}
    said = lakectl("--url", daemon.url, "audit", "--table", "people")
    assert (said.code, said.err) == (0, "")
    assert daemon.asked[-1] == ("/access/audit", {"table": "people", "limit": "50"})
    assert "ada recruiting recruiter  query  done" in said.out
    assert "phone" in said.out
    daemon.answers["/access/audit"] = {
        "groups": [{"reader": "ada", "count": 2, "rows": 8, "bytes": 100, "p50Ms": 1.0, "p95Ms": 2.0, "last": row["at"]}]
    }
    assert "ada" in lakectl("--url", daemon.url, "audit", "--group", "reader").out
    assert lakectl("--url", daemon.url, "audit", "--profile", "recruiting", "--group", "reader").code == 0
    assert daemon.asked[-1][1]["profile"] == "recruiting"
    assert lakectl("--url", daemon.url, "--as", "recruiting", "audit").code == 2
    wide = {"profile": "staffing-recruiter", "table": "candidates", "column": "candidate_id"}
    daemon.answers["/access/audit"]["groups"][0] |= wide
    counted = lakectl("--url", daemon.url, "audit", "--group", "profile,table,column").out.splitlines()
    assert counted[0].split() == ["profile", "table", "column", "count", "rows", "last"]
    assert counted[2].split()[:5] == ["staffing-recruiter", "candidates", "candidate_id", "2", "8"]


def test_whatever_lakectl_asks_a_daemon_for_it_knows_the_answers_of() -> None:
    asked = {
        found[1].partition("{")[0]
        for path in Path(lakectl_package.__file__ or "").parent.rglob("*.py")
        for found in re.finditer(r"""client\.(?:get|post)\(f?"(/[^"]*)\"""", path.read_text())
    }
    assert len(asked) > 5
    assert asked <= set(_ANSWERS)


def test_a_rescue_is_told_beside_the_answer(daemon: Daemon, lakectl: Callable[..., Said]) -> None:
    daemon.answers |= {path: {**daemon.answers[path], "rescues": ["mirror"]} for path in ("/query", "/search")}
    note = "note: rescue bucket mirror answered in another's place; see `lakectl errors`.\n"
    for words in (("query", "SELECT 1"), ("query", "SELECT 1", "-o", "csv"), ("search", "resumes", "java")):
        said = lakectl("--url", daemon.url, *words)
        assert note in said.err
        assert "mirror" not in said.out


def test_a_search_is_told_how_to_rank(daemon: Daemon, lakectl: Callable[..., Said]) -> None:
    words = "--mode hybrid --weights 1:0.5 --threshold 99.9% --by-row --diversity 0.2 --rerank builtin --explain"
    lakectl("--url", daemon.url, "search", "resumes", "java", *words.split())
    assert daemon.asked[-1][1] == {
        "index": "resumes", "text": "java", "k": 10, "mode": "hybrid", "weights": {"vector": 1.0, "lexical": 0.5},
        "threshold": {"beats": pytest.approx(0.999)}, "groupBy": "row", "diversity": 0.2, "rerank": "builtin", "explain": True,
    }  # fmt: skip
    lakectl("--url", daemon.url, "search", "resumes", "java", "--threshold", "0.3")
    assert daemon.asked[-1][1]["threshold"] == 0.3


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("--weights", "1"),
        ("--weights", "1:-1"),
        ("--weights", "1:inf"),
        ("--threshold", "much"),
        ("--threshold", "100%"),
        ("--mode", "words"),
    ],
)
def test_what_cannot_be_ranked_by_is_refused(daemon: Daemon, lakectl: Callable[..., Said], option: str, given: str) -> None:
    said = lakectl("--url", daemon.url, "search", "resumes", "java", f"{option}={given}")
    assert (said.code, given in said.err, daemon.asked) == (2, True, [])


def test_without_a_daemon_the_same_is_refused(lakehouse: Lakehouse) -> None:
    said = lakehouse.call("search", "resumes", "java", "--diversity", "7")
    assert (said.code, "diversity: must be at most 1" in said.err) == (2, True)
    said = lakehouse.call("search", "resumes", "java", "--mode", "lexical")
    assert (said.code, "There is no index 'resumes'." in said.err) == (2, True)


def test_stages_are_shown_below_the_hits(daemon: Daemon, lakectl: Callable[..., Said], golden: Any) -> None:
    candidates = [{"key": f'["c{rank}"]', "chunk": rank // 2, "rank": rank, "score": 1 / rank} for rank in range(1, 13)]
    stages = [
        {"stage": "filter", "chunks": 1200, "candidates": []},
        {"stage": "lexical", "weight": 0.5, "terms": ["kafka"], "candidates": candidates},
        {"stage": "threshold", "cosine": 0.25, "dropped": 11, "candidates": candidates[:1]},
    ]
    daemon.answers["/search"] = {**HITS, "mode": "hybrid", "stages": stages}
    golden.check("search-stages.txt", lakectl("--url", daemon.url, "search", "resumes", "kafka", "--explain").out)
    daemon.answers["/search"] = {**HITS, "hits": [], "mode": "hybrid", "stages": stages[:1]}
    assert lakectl("--url", daemon.url, "search", "resumes", "kafka", "--explain").out.startswith(
        "nothing was found\n\nfilter: chunks 1200\n"
    )


def test_facets_are_shown_below_the_hits(daemon: Daemon, lakectl: Callable[..., Said], golden: Any) -> None:
    long = {"value": "a street with a name that is much longer than a terminal is wide, so that it has to be cut", "count": 1000}
    facets = {
        "city": {"values": [{"value": "Berlin", "count": 1200}, {"value": None, "count": 7}], "rows": 1219, "distinct": 5},
        "open": {"values": [{"value": True, "count": 1}], "rows": 1, "distinct": 1},
        "street": {"values": [long], "rows": 1000, "distinct": 1},
        "nobody": {"values": [], "rows": 0, "distinct": 0},
    }
    daemon.answers["/search"] = {**HITS, "facets": facets}
    words = ("search", "resumes", "kafka", "--facet", "city", "--facet", "open")
    golden.check("search-facets.txt", lakectl("--url", daemon.url, *words).out)
    assert daemon.asked[-1][1]["facets"] == ["city", "open"]
    assert lakectl("--url", daemon.url, *words, "-o", "json").document["facets"] == facets


def test_a_share_that_nothing_beats_is_told_as_a_cosine(daemon: Daemon, lakectl: Callable[..., Said]) -> None:
    stages = [{"stage": "threshold", "cosine": 0.3125, "dropped": 3, "candidates": []}]
    daemon.answers["/search"] = {**HITS, "hits": [], "stages": stages}
    said = lakectl("--url", daemon.url, "search", "resumes", "kafka", "--threshold", "99.9%")
    assert said.out == "nothing was found: no cosine is at least 0.312, which is what beating 99.9% of unrelated pairs takes here\n"
    assert daemon.asked[-1][1]["explain"] is True


AGREEMENT = {"k": 3, "overlap": 0.5, "rankCorrelation": -0.25, "ndcg": {"resumes-eval": [0.631, 1]}}


def test_two_versions_are_shown_side_by_side(daemon: Daemon, lakectl: Callable[..., Said], golden: Any) -> None:
    long = "streams events with kafka for a bank, and looks after the brokers, the schemas and whoever writes them wrongly"
    more = {"key": '["a-very-long-key-of-a-row-that-nobody-can-read-at-once"]', "chunk": 2, "text": long, "score": 0.3}
    wide = {"key": '["c3"]', "chunk": 0, "text": "漢字かな交じり文 \x1b[31m", "score": 0.25}
    one = {**HITS, "model": "builtin", "generation": None, "hits": [*HITS["hits"], more]}
    other = {**HITS, "model": "minilm", "hits": [more, {**HITS["hits"][0], "score": 0.2}, wide]}
    daemon.answers["/search"] = {"ab": [one, other], "agreement": AGREEMENT}
    said = lakectl("--url", daemon.url, "search", "resumes", "kafka", "-k", "3", "--ab", "builtin", "resumes-g1")
    golden.check("search-ab.txt", said.out)
    assert daemon.asked[-1][1] == {"index": "resumes", "text": "kafka", "k": 3, "ab": ["builtin", "resumes-g1"]}
    nothing = {"k": 3, "overlap": None, "rankCorrelation": None, "ndcg": {}}
    daemon.answers["/search"] = {"ab": [{**one, "hits": []}, {**other, "hits": []}], "agreement": nothing}
    said = lakectl("--url", daemon.url, "search", "resumes", "kafka", "--ab", "builtin", "resumes-g1")
    assert said.out.splitlines()[-3:] == [
        "overlap of rows    none",
        "rank correlation   none    Kendall's tau-b, from -1 to 1",
        "0 hits and 0 of resumes; people version 1",
    ]
    said = lakectl("--url", daemon.url, "search", "resumes", "kafka", "--ab", "builtin", "minilm", "-o", "json")
    assert said.document["agreement"] == nothing


def test_two_versions_are_compared_over_an_eval_set(daemon: Daemon, lakectl: Callable[..., Said]) -> None:
    means = {"overlap": 0.5, "rankCorrelation": None, "ndcg": [0.5, 0.625], "better": [1, 2]}
    answer = {"evalSet": "e", "ab": ["builtin", "minilm"], "k": 10, "queries": 500, "judged": 4, **means}
    daemon.answers |= {"/search": answer, "/status": {**STATUS, "objects": [{**ROW, "kind": "Index", "name": "resumes"}]}}
    said = lakectl("--url", daemon.url, "trials", "resumes", "--eval", "e", "--ab", "builtin", "minilm")
    assert said.out == (
        "builtin and minilm, 500 queries of e, 10 hits each\n"
        "overlap of rows    0.500\n"
        "rank correlation   none    Kendall's tau-b, from -1 to 1\n"
        "nDCG@10            0.500  and 0.625, of 4 judged queries; better for 1 and 2\n"
    )
    assert daemon.asked[-1] == ("/search", {"index": "resumes", "k": 10, "ab": ["builtin", "minilm"], "evalSet": "e"})
    daemon.answers["/search"] = {**answer, "judged": 0, "ndcg": None, "better": [0, 0]}
    said = lakectl("--url", daemon.url, "trials", "resumes", "--eval", "e", "--ab", "builtin", "minilm")
    assert said.out.endswith("nDCG               none    no query has relevant rows\n")
    said = lakectl("--url", daemon.url, "trials", "resumes", "--ab", "builtin", "minilm")
    assert (said.code, "name the EvalSet, with --eval" in said.err) == (2, True)


def test_a_model_and_two_of_them_exclude_each_other(daemon: Daemon, lakectl: Callable[..., Said]) -> None:
    said = lakectl("--url", daemon.url, "search", "resumes", "kafka", "--ab", "builtin", "minilm", "--model", "minilm")
    assert (said.code, "not allowed with" in said.err, daemon.asked) == (2, True, [])
    said = lakectl("--url", daemon.url, "search", "resumes", "kafka", "--ab", "builtin")
    assert (said.code, "--ab" in said.err, daemon.asked) == (2, True, [])


def test_problems_keep_sentence_and_remedy(daemon: Daemon, lakectl: Callable[..., Said]) -> None:
    problem = {"type": "urn:lakehouse:problem:table-unknown", "title": "x", "status": 404, "detail": "No table x.", "remedy": "Try y."}
    daemon.answers["/query"] = problem
    said = lakectl("--url", daemon.url, "query", "SELECT 1")
    assert (said.code, said.err) == (2, "error: No table x.\n       Try y.\n")
    with pytest.raises(DaemonProblem) as raised:
        DaemonClient(daemon.url).post("/query", {})
    assert (raised.value.type, raised.value.status) == ("table-unknown", 404)


@pytest.mark.parametrize(
    ("slug", "status", "remedy"),
    [
        ("token-refused", 401, "--token-file or LAKEHOUSE_TOKEN"),
        ("reader-refused", 403, "Leave --as out"),
        ("route-unknown", 404, "operators' tokens"),
    ],
)
def test_what_a_token_may_not_ask_is_told_in_words_of_the_command_line(
    daemon: Daemon, lakectl: Callable[..., Said], slug: str, status: int, remedy: str
) -> None:
    problem = {"type": f"urn:lakehouse:problem:{slug}", "status": status, "detail": "No.", "remedy": "Send `Authorization: …`."}
    daemon.answers["/query"] = problem
    said = lakectl("--url", daemon.url, "query", "SELECT 1")
    assert (said.code, remedy in said.err, "Authorization" in said.err) == (2, True, False)


def test_something_else_at_the_address(daemon: Daemon, lakectl: Callable[..., Said]) -> None:
    refused = {"type": "about:blank", "status": 401, "title": "who are you"}
    for answer in (b"<html>hello</html>", [], {"cluster": "green"}, refused):
        daemon.answers["/status"] = answer
        said = lakectl("--url", daemon.url, "status")
        assert (said.code, "is no daemon of Lakehouse" in said.err) == (2, True)


def test_nobody_at_the_address() -> None:
    with pytest.raises(DaemonUnreachable, match="no daemon answers at"):
        DaemonClient("127.0.0.1:1").get("/status")


def test_events_are_asked_for_page_by_page(daemon: Daemon, lakectl: Callable[..., Said]) -> None:
    events = [
        {"id": f"{n:026}", "at": "2026-03-01T11:00:00.000Z", "object": "Dataset/x", "reason": "Committed", "message": str(n)}
        for n in range(250)
    ]

    def page(given: dict[str, str]) -> dict[str, Any]:
        before = [event for event in events[::-1] if event["id"] < given.get("cursor", "9")][: int(given["limit"])]
        return {"events": before, "next": before[-1]["id"] if before[-1]["id"] > events[0]["id"] else None}

    daemon.answers["/events"] = page
    found = lakectl("--url", daemon.url, "events", "-n", "150", "-o", "json").document["events"]
    assert [event["message"] for event in found] == [str(n) for n in range(100, 250)]


def test_details_of_a_daemon_elsewhere_come_by_sql(daemon: Daemon, lakectl: Callable[..., Said]) -> None:
    row = {
        "object": "Dataset/people", "ready": "True", "reason": "Succeeded", "message": "3 rows", "revision": "a" * 40,
        "applied_revision": "a" * 40, "observed_at": "2026-03-01T11:59:58", "digest": "d", "conditions": "[]",
        "detail": '{"rows": 3, "version": 1, "files": 1}',
    }  # fmt: skip
    daemon.answers["/query"] = ANSWER | {"rows": [row]}
    said = lakectl("--url", daemon.url, "get", "datasets").out
    assert "people     3      1        1    2s  Ready" in said
    assert daemon.asked[0][1]["params"] == {"kind": "Dataset", "name": ""}


def left_by(daemon: Daemon, lakehouse: Lakehouse, *, state: str | None = None) -> None:
    """What a daemon in this very process would have left in the repository, with the lease it would hold."""
    from state.lease import Holder, Lease

    Lease.acquire(lakehouse.store, Holder("d2", "here", os.getpid(), daemon.url), lakehouse.clock)
    left = {
        "url": daemon.url,
        "pid": os.getpid(),
        "state": state or lakehouse.id,
        "since": "2026-03-01T10:00:00.000Z",
        "socket": "/nowhere",
    }
    (lakehouse.root / ".lakehouse/daemon.json").write_text(json.dumps(left))


def test_the_daemon_of_the_repository_is_asked(daemon: Daemon, lakehouse: Lakehouse) -> None:
    left_by(daemon, lakehouse)
    assert "Dataset/people" in lakehouse.call("status").out
    assert daemon.asked == [("/status", {})]


def test_a_daemon_of_another_state_is_not_asked(daemon: Daemon, lakehouse: Lakehouse) -> None:
    left_by(daemon, lakehouse, state="another")
    lakehouse.put("Dataset/own", reasons.SUCCEEDED, "1 row")
    assert "Dataset/own" in lakehouse.call("status").out
    assert daemon.asked == []


def test_a_daemon_that_does_not_answer_is_not_called_dead(daemon: Daemon, lakehouse: Lakehouse) -> None:
    lakehouse.put("Dataset/own", reasons.SUCCEEDED, "1 row")
    left_by(daemon, lakehouse)
    daemon.answers["/status"] = b"not yet"
    said = lakehouse.call("status", clock=lakehouse.clock).out
    assert "lives, but does not answer" in " ".join(said.split())
    assert "✔  Dataset/own" in said


def test_conditions_are_waited_for_beside_a_daemon(daemon: Daemon, lakehouse: Lakehouse) -> None:
    lakehouse.put("Dataset/people", reasons.FILE_REFUSED, "a.csv:2", stalled=True)
    left_by(daemon, lakehouse)
    daemon.answers["/status"] = STATUS | {"objects": [ROW | {"ready": "False", "reason": "FileRefused"}]}
    assert lakehouse.call("wait", "--for", "condition=Stalled", "Dataset/people", "--timeout", "0").code == 0
    assert lakehouse.call("wait", "--for", "condition=Reconciling", "Dataset/people", "--timeout", "0").code == 1


def test_details_of_the_daemon_here_are_read_from_its_bucket(daemon: Daemon, lakehouse: Lakehouse) -> None:
    lakehouse.put("Dataset/people", reasons.SUCCEEDED, "3 rows", detail={"rows": 3, "version": 1, "files": 1})
    left_by(daemon, lakehouse)
    said = lakehouse.call("get", "Dataset/people").out
    # the daemon's own time of observation, the bucket's figures
    assert "people     3      1        1    2s  Ready" in said
    assert {path for path, _ in daemon.asked} == {"/status"}


def test_a_hit_of_a_document_says_where_it_is_opened(daemon: Daemon, lakectl: Callable[..., Said]) -> None:
    hit = {"key": "3f0a:2", "chunk": 4, "text": "Terms.", "score": 0.5, "path": "handbook/terms.pdf", "page": 3}
    daemon.answers["/search"] = {**HITS, "hits": [hit]}
    said = lakectl("--url", daemon.url, "search", "resumes", "java").out
    assert "handbook/terms.pdf, page 3, chunk 4" in said
    assert "3f0a" not in said


def test_a_hit_under_headings_says_which_and_shows_the_text_below_them(daemon: Daemon, lakectl: Callable[..., Said]) -> None:
    hit = {"key": "guide.md", "chunk": 3, "text": "# Guide\n## Install\n\nRun it.", "score": 0.5, "headings": ["Guide", "Install"]}
    daemon.answers["/search"] = {**HITS, "hits": [hit]}
    said = lakectl("--url", daemon.url, "search", "resumes", "java").out
    assert "guide.md, chunk 3" in said
    assert "Guide > Install" in said
    assert "Run it." in said
    assert "# Guide" not in said
