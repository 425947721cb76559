"""The life of a small lakehouse, from nothing, through changed data, a changed spec, requests, kills and restarts.

Every act is a change and what can be seen once it was followed. `live` plays all acts; a daemon that dies of its failpoint is started
again with the next one, after the last without, and the act goes on. So the end must be the same whatever the failpoints were.
"""

from __future__ import annotations

import http.client
import json
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness_daemon import BUCKET, Daemon, Daemons, Gone, Repository, wait_for

from state.buckets import open_store
from state.places import BucketConfig
from state.requests import Request, RequestQueue

PEOPLE = """
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: people}
spec: {source: {files: "data/people/*.csv"}, primaryKey: [id], write: upsert}
"""
CALLS = """
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: calls}
spec: {source: {files: "data/calls/*.csv"}}
"""
PRICES = """
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: prices}
spec: {source: {files: "data/prices/*.csv"}, primaryKey: [item], write: replace}
"""
RATES = """
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: rates}
spec: {source: {files: "data/rates/*.csv"}, primaryKey: [item], write: upsert, compaction: {maxDeltas: 2}}
"""
MIGRATION = "migrations: [{from: 1, rename: {person: caller}, expression: {minutes: 'seconds / 60'}}]"
NOTES = """
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: notes}
spec: {source: {files: "data/notes.csv"}, deletion: delete}
---
apiVersion: lakehouse/v1
kind: Index
metadata: {name: remarks}
spec: {dataset: notes, text: [note], lexical: true}
"""
RESUMES = """
apiVersion: lakehouse/v1
kind: Index
metadata: {name: resumes}
spec: {dataset: people, text: [about], keep: 1}
---
apiVersion: lakehouse/v1
kind: IndexGeneration
metadata: {name: resumes-g1}
spec: {index: resumes, hnsw: {m: 8, efConstruction: 40, efSearch: 64}}
---
apiVersion: lakehouse/v1
kind: EvalSet
metadata: {name: resumes-eval}
spec: {index: resumes, generate: {queries: 40}}
"""
SETTINGS = """
work: {inlineBytes: %d, jobWorkers: 1}
"""

SKILLS = ("java", "python", "welding", "nursing", "accounting", "logistics", "carpentry", "teaching", "law", "physics", "cooking")
PLACES = ("Chicago", "Lisbon", "Osaka", "Lagos", "Lima", "Oslo", "Perth")


def people(first: int, last: int, word: str = "seeks") -> str:
    lines = ["id,name,about"]
    for number in range(first, last):
        skill, other, place = SKILLS[number % 11], SKILLS[number * 7 % 11], PLACES[number * 3 % 7]
        lines.append(f'{number},Person {number},"{word} work in {skill} and {other} near {place}, {number % 29} years, note {number}"')
    return "\n".join(lines) + "\n"


def calls(first: int, last: int) -> str:
    return "person,seconds\n" + "".join(f"{number},{number * 13 % 600}\n" for number in range(first, last))


def prices(factor: int) -> str:
    return "item,price\n" + "".join(f"item {number},{number * factor}\n" for number in range(20))


ASKS: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("suspend", "Dataset/calls", {}),
    ("resume", "Dataset/calls", {}),
    ("resync", "Dataset/people", {}),
    ("row-set", "Dataset/rates", {"key": "item 7", "set": {"price": "77"}}),
    ("row-delete", "Dataset/rates", {"key": "item 8"}),
)
TABLES: Mapping[str, str] = {
    "people": "SELECT * FROM people ORDER BY id",
    "calls": "SELECT * FROM calls ORDER BY caller, seconds",
    "prices": "SELECT * FROM prices ORDER BY item",
    "rates": "SELECT * FROM rates ORDER BY item",
}
ASKED = tuple(f"{skill} near {place}" for skill in SKILLS for place in PLACES[:3])


