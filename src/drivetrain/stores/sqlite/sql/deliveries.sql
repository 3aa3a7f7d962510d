-- name: add
INSERT INTO delivery (id, prediction, url, event, gateway, created_at, state, attempts, next_at, answer)
VALUES (:id, :prediction, :url, :event, :gateway, :created_at, :state, :attempts, :next_at, :answer)

-- name: put
UPDATE delivery SET
    prediction = :prediction, url = :url, event = :event, gateway = :gateway, created_at = :created_at, state = :state,
    attempts = :attempts, next_at = :next_at, answer = :answer
WHERE id = :id

-- name: due
SELECT id, prediction, url, event, gateway, created_at, state, attempts, next_at, answer FROM delivery
WHERE state = 'pending' AND next_at <= :now
ORDER BY next_at, number
LIMIT :limit

-- name: next_due
SELECT next_at FROM delivery WHERE state = 'pending' AND next_at IS NOT NULL ORDER BY next_at LIMIT 1

-- name: get
SELECT id, prediction, url, event, gateway, created_at, state, attempts, next_at, answer FROM delivery WHERE id = :id

-- name: find
SELECT id, prediction, url, event, gateway, created_at, state, attempts, next_at, answer FROM delivery
WHERE :state IS NULL OR state = :state
ORDER BY number DESC
LIMIT :limit

-- name: find_failed
SELECT id, prediction, url, event, gateway, created_at, state, attempts, next_at, answer FROM delivery
WHERE state = 'failed'
ORDER BY number DESC
LIMIT :limit

-- name: find_of_prediction
SELECT id, prediction, url, event, gateway, created_at, state, attempts, next_at, answer FROM delivery
WHERE prediction = :prediction AND (:state IS NULL OR state = :state)
ORDER BY number DESC
LIMIT :limit

-- name: forget
DELETE FROM delivery WHERE number IN (
    SELECT number FROM delivery WHERE state <> 'pending' AND created_at < :created_before ORDER BY created_at LIMIT :limit
)
