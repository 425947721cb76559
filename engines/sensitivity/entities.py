"""What is looked for in columns: each entity with its class, its words, its patterns, and how much either says alone.

A table of data. The figures in it are judged by `bench/sensitivity.py`, which measures recall and precision of each. Next: `finding.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from re import Pattern

from engines.sensitivity import checksums
from engines.sensitivity.names import MAYBE_ABROAD, PERSONS_ABROAD, ColumnName, Phrases, is_first_name, phrases
from specs.scalars import Sensitivity

Check = Callable[[str], bool]

_NUMBERS = frozenset({"int64", "float64"})


@dataclass(frozen=True, slots=True)
class Entity:
    """One kind of sensitive thing.

    Args:
        says: what the values are, in the plural.
        pattern: what a value looks like; searched within longer texts unless it is anchored. None: values alone say nothing.
        check: of what the pattern matched.
        chance: the share of look-alikes that pass pattern and check; so many values are needed that all of them being look-alikes is
            improbable.
        share: the least share of a column's values that must pass, where its name says nothing.
        pure: the least share that must pass among those that match the pattern.
        words: phrases in a column's name that say it; `unless`: words in a name that say something else.
        named: what a value looks like where the name says it already; by default as above.
        named_check: of that.
        named_share: the least share of values then.
        variety: how many different first characters the values have at least.
        text: whether only columns of text are looked at.
    """

    name: str
    sensitivity: Sensitivity
    says: str
    words: Phrases
    pattern: Pattern[str] | None = None
    check: Check | None = None
    chance: float = 1.0
    share: float = 0.02
    pure: float = 0.7
    named: Pattern[str] | None = None
    named_check: Check | None = None
    named_share: float = 0.5
    unless: frozenset[str] = frozenset()
    variety: int = 1
    text: bool = True


def _whole(pattern: str) -> Pattern[str]:
    return re.compile(rf"^[ \t]*(?:{pattern})[ \t]*$", re.MULTILINE)


def _within(pattern: str) -> Pattern[str]:
    """Not as part of a longer word or number."""
    return re.compile(rf"(?<![\w.-])(?:{pattern})(?![\w-])")


def _is_email(text: str) -> bool:
    """Not the user of an address of a service, as in git@github.com:org/repo or a connection string."""
    return not text.startswith("git@") and "://" not in text


def _is_secret(text: str) -> bool:
    """Documentation marks its keys as examples."""
    return "EXAMPLE" not in text.upper() and len(set(text)) > 4


def _is_full_name(text: str) -> bool:
    """No street is named in full by a person's name and a word for a street."""
    return is_first_name(text.split()[0]) and not _STREET_WORD.fullmatch(text.split()[-1])


def is_given_name(text: str) -> bool:
    """Whether any word is a common given name, and none says that it is a company's."""
    return not _COMPANY.search(text) and any(is_first_name(word.strip(",.")) for word in text.split())