@dataclass
class Life:
    """One lakehouse and the daemon that happens to run it.

    failpoints: each armed until a daemon has died of it, one after the other. deaths: how many have.
    """

    repository: Repository
    daemons: Daemons
    failpoints: Sequence[str] = ()
    deaths: int = 0
    daemon: Daemon = field(init=False)

    @property
    def armed(self) -> str:
        """What the daemon is to die of, "" after the last death."""
        return self.failpoints[self.deaths] if self.deaths < len(self.failpoints) else ""

    def start(self) -> None:
        self.daemon = self.daemons.begin(self.repository, self.armed)
        try:
            self.daemon.up()
        except Gone as gone:
            if not self.armed or gone.code != -signal.SIGKILL:
                raise
            self.deaths += 1
            self.start()

    def wait(self, sees: Callable[[Daemon], Any], what: str) -> Any:
        """Until `sees` holds, over the deaths of the daemon."""

        def look() -> Any:
            try:
                return sees(self.daemon)
            except (OSError, http.client.HTTPException):
                if not self.daemon.process.returncode and self.daemon.alive:
                    return None
                self.mourn()
                return None

        return wait_for(look, what)

    def mourn(self) -> None:
        code = self.daemon.wait()
        assert self.armed, f"{what_happened(self.daemon)}: died of nothing, by {code}"
        assert code == -signal.SIGKILL, f"{what_happened(self.daemon)}: ended with {code}"
        self.deaths += 1
        self.start()

    def settle(self, sees: Callable[[Daemon], Any], what: str) -> None:
        self.wait(sees, what)
        self.wait(Daemon.settled, f"settled after: {what}")

    def stop(self) -> None:
        """In good order, unless it dies of that."""
        while (code := self.daemon.stop()) == -signal.SIGKILL and self.armed:
            self.deaths += 1
            self.start()
            self.wait(Daemon.settled, "settled after a death while stopping")
        assert code == 0, f"{what_happened(self.daemon)}: ended with {code}"

    def kill(self) -> None:
        """As the power does."""
        self.daemon.kill()


def what_happened(daemon: Daemon) -> str:
    return daemon.said[-3000:]


def live(life: Life, *, long: bool = True, inline: bool = True) -> dict[str, Any]:
    """Plays the acts; returns what the last daemon answered. The lake is at rest then. long: with requests, kills and restarts."""
    repository = life.repository
    begin(repository, inline=inline, notes=4200 if long else 30)
    life.start()
    life.settle(lambda daemon: counts(daemon) == (300, 40, 20) and served(daemon) == 300, "the first commit")
    change_data(repository)
    life.settle(lambda daemon: counts(daemon) == (320, 60, 20) and price(daemon) == 30 and served(daemon) == 320, "changed data")
    change_specs(repository)
    life.settle(lambda daemon: "Dataset/notes" not in daemon.status() and links(daemon) == 6 and minutes(daemon) == 60, "the second commit")
    repository.write("data/people/3.csv", people(320, 330))
    repository.write("data/rates/2.csv", prices(3))
    life.settle(
        lambda daemon: counts(daemon) == (330, 60, 20) and served(daemon) == 330 and folded(daemon) == 4,
        "data that makes old builds superfluous, and deltas that are folded",
    )
    if long:
        ask(life)
        life.kill()
        life.start()
        repository.write("data/calls/3.csv", calls(60, 70))
        life.settle(lambda daemon: counts(daemon) == (330, 70, 20), "a file after a kill")
    # also what a worker wrote that outlived its daemon, and the daemon after it, is cleared away by the next
    for _ in range(4 if long else bool(life.deaths)):
        life.stop()
        life.start()
        life.wait(Daemon.settled, "settled after a restart")
    answers = answered(life)
    life.stop()
    return answers


def begin(repository: Repository, *, inline: bool, notes: int) -> None:
    """notes: from 4097 on their embedding is kept in parts."""
    repository.write("lakehouse.yaml", SETTINGS % (8 << 20 if inline else 1))
    repository.write("data/people/1.csv", people(0, 150))
    repository.write("data/people/2.csv", people(140, 300))
    repository.write("data/calls/1.csv", calls(0, 40))
    repository.write("data/prices/1.csv", prices(2))
    repository.write("data/rates/1.csv", prices(2))
    repository.write("data/notes.csv", "note\n" + "".join(f"remark {number}\n" for number in range(notes)))
    repository.commit("first", bucket=BUCKET, people=PEOPLE, calls=CALLS, prices=PRICES, rates=RATES, notes=NOTES, resumes=RESUMES)


