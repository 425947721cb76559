"""Reasons: the closed vocabulary of conditions and events. Stable words for machines; messages are for people.

A reason is CamelCase and means one thing wherever it appears. The text under a constant is its documentation:
`lakectl explain reasons` prints it, a test holds that every constant has one. A new reason is added here or nowhere.
Grouped by what they answer: ready, waiting, failed, stalled, held by somebody, unknown, events.
"""

from __future__ import annotations

# Ready ------------------------------------------------------------------------------------------------------------------------------

SUCCEEDED = "Succeeded"
"""The world matches the spec; nothing is left to do."""

SUCCEEDED_WITH_REFUSALS = "SucceededWithRefusals"
"""Served as specified but for what was refused; the message names the first refused file."""

STALE = "Stale"
"""The data is older than `freshness` allows; it is served, and the event says when that began."""

NOT_WARM = "NotWarm"
"""What a profile binds is not kept warm: it answers, the first time more slowly."""

# Waiting: will go on by itself ----------------------------------------------------------------------------------------------------

PROGRESSING = "Progressing"
"""A step has begun; the next one follows without anybody's help."""

DEPENDENCY_NOT_READY = "DependencyNotReady"
"""Something that the spec refers to exists but is not ready; the message names it."""

REFERENCE_MISSING = "ReferenceMissing"
"""The spec refers to an object that no spec declares; the message names it."""

DEPENDENCY_CYCLE = "DependencyCycle"
"""The object refers to itself through others; the message shows the circle."""

SOURCE_EMPTY = "SourceEmpty"
"""No file matches the source yet; the first one that does is followed."""

INGESTING = "Ingesting"
"""Files are being read into the table; the message counts them."""


EMBEDDING = "Embedding"
"""Texts are being embedded; the message gives share and rate."""

BUILDING = "Building"
"""A build of the index runs on the executor."""

EVALUATING = "Evaluating"
"""Recall and latency are being measured against the eval set."""

TUNING = "Tuning"
"""The budget is being spent on trials; the message names what is built or measured now."""

COMPACTING = "Compacting"
"""Deltas are being merged into base files; readers see no difference."""

MIGRATING = "Migrating"
"""A migration is being tried on the rows there are; readers see the former schema until it fits them all."""

MIRRORING = "Mirroring"
"""The rescue bucket is being brought up to date."""

PRUNING = "Pruning"
"""What no spec wants any more is being removed."""

WARMING = "Warming"
"""What a profile binds is being opened, so that its reader's first question is as fast as any; the message names it."""

QUEUED = "Queued"
"""The step waits for a free worker."""

AWAITING_OTHERS = "AwaitingOthers"
"""The dataset is read, and becomes visible together with others; the message names who is missing."""

AWAITING_APPROVAL = "AwaitingApproval"
"""A plan is held until a person approves it; the message gives the plan's id."""

RETRYING = "Retrying"
"""The last try failed; the next one is due at the time the message gives."""

# Failed: tried again with growing pauses -----------------------------------------------------------------------------------------------

FAILED = "Failed"
"""A step failed for a reason that has no word of its own; the message has it."""

INTERNAL_ERROR = "InternalError"
"""Something happened that should not; the daemon's log has the traceback. Tried again."""

NOT_CONVERGING = "NotConverging"
"""The steps were taken and are still wanted: something undoes them. Tried again."""

BUCKET_UNAVAILABLE = "BucketUnavailable"
"""The bucket does not answer: unreachable, timed out, permission denied."""

BUCKET_DEGRADED = "BucketDegraded"
"""The bucket does not answer, its rescue bucket does; reads go on."""

CATALOG_LOST = "CatalogLost"
"""The state bucket holds the catalog no more, or it cannot be read; nothing is written until it can."""

DISK_FULL = "DiskFull"
"""No space is left under the folder that the message names."""

INGEST_FAILED = "IngestFailed"
"""Reading a file failed for a reason outside the file; the former rows are still served."""

SOURCE_UNAVAILABLE = "SourceUnavailable"
"""The database does not answer, does not let us in, or broke off in the middle; the former rows are still served."""

SECRET_MISSING = "SecretMissing"
"""A secret that the spec names is not there, lacks a field, or is in a file that must not be trusted; the message says where to put it."""

EMBED_FAILED = "EmbedFailed"
"""Embedding failed; what was embedded so far is kept."""

BUILD_FAILED = "BuildFailed"
"""The build failed; the one that serves goes on serving."""

