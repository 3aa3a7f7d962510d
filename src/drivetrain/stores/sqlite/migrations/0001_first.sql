-- The whole schema of the first version. Times are microseconds since 1970; values that only Python reads are packed (stores/codec.py).

CREATE TABLE app (
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (owner, name)
) STRICT;

CREATE TABLE revision (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    value BLOB NOT NULL
) STRICT;

CREATE INDEX revision_by_app ON revision (owner, name, number);

-- The queue of an app. Those of removed apps stay until their predictions are forgotten; an app of the same name gets a new one.
CREATE TABLE queue (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    removed INTEGER NOT NULL DEFAULT 0,
    waiting INTEGER NOT NULL DEFAULT 0 -- kept by the triggers below
) STRICT;

CREATE UNIQUE INDEX queue_by_app ON queue (owner, name) WHERE removed = 0;
CREATE INDEX queue_removed ON queue (key) WHERE removed = 1;

-- What is claimed in the order of acceptance: predictions of one revision, mode and priority.
CREATE TABLE lane (
    key INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    revision TEXT NOT NULL,
    mode TEXT NOT NULL,
    priority INTEGER NOT NULL,
    -- kept by the triggers below
    waiting INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0,
    running INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE UNIQUE INDEX lane_by_revision ON lane (revision, mode, priority, queue);
CREATE INDEX lane_by_queue ON lane (queue);

-- What changes while a prediction lives. Narrow, since SQLite writes a row whole: what was asked and what happened stand apart.
CREATE TABLE prediction (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- order of acceptance; clocks go backwards, this does not
    id TEXT NOT NULL,
    queue INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    status TEXT NOT NULL,
    held INTEGER NOT NULL DEFAULT 0, -- waits out not_before, or has done so since the last claim
    created_at INTEGER NOT NULL,
    start_by INTEGER,
    not_before INTEGER,
    claims INTEGER NOT NULL DEFAULT 0, -- how often it was claimed, ever; makes tokens unique
    attempts INTEGER NOT NULL DEFAULT 0,
    runner TEXT,
    lease_until INTEGER,
    cancel_requested_at INTEGER,
    started_at INTEGER,
    completed_at INTEGER,
    tells_end INTEGER NOT NULL, -- whether its end is to be delivered
    data_removed INTEGER NOT NULL DEFAULT 0,
    caller TEXT NOT NULL,
    idempotency_key TEXT,
    history BLOB
) STRICT;

CREATE UNIQUE INDEX prediction_by_id ON prediction (id);
CREATE UNIQUE INDEX prediction_by_idempotency_key ON prediction (queue, caller, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX prediction_waiting ON prediction (lane, held) WHERE status = 'starting';
CREATE INDEX prediction_held ON prediction (not_before) WHERE status = 'starting' AND held = 1;
CREATE INDEX prediction_to_start ON prediction (start_by) WHERE status = 'starting' AND start_by IS NOT NULL;
CREATE INDEX prediction_claimed ON prediction (lease_until) WHERE status = 'processing';
CREATE INDEX prediction_listed ON prediction (queue, created_at);
CREATE INDEX prediction_ended ON prediction (data_removed, completed_at) WHERE completed_at IS NOT NULL;

-- What was asked; never changes, but for the removal of its input.
CREATE TABLE request (
    number INTEGER PRIMARY KEY,
    input BLOB, -- NULL: removed
    sealed BLOB,
    rest BLOB NOT NULL
) STRICT;

-- What happened, once a prediction has ended: the list of events of its last attempt.
CREATE TABLE outcome (
    number INTEGER PRIMARY KEY,
    events BLOB NOT NULL
) STRICT;

-- A prediction as it is read. Those of removed apps are not seen.
CREATE VIEW record AS
SELECT
    prediction.number, prediction.id, prediction.status, prediction.created_at, prediction.start_by, prediction.not_before,
    prediction.claims, prediction.attempts, prediction.runner, prediction.lease_until, prediction.cancel_requested_at,
    prediction.started_at, prediction.completed_at, prediction.data_removed, prediction.caller, prediction.idempotency_key,
    prediction.history, prediction.held, prediction.lane, prediction.queue,
    queue.owner, queue.name, lane.revision, lane.mode, lane.priority,
    request.input, request.sealed, request.rest
FROM prediction
JOIN queue ON queue.key = prediction.queue
JOIN lane ON lane.key = prediction.lane
JOIN request ON request.number = prediction.number
WHERE queue.removed = 0;

CREATE TRIGGER prediction_added AFTER INSERT ON prediction BEGIN
    UPDATE lane SET
        waiting = waiting + (NEW.status = 'starting' AND NEW.held = 0),
        held = held + (NEW.status = 'starting' AND NEW.held = 1),
        running = running + (NEW.status = 'processing')
    WHERE key = NEW.lane;
    UPDATE queue SET waiting = waiting + 1 WHERE key = NEW.queue AND NEW.status = 'starting';
END;

CREATE TRIGGER prediction_moved AFTER UPDATE OF status, held ON prediction BEGIN
    UPDATE lane SET
        waiting = waiting + (NEW.status = 'starting' AND NEW.held = 0) - (OLD.status = 'starting' AND OLD.held = 0),
        held = held + (NEW.status = 'starting' AND NEW.held = 1) - (OLD.status = 'starting' AND OLD.held = 1),
        running = running + (NEW.status = 'processing') - (OLD.status = 'processing')
    WHERE key = NEW.lane;
    UPDATE queue SET waiting = waiting + (NEW.status = 'starting') - (OLD.status = 'starting')
    WHERE key = NEW.queue AND (NEW.status = 'starting') <> (OLD.status = 'starting');
END;

CREATE TRIGGER prediction_forgotten AFTER DELETE ON prediction BEGIN
    UPDATE lane SET
        waiting = waiting - (OLD.status = 'starting' AND OLD.held = 0),
        held = held - (OLD.status = 'starting' AND OLD.held = 1),
        running = running - (OLD.status = 'processing')
    WHERE key = OLD.lane;
    UPDATE queue SET waiting = waiting - 1 WHERE key = OLD.queue AND OLD.status = 'starting';
    DELETE FROM request WHERE number = OLD.number;
    DELETE FROM outcome WHERE number = OLD.number;
    DELETE FROM delivery WHERE prediction = OLD.id;
END;

CREATE TABLE delivery (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    prediction TEXT NOT NULL,
    url TEXT NOT NULL,
    event TEXT NOT NULL,
    gateway TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_at INTEGER,
    answer TEXT
) STRICT;

CREATE UNIQUE INDEX delivery_by_id ON delivery (id);
CREATE INDEX delivery_by_prediction ON delivery (prediction);
CREATE INDEX delivery_due ON delivery (next_at) WHERE state = 'pending';
CREATE INDEX delivery_failed ON delivery (number) WHERE state = 'failed';
CREATE INDEX delivery_settled ON delivery (created_at) WHERE state <> 'pending';

CREATE TABLE api_key (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL UNIQUE,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE audit_line (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

CREATE TABLE secret (
    owner TEXT NOT NULL,
    app TEXT NOT NULL, -- '' is for all apps of the owner
    name TEXT NOT NULL,
    sealed BLOB NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (owner, app, name)
) STRICT;

CREATE TABLE platform_value (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;
