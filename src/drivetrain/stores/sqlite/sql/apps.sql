-- name: put_app
INSERT INTO app (owner, name, value) VALUES (?, ?, ?)
ON CONFLICT (owner, name) DO UPDATE SET value = excluded.value

-- name: get_app
SELECT value FROM app WHERE owner = ? AND name = ?

-- name: apps
SELECT value FROM app ORDER BY owner, name

-- name: remove_app
DELETE FROM app WHERE owner = ? AND name = ?

-- name: remove_revisions
DELETE FROM revision WHERE owner = ? AND name = ?

-- name: remove_secrets
DELETE FROM secret WHERE owner = ? AND app = ?

-- name: take_claims_away
-- So that no token of the app's holds any more.
UPDATE prediction SET status = 'canceled', lease_until = NULL
WHERE status = 'processing' AND queue IN (SELECT key FROM queue WHERE owner = ? AND name = ? AND removed = 0)

-- name: remove_queue
UPDATE queue SET removed = 1 WHERE owner = ? AND name = ? AND removed = 0

-- name: put_revision
INSERT INTO revision (id, owner, name, number, value) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, name = excluded.name, number = excluded.number, value = excluded.value

-- name: next_revision_number
SELECT coalesce(max(number), 0) + 1 FROM revision WHERE owner = ? AND name = ?

-- name: get_revision
SELECT value FROM revision WHERE id = ?

-- name: revisions
SELECT value FROM revision WHERE owner = ? AND name = ? ORDER BY number DESC

-- name: remove_revision
DELETE FROM revision WHERE id = :id AND NOT EXISTS (
    SELECT 1 FROM lane
    JOIN queue ON queue.key = lane.queue AND queue.removed = 0
    WHERE lane.revision = :id AND (lane.waiting > 0 OR lane.held > 0 OR lane.running > 0)
)
