"""Two readers of the demo's lake: each finds what its profile binds, less what policies hide, by a commit as well; the audit tells of both.

Next: `demo.py`, which runs this between its other steps.
"""

from __future__ import annotations

from examples.demo_lakehouse import DEMO, Unexpected, commit, console, heading, refused, show, shown

RECRUITER, ASSISTANT = "staffing-recruiter", "docs-assistant"
BY_STATUS = """
SELECT status, count(*) AS candidates, max(phone) AS a_phone
FROM candidates GROUP BY status ORDER BY status"""
TABLES = "SELECT table_name FROM system.datasets"
HIDDEN = "do not contact"
RULE, STRICTER = f"status <> '{HIDDEN}'", "status = 'active'"
TOUCHED = ("audit", "--model", "builtin", "--group", "profile,index,table,column")


def meet(question: str) -> None:
    """What each finds, and what it does not. question: that the documentation answers."""
    heading("Two readers: a recruiter sees neither whom not to contact nor whole phones")
    show("query", BY_STATUS)
    told = shown("--as", RECRUITER, "query", BY_STATUS)
    if HIDDEN in told or "passive" not in told:
        raise Unexpected(f"a recruiter sees who is {HIDDEN!r}, or too little")
    show("--as", RECRUITER, "search", "resumes", "Java services for a bank", "-k", "1")
    heading("For an assistant of the documentation there is nothing of staffing")
    refused("--as", ASSISTANT, "query", BY_STATUS)
    refused("--as", ASSISTANT, "search", "resumes", "java")
    told = shown("--as", ASSISTANT, "query", TABLES)
    if "candidates" in told or "docs" not in told:
        raise Unexpected("the assistant is told of other tables than its own")
    show("--as", ASSISTANT, "search", "docs", question, "-k", "1")
    heading("A policy that a commit changes is in force for the next query")
    _tighten()
    told = shown("--as", RECRUITER, "query", BY_STATUS)
    if "passive" in told or "active" not in told:
        raise Unexpected("the recruiter sees what the policy hides by now")
    heading("The audits of both, and of the model that they searched by, say who touched what")
    _account()


def _tighten() -> None:
    path = DEMO / "specs" / "staffing" / "policies.yaml"
    before = path.read_text()
    if RULE not in before:
        raise Unexpected(f"{path} has no rule {RULE!r}")
    path.write_text(before.replace(RULE, STRICTER))
    console.print(f'   [red]- {{roles: \\[recruiter], where: "{RULE}"}}[/]\n   [green]+ {{roles: \\[recruiter], where: "{STRICTER}"}}[/]')
    commit("Recruiters see active candidates")


def _account() -> None:
    told = {profile: shown("audit", "--profile", profile) for profile in (RECRUITER, ASSISTANT)}
    if "candidates(phone, status)" not in told[RECRUITER] or "docs(text)" not in told[ASSISTANT]:
        raise Unexpected("the audit does not say which columns were touched")
    by_model = shown(*TOUCHED)
    if RECRUITER not in by_model or ASSISTANT not in by_model:
        raise Unexpected("the audit of the model does not tell of both readers")
