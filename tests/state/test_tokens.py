"""Which tokens there are, which of them are refused, and that no value is told."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path

import pytest
from harness_secrets import write_private

from state.errors import SecretsFileRefused
from state.secrets import SecretsFile
from state.tokens import TokenFile

ADA, OPS = "ada-0123456789abcdef", "ops-0123456789abcdef"
GOOD = f"""
[archive-keys]
access_key_id = "AK"

[tokens.ada]
value = "{ADA}"
profile = "recruiting"
role = "recruiter"
attributes = {{region = "EU"}}

[tokens.ops]
value = "{OPS}"
role = "operator"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_private(tmp_path / "secrets.toml", GOOD)


def test_a_token_by_its_value(path: Path) -> None:
    tokens = TokenFile(SecretsFile(path)).current()
    ada, ops = tokens.match(ADA), tokens.match(OPS)
    assert ada is not None
    assert (ada.name, ada.profile, ada.role, dict(ada.attributes), ada.operator) == (
        "ada",
        "recruiting",
        "recruiter",
        {"region": "EU"},
        False,
    )
    assert ops is not None
    assert (ops.name, ops.profile, ops.operator) == ("ops", None, True)
    assert (tokens.named("ada"), len(tokens)) == (ada, 2)
    assert [tokens.match(value) for value in ("", "ada", ADA[:-1], ADA + "0", ADA.upper(), "\udcff")] == [None] * 6


def test_secrets_beside_tokens_are_as_they_were(path: Path) -> None:
    file = SecretsFile(path)
    secret = file.find("archive-keys")
    assert secret is not None
    assert secret.field("access_key_id") == "AK"
    assert file.find("tokens") is None


def test_no_file_has_no_tokens(tmp_path: Path) -> None:
    file = TokenFile(SecretsFile(tmp_path / "none.toml"))
    assert len(file.current()) == 0
    assert file.current().match("") is None


def test_a_changed_file_is_followed_and_an_unchanged_one_is_parsed_once(path: Path) -> None:
    file = TokenFile(SecretsFile(path))
    before = file.current()
    assert file.current() is before
    path.write_text(GOOD.replace(ADA, "new-0123456789abcdef"))
    assert file.current().match(ADA) is None
    assert file.current().match("new-0123456789abcdef") is not None
    path.write_text("")
    assert len(file.current()) == 0


VALUE = f'value = "{ADA}"'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tokens = 5", "`tokens` is no table of tables"),
        (f"[tokens]\n{VALUE}", "`tokens` is no table of tables"),
        ('[tokens.a]\nrole = "r"', "`tokens.a` has no value"),
        (f"[tokens.a]\n{VALUE}", "`tokens.a` has neither profile nor role"),
        ('[tokens.a]\nvalue = "short"\nrole = "r"', "the value of `tokens.a` is weak"),
        (f'[tokens.a]\nvalue = "{"ab" * 20}"\nrole = "r"', "the value of `tokens.a` is weak"),
        ('[tokens.a]\nvalue = "0123456789 abcdef0123"\nrole = "r"', "characters that no header of a token has"),
        ('[tokens.a]\nvalue = "0123456789äbcdef0123"\nrole = "r"', "characters that no header of a token has"),
        ('[tokens.a]\nvalue = 12345678901234567890\nrole = "r"', "value, profile and role of `tokens.a` are texts"),
        (f'[tokens.a]\n{VALUE}\nrole = ""', "value, profile and role of `tokens.a` are texts, and not empty"),
        (f'[tokens.a]\n{VALUE}\nrole = "r"\nscope = "all"', "`tokens.a` has the unknown field `scope`"),
        (f'[tokens.a]\n{VALUE}\nrole = "r"\nattributes = "EU"', "attributes that are no table of strings"),
        (f'[tokens.a]\n{VALUE}\nrole = "r"\nattributes = {{region = 5}}', "attributes that are no table of strings"),
        (f'[tokens.a]\n{VALUE}\nprofile = "p"\nattributes = {{role = "admin"}}', "has the attribute `role`, which no policy could call so"),
        (f'[tokens.a]\n{VALUE}\nprofile = "p"\nattributes = {{"a b" = "x"}}', "has the attribute `a b`"),
        (f'[tokens.a]\n{VALUE}\nprofile = "p"\nrole = "operator"', "`tokens.a` is the operator's and has a profile"),
        (f'[tokens."A B"]\n{VALUE}\nrole = "r"', "is no name of a token"),
        (f'[tokens.anonymous]\n{VALUE}\nrole = "r"', "as the audit calls whoever shows no token"),
        (f'[tokens.a]\n{VALUE}\nrole = "r"\n[tokens.b]\n{VALUE}\nrole = "s"', "`tokens.a` and `tokens.b` have the same value"),
        (f"[tokens.a]\n{VALUE}\n{VALUE}", "it is no TOML"),
    ],
)
def test_a_fault_closes_the_file_and_repeats_no_value(path: Path, text: str, reason: str) -> None:
    file = TokenFile(SecretsFile(path))
    file.current()
    path.write_text(text)
    with pytest.raises(SecretsFileRefused) as caught:
        file.current()
    assert str(caught.value).startswith(f"The secrets file {path} is refused:")
    assert reason in str(caught.value)
    assert caught.value.remedy
    told = "".join(traceback.format_exception(caught.value)) + caught.value.explain()
    assert not any(value in told for value in (ADA, "abab", "0123456789"))
    path.write_text(GOOD)
    assert len(file.current()) == 2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f'[tokens.a]\n{VALUE}\nrole = "r"\n\n  [ tokens . "b" ]  # his\nvalue = "short"', "line 5: "),
        (f'[tokens.a]\r\n{VALUE}\r\nrole = "r"\r\n[tokens.b]\r\nrole = "s"', "line 4: "),
        (f'[tokens.a]\n{VALUE}\nrole = "r"\n[tokens.b]\n{VALUE}\nrole = "s"', "line 4: "),
        ("# mine\n[keys]\nid = 5", "line 2: "),
        ('[tokens]\na = {role = "r"}', ""),
        ('[x]\ny = """\n[tokens.a]\n"""\n[tokens.a]\nrole = "r"', ""),
    ],
)
def test_a_fault_names_the_line_of_its_table(path: Path, text: str, line: str) -> None:
    path.write_text(text)
    with pytest.raises(SecretsFileRefused) as caught:
        TokenFile(SecretsFile(path)).current()
    told = str(caught.value).partition(" is refused: ")[2]
    assert told.startswith(line)
    assert line or "line" not in told


def test_a_file_that_others_can_read_closes(path: Path) -> None:
    file = TokenFile(SecretsFile(path))
    path.chmod(0o640)
    with pytest.raises(SecretsFileRefused, match="its mode is 0640"):
        file.current()


def test_no_value_is_in_what_can_be_shown(path: Path) -> None:
    secrets = SecretsFile(path)
    tokens = TokenFile(secrets).current()
    token = tokens.match(ADA)
    assert token is not None
    shown = f"{token!r} {tokens!r} {secrets!r} {secrets._content()!r} {vars(tokens)}"
    assert ADA not in shown
    assert "digest" not in repr(token)
    assert ADA.encode() not in pickle.dumps(token.digest)
