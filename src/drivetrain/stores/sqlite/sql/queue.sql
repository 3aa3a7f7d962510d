-- On the way of every prediction there is neither RETURNING nor a sort: SQLite makes a temporary table for each of them, and that
-- costs ten times as much as the statement itself.

-- name: find_lane
-- Where a submission goes, how much of its app waits, and whether something waits before it.
SELECT
    queue.key AS queue,
    lane.key AS lane,
    queue.waiting,
    EXISTS (
        SELECT 1 FROM lane AS before
        WHERE before.revision = :revision AND before.mode = :mode AND before.priority >= :priority AND before.queue = queue.key
            AND before.waiting > 0
    ) AS blocked
FROM queue
LEFT JOIN lane ON lane.revision = :revision AND lane.mode = :mode AND lane.priority = :priority AND lane.queue = queue.key
WHERE queue.owner = :owner AND queue.name = :name AND queue.removed = 0

-- name: add_queue
INSERT INTO queue (owner, name) VALUES (:owner, :name)

-- name: add_lane
INSERT INTO lane (queue, revision, mode, priority) VALUES (:queue, :revision, :mode, :priority)

-- name: find_by_idempotency_key
SELECT record.* FROM queue
JOIN prediction ON prediction.queue = queue.key AND prediction.caller = :caller AND prediction.idempotency_key = :idempotency_key
JOIN record ON record.number = prediction.number
WHERE queue.owner = :owner AND queue.name = :name AND queue.removed = 0

-- name: add_prediction
INSERT INTO prediction (
    id, queue, lane, status, created_at, start_by, claims, attempts, runner, lease_until, tells_end, caller, idempotency_key
) VALUES (
    :id, :queue, :lane, :status, :created_at, :start_by, :claims, :claims, :runner, :lease_until, :tells_end, :caller, :idempotency_key
)

-- name: add_request
INSERT INTO request (number, input, sealed, rest) VALUES (?, ?, ?, ?)

-- name: let_go
-- Those that have waited out their not_before stand in line again.
UPDATE prediction SET held = 0 WHERE status = 'starting' AND held = 1 AND not_before <= :now

-- name: lanes
SELECT lane.priority, lane.key FROM lane
JOIN queue ON queue.key = lane.queue AND queue.removed = 0
WHERE lane.revision = :revision AND lane.waiting > 0 AND (:mode IS NULL OR lane.mode = :mode)

-- name: first_of_lane
SELECT number FROM prediction WHERE lane = :lane AND held = 0 AND status = 'starting' ORDER BY number LIMIT :limit

-- name: claim
UPDATE prediction SET
    status = 'processing', claims = claims + 1, attempts = attempts + 1, runner = :runner, lease_until = :lease_until, not_before = NULL
WHERE number = :number AND status = 'starting'

-- name: extend
-- :tokens is a JSON list of pairs of number and claims.
UPDATE prediction SET lease_until = :lease_until
FROM json_each(:tokens) AS token
WHERE prediction.number = json_extract(token.value, '$[0]') AND prediction.claims = json_extract(token.value, '$[1]')
    AND prediction.status = 'processing'
RETURNING prediction.number, prediction.claims

-- name: complete
UPDATE prediction SET status = :status, started_at = :started_at, completed_at = :completed_at, lease_until = NULL
WHERE number = :number AND claims = :claims AND status = 'processing'

-- name: end
UPDATE prediction SET
    status = :status, completed_at = :completed_at, lease_until = NULL, not_before = NULL, held = 0, history = :history
WHERE number = :number

-- name: add_outcome
INSERT INTO outcome (number, events) VALUES (?, ?)

-- name: end_to_tell
-- Whose end is to be delivered, and to whom; nothing if it is not.
SELECT prediction.id, request.rest FROM prediction
JOIN request ON request.number = prediction.number
WHERE prediction.number = ? AND prediction.tells_end = 1

-- name: wait_again
UPDATE prediction SET
    status = 'starting', held = :held, not_before = :not_before, attempts = :attempts, lease_until = NULL, history = :history
WHERE number = :number

-- name: request_cancel
UPDATE prediction SET cancel_requested_at = coalesce(cancel_requested_at, :now) WHERE number = :number

-- name: get
SELECT record.*, outcome.events FROM record LEFT JOIN outcome ON outcome.number = record.number WHERE record.id = ?

-- name: events
SELECT number, events FROM outcome WHERE number IN (SELECT value FROM json_each(?))

-- name: get_by_number
SELECT * FROM record WHERE number = ?

-- name: get_claimed
SELECT * FROM record WHERE number = :number AND claims = :claims AND status = 'processing'

-- name: overdue
SELECT * FROM record WHERE status = 'starting' AND start_by <= :now ORDER BY start_by LIMIT 1000

-- name: claimed
-- The plus keeps SQLite from walking through everything in the order of numbers, looking for the few that are claimed.
SELECT * FROM record WHERE status = 'processing' ORDER BY +number

-- name: lapsed
SELECT * FROM record WHERE status = 'processing' AND lease_until <= :now ORDER BY +number

