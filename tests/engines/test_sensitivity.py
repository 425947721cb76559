from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.sensitivity import checksums
from engines.sensitivity.finding import Sample, find
from engines.sensitivity.shown import EVERY_COLUMN, shown

EMAILS = ["ann@example.com", "bob.jones@mail.example.org", "z+x@sub.example.co.uk"]


def found(name: str, values: list[str], kind: str = "string", dataset: str = "") -> list[str]:
    """Entities found in a column that stands alone."""
    return [each.entity for each in find([Sample(name, kind, values)], dataset).get(name, ())]


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (checksums.is_card, ["4111 1111 1111 1111", "378282246310005"], ["4111111111111112", "0000000000000000", "411"]),
        (checksums.is_iban, ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"], ["DE88370400440532013000", "DE89"]),
        (checksums.is_ssn, ["123-45-6789", "XXX-XX-6789"], ["000-45-6789", "666-45-6789", "912-45-6789", "123-00-6789", "123-45-0000"]),
        (checksums.is_routing_number, ["021000021", "011401533"], ["021000022", "991000021", "000000000"]),
        (checksums.is_npi, ["1234567893"], ["1234567890", "3234567893"]),
        (checksums.is_network_address, ["10.0.0.1", "::1", "2001:db8::1/64", "10.0.0.1:80"], ["10.0.0.256", "12:30:45", "1.2.3"]),
    ],
)
def test_check_digits_and_rules(check, right: list[str], wrong: list[str]) -> None:
    assert [text for text in right if not check(text)] == []
    assert [text for text in wrong if check(text)] == []


@pytest.mark.parametrize(
    ("name", "values", "entities"),
    [
        ("contact", EMAILS, ["email"]),
        ("value", ["(312) 555-0192", "415-555-0101", "212.555.0199"], ["phone"]),
        ("Phone2", ["3125550192", "4155550101"], ["phone"]),
        ("value", ["3125550192", "4155550101"], []),
        ("ssn", ["123456789", "234567890"], ["ssn"]),
        ("serial", ["123456789", "234567890"], []),
        ("value", ["123-45-6789", "234-56-7890", "345-67-8901"], ["ssn"]),
        ("order", ["112-3456789-1234567", "113-3456789-7654321"], []),
        ("paid", ["4111 1111 1111 1111", "5500 0000 0000 0004", "3782 822463 10005"], ["credit card"]),
        ("transaction", ["4111111111111112", "4111111111111113", "5500000000000005"], []),
        ("pay_to", ["DE89370400440532013000", "GB82WEST12345698765432"], ["iban"]),
        ("server", ["192.168.0.10", "172.16.254.1", "203.0.113.9"], ["ip address"]),
        ("build", ["10.2.0.1", "9.1.0.3", "11.0.0.2"], []),
        ("client_ip", ["10.2.0.1", "10.2.0.2"], ["ip address"]),
        ("address", ["12 Elm Street, Springfield", "PO Box 7"], ["address"]),
        ("ip_address", ["12 Elm Street, Springfield"], []),
        ("icd10", ["E11.9", "J45.909"], ["diagnosis"]),
        ("code", ["E11.9", "J45.909", "I10.0", "M54.5", "F41.1"], ["diagnosis"]),
        ("release", ["V10.1", "V11.2", "V12.3", "V13.0", "V14.1"], []),
        ("mrn", ["MR0012345", "MR0054321"], ["medical record number"]),
        ("npi", ["1234567893"], ["npi"]),
        ("account_number", ["000123456789", "98765432101"], ["bank account"]),
        ("first_name", ["Ada", "Grace"], ["person name"]),
        ("product_name", ["Ada Lamp", "Grace Chair"], []),
        ("name", ["checkout-service", "billing-service"], []),
        ("password", ["hunter2!", "correcthorse"], ["secret"]),
        ("note", ["use AKIAZ7Q2MX4LP9TKW3RB for the upload", "nothing"], ["secret"]),
        ("note", ["use AKIAIOSFODNN7EXAMPLE for the upload", "nothing"], []),
        ("email_verified", ["yes", "no"], []),
        ("remote", ["git@github.com:a/b.git", "git@github.com:c/d.git"], []),
        ("dsn", ["postgres://me:pw@db.example.com/x", "postgres://me:pw@db2.example.com/x"], []),
        ("phone", [], ["phone"]),
        ("city", [], []),
    ],
)
def test_what_a_column_holds(name: str, values: list[str], entities: list[str]) -> None:
    assert found(name, values) == entities


