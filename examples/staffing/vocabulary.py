"""The words of the staffing example: names, places, roles, employers, sentences. Tables of data, no code.

Weights are expressed by repetition, so that a pick is one index into a tuple. Next: `rows.py`, which puts them together.
"""

from __future__ import annotations

from typing import NamedTuple


class City(NamedTuple):
    """A place; zip_prefix is the first three digits, which may be zeros."""

    name: str
    state: str
    zip_prefix: str
    area: str


class Role(NamedTuple):
    """A profession: its title, what one knows, and sentences that a resume of it may hold."""

    title: str
    short: str
    skills: tuple[str, ...]
    sentences: tuple[str, ...]


FIRST_NAMES = (
    "James", "Mary", "José", "Zoë", "Robert", "Patricia", "Renée", "Linda", "David", "Björn", "Aisha", "Wei", "Priya", "Carlos", "Siobhán",
    "Olga", "Kenji", "Fatima", "Liam", "Emma", "Noah", "Sofía", "André", "Chloé", "Ivan", "Mei", "Omar", "Hannah", "Łukasz", "Grace",
)  # fmt: skip
LAST_NAMES = (
    "Smith", "Johnson", "Muñoz", "O'Brien", "García", "Nguyen", "Müller", "Patel", "Kim", "Kowalski", "Brown", "Davis", "Martínez",
    "Okafor", "Lefèvre", "Schmidt", "Rossi", "Haddad", "Tanaka", "Andersson", "Silva", "Cohen", "Murphy", "Singh", "Novak", "Yilmaz",
    "Jones", "Dubois",
)  # fmt: skip

CHICAGO = City("Chicago", "IL", "606", "312")
CITIES = (
    CHICAGO, CHICAGO, CHICAGO, CHICAGO,
    City("Boston", "MA", "021", "617"), City("Newark", "NJ", "071", "973"), City("Hartford", "CT", "061", "860"),
    City("New York", "NY", "100", "212"), City("New York", "NY", "100", "646"), City("Austin", "TX", "787", "512"),
    City("Denver", "CO", "802", "303"), City("Seattle", "WA", "981", "206"), City("Atlanta", "GA", "303", "404"),
    City("Portland", "ME", "041", "207"), City("Phoenix", "AZ", "850", "602"), City("San José", "CA", "951", "408"),
)  # fmt: skip

JAVA = Role(
    "Java Developer",
    "Java Dev",
    ("Java", "Spring Boot", "Kafka", "Hibernate", "Maven", "PostgreSQL", "Kubernetes", "JUnit"),
    (
        "Moved a monolith of forty modules to Spring Boot services without a day of downtime.",
        "Tuned garbage collection of a trading gateway until the slowest percentile fell below five milliseconds.",
        "Wrote the Kafka consumers that settle two million card payments a night.",
        "Replaced hand-written SQL by Hibernate where it paid, and took it out again where it did not.",
        "Runs the platform on Kubernetes, including the pager.",
    ),
)
ROLES = (
    JAVA, JAVA, JAVA,
    Role("Python Developer", "Python Dev", ("Python", "Django", "FastAPI", "Celery", "PostgreSQL", "pytest", "Docker"), (
        "Built the pricing API of an insurer with FastAPI and kept its tests under a minute.",
        "Turned a nightly batch of spreadsheets into a queue of Celery tasks that can be retried.",
        "Maintains an open source library for reading bank statements.",
        "Introduced type checking to a code base of two hundred thousand lines.")),
    Role("JavaScript Developer", "JS Dev", ("JavaScript", "TypeScript", "React", "Node.js", "GraphQL", "CSS", "Playwright"), (
        "Rewrote a checkout in React and halved the number of abandoned carts.",
        "Made a design system that six teams use, with screenshots compared on every change.",
        "Cares about keyboard access and screen readers, and tests with people who need them.")),
    Role("Data Engineer", "Data Eng", ("SQL", "Spark", "Airflow", "Parquet", "dbt", "Python", "Snowflake"), (
        "Brought the cost of the warehouse down by a third by sorting and compacting tables.",
        "Wrote the ingestion of partner feeds that never agree on a date format.",
        "Owns the lineage of finance reports from source file to dashboard.")),
    Role("DevOps Engineer", "DevOps", ("Terraform", "AWS", "Kubernetes", "Prometheus", "Linux", "Go", "Ansible"), (
        "Automated the recovery of a region and practises it every quarter.",
        "Cut the time from merge to production from two days to twenty minutes.",
        "Replaced pages nobody could act on by five alerts that matter.")),
    Role("Registered Nurse", "RN", ("ICU", "Triage", "Epic", "ACLS", "Patient education", "Wound care"), (
        "Cares for ventilated patients in an intensive care unit of twenty beds.",
        "Taught newly graduated nurses to recognise sepsis early.",
        "Moved a ward from paper charts to Epic in six weeks.")),
    Role("Accountant", "Acct", ("GAAP", "QuickBooks", "Excel", "Payroll", "Tax", "Audit", "SAP"), (
        "Closes the books of nine entities in four days.",
        "Found a supplier that had been paid twice for three years.",
        "Prepared a family firm for its first external audit.")),
    Role("Forklift Operator", "Forklift Op", ("Forklift license", "OSHA 10", "RF scanner", "Inventory", "Loading"), (
        "Loads cold-store trailers at night, six years without an accident.",
        "Trained and certified new drivers on reach trucks.",
        "Counts inventory with a scanner and finds out why it is wrong.")),
    Role("Welder", "Welder", ("MIG", "TIG", "Blueprint reading", "Pipe fitting", "Safety"), (
        "Welds stainless pipe for breweries and dairies, X-rayed and passed.",
        "Reads isometric drawings and cuts, fits and welds from them alone.",
        "Repaired bridge bearings on a road that stayed open.")),
    Role("Customer Service Representative", "CSR", ("Zendesk", "Spanish", "Salesforce", "Telephone", "Complaints"), (
        "Answers sixty calls a day in English and Spanish, with the best rating of the floor.",
        "Wrote the articles that a third of callers now read instead of calling.",
        "Takes over the complaints that nobody else wants.")),
    Role("Project Manager", "PM", ("Scrum", "Jira", "Budgeting", "Risk", "Stakeholders", "PMP"), (
        "Delivered the move of a hospital's records to a new data centre over one weekend.",
        "Keeps a list of risks that people read because it is short.",
        "Leads eleven people in three time zones.")),
    Role("Electrician", "Electrician", ("Journeyman license", "Conduit", "PLC", "NEC", "Troubleshooting"), (
        "Wired the control cabinets of a bottling line and found the fault in the old one.",
        "Passed every inspection of a hospital wing at the first attempt.",
        "Reads PLC ladder logic well enough to prove that it is not the cable.")),
)  # fmt: skip