-- name: queues
-- Those in which there may be something to list.
SELECT key FROM queue
WHERE removed = 0 AND (:owner IS NULL OR owner = :owner) AND (:name IS NULL OR (owner = :app_owner AND name = :name))
    AND EXISTS (
        SELECT 1 FROM lane
        WHERE lane.queue = queue.key AND (:revision IS NULL OR lane.revision = :revision) AND (:mode IS NULL OR lane.mode = :mode)
            AND (NOT :only_live OR lane.waiting > 0 OR lane.held > 0 OR lane.running > 0)
    )

-- name: listed_newest
-- Of one queue. Several are merged row by row, so that each is read no further than it must.
SELECT created_at, id, number FROM prediction
WHERE queue = :queue
    AND created_at BETWEEN :created_from AND :created_to
    AND (created_at, id) < (:before_at, :before_id)
    AND (created_at, id) > (:after_at, :after_id)
    AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
    AND (:any_lane OR lane IN (
        SELECT key FROM lane
        WHERE lane.queue = :queue AND (:revision IS NULL OR lane.revision = :revision) AND (:mode IS NULL OR lane.mode = :mode)
    ))
ORDER BY created_at DESC, id DESC
LIMIT :limit

-- name: listed_oldest
SELECT created_at, id, number FROM prediction
WHERE queue = :queue
    AND created_at BETWEEN :created_from AND :created_to
    AND (created_at, id) < (:before_at, :before_id)
    AND (created_at, id) > (:after_at, :after_id)
    AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
    AND (:any_lane OR lane IN (
        SELECT key FROM lane
        WHERE lane.queue = :queue AND (:revision IS NULL OR lane.revision = :revision) AND (:mode IS NULL OR lane.mode = :mode)
    ))
ORDER BY created_at, id
LIMIT :limit

-- name: position
SELECT
    (
        SELECT coalesce(sum(before.waiting + before.held), 0) FROM lane AS before
        WHERE before.revision = record.revision AND before.mode = record.mode AND before.priority > record.priority
            AND before.queue = record.queue
    ) + (
        SELECT count(*) FROM (
            SELECT 1 FROM prediction AS before
            WHERE before.lane = record.lane AND before.held IN (0, 1) AND before.status = 'starting' AND before.number < record.number
            LIMIT 10000
        )
    )
FROM record WHERE record.id = ? AND record.status = 'starting'

-- name: load
SELECT
    lane.revision,
    lane.waiting,
    lane.running,
    (
        SELECT oldest.created_at FROM prediction AS oldest
        WHERE oldest.lane = lane.key AND oldest.held = 0 AND oldest.status = 'starting'
        ORDER BY oldest.number
        LIMIT 1
    ) AS oldest_at
FROM lane
JOIN queue ON queue.key = lane.queue AND queue.removed = 0
WHERE lane.waiting > 0 OR lane.running > 0

-- name: load_held
SELECT lane.revision, count(*) AS waiting, min(held.created_at) AS oldest_at
FROM prediction AS held
JOIN lane ON lane.key = held.lane
JOIN queue ON queue.key = lane.queue AND queue.removed = 0
WHERE held.status = 'starting' AND held.held = 1 AND held.not_before <= :now
GROUP BY lane.revision

-- name: next_held
SELECT held.not_before FROM prediction AS held
JOIN queue ON queue.key = held.queue AND queue.removed = 0
WHERE held.status = 'starting' AND held.held = 1 AND held.not_before > :now
ORDER BY held.not_before
LIMIT 1

-- name: next_start_by
SELECT due.start_by FROM prediction AS due
JOIN queue ON queue.key = due.queue AND queue.removed = 0
WHERE due.status = 'starting' AND due.start_by IS NOT NULL AND due.start_by > :now
ORDER BY due.start_by
LIMIT 1

-- name: with_data
SELECT number FROM prediction WHERE data_removed = 0 AND completed_at < :completed_before ORDER BY completed_at LIMIT :limit

-- name: mark_data_removed
UPDATE prediction SET data_removed = 1 WHERE number = ?

-- name: remove_input
UPDATE request SET input = NULL, sealed = NULL WHERE number = ?

-- name: remove_outcome
DELETE FROM outcome WHERE number = ?

-- name: ended
SELECT number, id FROM prediction
WHERE data_removed IN (0, 1) AND completed_at IS NOT NULL AND completed_at < :completed_before
LIMIT :limit

-- name: of_removed_apps
SELECT prediction.number, prediction.id FROM queue
JOIN prediction ON prediction.queue = queue.key
WHERE queue.removed = 1
LIMIT :limit

-- name: forget
DELETE FROM prediction WHERE number = ?

-- name: remove_empty_lanes
DELETE FROM lane WHERE queue IN (
    SELECT key FROM queue WHERE removed = 1 AND NOT EXISTS (SELECT 1 FROM prediction WHERE prediction.queue = queue.key)
)

-- name: remove_empty_queues
DELETE FROM queue WHERE removed = 1 AND NOT EXISTS (SELECT 1 FROM prediction WHERE prediction.queue = queue.key)

-- name: count
-- Read from the index alone.
SELECT count(*) FROM queue JOIN prediction ON prediction.queue = queue.key
WHERE queue.owner = :owner AND queue.name = :name AND queue.removed = 0
