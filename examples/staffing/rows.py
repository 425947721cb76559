"""The rows of the seven tables, one generator each, in constant memory.

What one table must know of another (which role a candidate has, which client a job order belongs to) is a pure function of the
other's number, not a table kept in memory: that is why 2.5M rows need no more room than twenty thousand. Nothing here writes files, and
nothing draws from anything but the seed.

Next: `vocabulary.py` for the words, `generate.py` for files, encodings and repeated rows.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import vocabulary as words

Row = tuple[object, ...]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "candidates": (
        "candidate_id", "first_name", "last_name", "email", "phone", "city", "state", "zip", "title", "skills", "years_experience",
        "desired_rate", "status", "registered", "resume",
    ),
    "clients": ("client_id", "name", "industry", "contact", "phone", "city", "zip", "annual_spend"),
    "job_orders": ("job_id", "client_id", "title", "city", "state", "openings", "bill_rate", "status", "opened", "description"),
    "placements": ("placement_id", "candidate_id", "job_id", "client_id", "start_date", "end_date", "pay_rate", "bill_rate"),
    "timesheets": ("timesheet_id", "placement_id", "week_ending", "hours", "overtime", "pay_rate", "approved", "approver"),
    "call_log": ("call_id", "candidate_id", "job_id", "recruiter", "called_at", "seconds", "outcome", "notes"),
    "email_log": ("email_id", "candidate_id", "direction", "sent_at", "subject", "body", "opened", "tags"),
}  # fmt: skip

STAR = 3  # this candidate is a Java developer in Chicago, is called early and often, and is never placed, whatever the size
_MASK = (1 << 64) - 1
_YEAR = date(2025, 1, 1)


@dataclass(frozen=True, slots=True)
class World:
    """How many different rows each table has, and the seed. Numbers of entities run from 1."""

    seed: int
    candidates: int
    clients: int
    job_orders: int
    placements: int

    def mix(self, number: int, salt: int) -> int:
        """63 well-mixed bits of (seed, number, salt): the finaliser of splitmix64."""
        x = (number * 0x9E3779B97F4A7C15 + salt * 0xD1B54A32D192ED03 + self.seed) & _MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
        return x >> 1

    def candidate_role(self, number: int) -> words.Role:
        """What the candidate does."""
        return words.JAVA if number == STAR else words.ROLES[self.mix(number, 1) % len(words.ROLES)]

    def candidate_city(self, number: int) -> words.City:
        """Where the candidate lives."""
        return words.CHICAGO if number == STAR else words.CITIES[self.mix(number, 2) % len(words.CITIES)]

    def job_role(self, number: int) -> words.Role:
        """What the job order asks for."""
        return words.ROLES[self.mix(number, 3) % len(words.ROLES)]

    def job_city(self, number: int) -> words.City:
        """Where the work is."""
        return words.CITIES[self.mix(number, 4) % len(words.CITIES)]

    def job_client(self, number: int) -> int:
        """Who pays; a few clients have most of the orders."""
        return 1 + self.mix(number, 5) % self.clients * (self.mix(number, 6) % self.clients) // self.clients

    def job_rate(self, number: int) -> float:
        """Dollars an hour that the client pays."""
        return 30 + self.mix(number, 7) % 280 / 4

    def placed_candidate(self, number: int, job: int) -> int:
        """A candidate of the job's own role, nearly always. Every third candidate is never placed, the star among them."""
        role = self.job_role(job)
        for attempt in range(64):
            candidate = 1 + self.mix(number, 100 + attempt) % self.candidates
            if candidate % 3 and self.candidate_role(candidate) is role:
                return candidate
        return candidate if candidate % 3 else candidate - 1  # a rare role: anybody, but not always the same

    def called_candidate(self, number: int, chance: float) -> int:
        """Whom the call or e-mail reached: some candidates are popular. 0 <= chance < 1."""
        if number % 10 == 4 and number < 80:
            return STAR
        return 1 + int(chance * chance * self.candidates) * 1_000_003 % self.candidates


def any_date(day: date, chance: float) -> str:
    """The date as one of three exports would write it: 2024-03-05, 3/5/2024, 05 Mar 2024."""
    if chance < 0.5:
        return day.isoformat()
    return f"{day.month}/{day.day}/{day.year}" if chance < 0.8 else day.strftime("%d %b %Y")


