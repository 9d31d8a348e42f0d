-- People at the console send imports too: what they upload first lies here, and what they send has no token.

-- Without the reference to a token: 0 is no token's number, and stands for somebody at the console. (Only a column can be taken away, no
-- reference.)
ALTER TABLE command ADD COLUMN sender INTEGER NOT NULL DEFAULT 0;
UPDATE command SET sender = token;
ALTER TABLE command DROP COLUMN token;
ALTER TABLE command RENAME COLUMN sender TO token;

-- SHA-256 of what was signed or uploaded; NULL of what was accepted before this was kept.
ALTER TABLE command ADD COLUMN body_digest BLOB CHECK (length(body_digest) = 32);

-- Files that are no imports yet, for a day. Their bytes are in DATA/payloads/<id>.csv, whatever their size: a file of which neither a
-- command nor a row here knows is removed by the next start.
CREATE TABLE upload (
    id         BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    account    BLOB NOT NULL REFERENCES account (id),
    program    BLOB NOT NULL REFERENCES program (id),
    -- Who sent it: a user's name.
    from_name  TEXT NOT NULL,
    file_name  TEXT NOT NULL,
    bytes      INTEGER NOT NULL,
    digest     BLOB NOT NULL CHECK (length(digest) = 32),
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The next ones to go.
CREATE INDEX upload_age ON upload (created_ms);

-- Which upload a command was made of. It goes with the upload; `command` is no foreign key, so that neither waits for the other.
CREATE TABLE upload_use (
    command BLOB NOT NULL PRIMARY KEY CHECK (length(command) = 16),
    upload  BLOB NOT NULL REFERENCES upload (id)
) STRICT, WITHOUT ROWID;

CREATE INDEX upload_use_of ON upload_use (upload);

-- Which field a column of a program's files was last said to be; '': it is left out.
CREATE TABLE mapped_column (
    program       BLOB NOT NULL REFERENCES program (id),
    name          TEXT NOT NULL,
    field         TEXT NOT NULL,
    remembered_ms INTEGER NOT NULL,
    PRIMARY KEY (program, name)
) STRICT, WITHOUT ROWID;
