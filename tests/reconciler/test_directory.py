"""Who a request speaks for: without tokens, with them, and when they, profiles and policies change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from harness_secrets import write_private

from engines.errors import ProfileUnknown, ReaderRefused, ReadersClosed, TokenRefused
from engines.policies.governed import Governed
from engines.reading import ANONYMOUS, Binding, Reader, Rules, TableName, decide
from reconciler.directory import Directory
from specs.kinds.profile import ProfileSpec
from state.secrets import SecretsFile
from state.tokens import TokenFile

ADA, ROLE, OPS = "ada-0123456789abcdef", "role-0123456789abcdef", "ops-0123456789abcdef"
TOKENS = f"""
[tokens.ada]
value = "{ADA}"
profile = "recruiting"
attributes = {{region = "EU"}}

[tokens.auditor]
value = "{ROLE}"
role = "auditor"

[tokens.ops]
value = "{OPS}"
role = "operator"
"""


class Policies:
    def __init__(self, closed: str | None = None) -> None:
        self.closed = closed

    def governed(self, dataset: str) -> Governed | None:
        return Governed(closed=self.closed) if self.closed is not None else None


@dataclass
class Lake:
    """What the directory looks at."""

    path: Path
    profiles: dict[str, ProfileSpec] = field(default_factory=dict)
    rules: Rules = field(default_factory=Policies)
    read: bool = True
    told: list[str | None] = field(default_factory=list)

    def open(self) -> Directory:
        return Directory(
            TokenFile(SecretsFile(self.path)),
            self.profiles.get,
            rules=lambda: self.rules,
            in_force=lambda: self.read,
            told=self.told.append,
        )

    def write(self, text: str) -> None:
        write_private(self.path, text)


def profile(**fields: Any) -> ProfileSpec:
    return ProfileSpec.model_validate(fields)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    recruiting = profile(datasets=["candidates", "placements"], indexes=["resumes"], role="recruiter", trusted=True, at=3)
    return Lake(tmp_path / "secrets.toml", {"recruiting": recruiting, "nothing": profile()})


@pytest.fixture
def guarded(lake: Lake) -> Lake:
    lake.write(TOKENS)
    return lake


def bearer(value: str) -> str:
    return f"Bearer {value}"


class TestWithoutTokens:
    def test_whoever_comes_is_the_operator(self, lake: Lake) -> None:
        directory = lake.open()
        assert directory.open
        assert directory.reader_of(None, None) == ANONYMOUS
        assert directory.reader_of(None, None, "archive").bucket == "archive"

    def test_a_lake_that_began_with_tokens_never_opens(self, lake: Lake) -> None:
        """Where the file was emptied, or is being written, before the first who asks."""
        lake.write("")
        directory = Directory(TokenFile(SecretsFile(lake.path)), lake.profiles.get, asks=True)
        assert not directory.open
        for authorization, name in ((None, None), (None, "recruiting"), (bearer(OPS), None)):
            with pytest.raises(TokenRefused):
                directory.reader_of(authorization, name)
        lake.write(TOKENS)
        assert directory.reader_of(bearer(OPS), None).operator

    def test_the_header_makes_it_a_profile(self, lake: Lake) -> None:
        reader = lake.open().reader_of(None, "recruiting")
        binding = Binding(frozenset({"candidates", "placements"}), frozenset({"resumes"}))
        assert reader == Reader(profile="recruiting", role="recruiter", binding=binding, at=3, trusted=True)
        assert reader.rules is lake.rules

    def test_a_profile_that_binds_nothing_sees_nothing(self, lake: Lake) -> None:
        reader = lake.open().reader_of(None, "nothing")
        assert (reader.binding, reader.operator, reader.trusted, reader.at) == (Binding(), False, False, None)
        assert not decide(reader, TableName("candidates", "primary"), "read").allowed

    def test_an_unknown_profile_says_nothing_else(self, lake: Lake) -> None:
        for name in ("hr", "", "recruiting, recruiting", "Recruiting", "*"):
            with pytest.raises(ProfileUnknown) as caught:
                lake.open().reader_of(None, name)
            assert (str(caught.value), caught.value.remedy) == (f"There is no profile {name!r}.", None)

    def test_a_token_that_nobody_asked_for_is_refused(self, lake: Lake) -> None:
        with pytest.raises(TokenRefused):
            lake.open().reader_of(bearer(ADA), None)


class TestWithTokens:
    def test_a_token_of_a_profile(self, guarded: Lake) -> None:
        reader = guarded.open().reader_of(bearer(ADA), None)
        assert (reader.token, reader.profile, reader.role, dict(reader.attributes)) == ("ada", "recruiting", "recruiter", {"region": "EU"})
        assert not reader.operator
        assert guarded.open().reader_of(bearer(ADA), "recruiting") == reader

    def test_a_role_of_the_token_stands_instead_of_the_profiles(self, guarded: Lake) -> None:
        guarded.write(TOKENS.replace('profile = "recruiting"', 'profile = "recruiting"\nrole = "lead"'))
        assert guarded.open().reader_of(bearer(ADA), None).role == "lead"

    def test_a_token_of_a_role_is_bound_to_nothing_by_name(self, guarded: Lake) -> None:
        reader = guarded.open().reader_of(bearer(ROLE), None)
        assert reader == Reader("auditor", role="auditor")
        assert (reader.operator, reader.trusted, reader.binding) == (False, False, None)

    def test_the_operators_token_may_look_as_a_profile(self, guarded: Lake) -> None:
        directory = guarded.open()
        assert not directory.open
        assert directory.reader_of(bearer(OPS), None) == Reader("ops", operator=True, trusted=True)
        looking = directory.reader_of(bearer(OPS), "recruiting")
        assert (looking.token, looking.profile, looking.role, looking.operator) == ("ops", "recruiting", "recruiter", False)
        with pytest.raises(ProfileUnknown):
            directory.reader_of(bearer(OPS), "hr")

    @pytest.mark.parametrize("value", [ADA, ROLE])
    @pytest.mark.parametrize("other", ["nothing", "hr", ""])
    def test_no_other_may(self, guarded: Lake, value: str, other: str) -> None:
        with pytest.raises(ReaderRefused, match="may name no other profile"):
            guarded.open().reader_of(bearer(value), other)

    @pytest.mark.parametrize(
        "given",
        [
            None,
            "",
            "Bearer",
            "Bearer ",
            ADA,
            f"Basic {ADA}",
            bearer(ADA[:-1]),
            bearer(ADA) + ", " + bearer(ADA),
            "Bearer ada",
            "Bearer \udcff",
        ],
    )
    def test_without_a_known_token_nobody_is_let_in(self, guarded: Lake, given: str | None) -> None:
        for name in (None, "recruiting"):
            with pytest.raises(TokenRefused) as caught:
                guarded.open().reader_of(given, name)
            assert (str(caught.value), caught.value.profile_unknown) == ("A token that is known here is needed.", False)

    def test_the_scheme_is_read_in_any_case(self, guarded: Lake) -> None:
        assert guarded.open().reader_of(f"bearer {ADA}", None).token == "ada"


class TestChanges:
    def test_a_token_is_rotated_and_revoked(self, guarded: Lake) -> None:
        directory = guarded.open()
        reader = directory.reader_of(bearer(ADA), None)
        guarded.write(TOKENS.replace(ADA, "next-0123456789abcdef"))
        with pytest.raises(TokenRefused):
            directory.reader_of(bearer(ADA), None)
        assert directory.reader_of(bearer("next-0123456789abcdef"), None) == reader == directory.current(reader)
        guarded.write(TOKENS.replace("[tokens.ada]", "[tokens.eve]"))
        with pytest.raises(TokenRefused, match="revoked"):
            directory.current(reader)

    @pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_text("")])
    def test_the_last_token_that_goes_lets_nobody_in(self, guarded: Lake, change: Callable[[Path], object]) -> None:
        directory = guarded.open()
        operator = directory.reader_of(bearer(OPS), None)
        change(guarded.path)
        for given in (None, bearer(OPS)):
            with pytest.raises(TokenRefused):
                directory.reader_of(given, None)
        with pytest.raises(TokenRefused):
            directory.current(operator)
        assert not directory.open

    def test_the_first_token_closes_at_once(self, lake: Lake) -> None:
        directory = lake.open()
        assert directory.reader_of(None, None).operator
        lake.write(TOKENS)
        with pytest.raises(TokenRefused):
            directory.reader_of(None, None)

    def test_a_faulty_file_lets_nobody_in_and_is_told_once(self, guarded: Lake) -> None:
        directory = guarded.open()
        reader = directory.reader_of(bearer(ADA), None)
        assert list(directory.missing()) == []
        guarded.write(TOKENS + "[tokens.b]\nvalue = 'short'\nrole='r'")
        for _ in range(2):
            for ask in (lambda: directory.reader_of(bearer(OPS), None), lambda: directory.current(reader)):
                with pytest.raises(ReadersClosed) as caught:
                    ask()
                assert str(guarded.path) not in caught.value.explain()
        assert list(directory.missing()) == ["Nobody is let in: the file of tokens is refused."]
        assert len(guarded.told) == 1
        assert "`tokens.b` is weak" in str(guarded.told[0])
        guarded.write(TOKENS)
        assert directory.current(reader) == reader
        assert guarded.told[1:] == [None]

    def test_a_profile_that_is_removed_is_unknown_and_its_token_refused(self, guarded: Lake) -> None:
        directory = guarded.open()
        ada, looking = directory.reader_of(bearer(ADA), None), directory.reader_of(bearer(OPS), "recruiting")
        del guarded.profiles["recruiting"]
        with pytest.raises(TokenRefused) as refused:
            directory.reader_of(bearer(ADA), None)
        assert refused.value.profile_unknown
        with pytest.raises(TokenRefused):
            directory.current(ada)
        with pytest.raises(ProfileUnknown):
            directory.current(looking)

    def test_a_profile_that_is_edited_holds_for_readers_that_came_before(self, guarded: Lake) -> None:
        directory = guarded.open()
        ada = directory.reader_of(bearer(ADA), None, "archive")
        guarded.profiles["recruiting"] = profile(datasets=["placements"], role="clerk")
        now = directory.current(ada)
        assert (now.role, now.binding, now.at, now.trusted, now.bucket, now.token) == (
            "clerk", Binding(frozenset({"placements"})), None, False, "archive", "ada",
        )  # fmt: skip

    def test_policies_in_force_are_those_of_the_moment(self, guarded: Lake) -> None:
        directory = guarded.open()
        readers = [
            directory.reader_of(bearer(ADA), None),
            directory.reader_of(bearer(ROLE), None),
            Reader(role="case", rules=guarded.rules, asked_by="ops"),
        ]
        guarded.rules = Policies("closed now")
        for reader in readers:
            assert decide(reader, TableName("candidates", "primary"), "read").allowed
            assert decide(directory.current(reader), TableName("candidates", "primary"), "read").closed == "closed now"
        assert directory.reader_of(bearer(ADA), None).rules is guarded.rules
        assert directory.current(readers[-1]) == readers[-1]

    def test_the_operator_of_this_process_stays_it(self, guarded: Lake) -> None:
        assert guarded.open().current(ANONYMOUS) is ANONYMOUS

    def test_before_specs_were_read_nobody_is_let_in_but_the_operator(self, guarded: Lake) -> None:
        guarded.read = False
        directory = guarded.open()
        assert directory.reader_of(bearer(OPS), None).operator
        for given, name in ((ADA, None), (ROLE, None), (OPS, "recruiting")):
            with pytest.raises(ReadersClosed, match="not been read yet"):
                directory.reader_of(bearer(given), name)

    def test_a_profile_is_made_once_as_long_as_nothing_changes(self, guarded: Lake) -> None:
        directory = guarded.open()
        assert directory.profile("recruiting") is directory.profile("recruiting")


def test_an_instant_is_as_versions_are_found_by(lake: Lake) -> None:
    lake.profiles["then"] = profile(at="2026-01-31T09:00:00+01:00")
    assert lake.open().profile("then").at == "2026-01-31T08:00:00.000Z"