JOB_FAILED = "JobFailed"
"""A job ended without a result, by a crash or a limit."""

MODEL_UNAVAILABLE = "ModelUnavailable"
"""The embedding or chat model does not answer or is not there."""

MODEL_DRIFT = "ModelDrift"
"""Another client of the model server loaded what had been let go; it is let go again a few times, and then left alone."""

CONFLICT = "Conflict"
"""Another writer changed the same thing in between; it is observed again."""

# Stalled: until the spec or the source changes --------------------------------------------------------------------------------------------

INVALID_SPEC = "InvalidSpec"
"""The document does not parse or contradicts itself; the last good one stays in force."""

DUPLICATE_SPEC = "DuplicateSpec"
"""Two documents declare the same object; the message names both places."""

NO_CONTROLLER = "NoController"
"""The kind is known, its controller is not built yet."""

NOT_SUPPORTED = "NotSupported"
"""A backend, engine or field of the spec is not built yet."""

VERSION_GONE = "VersionGone"
"""The version or the instant that the spec names is not kept, or never was; the message names those that are."""

SOURCE_GONE = "SourceGone"
"""What a rebuild needs to read has gone; the message names it, the former state is served."""

FILE_REFUSED = "FileRefused"
"""Files do not fit the table and were refused as a whole, with line and reason; the rest is served."""

SOURCE_REFUSED = "SourceRefused"
"""The database or the query cannot answer what is asked, or its rows do not fit the table; asked again when it is due or changed."""

SCHEMA_CONFLICT = "SchemaConflict"
"""A change of columns, key or write mode cannot be applied to the data there is."""

OBJECT_MISSING = "ObjectMissing"
"""An object that the catalog refers to is gone and cannot be rebuilt; the message names it."""

OBJECT_CORRUPT = "ObjectCorrupt"
"""An object's bytes are not those that were recorded, and cannot be rebuilt."""

STATE_IMMUTABLE = "StateImmutable"
"""The spec asks for a change that needs a restart or a new object."""

MODEL_MISMATCH = "ModelMismatch"
"""The model answers with another fingerprint or dimension than the vectors were made with."""

GATE_NOT_MET = "GateNotMet"
"""No trial reached the quality gate within the budget; nothing was promoted."""

BUDGET_SPENT = "BudgetSpent"
"""The limits of the budget are used up."""

TUNED_ALREADY = "TunedAlready"
"""Another budget tunes the same index: the first by name does, and the message names it."""

OUT_OF_MEMORY = "OutOfMemory"
"""The step needs more memory than the limit allows, so it was refused or stopped."""

# Held by somebody -----------------------------------------------------------------------------------------------------------------

SUSPENDED = "Suspended"
"""An operator suspended the object; the message says who, why and until when."""

PRUNE_HELD = "PruneHeld"
"""The removal exceeds maxPrune or a governed dataset; it needs an approval."""

GOVERNED = "Governed"
"""A policy names it, or it is made of what a policy governs; without a policy it is closed from now on, until it says `policy: none`."""

RELEASED = "Released"
"""No policy names it, and its spec says `policy: none`: whoever is bound to it reads all of it."""

POLICY_FAULTY = "PolicyFaulty"
"""A policy names a column that its dataset does not have, or its SQL cannot be planned; the dataset is closed to all but operators."""

MASK_UNFIT = "MaskUnfit"
"""A mask has nothing to show of its column's type, so that whom it masks for sees no value; the message names both, and what helps."""

CLOSED_TO_ROLE = "ClosedToRole"
"""Policies leave a profile's role nothing of what the profile binds; the message names what, and the policy."""

TESTS_FAILED = "TestsFailed"
"""Cases that are written beside a policy return other rows than they say; the policy is in force."""

TESTS_PASSED = "TestsPassed"
"""Every case that is written beside a policy returns the rows that it says."""

RETAINED = "Retained"
"""No spec declares it any more; its data is kept and may be adopted again."""

# Unknown ------------------------------------------------------------------------------------------------------------------------------

NOT_OBSERVED = "NotObserved"
"""Nobody has looked yet."""

DAEMON_GONE = "DaemonGone"
"""The daemon that observed this no longer lives; what it saw may be out of date."""

# Events: what happened ---------------------------------------------------------------------------------------------------------------

STARTED = "Started"
"""The daemon began to follow the repository."""

STOPPED = "Stopped"
"""The daemon ended in an orderly way."""

TOKENS_REFUSED = "TokensRefused"
"""The file of tokens is faulty: nobody is let in until it is corrected."""

