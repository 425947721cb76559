"""Two readers of the demo's lake: each sees what its profile binds, less what policies hide, and the audit tells of both.

Next: `demo.py`, which runs this between its other steps.
"""

from __future__ import annotations

from examples.demo_lakehouse import Unexpected, heading, refused, show, shown

RECRUITER, ASSISTANT = "staffing-recruiter", "docs-assistant"
BY_STATUS = "SELECT status, count(*) AS candidates, max(phone) AS a_phone FROM candidates GROUP BY 1 ORDER BY 1"
HIDDEN = "do not contact"


def meet(question: str) -> None:
    """What each finds, and what it does not. question: that the documentation answers."""
    heading("Two readers: a recruiter sees neither whom not to contact nor whole phones")
    show("query", BY_STATUS)
    told = shown("--as", RECRUITER, "query", BY_STATUS)
    if HIDDEN in told:
        raise Unexpected(f"a recruiter sees who is {HIDDEN!r}")
    heading("For an assistant of the documentation there is no such table")
    refused("--as", ASSISTANT, "query", BY_STATUS)
    show("--as", ASSISTANT, "search", "docs", question, "-k", "1")
    heading("The audit says who touched what")
    told = shown("audit", "--group", "profile,table,outcome")
    if RECRUITER not in told or ASSISTANT not in told:
        raise Unexpected("the audit does not tell of both readers")
