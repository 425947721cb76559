"""Errors of ours as they are told to readers who are no operators."""

from __future__ import annotations

import pytest

from engines.errors import BuildFailed, ModelWaits, QueryInvalid, TableUnknown
from engines.plain_errors import plainly
from engines.reading import ANONYMOUS, Reader
from specs.errors import LakehouseError
from state.errors import BucketUnavailable, ObjectCorrupt, ObjectMissing

OURS = (
    ObjectMissing("vault", "tables/secret/a.parquet"),
    ObjectCorrupt("vault", "tables/secret/a.parquet", expected="1 byte", found="none"),
    BucketUnavailable("vault", "get", "no route to secret.example"),
    ModelWaits("nomic is not loaded: secret is loaded for Profile/vault.", remedy="Raise it for secret."),
    BuildFailed("/lake/vault/secret.graph is none."),
)


@pytest.mark.parametrize("error", OURS, ids=lambda error: type(error).__name__)
def test_what_is_ours_is_told_by_its_kind(error: LakehouseError) -> None:
    before = error.explain()
    with pytest.raises(type(error)) as raised, plainly(Reader(role="clerk")):
        raise error
    assert raised.value.slug == error.slug
    assert not [word for word in ("vault", "secret", "/lake") if word in raised.value.explain()]
    assert error.explain() == before
    with pytest.raises(type(error)) as raised, plainly(ANONYMOUS):
        raise error
    assert raised.value is error


@pytest.mark.parametrize("error", [QueryInvalid("There is no column `x`."), TableUnknown("There is no table `x`.")])
def test_what_is_asked_wrongly_is_told_as_it_is(error: LakehouseError) -> None:
    with pytest.raises(type(error)) as raised, plainly(Reader(role="clerk")):
        raise error
    assert raised.value is error