TOKENS_SOUND = "TokensSound"
"""The file of tokens is as it must be again."""

CHECKPOINT_DAMAGED = "CheckpointDamaged"
"""A checkpoint of the catalog cannot be read. An older one and the log told the same; the next checkpoint takes its place."""

EVENTS_EXPIRED = "EventsExpired"
"""A month of a stream is older than `retention` keeps it, and is removed; the message says how much it was."""

REVISION_OBSERVED = "RevisionObserved"
"""A new commit was read."""

REVISION_UNREADABLE = "RevisionUnreadable"
"""The watched ref or repository cannot be read; the last good revision stays in force."""

SPEC_CHANGED = "SpecChanged"
"""The object's spec changed with this revision."""

SPEC_REMOVED = "SpecRemoved"
"""The object's spec is gone with this revision."""

CREATED = "Created"
"""The object came into being."""

COMMITTED = "Committed"
"""A new version of the table is visible."""

INGEST_WARNING = "IngestWarning"
"""Files were taken, and something about them or the spec deserves a look; the message names it."""

COLUMNS_INFERRED = "ColumnsInferred"
"""The types of new columns were decided from the data; the message says what and why, and `columns` in the spec overrides it."""

ROWS_QUARANTINED = "RowsQuarantined"
"""Rows of a file break the contract and were set aside; the message counts them by rule, `lakectl quarantine` shows them."""

CONTRACT_BROKEN = "ContractBroken"
"""Rows of a file break a contract that only warns: they are in the table; the message counts them by rule."""

ROWS_OVERTAKEN = "RowsOvertaken"
"""A file was changed whose keys were changed since by hand or by later files: its rows are the newest, and go before those."""

SOURCE_FILE_GONE = "SourceFileGone"
"""A file of the source disappeared; its rows stay."""

FRESH = "Fresh"
"""The data is as young as `freshness` asks for, again."""

RECALL_BELOW_GATE = "RecallBelowGate"
"""Searches that were answered miss more than the gate allows, by those that were repeated exactly; the message has the figures."""

RECALL_RECOVERED = "RecallRecovered"
"""Recall of what is searched is at its gate again, or another build serves since."""

NOTIFICATION_FAILED = "NotificationFailed"
"""`notify.command` did not run to a good end for an event; the message says why."""

PROMOTED = "Promoted"
"""Another build serves the index now."""

ROLLED_BACK = "RolledBack"
"""The former build serves the index again."""

TUNING_BEGUN = "TuningBegun"
"""A budget began to try recipes; the message says why now."""

TRIAL_PROPOSED = "TrialProposed"
"""A recipe is to be built or searched next; the message says why this one."""

TRIAL_MEASURED = "TrialMeasured"
"""A recipe was measured for a budget."""

TRIAL_REFUSED = "TrialRefused"
"""A recipe is not tried: what it is predicted to take does not fit into the budget."""

TRIAL_FAILED = "TrialFailed"
"""A recipe could not be built or measured, or took more than it may; recipes like it are left alone."""

PROMOTION_PROPOSED = "PromotionProposed"
"""A budget found what would serve better, and leaves it to a person; the message has the command."""

TUNING_ENDED = "TuningEnded"
"""A budget tries no more; the message says why, what was best and what it cost."""

DRIFT_DETECTED = "DriftDetected"
"""The world was changed behind the daemon's back; the message shows the difference."""

DRIFT_REPAIRED = "DriftRepaired"
"""What had drifted is as specified again."""

RESTART_NEEDED = "RestartNeeded"
"""A commit changed a setting that the daemon reads only when it starts; the former value is in force until then."""

PRUNED = "Pruned"
"""The object and what belonged to it were removed."""

ADOPTED = "Adopted"
"""Retained data was taken over by a spec again."""

SCHEMA_CHANGED = "SchemaChanged"
"""Rows are read under another schema from now on: the message says by which migration or widening."""

RENAMED = "Renamed"
"""Ownership moved from the former name."""

RESUMED = "Resumed"
"""An operator lifted the suspension, or its time ran out."""

REQUEST_DONE = "RequestDone"
"""An operator's request was carried out."""

REQUEST_REFUSED = "RequestRefused"
"""A request was refused: stale, or not possible."""

REQUEST_FAILED = "RequestFailed"
"""A request was tried and failed."""

RECOVERED = "Recovered"
"""A failure ended: the step succeeded after having failed."""

REMOVED = "Removed"
"""The object is gone for good; its status is closed."""
