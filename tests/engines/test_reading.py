"""The choke point: an operator sees all, others what is bound to them less what policies hide, and nothing by accident."""

from itertools import permutations

import pytest

from engines.policies.governed import Governed, Mask, MaskRule, PolicyRules, RowRule
from engines.reading import ANONYMOUS, Action, Binding, BucketName, IndexName, Readable, Reader, TableName, decide

RECRUITER = frozenset({"recruiter"})
ROWS = PolicyRules("callable", rows=(RowRule(RECRUITER, "status <> 'do_not_call'"), RowRule(frozenset({"admin"}), "true")))
REGION = PolicyRules("region", rows=(RowRule(RECRUITER | {"temp"}, "region = $region"),))


class Rules:
    def __init__(self, **governed: Governed) -> None:
        self._governed = governed

    def governed(self, dataset: str) -> Governed | None:
        return self._governed.get(dataset)


@pytest.mark.parametrize("name", [TableName("people"), TableName("system.audit"), IndexName("notes"), BucketName("primary")])
@pytest.mark.parametrize("action", ["read", "search", "describe"])
def test_the_operator_sees_all_and_a_reader_without_bindings_nothing(name: Readable, action: Action) -> None:
    assert decide(ANONYMOUS, name, action).whole
    bound = decide(Reader(profile="guest", binding=Binding()), name, action)
    assert bound.allowed == (action == "search" and name == TableName("people"))  # of rows, whoever bound the index


def test_a_profile_sees_what_it_binds() -> None:
    reader = Reader(profile="p", binding=Binding(frozenset({"job-orders"}), frozenset({"notes"})))
    assert decide(reader, TableName("job_orders"), "read").whole
    assert decide(reader, IndexName("notes"), "search").whole
    assert not decide(reader, TableName("people"), "read").allowed
    assert not decide(reader, IndexName("resumes"), "search").allowed
    assert not decide(reader, TableName("system.journal"), "read").allowed


def test_a_bucket_keeps_an_operator_too() -> None:
    reader = Reader(operator=True, bucket="archive")
    assert decide(reader, TableName("people", "archive"), "read").whole
    assert not decide(reader, TableName("people", "primary"), "read").allowed


def test_rules_of_a_policy_permit_and_policies_restrict() -> None:
    governed = Governed((ROWS, REGION))
    assert governed.shown_to("recruiter").row_filter == "((status <> 'do_not_call')) AND ((region = $region))"
    assert governed.shown_to("admin").row_filter == "false"
    assert governed.shown_to(None).row_filter == "false"
    assert Governed((PolicyRules("masks only"),)).shown_to(None).row_filter is None


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        (Mask("lastFour"), Mask("redact"), Mask("redact")),
        (Mask("lastFour"), Mask("firstFour"), Mask("null")),
        (Mask("hash"), Mask("year"), Mask("hash")),
        (Mask("expression", "upper(a)"), Mask("expression", "upper(a)"), Mask("expression", "upper(a)")),
        (Mask("constant", '"x"'), Mask("constant", '"y"'), Mask("null")),
        (Mask("null"), Mask("hash"), Mask("null")),
    ],
)
def test_the_stricter_mask_is_shown(one: Mask, other: Mask, shown: Mask) -> None:
    for first, second in [(one, other), (other, one)]:
        policies = tuple(PolicyRules(f"p{n}", masks=(MaskRule(frozenset({"a"}), m),)) for n, m in enumerate((first, second)))
        assert Governed(policies).shown_to("clerk").masks == {"a": shown}


def test_the_order_of_policies_says_nothing() -> None:
    rules = [PolicyRules(kind, masks=(MaskRule(frozenset({"a"}), Mask(kind)),)) for kind in ("lastFour", "firstFour", "redact")]  # type: ignore[arg-type]
    shown = {Governed(tuple(policies)).shown_to("clerk").masks["a"] for policies in permutations(rules)}
    assert shown == {Mask("null")}  # as of the two parts without the third


def test_masks_hold_for_roles_or_for_all_but_some() -> None:
    of_role = MaskRule(frozenset({"phone"}), Mask("lastFour"), roles=RECRUITER)
    of_others = MaskRule(frozenset({"email"}), Mask("redact"), excepted=RECRUITER)
    governed = Governed((PolicyRules("p", masks=(of_role, of_others)),))
    assert governed.shown_to("recruiter").masks == {"phone": Mask("lastFour")}
    assert governed.shown_to("temp").masks == {"email": Mask("redact")}
    assert governed.shown_to(None).masks == {"email": Mask("redact")}


def test_what_a_decision_says_of_a_governed_table() -> None:
    rules = Rules(people=Governed((REGION,)), gone=Governed(closed="its only policy was removed"))
    reader = Reader(profile="p", role="temp", attributes={"region": "north", "role": "admin"}, rules=rules)
    decision = decide(reader, TableName("people"), "read")
    assert not decision.whole
    assert decision.row_filter == "(region = $region)"
    assert decision.values == {"region": "north", "role": "temp", "profile": "p"}
    assert decision.policies == ("region",)
    closed = decide(reader, TableName("gone"), "read")
    assert not closed.allowed
    assert closed.closed is not None
    assert decide(Reader(operator=True, rules=rules), TableName("gone"), "read").whole
