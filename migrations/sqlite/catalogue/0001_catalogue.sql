-- The catalogue of an embedded store: who there is, and what was asked. Contacts are not here: see ../program.
--
-- Ids are the 16 bytes of a UUID. Moments are milliseconds since 1970-01-01 UTC. Every table is STRICT, because SQLite
-- would otherwise keep a text in an integer column and tell nobody. Names of states are words: the file outlives the code,
-- and is read by people with the sqlite3 shell when something is wrong.

-- A value that proves that the master key is the one that the secrets below were sealed with.
CREATE TABLE master_key_check (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    sealed BLOB NOT NULL
) STRICT;

-- `number` is the order of creation, which version-7 ids keep only within one process and one clock.
CREATE TABLE account (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    name       TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE program (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    account    BLOB NOT NULL REFERENCES account (id),
    name       TEXT NOT NULL,
    active     INTEGER NOT NULL CHECK (active IN (0, 1)),
    region     TEXT NOT NULL,
    -- The digits of its E.164 form.
    phone      INTEGER,
    timezone   TEXT,
    -- 48 random bits in the ids of all its contacts. Unique over all accounts, so that an id leads to one program.
    tag        INTEGER NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX program_of_account ON program (account, number);

-- The programs' own fields. A removed one stays: contacts still hold values under its number, so the number may not be
-- given to another field, and the name may come back only with the type that those values have.
CREATE TABLE field (
    program    BLOB NOT NULL REFERENCES program (id),
    number     INTEGER NOT NULL CHECK (number >= 32),
    name       TEXT NOT NULL,
    type       TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    removed_ms INTEGER,
    PRIMARY KEY (program, number),
    UNIQUE (program, name)
) STRICT, WITHOUT ROWID;

-- `secret` is sealed with the master key (src/store/secrets.rs), bound to `token`: rows cannot be swapped.
CREATE TABLE token (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    token      TEXT NOT NULL UNIQUE,
    account    BLOB NOT NULL REFERENCES account (id),
    name       TEXT NOT NULL,
    secret     BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT;

CREATE INDEX token_of_account ON token (account, number);

-- `seq` is the order of acceptance, handed out inside the accepting transaction; AUTOINCREMENT, so that the number of a
-- deleted command does not come back. The token's name is copied: a command keeps saying who sent it.
CREATE TABLE command (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    account       BLOB NOT NULL REFERENCES account (id),
    program       BLOB NOT NULL REFERENCES program (id),
    token         INTEGER NOT NULL REFERENCES token (number),
    from_name     TEXT NOT NULL,
    created_ms    INTEGER NOT NULL,
    payload_bytes INTEGER NOT NULL,
    options       TEXT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('queued', 'running', 'complete')),
    -- Counts the claims; what an earlier attempt still tries to say is refused by it.
    attempt       INTEGER NOT NULL DEFAULT 0,
    claimed_ms    INTEGER,
    finished_ms   INTEGER,
    trace         TEXT,
    -- Last, because it may be long: the columns before it are read without it.
    report        TEXT,
    CHECK ((state = 'complete') = (finished_ms IS NOT NULL AND trace IS NOT NULL AND report IS NOT NULL))
) STRICT;

-- The queues. Partial: it stays as small as what waits, whatever the history holds.
CREATE INDEX command_open ON command (program, seq) WHERE state <> 'complete';

-- Small uploads. In a table of their own, so that they can be dropped before their commands, and reading commands does
-- not pass over them. Large uploads are files: DATA/payloads/<command id>.csv.
CREATE TABLE payload (
    seq   INTEGER PRIMARY KEY REFERENCES command (seq),
    bytes BLOB NOT NULL
) STRICT;

-- What was accepted, by signature: the same again is the same request. Found by key only, so the row is the key's entry
-- (WITHOUT ROWID). `command` is no foreign key: the memory may outlast a command.
CREATE TABLE signature (
    token             INTEGER NOT NULL,
    signature         BLOB NOT NULL CHECK (length(signature) = 32),
    command           BLOB NOT NULL CHECK (length(command) = 16),
    request_digest    BLOB NOT NULL CHECK (length(request_digest) = 32),
    remember_until_ms INTEGER NOT NULL,
    PRIMARY KEY (token, signature)
) STRICT, WITHOUT ROWID;

CREATE INDEX signature_expires ON signature (remember_until_ms);

-- The same, by Idempotency-Key.
CREATE TABLE idempotency_key (
    token       INTEGER NOT NULL,
    program     BLOB NOT NULL CHECK (length(program) = 16),
    key         TEXT NOT NULL,
    command     BLOB NOT NULL CHECK (length(command) = 16),
    body_digest BLOB NOT NULL CHECK (length(body_digest) = 32),
    created_ms  INTEGER NOT NULL,
    PRIMARY KEY (token, program, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_key_age ON idempotency_key (created_ms);