@pytest.mark.parametrize(
    ("name", "kind", "values", "entities"),
    [
        ("dob", "date", ["1980-02-03", "1975-01-01"], ["date of birth"]),
        ("hired", "date", ["1980-02-03", "1975-01-01"], []),
        ("salary", "int64", ["52000", "61000"], ["amount"]),
        ("salary", "decimal(10,2)", ["52000.00"], ["amount"]),
        ("pay_rate", "float64", ["52.5", "61.25"], ["amount"]),
        ("salary_type", "string", ["hourly", "yearly"], []),
        ("ssn", "int64", ["123456789", "234567890"], ["ssn"]),
        ("salary", "bool", ["True", "False"], []),
    ],
)
def test_columns_that_are_no_text(name: str, kind: str, values: list[str], entities: list[str]) -> None:
    assert found(name, values, kind) == entities


def test_an_address_in_one_text_of_many_is_found_and_its_share_told() -> None:
    texts = [f"nothing to see in number {number}" for number in range(49)]
    (finding,) = find([Sample("notes", "string", [*texts, "write to ann@example.com, please"])])["notes"]
    assert (finding.entity, finding.sensitivity, finding.share, finding.sampled) == ("email", "pii", 0.02, 50)
    assert finding.evidence == "2% of 50 sampled values are e-mail addresses"


def test_a_generic_name_means_persons_beside_other_columns_about_people() -> None:
    odd = Sample("name", "string", ["Ada", "Zebulon", "Xanthippe", "Ludmilla", "Ophelia", "Hypatia", "Grace"])
    assert "name" in find([odd, Sample("mail", "string", EMAILS)])
    assert "name" in find([odd], dataset="job-candidates")
    assert find([Sample("name", "string", ["Zebulon", "Xanthippe"]), Sample("mail", "string", EMAILS)]).keys() == {"mail"}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("Apellidos", "García Márquez"), ("förnamn", "Björk"), ("imię", "Żaneta"), ("FAMILIENNAME", "Groß"), ("прізвище", "Шевченко"),
        ("Фамилия", "Герасимова"), ("επώνυμο", "Παπαδόπουλος"), ("họ_tên", "Nguyễn Văn"), ("नाम", "देवराज रॉय"), ("ชื่อ", "นพ นิลสุวรรณ์"),
        ("姓名", "王莉"), ("氏名", "佐藤 篤司"), ("이름", "이유진"), ("الاسم", "واصف بقشان"), ("שם משפחה", "אביטבול"),
    ],
)  # fmt: skip
def test_names_of_persons_abroad(column: str, value: str) -> None:
    assert found(column, [value]) == ["person name"]


def test_a_generic_name_of_another_script_is_told_by_what_is_beside_it() -> None:
    names = Sample("name", "string", ["Лора Герасимова", "Ганна Притула"])
    assert [finding.entity for finding in find([names], "employees")["name"]] == ["person name"]
    assert find([names], "products") == {}
    assert find([Sample("nombre", "string", ["Lámpara", "Silla", "Mesa"])], "employees") == {}


def test_evidence_shows_no_value() -> None:
    values = ["ann@example.com", "4111111111111111", "123-45-6789", "Ann Smith"]
    for name in ("ssn", "email", "card_number", "full_name", "password", "value"):
        for findings in find([Sample(name, "string", values)]).values():
            assert not any(value in finding.evidence for finding in findings for value in values)


@given(st.lists(st.text(max_size=60), max_size=8), st.sampled_from(["ssn", "name", "address", "diagnosis", "value", "", "é_ß"]))
def test_any_text_is_judged(values: list[str], name: str) -> None:
    for findings in find([Sample(name, "string", values)]).values():
        assert all(0 <= finding.share <= 1 and finding.sampled <= len(values) for finding in findings)


@pytest.mark.parametrize("text", ["a" * 5_000, "1 " * 2_500, "A1 " * 1_600, "1-" * 2_500, "a@" * 2_500, ":" * 5_000, "Aa " * 1_600 + "1"])
def test_long_texts_take_no_longer_than_they_are(text: str) -> None:
    for name in ("address", "name", "phone", "diagnosis", "account_number", "value", "salary"):
        find([Sample(name, "string", [f"{text}{number}" for number in range(100)])])


@pytest.mark.parametrize(
    ("column", "value", "hidden", "words"),
    [
        ("age", "old", (), "`old`"),
        ("ssn", "12-3", (), "a value of the form `99-9`"),
        ("first_name", "Zoë", (), "a value of the form `Aaa`"),
        ("x", "123-45-6789", (), "a value of the form `999-99-9999`"),
        ("x", "see ada@example.com", (), "a value of the form `aaa aaa@aaaaaaa.aaa`"),
        ("x", "007", ("x",), "a value of the form `099`"),
        ("x", 7, (EVERY_COLUMN,), "a value of the form `9`"),
        ("y", None, ("x",), "`None`"),
    ],
)
def test_how_a_message_names_a_value(column: str, value: object, hidden: tuple[str, ...], words: str) -> None:
    assert shown(column, value, frozenset(hidden)) == words
