-- name: add_key
INSERT INTO api_key (id, digest, value) VALUES (?, ?, ?)

-- name: key_by_digest
SELECT value FROM api_key WHERE digest = ?

-- name: keys
SELECT value FROM api_key ORDER BY number

-- name: remove_key
DELETE FROM api_key WHERE id = ?

-- name: add_audit_line
INSERT INTO audit_line (at, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?)

-- name: audit_lines
SELECT at, actor, action, subject, detail FROM audit_line ORDER BY number DESC LIMIT ?