def change_data(repository: Repository) -> None:
    repository.write("data/people/2.csv", people(200, 320, "wants"))
    repository.write("data/calls/2.csv", calls(40, 60))
    repository.write("data/prices/1.csv", prices(3))
    repository.write("data/rates/1.csv", prices(1))


def change_specs(repository: Repository) -> None:
    """From now on the index follows no rows beside its build."""
    (repository.path / "specs/notes.yaml").unlink()
    repository.commit(
        "second",
        resumes=RESUMES.replace("keep: 1", "keep: 1, rebuildShare: 0").replace("m: 8", "m: 6"),
        prices=PRICES.replace("spec: {", "spec: {description: What things cost, "),
        calls=CALLS.replace("spec: {", f"spec: {{{MIGRATION}, "),
    )


def ask(life: Life) -> None:
    """Requests of every answered verb, one after the other."""
    queue = RequestQueue(open_store(BucketConfig("primary", "local", str(life.repository.lake))))
    for number, (verb, name, payload) in enumerate(ASKS):
        id_ = f"01J000000000000000000000{number:02d}"
        queue.submit(Request(id_, verb, name, "harness", "a test", payload=payload))
        life.wait(lambda daemon: daemon.poke() and not queue.pending(), f"{verb} was answered")
    life.settle(lambda daemon: daemon.value("SELECT sum(price) AS p FROM rates") == 3 * 190 + 77 - 21 - 24, "rows changed by hand")


def counts(daemon: Daemon) -> tuple[Any, ...]:
    """Rows of people, calls and prices, in one statement; nothing while one of them is not there."""
    answer = daemon.ask(f"SELECT {', '.join(f'(SELECT count(*) FROM {table}) AS {table}' for table in ('people', 'calls', 'prices'))}")
    return tuple(answer.document["rows"][0].values()) if answer.status == 200 else ()


def price(daemon: Daemon) -> Any:
    return daemon.value("SELECT price FROM prices WHERE item = 'item 10'")


def folded(daemon: Daemon) -> Any:
    """The version that folded the rates, once all their rows are in one file."""
    return daemon.value("SELECT max(version) AS n FROM system.datasets WHERE dataset = 'rates' AND files = 1")


def minutes(daemon: Daemon) -> Any:
    """Rows that have what the migration computes."""
    return daemon.value("SELECT count(minutes) AS n FROM calls")


def served(daemon: Daemon) -> Any:
    """Chunks that are answered with, if they are of the present table."""
    return daemon.value(
        """SELECT max(i."count") AS n FROM system.indexes i JOIN system.datasets d ON d.version = i.table_version
        WHERE d.dataset = 'people' AND i."index" = 'resumes'"""
    )


def links(daemon: Daemon) -> Any:
    """Links per node, of the build that serves."""
    parameters = daemon.value("""SELECT max(parameters) AS p FROM system.builds WHERE serving AND "index" = 'resumes'""")
    return None if parameters is None else json.loads(parameters)["m"]


def answered(life: Life) -> dict[str, Any]:
    """What the lakehouse answers at the end: rows, hits, statuses."""

    def look(daemon: Daemon) -> dict[str, Any]:
        rows = {table: daemon.query(sql) for table, sql in TABLES.items()}
        hits = {text: [hit["key"] for hit in daemon.search("resumes", text).document["hits"]] for text in ASKED}
        statuses = {name: (row["ready"], row["reason"], row["message"], row["revision"] is None) for name, row in daemon.status().items()}
        return {"rows": rows, "hits": hits, "statuses": statuses}

    found: dict[str, Any] = life.wait(look, "answers at the end")
    return found