_COMPANY = re.compile(r"\b(?:Inc|LLC|Ltd|GmbH|Corp|Co|Group|PLC|AG|Sons|Company|Partners|Associates|University|Holdings|and|und)\b|&")
_SIGNS = "\u0300-\u036f\u0900-\u0dff\u0e00-\u0e7f"
"""Vowels and tones that are written above or below a letter, which `\\w` does not have."""
_NAME = rf"(?:(?:Dr|Mr|Mrs|Ms|Miss|Prof|Herr|Frau)\.?\s)?[^\W\d_][\w.'\u2019{_SIGNS}-]*(?:,?\s[^\W\d_][\w.'\u2019{_SIGNS}-]*){{0,4}}"
_STREET = (
    r"(?:street|avenue|road|boulevard|lane|drive|court|way|place|terrace|circle|square|parkway|highway|trail|loop|plaza|alley|crossing|"
    r"ridge|route|row|walk|path|pike|pass|park|point|run|hill|hollow|heights|harbor|haven|grove|green|glen|garden|gate|gateway|freeway|"
    r"fork|forge|ford|forest|flat|ferry|field|fall|extension|expressway|estate|divide|dale|dam|curve|crest|creek|cove|corner|common|club|"
    r"cliff|causeway|cape|canyon|camp|bypass|burg|brook|bridge|branch|bottom|bluff|bend|beach|bayou|arcade|annex|inlet|island|isle|"
    r"junction|key|knoll|lake|land|landing|light|loaf|lock|lodge|mall|manor|meadow|mews|mill|mission|mount|mountain|motorway|neck|orchard|"
    r"oval|overpass|passage|pine|plain|port|prairie|radial|ramp|ranch|rapid|rest|river|shoal|shore|skyway|spring|spur|station|stravenue|"
    r"stream|summit|throughway|trace|track|trafficway|tunnel|turnpike|underpass|union|valley|viaduct|view|village|ville|vista|well|close)s?|"
    r"st|ave|rd|blvd|ln|dr|ct|pl|ter|cir|sq|pkwy|hwy|trl|rte"
)
"""Of the United States' Postal Addressing Standards, mostly."""
_STREET_WORD = re.compile(_STREET, re.IGNORECASE)
_STREETS_ABROAD = (
    r"|\b[A-ZÄÖÜ][\w-]*(?i:straße|strasse|str\.|weg|platz|gasse|allee|ring|damm|ufer)\s\d{1,5}\b"
    r"|\b\d{1,4}(?:\s?(?:bis|ter))?,?\s(?i:rue|avenue|boulevard|chemin|place|impasse|allée|route|quai|cours|square)\s\w"
    r"|\b(?:Calle|C\.|Avenida|Av\.|Avda\.|Paseo|Plaza|Pasaje|Camino|Carrera|Ronda|Vía|Vial|Cuesta|Alameda|Rambla|Glorieta|Callejón|Acceso|"
    r"Cañada|Via|Piazza|Corso|Viale|Rua)\s[^\d\n]{3,40}\s\d{1,4}\b"
)
_MONEY = r"(?:[$€£¥]|USD|EUR|GBP)?\s?[-+(]?(?:[$€£¥])?\d[\d,. ']*\)?\s?(?:k|K|m|M|[$€£¥]|USD|EUR|GBP)?(?:\s?/\s?\w+)?"
_DATE = r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[T ].*)?|\d{1,2}[-/. ](?:\d{1,2}|[A-Za-z]{3,9})[-/., ]+\d{2,4}|[A-Za-z]{3,9} \d{1,2},? \d{4}"

