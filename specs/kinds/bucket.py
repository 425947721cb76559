"""Bucket: a place for objects. What is stored in it, and under which keys, is no concern of the spec."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from specs.model import Fault, Part, Spec, dump, refuse
from specs.resource import Key
from specs.scalars import Duration, Name, Opt, Text, plain_path


def _name_of_a_secret(given: object) -> object:
    """Refuses what may be the secret itself, without repeating it."""
    if isinstance(given, str) and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", given):
        raise refuse("needs the name of a secret: letters, digits, `-`, `_` and `.`", "keep the value itself out of specs")
    return given


def _no_plain_secret(given: object) -> object:
    if not isinstance(given, (dict, SecretReference)):
        raise refuse("needs an object as in {secret: NAME}", "keep the value itself out of specs")
    return given


def _url(given: str) -> str:
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise refuse("needs a URL as in https://s3.example.com:9000")
    if parts.username is not None or parts.password is not None:
        raise refuse("holds a user name or password", "name them by `credentials`")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise refuse("needs a server without a path", "write the path as `bucket` and `prefix`")
    return given.rstrip("/")


class SecretReference(Part):
    """The name under which the secrets provider knows a credential."""

    secret: Annotated[str, BeforeValidator(_name_of_a_secret)] = Field(
        description="The name of the secret; its value is never written in a spec."
    )


Secret = Annotated[SecretReference, BeforeValidator(_no_plain_secret)]


class LocalBackend(Part):
    """A folder on this machine."""

    path: Annotated[Text, AfterValidator(plain_path)] = Field(description="The folder; a relative path counts from the repository's root.")


class S3Backend(Part):
    """A bucket of Amazon S3 or of any server that speaks its protocol."""

    bucket: Text = Field(description="The bucket's name on the server.")
    endpoint: Opt[Annotated[Text, AfterValidator(_url)]] = Field(
        default=None, description="The server's URL; left out, Amazon's own for the region."
    )
    region: Opt[Text] = Field(default=None, description="The region, as in us-east-1.")
    credentials: Opt[Secret] = Field(
        default=None, description="The secret with access_key_id and secret_access_key; left out, requests are unsigned."
    )


class GcsBackend(Part):
    """A bucket of Google Cloud Storage. Untested: no server of it runs on a machine of ours."""

    bucket: Text = Field(description="The bucket's name.")
    endpoint: Opt[Annotated[Text, AfterValidator(_url)]] = Field(default=None, description="The server's URL; left out, Google's own.")
    credentials: Opt[Secret] = Field(
        default=None, description="The secret with service_account_key, the JSON of a key; left out, requests are unsigned."
    )


class AzureBackend(Part):
    """A container of Azure Blob Storage. Untested: no server of it runs on a machine of ours."""

    container: Text = Field(description="The container's name.")
    account: Text = Field(description="The storage account's name.")
    endpoint: Opt[Annotated[Text, AfterValidator(_url)]] = Field(default=None, description="The server's URL; left out, Azure's own.")
    credentials: Opt[Secret] = Field(default=None, description="The secret with account_key; left out, requests are unsigned.")


class MemoryBackend(Part):
    """A bucket that is gone when the process ends: for tests and scratch data."""


class Rescue(Part):
    """Another bucket that answers reads which this one cannot."""

    bucket: Name = Field(description="The rescue bucket's name.")
    mirror: bool = Field(default=False, description="Whether this bucket's objects are copied there continuously.")


class BucketSpec(Spec):
    """A place for objects: exactly one of local, s3, memory, gcs, azure."""

    one_of: ClassVar = ("local", "s3", "memory", "gcs", "azure")

    local: Opt[LocalBackend] = Field(default=None, description="A folder on this machine.")
    s3: Opt[S3Backend] = Field(default=None, description="An S3-compatible server.")
    memory: Opt[MemoryBackend] = Field(default=None, description="Memory of the daemon; write `memory: {}`.")
    gcs: Opt[GcsBackend] = Field(default=None, description="Google Cloud Storage (untested).")
    azure: Opt[AzureBackend] = Field(default=None, description="Azure Blob Storage (untested).")
    prefix: str = Field(default="", description="Put before every key, so that several lakes can share one bucket.")
    rescue: Opt[Rescue] = Field(default=None, description="The bucket that answers when this one cannot.")
    timeout: Duration = Field(
        default=timedelta(seconds=30),
        description="How long one request to an object service may take, retries included, before it counts as failed.",
    )
    retention: Opt[Duration] = Field(
        default=None, description="How long objects that nothing refers to are kept; left out, the daemon's setting."
    )

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Fault]:
        """A prefix stays inside the bucket."""
        prefix = given.get("prefix")
        if isinstance(prefix, str) and (prefix.startswith("/") or ".." in prefix.split("/")):
            yield Fault("`prefix` must be relative and without `..`", ("prefix",))

    def faults_of(self, name: str) -> Iterator[Fault]:
        """Another bucket rescues this one. Two that rescue each other are fine: a read asks the rescue bucket, and no further."""
        if self.rescue is not None and self.rescue.bucket == name:
            yield Fault("`rescue.bucket` names this very bucket", ("rescue", "bucket"), "name another bucket, or leave `rescue` out")


def references(spec: BucketSpec) -> Iterator[Key]:
    """The rescue bucket."""
    if spec.rescue is not None:
        yield Key("Bucket", spec.rescue.bucket)


def transformation(spec: BucketSpec) -> Mapping[str, object]:
    """Where objects are: how long an operation may take changes none of them."""
    return dump(spec, "local", "s3", "memory", "gcs", "azure", "prefix")