def _phone(rng: random.Random, area: str) -> str | None:
    chance, number = rng.random(), int(rng.random() * 10_000)
    if chance < 0.08:
        return None
    if chance < 0.4:
        return f"{area}555{number:04d}"
    return f"({area}) 555-{number:04d}" if chance < 0.7 else f"+1 {area} 555 {number:04d}"


def _city(rng: random.Random, city: words.City) -> str:
    chance = rng.random()
    return city.name.upper() if chance < 0.04 else f" {city.name}" if chance < 0.06 else city.name


def _resume(rng: random.Random, role: words.Role, title: str, years: int, city: words.City) -> str:
    opening = rng.choice(words.OPENINGS).format(title=title, years=years, city=city.name)
    parts = [opening + " Works with " + ", ".join(rng.sample(role.skills, 4)) + "."]
    told, until = rng.sample(role.sentences, len(role.sentences)), 2024
    for job in range(1 + int(rng.random() * 3)):
        since = until - 1 - int(rng.random() * 5)
        parts.append(f"{since}-{until} {rng.choice(words.EMPLOYERS)}: " + " ".join(told[2 * job : 2 * job + 2]))
        until = since
    parts.append(rng.choice(words.CLOSINGS))
    return "\n\n".join(parts)


def _candidate(world: World, rng: random.Random, number: int) -> Row:
    role, city = world.candidate_role(number), world.candidate_city(number)
    first, last = rng.choice(words.FIRST_NAMES), rng.choice(words.LAST_NAMES)
    title = rng.choice(words.LEVELS) + (role.short if rng.random() < 0.1 else role.title)
    years = 1 + int(rng.random() * 25)
    registered = date(2021, 1, 1) + timedelta(days=number * 1460 // (world.candidates + 1))
    email = None if rng.random() < 0.05 else f"{first}.{last}{number}@example.com".lower().replace("'", "")
    rate = None if rng.random() < 0.15 else f"{20 + rng.random() * 100:.2f}"
    zip_code = None if rng.random() < 0.03 else f"{city.zip_prefix}{int(rng.random() * 100):02d}"
    return (
        f"C-{number:06d}", first, last, email, _phone(rng, city.area), _city(rng, city), city.state, zip_code, title,
        "; ".join(rng.sample(role.skills, 5)), years, rate, rng.choice(words.CANDIDATE_STATUSES), any_date(registered, rng.random()),
        _resume(rng, role, title, years, city),
    )  # fmt: skip


def candidates(world: World, rng: random.Random, rows: int) -> Iterator[Row]:
    """Every candidate once; what is left of `rows` are candidates exported again, with a newer status."""
    for number in range(1, world.candidates + 1):
        yield _candidate(world, rng, number)
    for again in range(rows - world.candidates):
        row = _candidate(world, rng, 1 + world.mix(again, 8) % world.candidates)
        yield (*row[:12], "do not contact", *row[13:])


def clients(world: World, rng: random.Random, rows: int) -> Iterator[Row]:
    """Companies, with accents that Latin-1 holds."""
    for number in range(1, rows + 1):
        city = words.CITIES[world.mix(number, 9) % len(words.CITIES)]
        stem = words.CLIENT_STEMS[(number - 1) % len(words.CLIENT_STEMS)]
        branch = f" {number}" if number > len(words.CLIENT_STEMS) else ""
        contact = rng.choice([name for name in words.FIRST_NAMES if name != "Łukasz"]) + " " + rng.choice(words.LAST_NAMES)
        spend = None if rng.random() < 0.2 else int(rng.random() * 2_000_000)
        yield (
            f"CL-{number:05d}", f"{stem} {rng.choice(words.CLIENT_FORMS)}{branch}", rng.choice(words.INDUSTRIES), contact,
            _phone(rng, city.area), city.name, f"{city.zip_prefix}{int(rng.random() * 100):02d}", spend,
        )  # fmt: skip


def job_orders(world: World, rng: random.Random, rows: int) -> Iterator[Row]:
    """What clients ask for, in the order of their opening."""
    for number in range(1, rows + 1):
        role, city = world.job_role(number), world.job_city(number)
        opened = _YEAR - timedelta(days=60) + timedelta(days=number * 400 // rows)
        rate = None if rng.random() < 0.05 else f"{world.job_rate(number):.2f}"
        text = f"{role.title} wanted in {city.name}.\nMust know: {', '.join(rng.sample(role.skills, 3))}."
        yield (
            f"JOB-{number:06d}", f"CL-{world.job_client(number):05d}", role.title, city.name, city.state, 1 + int(rng.random() * 4), rate,
            rng.choice(words.JOB_STATUSES), any_date(opened, rng.random()), text,
        )  # fmt: skip


def placements(world: World, rng: random.Random, rows: int) -> Iterator[Row]:
    """Who works where, in the order of the start; typed values, since they are written as Parquet."""
    for number in range(1, rows + 1):
        job = 1 + int(rng.random() * world.job_orders)
        start = _YEAR - timedelta(days=180) + timedelta(days=number * 540 // rows)
        end = None if rng.random() < 0.4 else start + timedelta(days=30 + int(rng.random() * 330))
        bill = world.job_rate(job)
        yield (
            f"P-{number:06d}", f"C-{world.placed_candidate(number, job):06d}", f"JOB-{job:06d}", f"CL-{world.job_client(job):05d}",
            start, end, round(bill * (0.6 + rng.random() * 0.2), 2), bill,
        )  # fmt: skip


def timesheets(world: World, rng: random.Random, rows: int) -> Iterator[Row]:
    """One row a week and placement, through the year; a placement hands in hours only after its start."""
    chance = rng.random
    for number in range(1, rows + 1):
        done = number / (rows + 1)
        days = int(done * 52) * 7
        week = _YEAR + timedelta(days=days + 2)
        # Placements begin over 540 days, from half a year earlier on: those begun by now, and not long ago.
        newest = (180 + days) / 540
        placement = 1 + int((newest - chance() * 0.3) * world.placements)
        hours = 40.0 if chance() < 0.7 else int(chance() * 160) / 4
        pay = None if chance() < 0.04 else f"{18 + int(chance() * 360) / 4:.2f}"
        approved = None if chance() < 0.05 else "true" if chance() < 0.95 else "false"
        yield (
            number, f"P-{placement:06d}", week.isoformat(), hours, int(chance() * 10) if hours == 40.0 else 0, pay, approved,
            words.RECRUITERS[int(chance() * 8)],
        )  # fmt: skip


def call_log(world: World, rng: random.Random, rows: int) -> Iterator[Row]:
    """Calls to candidates, through the year; half of them about a job order."""
    chance = rng.random
    begin = datetime(2025, 1, 1, 8)  # noqa: DTZ001 - the export of a telephone system, which knows no time zone
    for number in range(1, rows + 1):
        at = begin + timedelta(seconds=int(number / rows * 31_400_000))
        outcome = words.CALL_OUTCOMES[int(chance() * 7)]
        talked = outcome not in {"no answer", "wrong number"}
        candidate = world.called_candidate(number, chance())
        job = f"JOB-{1 + int(chance() * world.job_orders):06d}" if chance() < 0.5 else None
        yield (
            number, f"C-{candidate:06d}", job, words.RECRUITERS[int(chance() * 8)], at.isoformat(sep=" "),
            10 + int(chance() * 900) if talked else 0, outcome, words.CALL_NOTES[int(chance() * 11)] if talked else None,
        )  # fmt: skip


def email_log(world: World, rng: random.Random, rows: int) -> Iterator[Row]:
    """Mail to and from candidates, through the year; typed values, since they are written as JSON."""
    chance = rng.random
    begin = datetime(2025, 1, 1, 7)  # noqa: DTZ001 - written with a Z below: this export is in UTC
    for number in range(1, rows + 1):
        at = begin + timedelta(seconds=int(number / rows * 31_400_000))
        candidate = world.called_candidate(number, chance())
        city = world.candidate_city(candidate).name
        tags = [world.candidate_role(candidate).short.lower(), city.lower()][: int(chance() * 3)]
        yield (
            f"E-{number:07d}", f"C-{candidate:06d}", "in" if chance() < 0.3 else "out", at.isoformat() + "Z",
            words.SUBJECTS[int(chance() * 7)].format(city=city), words.BODIES[int(chance() * 5)].format(city=city),
            None if chance() < 0.3 else chance() < 0.6, tags,
        )  # fmt: skip
