-- Who signs in to the console. Users are above accounts: one may be a member of several. (Elsewhere a user is called `person`, because
-- `user` is a word of SQL.)

-- `name` is in lower case: it is compared without regard to case. `password` is Argon2id in PHC's form, sealed with the master key and bound
-- to `id`: rows cannot be swapped, and who has a copy of this file alone cannot even begin to guess. NULL: there is none. `number` is
-- the order of creation. `disabled_ms`: a user is never deleted, so that no name comes back as somebody else.
CREATE TABLE console_user (
    number            INTEGER PRIMARY KEY AUTOINCREMENT,
    id                BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    name              TEXT NOT NULL UNIQUE,
    password          BLOB,
    created_ms        INTEGER NOT NULL,
    last_signed_in_ms INTEGER,
    disabled_ms       INTEGER
) STRICT;

CREATE TABLE console_membership (
    person  BLOB NOT NULL REFERENCES console_user (id),
    account BLOB NOT NULL REFERENCES account (id),
    role    TEXT NOT NULL CHECK (role IN ('viewer', 'editor', 'admin')),
    PRIMARY KEY (person, account)
) STRICT, WITHOUT ROWID;

-- By the SHA-256 of the cookie, which is kept nowhere: nobody gets in with what stands here.
CREATE TABLE console_session (
    digest        BLOB PRIMARY KEY CHECK (length(digest) = 32),
    person        BLOB NOT NULL REFERENCES console_user (id),
    -- Where it is now.
    account       BLOB NOT NULL REFERENCES account (id),
    until_ms      INTEGER NOT NULL,
    idle_until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX console_session_of_user ON console_session (person);

-- The next ones to be forgotten: whichever end comes first.
CREATE INDEX console_session_over ON console_session (min(until_ms, idle_until_ms));

-- Links that let a user in once, by the SHA-256 of what is in them. One that was used is gone.
CREATE TABLE console_link (
    digest   BLOB PRIMARY KEY CHECK (length(digest) = 32),
    person   BLOB NOT NULL REFERENCES console_user (id),
    until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX console_link_of_user ON console_link (person);
CREATE INDEX console_link_over ON console_link (until_ms);
