"""Columns whose truth is known: generated positives, look-alikes, and real texts. What `sensitivity.py` measures on.

Positives come from `faker` in several locales, and from lists; look-alikes have the same shapes without the meaning: order numbers, SKUs,
timestamps, hex ids, versions. Names are of three kinds: telling, neutral, and, for look-alikes, misleading.
"""

from __future__ import annotations

import gzip
import json
import random
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from faker import Faker

from engines.sensitivity.names import words

LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES")
SIZES = (5, 50, 500)
_ICD = sorted(
    words(
        """
    E11.9 I10.0 J45.909 M54.5 F41.1 K21.9 N39.0 E78.5 G47.33 R51.9 Z00.00 S72.001A L40.0 H10.9 B34.9 C50.911 D64.9 F32.9 G43.909
    I25.10 J06.9 K58.9 M17.11 N18.3 O80.0 P07.3 Q21.0 R07.9 S93.401A T78.40XA Z23.0 E03.9 E66.9 F17.210 I48.91 J18.9 K80.20
    M25.561
    """
    )
)

_PLACES = (
    "Charlotte", "Austin", "Madison", "Jackson", "Virginia Beach", "Houston", "Lincoln", "Savannah", "Cheyenne", "Raleigh", "Columbus",
    "San Jose", "San Diego", "St. Paul", "Santa Ana", "Jersey City", "Boise", "Tyler", "Carson City", "Florence", "Sydney", "Paris",
    "Victoria", "Adelaide", "Santiago", "Salvador", "Alexandria", "Elizabeth", "Eugene", "Beverly Hills", "Grant Park", "Henderson",
)  # fmt: skip
"""Many of them are given names."""

Make = Callable[[Faker, random.Random], str]


@dataclass(frozen=True, slots=True)
class Truth:
    """A column. entity: what it holds, None for nothing sensitive; kind: telling, neutral, misleading, text, table, real."""

    name: str
    type: str
    values: Sequence[str]
    entity: str | None
    kind: str
    dataset: str = "records"


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice(string.digits) for _ in range(count))