LEVELS = ("", "", "", "Senior ", "Senior ", "Junior ", "Lead ")
EMPLOYERS = (
    "Northwind Freight", "Lakeshore Bank", "Prairie Health", "Blue Line Logistics", "Harbor Insurance", "Cedar Foods", "Union Transit",
    "Beacon Analytics", "Great Plains Energy", "Old Mill Brewing", "Summit Retail", "Riverside Clinic", "Anchor Steel", "Maple Telecom",
)  # fmt: skip
OPENINGS = (
    "{title} with {years} years of experience in {city} and around.",
    "I am a {title}. I have done this for {years} years, most of them in {city}.",
    "{years} years as {title}; looking for a team that finishes what it begins.",
    "Hands-on {title}, {years} years, willing to travel, based in {city}.",
)
CLOSINGS = (
    "References on request.",
    "Available at two weeks' notice.",
    'Former colleagues call me "the one who writes it down".',
    "Speaks English and Spanish.",
    "Prefers contracts of six months and more; remote, or a commute below an hour.",
    "Volunteers at the food bank on Saturdays.",
)
CLIENT_STEMS = (
    "Müller & Söhne", "Crédit Provençal", "Açaí Brands", "Peña Construcción", "Ångström Labs", "Café Métropole", "Nordström Fjord",
    "García Hermanos", "Hôtel Élysée", "Zürich Re Partners", "Lakeview Medical", "Midwest Steel", "Granite Software", "Pioneer Foods",
    "Evergreen Paper", "Kessler Auto",
)  # fmt: skip
CLIENT_FORMS = ("Inc.", "LLC", "GmbH", "S.A.", "Group", "Holdings", "Co.")
INDUSTRIES = ("finance", "healthcare", "logistics", "manufacturing", "software", "retail", "energy", "hospitality")
RECRUITERS = ("akim", "bdiaz", "csmith", "dmoreau", "eolsen", "fhaddad", "gpatel", "hnovak")
CALL_OUTCOMES = ("no answer", "no answer", "voicemail", "interested", "not interested", "call back", "wrong number")
CALL_NOTES = (
    None, None, None, None, None,
    "asked about remote work",
    "wants more than the client pays",
    "on a contract until spring,\ncall again then",
    'said "maybe", try the evening',
    "number belongs to a bakery",
    "prefers e-mail; sent the job order",
)  # fmt: skip
SUBJECTS = (
    "New role in {city}", "Your application", "Interview on Tuesday?", "Re: rate", "Documents missing", "Timesheet reminder",
    "Welcome aboard",
)  # fmt: skip
BODIES = (
    "Hello,\n\nwe have an opening in {city} that fits your profile. Shall we talk?\n\nBest regards",
    "Thank you for your application; the client answers within the week.",
    "Could you send the certificate again? The scan cannot be read.",
    "Please hand in last week's hours until Monday noon.",
    "Sorry, the position was filled. We keep your resume.",
)
JOB_STATUSES = ("open", "open", "filled", "filled", "filled", "on hold", "cancelled", "Open", "FILLED")
CANDIDATE_STATUSES = ("active", "active", "active", "passive", "do not contact", "Active")
