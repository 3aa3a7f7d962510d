-- name: put_secret
INSERT INTO secret (owner, app, name, sealed, updated_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (owner, app, name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at

-- name: secrets
SELECT app, name, sealed, updated_at FROM secret WHERE owner = ? ORDER BY app, name

-- name: remove_secret
DELETE FROM secret WHERE owner = ? AND app = ? AND name = ?

-- name: value
SELECT value FROM platform_value WHERE name = ?

-- name: add_value
INSERT INTO platform_value (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING

-- name: put_value
INSERT INTO platform_value (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value