def _of(rng: random.Random, alphabet: str, count: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


def _npi(rng: random.Random) -> str:
    body = rng.choice("12") + _digits(rng, 8)
    digits = [int(digit) for digit in reversed("80840" + body)]
    total = sum(sum(divmod(digit * 2, 10)) if number % 2 == 0 else digit for number, digit in enumerate(digits))
    return body + str(-total % 10)


def _note(fake: Faker, rng: random.Random, held: str) -> str:
    return f"{fake.sentence()} {held if rng.random() < 0.2 else ''} {fake.sentence()}".strip()


POSITIVES: Mapping[str, tuple[tuple[str, str, Make], ...]] = {
    "email": (
        ("email contactEmail e_mail Mail", "string", lambda f, r: f.email()),
        ("kontakt c4 value", "string", lambda f, r: f.company_email()),
    ),
    "phone": (
        ("phone mobile_no homephone Tel", "string", lambda f, r: f.phone_number()),
        ("phone cellPhone", "string", lambda f, r: r.choice("23456789") + _digits(r, 2) + r.choice("23456789") + _digits(r, 6)),
        ("c5 value", "string", lambda f, r: f"({r.randint(201, 989)}) {r.randint(201, 989)}-{_digits(r, 4)}"),
        ("c6 reach_at", "string", lambda f, r: f"+{r.choice(('1', '44', '49', '33'))} {_digits(r, 3)} {_digits(r, 3)} {_digits(r, 4)}"),
    ),
    "ssn": (
        ("ssn SocialSecurityNo tax_id", "string", lambda f, r: f.ssn() if f.locales == ["en_US"] else _ssn(r)),
        ("ssn", "string", lambda f, r: _ssn(r).replace("-", "")),
        ("c7 value", "string", lambda f, r: _ssn(r)),
        ("ssn last_seen_ssn", "string", lambda f, r: f"XXX-XX-{_digits(r, 4)}"),
    ),
    "credit card": (
        ("card_number ccNum credit_card", "string", lambda f, r: f.credit_card_number()),
        ("c8 value", "string", lambda f, r: f.credit_card_number()),
        ("paid_with", "string", lambda f, r: " ".join(_groups(f.credit_card_number("visa16")))),
    ),
    "iban": (
        ("iban account_iban", "string", lambda f, r: f.iban()),
        ("c9 value", "string", lambda f, r: f.iban()),
        ("pay_to", "string", lambda f, r: " ".join(_groups(f.iban()))),
    ),
    "routing number": (("routing_number aba c10 value", "string", lambda f, r: f.aba()),),
    "bank account": (("account_number bank_account acct_no", "string", lambda f, r: _digits(r, r.randint(8, 12))),),
    "amount": (
        ("salary annual_income bonus pay_rate", "int64", lambda f, r: str(r.randint(20_000, 200_000))),
        ("salary compensation bill_rate", "float64", lambda f, r: f"{r.random() * 200:.2f}"),
        ("wage Balance", "string", lambda f, r: f"${r.randint(20, 200)},{_digits(r, 3)}"),
    ),
    "ip address": (
        ("ip client_ip ipAddress", "string", lambda f, r: f.ipv4()),
        ("c11 value", "string", lambda f, r: f.ipv4()),
        ("server_ip", "string", lambda f, r: f.ipv4_private()),
        ("c12 origin", "string", lambda f, r: f.ipv6()),
    ),
    "person name": (
        ("full_name candidate_name patientName", "string", lambda f, r: f.name()),
        ("first_name FirstName given_name", "string", lambda f, r: f.first_name()),
        ("last_name surname", "string", lambda f, r: f.last_name()),
        ("c13 value", "string", lambda f, r: f"{f.first_name()} {f.last_name()}"),
        ("manager recruiter author", "string", lambda f, r: f.name()),
    ),
    "address": (
        ("address home_address street", "string", lambda f, r: f.address().replace("\n", ", ")),
        ("address1 addr", "string", lambda f, r: f.street_address()),
        ("street_name", "string", lambda f, r: f.street_name()),
        ("c14 value", "string", lambda f, r: f.street_address()),
    ),
    "date of birth": (
        ("dob birth_date DateOfBirth", "date", lambda f, r: str(f.date_of_birth())),
        ("dob born birthday", "string", lambda f, r: f.date_of_birth().strftime("%m/%d/%Y")),
    ),
    "diagnosis": (
        ("icd10 diagnosis_code dx c15 value", "string", lambda f, r: r.choice(_ICD)),
        ("icd_code dx1", "string", lambda f, r: r.choice(_ICD).replace(".", "")),
        ("diagnosis", "string", lambda f, r: r.choice(("Type 2 diabetes", "Asthma", "Essential hypertension", "Migraine", "Anxiety"))),
    ),
    "npi": (("npi provider_npi c16 value", "string", lambda f, r: _npi(r)),),
    "medical record number": (("mrn medical_record_no patient_id", "string", lambda f, r: f"MR{_digits(r, 7)}"),),
    "government id": (("passport_number drivers_license", "string", lambda f, r: _of(r, string.ascii_uppercase, 1) + _digits(r, 8)),),
    "secret": (
        ("api_key access_token client_secret", "string", lambda f, r: _of(r, string.ascii_letters + string.digits, 32)),
        ("password pwd", "string", lambda f, r: f.password(12)),
        ("c17 value", "string", lambda f, r: f"AKIA{_of(r, string.ascii_uppercase + '234567', 16)}"),
        ("c18 note", "string", lambda f, r: f"ghp_{_of(r, string.ascii_letters + string.digits, 36)}"),
    ),
}  # fmt: skip
"""By entity: names, type, and a maker of values."""

IN_TEXT: Mapping[str, Make] = {
    "email": lambda f, r: _note(f, r, f"write to {f.email()}."),
    "phone": lambda f, r: _note(f, r, f"call {r.randint(201, 989)}-{r.randint(201, 989)}-{_digits(r, 4)}, please"),
    "ssn": lambda f, r: _note(f, r, f"SSN {_ssn(r)}"),
    "credit card": lambda f, r: _note(f, r, f"card {f.credit_card_number('visa16')} declined"),
    "iban": lambda f, r: _note(f, r, f"refund to {f.iban()} today"),
    "secret": lambda f, r: _note(f, r, f"key AKIA{_of(r, string.ascii_uppercase + '234567', 16)} leaked"),
}

LOOK_ALIKES: tuple[tuple[str, str, Make], ...] = (
    ("order_id c1", "string", lambda f, r: f"{_digits(r, 3)}-{_digits(r, 7)}-{_digits(r, 7)}"),
    ("sku c2", "string", lambda f, r: f"{_of(r, string.ascii_uppercase, 3)}-{_digits(r, 4)}-{_of(r, string.ascii_uppercase, 2)}"),
    ("part_no", "string", lambda f, r: f"{_digits(r, 3)}-{_digits(r, 3)}-{_digits(r, 5)}"),
    ("created_at updated", "timestamp", lambda f, r: f.date_time().isoformat()),
    ("at", "string", lambda f, r: f.date_time().strftime("%Y-%m-%d %H:%M:%S")),
    ("epoch_ms", "int64", lambda f, r: str(r.randint(1_500_000_000_000, 1_800_000_000_000))),
    ("epoch ts", "int64", lambda f, r: str(r.randint(1_000_000_000, 1_800_000_000))),
    ("transaction c3", "string", lambda f, r: _digits(r, 16)),
    ("invoice", "string", lambda f, r: f"4{_digits(r, 15)}"),
    ("serial", "string", lambda f, r: _digits(r, 9)),
    ("batch", "int64", lambda f, r: str(r.randint(100_000_000, 999_999_999))),
    ("lot", "string", lambda f, r: f"1{_digits(r, 9)}"),
    ("hash hex_id", "string", lambda f, r: _of(r, "0123456789abcdef", 32)),
    ("commit", "string", lambda f, r: _of(r, "0123456789abcdef", 40)),
    ("uuid", "string", lambda f, r: f.uuid4()),
    ("version", "string", lambda f, r: f"{r.randint(0, 20)}.{r.randint(0, 30)}.{r.randint(0, 60)}"),
    ("build", "string", lambda f, r: f"{r.randint(0, 20)}.{r.randint(0, 30)}.{r.randint(0, 50)}.{r.randint(0, 60)}"),
    ("release", "string", lambda f, r: f"V{r.randint(10, 40)}.{r.randint(0, 9)}"),
    ("seat grid", "string", lambda f, r: f"{r.choice('ABCDEF')}{r.randint(10, 60)}"),
    ("bin_code", "string", lambda f, r: f"{r.choice(string.ascii_uppercase)}{r.randint(10, 99)}-{r.randint(1, 9)}"),
    ("price cost", "float64", lambda f, r: f"{r.random() * 100:.2f}"),
    ("quantity hours", "int64", lambda f, r: str(r.randint(0, 160))),
    ("status stage", "string", lambda f, r: r.choice(("open", "closed", "pending", "on hold"))),
    ("city location", "string", lambda f, r: f.city()),
    ("company client employer", "string", lambda f, r: f.company()),
    ("title job", "string", lambda f, r: f.job()),
    ("skills", "string", lambda f, r: ";".join(r.sample(("Java", "Python", "Go", "SQL", "Ruby", "Swift", "Scala"), 3))),
    ("url link", "string", lambda f, r: f.uri()),
    ("path", "string", lambda f, r: f.file_path(depth=3)),
    ("isbn", "string", lambda f, r: f"978-{r.randint(0, 9)}-{_digits(r, 3)}-{_digits(r, 5)}-{r.randint(0, 9)}"),
    ("ean", "string", lambda f, r: f.ean13()),
    ("tracking", "string", lambda f, r: f"1Z{_of(r, string.ascii_uppercase + string.digits, 16)}"),
    ("mac", "string", lambda f, r: f.mac_address()),
    ("lat lon", "float64", lambda f, r: str(f.latitude())),
    ("zip postcode", "string", lambda f, r: f.postcode()),
    ("country", "string", lambda f, r: f.country()),
    ("plate", "string", lambda f, r: f.license_plate()),
    ("color", "string", lambda f, r: f.color_name()),
    ("product", "string", lambda f, r: f"{f.color_name()} {r.choice(('Chair', 'Table', 'Lamp', 'Desk'))} {r.randint(1, 90)}"),
    ("description summary", "string", lambda f, r: f.sentence(12)),
    ("package", "string", lambda f, r: f"@{f.user_name()}/{f.word()}@{r.randint(0, 9)}.{r.randint(0, 9)}.{r.randint(0, 9)}"),
    ("remote repo", "string", lambda f, r: f"git@github.com:{f.user_name()}/{f.word()}.git"),
    ("image", "string", lambda f, r: f"registry.example.com/{f.word()}/{f.word()}:{r.randint(1, 9)}.{r.randint(0, 9)}"),
    ("arn", "string", lambda f, r: f"arn:aws:iam::{_digits(r, 12)}:role/{f.word()}"),
    ("dimension", "string", lambda f, r: f"{r.randint(1, 99)}x{r.randint(1, 99)}x{r.randint(1, 99)}"),
    ("duration", "string", lambda f, r: f"{r.randint(0, 23):02d}:{r.randint(0, 59):02d}:{r.randint(0, 59):02d}"),
    ("range", "string", lambda f, r: f"{_digits(r, 3)}-{_digits(r, 3)}"),
    ("base64", "string", lambda f, r: _of(r, string.ascii_letters + string.digits + "+/", 24) + "=="),
    ("candidate_id employee_no", "string", lambda f, r: f"CAND-{_digits(r, 6)}"),
    ("c20 place", "string", lambda f, r: r.choice(_PLACES)),
    ("c21 flower", "string", lambda f, r: r.choice(("Rose", "Violet", "Daisy", "Lily", "Iris", "Jasmine", "Holly", "Olive", "Poppy"))),
    ("month name", "string", lambda f, r: r.choice(("January", "April", "May", "June", "August"))),
    ("headline", "string", lambda f, r: f.catch_phrase()),
    ("team", "string", lambda f, r: f"{f.city()} {r.choice(('Bears', 'Lions', 'United', 'Rovers'))}"),
    ("measurement", "string", lambda f, r: f"{r.randint(1, 900)} {r.choice(('mm', 'kg', 'Large Boxes', 'Blue Pens'))}"),
    ("hire_date start_date", "date", lambda f, r: str(f.date_this_decade())),
)

MISLEADING: tuple[tuple[str, str, Make], ...] = (
    ("email_verified phone_verified", "string", lambda f, r: r.choice(("yes", "no"))),
    ("email_count phone_calls", "int64", lambda f, r: str(r.randint(0, 9))),
    ("phone_type address_type", "string", lambda f, r: r.choice(("home", "work", "other"))),
    ("product_name event_name", "string", lambda f, r: f"{f.color_name()} {r.choice(('Chair', 'Lamp'))}"),
    ("company_name", "string", lambda f, r: f.company()),
    ("file_name", "string", lambda f, r: f.file_name()),
    ("name", "string", lambda f, r: f"{f.word()}-{f.word()}-service"),
    ("owner", "string", lambda f, r: f"team-{f.word()}"),
    ("account_status", "string", lambda f, r: r.choice(("active", "closed"))),
    ("account_type", "string", lambda f, r: r.choice(("checking", "savings"))),
    ("salary_type pay_period", "string", lambda f, r: r.choice(("hourly", "weekly"))),
    ("card_type", "string", lambda f, r: r.choice(("visa", "amex"))),
    ("icd_version", "int64", lambda f, r: r.choice(("9", "10"))),
    ("social_score", "float64", lambda f, r: f"{r.random():.3f}"),
    ("cell", "string", lambda f, r: f"{r.choice('ABCDE')}{r.randint(1, 40)}"),
    ("address_count", "int64", lambda f, r: str(r.randint(0, 4))),
    ("ip_count", "int64", lambda f, r: str(r.randint(0, 400))),
    ("mailing_list", "string", lambda f, r: r.choice(("news", "offers"))),
    ("secret_level", "string", lambda f, r: r.choice(("low", "high"))),
    ("token_count", "int64", lambda f, r: str(r.randint(0, 4_000))),
    ("routing", "string", lambda f, r: r.choice(("direct", "queue"))),
    ("birth_country", "string", lambda f, r: f.country()),
    ("treatment_group", "string", lambda f, r: r.choice(("A", "B"))),
    ("memory_address", "string", lambda f, r: f"0x{_of(r, '0123456789abcdef', 12)}"),
    ("amount_unit", "string", lambda f, r: r.choice(("kg", "lb"))),
)


HELD_OUT_LOCALES = ("it_IT", "nl_NL", "pl_PL", "pt_BR", "sv_SE", "en_AU")
HELD_OUT: tuple[tuple[str | None, str, str, Make], ...] = (
    ("person name", "customers", "ContactName", lambda f, r: f.name()),
    ("person name", "invoices", "billed_customer", lambda f, r: f"{f.first_name()} {f.last_name()}"),
    ("person name", "patients", "LAST MAIDEN", lambda f, r: f.last_name()),
    ("person name", "employees", "emp_last_name emp_first_name", lambda f, r: f.first_name()),
    ("person name", "orders", "ship_to_contact", lambda f, r: f.name()),
    ("email", "accounts", "PersonEmail username login", lambda f, r: f.ascii_safe_email()),
    ("email", "commits", "committer", lambda f, r: f"{f.user_name()} <{f.email()}>"),
    ("phone", "accounts", "MobilePhone HomePhone OtherPhone work_phone_ext", lambda f, r: f.phone_number()),
    ("address", "patients", "ADDRESS MailingStreet BillingAddress shipAddress", lambda f, r: f.street_address()),
    ("date of birth", "patients", "BIRTHDATE Birthdate birthDt", lambda f, r: str(f.date_of_birth())),
    ("ssn", "patients", "SSN soc_sec_num", lambda f, r: _ssn(r)),
    ("government id", "patients", "DRIVERS PASSPORT", lambda f, r: f"S{_digits(r, 8)}"),
    ("diagnosis", "claims", "DIAGNOSIS1 primary_dx ICD9_DGNS_CD_1", lambda f, r: r.choice(_ICD)),
    ("npi", "claims", "AT_PHYSN_NPI rendering_npi", lambda f, r: _npi(r)),
    ("amount", "claims", "TOTAL_CLAIM_COST INCOME MonthlyIncome UnitSalary BaseRate", lambda f, r: f"{r.random() * 9_000:.2f}"),
    ("credit card", "charges", "CardNumber source_card", lambda f, r: f.credit_card_number()),
    ("iban", "payouts", "destination BankAccountIBAN", lambda f, r: f.iban()),
    ("ip address", "requests", "c_ip remote_host x_forwarded_for", lambda f, r: f.ipv4_public()),
    ("secret", "settings", "smtp_password webhookSecret", lambda f, r: f.password(16)),
    (None, "products", "ProductName", lambda f, r: f"{f.color_name()} {f.word()}"),
    (None, "products", "QuantityPerUnit", lambda f, r: f"{r.randint(1, 48)} - {r.randint(10, 500)} g pkgs."),
    (None, "products", "UnitPrice ReorderLevel Discount", lambda f, r: f"{r.random() * 90:.2f}"),
    (None, "orders", "ShipVia ShipCountry", lambda f, r: f.country()),
    (None, "orders", "OrderNumber SalesOrderNumber", lambda f, r: f"SO{_digits(r, 5)}"),
    (None, "orders", "CarrierTrackingNumber", lambda f, r: f"{_of(r, 'ABCDEF012345', 4)}-{_of(r, 'ABCDEF012345', 4)}-{_digits(r, 2)}"),
    (None, "tracks", "Composer album", lambda f, r: f"{f.word().title()} {f.word().title()} {r.choice(('Band', 'Trio', 'Live'))}"),
    (None, "tracks", "Milliseconds Bytes", lambda f, r: str(r.randint(100_000, 9_000_000))),
    (None, "flights", "tail_num", lambda f, r: f"N{_digits(r, 3)}{_of(r, string.ascii_uppercase, 2)}"),
    (None, "flights", "origin dest", lambda f, r: _of(r, string.ascii_uppercase, 3)),
    (None, "trips", "pickup_datetime", lambda f, r: f.date_time().strftime("%m/%d/%Y %I:%M:%S %p")),
    (None, "trips", "store_and_fwd_flag payment_type", lambda f, r: r.choice("YN12")),
    (None, "claims", "CLM_ID claim_control_number", lambda f, r: _digits(r, 15)),
    (None, "claims", "HCPCS_CD", lambda f, r: f"{r.choice('ABEGJLV')}{_digits(r, 4)}"),
    (None, "claims", "NDC", lambda f, r: f"{_digits(r, 5)}-{_digits(r, 4)}-{_digits(r, 2)}"),
    (None, "requests", "user_agent", lambda f, r: f.user_agent()),
    (None, "requests", "cs_uri_stem referer", lambda f, r: f.uri_path()),
    (None, "logs", "message", lambda f, r: f"worker {r.randint(1, 99)} took {r.random():.3f}s for {f.uri_path()}"),
    (None, "logs", "trace_id span", lambda f, r: _of(r, "0123456789abcdef", 16)),
    (None, "sensors", "device_id", lambda f, r: f"{_of(r, '0123456789abcdef', 4)}:{_of(r, '0123456789abcdef', 4)}"),
    (None, "sensors", "reading", lambda f, r: f"{r.uniform(-40, 90):.4f}"),
    (None, "genes", "gene_symbol transcript", lambda f, r: f"{_of(r, string.ascii_uppercase, 3)}{r.randint(1, 20)}.{r.randint(1, 9)}"),
    (None, "places", "neighborhood region", lambda f, r: f.city()),
    (None, "vendors", "CompanyName SupplierName", lambda f, r: f.company()),
    (None, "events", "EventType ActionName", lambda f, r: r.choice(("Login", "Logout", "Purchase", "Page View"))),
)  # fmt: skip
"""What it holds, a dataset, names of columns after published schemas (Northwind, AdventureWorks, Chinook, Synthea, CMS claims, Salesforce,
web logs, taxi trips, …), and a maker. Nothing was tuned on them."""


def held_out(seed: int) -> Iterator[Truth]:
    """Each in several locales and sizes."""
    for locale in HELD_OUT_LOCALES:
        fake, rng = Faker(locale), random.Random(f"{seed}{locale}")
        fake.seed_instance(rng.randrange(2**32))
        for size in (20, 200):
            for entity, dataset, names, make in HELD_OUT:
                for name in names.split():
                    numeric = entity == "amount" or name in ("Milliseconds", "Bytes", "UnitPrice", "reading")
                    yield Truth(name, "float64" if numeric else "string", _column(fake, rng, make, size), entity, "held out", dataset)


def _ssn(rng: random.Random) -> str:
    area = rng.choice([number for number in range(1, 900) if number != 666])
    return f"{area:03d}-{rng.randint(1, 99):02d}-{rng.randint(1, 9_999):04d}"


def _groups(text: str) -> Iterator[str]:
    return (text[first : first + 4] for first in range(0, len(text), 4))


def generated(seed: int) -> Iterator[Truth]:
    """Positives and negatives, each in several sizes, by this seed."""
    for locale in LOCALES:
        fake, rng = Faker(locale), random.Random(f"{seed}{locale}")
        fake.seed_instance(rng.randrange(2**32))
        for size in SIZES:
            yield from _positives(fake, rng, size)
            for kind, table in (("neutral", LOOK_ALIKES), ("misleading", MISLEADING)):
                for names, type_, make in table:
                    for name in names.split():
                        yield Truth(name, type_, _column(fake, rng, make, size), None, kind)


def _positives(fake: Faker, rng: random.Random, size: int) -> Iterator[Truth]:
    for entity, makers in POSITIVES.items():
        for names, type_, make in makers:
            for name in names.split():
                kind = "neutral" if name == "value" or (name[0] == "c" and name[1:].isdigit()) or name in _NEUTRAL else "telling"
                yield Truth(name, type_, _column(fake, rng, make, size), entity, kind)
    for entity, make in IN_TEXT.items():
        yield Truth("notes", "string", _column(fake, rng, make, max(size, 50)), entity, "text")


_NEUTRAL = frozenset({"kontakt", "reach_at", "paid_with", "pay_to", "origin", "note", "manager", "recruiter", "author"})


def _column(fake: Faker, rng: random.Random, make: Make, size: int) -> list[str]:
    """Distinct values, in order of their making."""
    return list(dict.fromkeys(make(fake, rng) for _ in range(size)))


def botocore_texts(most: int = 60) -> Iterator[Truth]:
    """Real texts about no person: names and documentation of cloud services, a dataset each."""
    root = Path(str(find_spec("botocore").origin)).parent / "data"  # type: ignore[union-attr]
    for service in sorted(path for path in root.iterdir() if path.is_dir())[:most]:
        models = sorted(service.glob("*/service-2.json.gz"))
        if not models:
            continue
        model = json.loads(gzip.decompress(models[-1].read_bytes()))
        shapes = list(model["shapes"].items())
        texts = [shape["documentation"] for _, shape in shapes if "documentation" in shape]
        patterns = [shape["pattern"] for _, shape in shapes if "pattern" in shape]
        members = [name for _, shape in shapes for name in shape.get("members", ())]
        for name, values in (("shape", [each for each, _ in shapes]), ("documentation", texts), ("pattern", patterns), ("member", members)):
            if values:
                yield Truth(name, "string", list(dict.fromkeys(values))[:512], None, "real", service.name)


def licence_texts(most: int = 2_000) -> Iterator[Truth]:
    """Names of licences, which are about no person, and their texts, some of which do hold addresses: of those nothing is claimed."""
    if find_spec("licensedcode") is None:
        return
    root = Path(str(find_spec("licensedcode").submodule_search_locations[0])) / "data" / "licenses"  # type: ignore[union-attr,index]
    fields: dict[str, list[str]] = {}
    for path in sorted(root.glob("*.LICENSE"))[:most]:
        head, _, text = path.read_text(encoding="utf-8").removeprefix("---\n").partition("\n---\n")
        for line in head.splitlines():
            name, colon, value = line.partition(": ")
            if colon and name in ("key", "short_name", "name", "category", "spdx_license_key", "homepage_url"):
                fields.setdefault(name, []).append(value)
        fields.setdefault("text", []).append(text)
    for name, values in fields.items():
        sample = random.Random(name).sample(sorted(set(values)), min(512, len(set(values))))
        yield Truth(name, "string", sample, None, "text of licences" if name == "text" else "real", "licenses")
