"""Former versions and schemas show no more than the present."""

from __future__ import annotations

from engines.policies.former import columns_then, masks_then
from engines.policies.governed import Mask
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Table

FIRST = Schema(1, (Column(1, "id", "int64"), Column(2, "phone", "string"), Column(3, "name", "string"), Column(6, "old", "string")))
SECOND = Schema(2, (Column(1, "id", "int64"), Column(2, "mobile", "string"), Column(4, "phone", "string"), Column(5, "first", "string")))
NOW, THEN = Table("people", 2, schemas=(FIRST, SECOND)), Table("people", 1, schemas=(SECOND, FIRST))
HASH = Mask("hash")


def test_a_column_is_masked_under_each_of_its_names_and_no_other_for_its_sake() -> None:
    assert masks_then({"mobile": HASH}, NOW, THEN) == {"phone": HASH, "name": Mask("null"), "old": Mask("null")}
    assert masks_then({"phone": HASH}, NOW, THEN) == {"name": Mask("null"), "old": Mask("null")}


def test_who_sees_every_value_sees_those_of_columns_that_are_gone() -> None:
    assert masks_then({}, NOW, THEN) == {}


def test_nothing_is_another_under_the_present_schema() -> None:
    masks = {"mobile": HASH}
    assert masks_then(masks, NOW, Table("people", 1, schemas=(FIRST, SECOND))) is masks


def test_filters_find_columns_by_what_they_are_called_there() -> None:
    assert columns_then(NOW, THEN) == {"id": "id", "mobile": "phone", "phone": None, "first": None}
    assert columns_then(NOW, NOW)["mobile"] == "mobile"
