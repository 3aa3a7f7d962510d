-- name: expect
INSERT INTO file (id, state, owner, origin, created_at) VALUES (:id, 'coming', :owner, :origin, :created_at)

-- name: usage
SELECT bytes FROM usage WHERE owner = ?

-- name: keep
UPDATE file SET state = 'kept', size = :size, expires_at = :expires_at, value = :value WHERE id = :id AND state = 'coming'

-- name: keep_until
UPDATE file SET expires_at = :expires_at, value = :value WHERE id = :id AND state = 'kept'

-- name: get
SELECT value FROM file WHERE id = ? AND state = 'kept'

-- name: find
SELECT value FROM file
WHERE state = 'kept' AND owner = :owner AND (created_at, id) < (:before_at, :before_id) AND (:origin IS NULL OR origin = :origin)
ORDER BY created_at DESC, id DESC
LIMIT :limit

-- name: begin_removal
UPDATE file SET state = 'leaving' WHERE id = ? AND state = 'kept'

-- name: expire
UPDATE file SET state = 'leaving' WHERE id IN (
    SELECT id FROM file WHERE state = 'kept' AND expires_at IS NOT NULL AND expires_at <= :now ORDER BY expires_at LIMIT :limit
)
RETURNING id

-- name: unsettled
SELECT id FROM file WHERE state <> 'kept' LIMIT ?

-- name: abandon
-- :ids is a JSON list.
UPDATE file SET state = 'leaving' WHERE id IN (SELECT value FROM json_each(:ids)) AND state <> 'kept' RETURNING id

-- name: forget
DELETE FROM file WHERE id = ? AND state <> 'kept'
