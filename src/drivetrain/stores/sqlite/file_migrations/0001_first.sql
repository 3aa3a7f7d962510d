-- Records of files whose content stands beside this database.

CREATE TABLE file (
    id TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL, -- 'coming': being written; 'kept'; 'leaving': being deleted
    owner TEXT NOT NULL,
    origin TEXT NOT NULL,
    size INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    value BLOB -- what is known of it, packed (stores/codec.py); NULL while it is coming
) STRICT;

CREATE INDEX file_listed ON file (owner, created_at, id) WHERE state = 'kept';
CREATE INDEX file_expiring ON file (expires_at) WHERE state = 'kept' AND expires_at IS NOT NULL;
CREATE INDEX file_unsettled ON file (id) WHERE state <> 'kept';

CREATE TABLE usage (
    owner TEXT NOT NULL PRIMARY KEY,
    bytes INTEGER NOT NULL
) STRICT;

CREATE TRIGGER file_arrived AFTER UPDATE OF state ON file WHEN NEW.state = 'kept' AND OLD.state <> 'kept' BEGIN
    INSERT INTO usage (owner, bytes) VALUES (NEW.owner, NEW.size)
    ON CONFLICT (owner) DO UPDATE SET bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER file_left AFTER UPDATE OF state ON file WHEN NEW.state <> 'kept' AND OLD.state = 'kept' BEGIN
    UPDATE usage SET bytes = bytes - OLD.size WHERE owner = OLD.owner;
END;