ENTITIES: tuple[Entity, ...] = (
    Entity(
        "email", "pii", "e-mail addresses",
        phrases("email, e mail, mail"),
        re.compile(
            r"(?<![\w.+-])(?:\w{1,20}://[^\s@/]{0,60})?[A-Za-z0-9](?:[\w.%+'-]{0,62}[\w])?@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,6}[A-Za-z]{2,24}"
            r"(?![\w@:/-])"
        ),
        check=_is_email, chance=0.001,
    ),
    Entity(
        "phone", "pii", "telephone numbers",
        phrases("phone, telephone, mobile, cell, cellphone, tel, fax, whatsapp, phone number, msisdn"),
        re.compile(
            r"(?<![\w.+-])(?:(?:\+1|1|001)[-. ]?)?(?:\([2-9]\d{2}\)[ -]?|[2-9]\d{2}[-. ])[2-9]\d{2}[-. ]\d{4}"
            r"(?:\s?(?:x|ext\.?\s?)\d{1,6})?(?![\w-])"
            r"|(?<![\w+-])\+[1-9]\d{0,2}(?:[ ().-]{0,3}\d){6,12}(?![\w-])"
        ),
        chance=0.002,
        named=_whole(r"[+(]{0,2}\d(?:[\s()./x-]{0,3}\d){5,18}(?:\s?(?:x|ext\.?\s?)\d{1,6})?"),
    ),
    Entity(
        "ssn", "pii", "social security numbers",
        phrases("ssn, social security, social, tax id, taxid, tin, itin, ss number"),
        _within(r"\d{3}-\d{2}-\d{4}|(?:XXX|xxx|\*\*\*)-(?:XX|xx|\*\*)-\d{4}"),
        check=checksums.is_ssn, chance=0.1, share=0.05, pure=0.95,
        named=_whole(r"\d{9}|\d{3}[- ]\d{2}[- ]\d{4}|(?:XXX|xxx|\*\*\*)-?(?:XX|xx|\*\*)-?\d{4}"), named_check=checksums.is_ssn,
        text=False,
    ),
    Entity(
        "credit card", "financial", "numbers of payment cards with a valid check digit",
        phrases("credit card, card number, cc number, card no, ccnum, creditcard, pan"),
        _within(r"(?:3\d|4\d|5\d|6\d|2[1-7]|18)(?:[ -]?\d){10,17}"),
        check=checksums.is_card, chance=0.1, share=0.02, pure=0.7, text=False,
    ),
    Entity(
        "iban", "financial", "IBANs with valid check digits",
        phrases("iban"),
        _within(r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?"),
        check=checksums.is_iban, chance=0.02,
    ),
    Entity(
        "routing number", "financial", "routing numbers with a valid check digit",
        phrases("routing, aba, rtn, routing number, aba number"),
        _whole(r"\d{9}"),
        check=checksums.is_routing_number, chance=0.05, share=0.9, text=False,
    ),
    Entity(
        "bank account", "financial", "account numbers",
        phrases("bank account, account number, account no, acct number, acct no, acct num, account num, bank acct, bban, sort code"),
        named=_whole(r"(?=(?:\D*\d){4})[A-Za-z]{0,6}[\d][\dA-Za-z .-]{3,33}|[A-Z]{2}\d{2}[A-Z0-9 ]{8,34}|[A-Z]{4}\d{6,20}"),
        named_share=0.7, text=False,
    ),
    Entity(
        "amount", "financial", "amounts",
        phrases(
            "salary, wage, wages, compensation, income, payroll, bonus, pay rate, bill rate, hourly rate, amount, balance, revenue, "
            "desired rate, commission, net worth, credit limit, pay, earnings, stipend, net pay, gross pay, invoice total, margin"
        ),
        named=_whole(_MONEY), named_share=0.8, text=False,
    ),
    Entity(
        "ip address", "pii", "addresses of computers",
        phrases("ip, ip address, ipv4, ipv6, ipaddr, client ip, remote addr, ip addr"),
        _within(
            r"\d{1,3}(?:\.\d{1,3}){3}(?![.\d])(?:/\d{1,2}|:\d{1,5})?"
            r"|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?:%\w+)?(?:/\d{1,3})?"
        ),
        check=checksums.is_no_version, chance=0.1, share=0.3, named_check=checksums.is_network_address,
    ),
    Entity(
        "person name", "pii", "names of persons",
        phrases(
            "first name, last name, full name, middle name, given name, family name, surname, maiden name, fname, lname, forename, "
            "nickname, firstname, lastname, fullname, candidate name, employee name, patient name, contact name, person name, "
            "manager name, recruiter name, customer name, client contact, applicant name, member name, user full name, mother name, "
            "legal name, preferred name, middle initial, cardholder, cardholder name, emergency contact, next kin"
        )
        + PERSONS_ABROAD,
        _whole(r"[A-ZÀ-Þ][^\W\d_]+(?:\s[A-ZÀ-Þ]\.?)?(?:\s[A-ZÀ-Þ][\w'\u2019-]+){1,2}"),
        check=_is_full_name, chance=0.1, share=0.2, pure=0.2,
        named=_whole(_NAME), named_share=0.7,
        unless=frozenset({"file", "host", "product", "company", "domain", "table", "column", "class", "event", "package"}),
    ),
    Entity(
        "address", "pii", "postal addresses",
        phrases("address, addr, street, street address, address line, mailing address, home address, residence"),
        re.compile(
            rf"(?<![\w.-])\d{{1,6}}[A-Za-z]?\s+(?:[NSEW]\.?\s+)?(?:(?:[A-Z][\w.'\u2019-]*|\d{{1,3}}(?:st|nd|rd|th))\s+){{1,4}}(?i:{_STREET})\b\.?(?!\s*=)"
            rf"|\bP\.?\s?O\.?\s?Box \d+{_STREETS_ABROAD}"
        ),
        chance=0.1, share=0.2,
        named=_whole(r"(?=.*[^\W\d_]{2})[^@{}<>=]{5,200}"),
        unless=frozenset({"ip", "email", "mail", "mac", "url", "web", "http", "memory", "host", "wallet", "type"}),
    ),
    Entity(
        "date of birth", "pii", "dates of birth",
        phrases("dob, birth date, date birth, birthdate, birthday, born, birth, date of birth, birth year, year birth"),
        named=_whole(rf"{_DATE}|(?:19|20)\d\d"), named_share=0.6, text=False,
        unless=frozenset({"place", "city", "country", "name", "weight", "order"}),
    ),
    Entity(
        "government id", "pii", "numbers of identity papers",
        phrases("passport, passport number, drivers license, driver license, license number, national id, nin, id card, visa number"),
        named=_whole(r"(?=.*\d)[A-Za-z0-9][A-Za-z0-9 -]{4,24}"), named_share=0.7, text=False,
    ),
    Entity(
        "diagnosis", "phi", "diagnoses, or codes of ICD-10",
        phrases("icd, icd10, diagnosis, diagnosis code, dx, dx code, diagnoses, icd code"),
        _whole(r"[A-TV-Z]\d[0-9AB]\.[0-9A-Z]{1,4}"),
        chance=0.2, share=0.5, pure=0.7, variety=3,
        named=_whole(r"[A-TV-Z]\d[0-9AB]\.?[0-9A-Z]{0,4}(?:[,; ]+[A-TV-Z]\d[0-9AB]\.?[0-9A-Z]{0,4})*|[^\W\d_][\w ,.'()/-]{3,}"),
    ),
    Entity(
        "health", "phi", "facts of somebody's health",
        phrases("medication, medications, prescription, allergy, allergies, symptoms, blood type, treatment, medical history, disability"),
        named=_whole(r".*[^\W\d_].*"), named_share=0.7,
    ),
    Entity(
        "npi", "phi", "National Provider Identifiers with a valid check digit",
        phrases("npi, national provider, provider npi"),
        _whole(r"[12]\d{9}"),
        check=checksums.is_npi, chance=0.1, share=0.9, text=False,
    ),
    Entity(
        "medical record number", "phi", "numbers of medical records",
        phrases("mrn, medical record, patient id, patient number, patient no, chart number, health insurance number, medicare number"),
        named=_whole(r"(?=.*\d)[A-Za-z]{0,6}[-: ]?[\dA-Za-z-]{3,16}"), named_share=0.7, text=False,
    ),
    Entity(
        "secret", "internal", "keys or passwords",
        phrases(
            "password, passwd, pwd, secret, api key, apikey, access key, private key, auth token, access token, refresh token, "
            "client secret, secret key, passphrase, bearer token, session token"
        ),
        re.compile(
            r"(?<![\w-])(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{60,}|glpat-[\w-]{20}|sk_(?:live|test)_\w{16,}"
            r"|sk-[A-Za-z0-9_-]{32,}|xox[abprs]-[\w-]{10,}|AIza[\w-]{35}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}|npm_\w{36}|hf_\w{30,})(?![\w-])"
            r"|-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"
        ),
        check=_is_secret, chance=0.001, share=0.001,
        named=_whole(r"(?!(?i:true|false|yes|no|none|null|n/a)\s*$)\S{6,}"), named_share=0.8,
    ),
)  # fmt: skip

_PERSONS = phrases("name, contact, manager, owner, author, recruiter, supervisor, assignee, physician, doctor, agent, representative, by")
_PERSONS += MAYBE_ABROAD
"""Words of columns that hold names of persons, or of other things: their values decide."""

PERSON = next(entity for entity in ENTITIES if entity.name == "person name")


@dataclass(frozen=True, slots=True)
class Said:
    """What a column's name says: entities by name, and whether it may mean persons."""

    entities: frozenset[str]
    persons: bool


@lru_cache(maxsize=10_000)
def said(column: str) -> Said:
    """By the name of a column. Remembered, since it costs more than looking at a few values."""
    name = ColumnName.of(column)
    entities = [each.name for each in ENTITIES if name.says(each.words) and name.words.isdisjoint(each.unless)]
    return Said(frozenset(entities), name.says(_PERSONS) and name.words.isdisjoint(PERSON.unless))
