"""Where credentials come from, what is refused, and that nothing repeats them."""

from __future__ import annotations

import os
import pickle
import traceback
from pathlib import Path

import pytest
from harness_secrets import write_private

from state.errors import SecretFieldMissing, SecretMissing, SecretsFileRefused
from state.secrets import EnvironmentSecrets, Secret, Secrets, SecretsFile, check_secrets, secrets_here, secrets_path

CANARY = "canary-7f3a"
TEXT = f'[archive-keys]\naccess_key_id = "AK"\nsecret_access_key = "{CANARY}"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_private(tmp_path / "secrets.toml", TEXT)


class TestFile:
    def test_a_secret_by_name(self, path: Path) -> None:
        secret = SecretsFile(path).find("archive-keys")
        assert secret is not None
        assert (secret.field("access_key_id"), secret.field("secret_access_key"), secret.optional("session_token")) == ("AK", CANARY, None)
        assert SecretsFile(path).find("other") is None
        with pytest.raises(SecretFieldMissing, match="'archive-keys' has no 'account_key'"):
            secret.field("account_key")

    def test_none_is_no_error_and_one_that_comes_is_seen(self, tmp_path: Path, path: Path) -> None:
        later = SecretsFile(tmp_path / "later.toml")
        later.check()
        assert later.find("archive-keys") is None
        path.rename(tmp_path / "later.toml")
        assert later.find("archive-keys") is not None

    def test_a_change_is_followed(self, path: Path) -> None:
        file = SecretsFile(path)
        before = file.find("archive-keys")
        assert file.find("archive-keys") == before
        path.write_text(TEXT.replace("AK", "BK"))
        after = file.find("archive-keys")
        assert after is not None
        assert (after == before, after.field("access_key_id")) == (False, "BK")

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700, 0o400])
    def test_another_mode_is_refused(self, path: Path, mode: int) -> None:
        path.chmod(mode)
        with pytest.raises(SecretsFileRefused, match=f"its mode is {mode:04o}, and must be 0600") as caught:
            SecretsFile(path).check()
        assert caught.value.remedy == f"chmod 600 {path}"

    def test_one_that_is_opened_later_is_refused_then(self, path: Path) -> None:
        file = SecretsFile(path)
        file.check()
        path.chmod(0o644)
        with pytest.raises(SecretsFileRefused):
            file.find("archive-keys")

    def test_another_owner_is_refused(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
        with pytest.raises(SecretsFileRefused, match="it belongs to user"):
            SecretsFile(path).check()

    def test_a_symlink_a_folder_and_a_pipe_are_refused(self, path: Path, tmp_path: Path) -> None:
        link, folder, pipe = tmp_path / "link", tmp_path / "folder", tmp_path / "pipe"
        link.symlink_to(path)
        folder.mkdir(mode=0o600)
        os.mkfifo(pipe, 0o600)
        for place, reason in ((link, "it is a symlink"), (folder, "it is no regular file"), (pipe, "it is no regular file")):
            with pytest.raises(SecretsFileRefused, match=reason):
                SecretsFile(place).check()

    @pytest.mark.parametrize(
        "text", [f'a = "{CANARY}"', f'[a]\nb = ["{CANARY}"]', f"[a]\nb = {CANARY}", f'[a]\nb = "{CANARY}', f"\xff{CANARY}"]
    )
    def test_what_is_no_table_of_strings_is_refused_without_repeating_it(self, path: Path, text: str) -> None:
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(SecretsFileRefused) as caught:
            SecretsFile(path).check()
        assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_the_environment_comes_second(path: Path) -> None:
    environ = {
        "LAKEHOUSE_SECRET__ARCHIVE_KEYS__ACCESS_KEY_ID": "from the environment",
        "LAKEHOUSE_SECRET__OTHER_KEYS_2__ACCESS_KEY_ID": "other",
    }
    secrets = Secrets((SecretsFile(path), EnvironmentSecrets(environ)), "a place, or {variable}<FIELD>")
    assert secrets.get("archive-keys").field("access_key_id") == "AK"
    assert secrets.get("other.keys-2").field("access_key_id") == "other"
    with pytest.raises(SecretMissing, match="no secret 'no-thing'") as caught:
        secrets.get("no-thing")
    assert caught.value.remedy == "Put it into a place, or LAKEHOUSE_SECRET__NO_THING__<FIELD>."


def test_the_file_of_this_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("state.secrets.SYSTEM_FILE", tmp_path / "etc.toml")
    assert secrets_path({"HOME": "/home/me"}) == Path("/home/me/.config/lakehouse/secrets.toml")
    assert secrets_path({"HOME": "/home/me", "XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "lakehouse" / "secrets.toml"
    (tmp_path / "etc.toml").write_text(TEXT)
    assert secrets_path({"HOME": "/home/me"}) == tmp_path / "etc.toml"
    with pytest.raises(SecretsFileRefused, match="must be 0600"):
        check_secrets({})
    (tmp_path / "etc.toml").chmod(0o600)
    check_secrets({})
    assert secrets_here({}).get("archive-keys").field("access_key_id") == "AK"


def test_nothing_repeats_a_value() -> None:
    secret = Secret("keys", {"secret_access_key": CANARY, "empty": ""})
    assert CANARY not in f"{secret} {secret!r} {[secret]}"
    assert secret.redact(f"signed with {CANARY}!") == "signed with [redacted]!"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
