-- The contacts of one program. The file can be copied, moved and deleted by itself; the catalogue knows its fields.

-- One row. The counts are kept by every import in its own transaction, so that a list's total costs nothing.
CREATE TABLE meta (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    -- Whose contacts these are: a file that was put back under another name is told apart.
    program     BLOB NOT NULL CHECK (length(program) = 16),
    -- Marks the ids of the contacts, as in the catalogue.
    tag         INTEGER NOT NULL,
    -- Not max(number) + 1: a number is never given twice.
    next_number INTEGER NOT NULL,
    contacts    INTEGER NOT NULL,
    active      INTEGER NOT NULL
) STRICT;

-- A row costs three entries: the row itself, customer_id and phone. The public id needs none: it holds `number`, and
-- `salt` proves that the whole id is meant (src/contact/contact_id.rs).
CREATE TABLE contact (
    number      INTEGER PRIMARY KEY,
    -- 34 random bits of the public id.
    salt        INTEGER NOT NULL,
    -- The digits of its E.164 form: eight bytes at most, and compared as a number.
    phone       INTEGER NOT NULL,
    active      INTEGER NOT NULL CHECK (active IN (0, 1)),
    created_ms  INTEGER NOT NULL,
    updated_ms  INTEGER NOT NULL,
    -- NULL where it is blank: any number of contacts may have none.
    customer_id TEXT CHECK (customer_id <> ''),
    -- All other values, packed by field number (src/contact/profile.rs). A row per value, or JSON, would take two thirds
    -- of an import's time.
    profile     BLOB NOT NULL,
    -- When fields last changed; NULL for the many contacts whose fields never did.
    times       BLOB
) STRICT;

-- Partial: contacts without a customer_id cost nothing here.
CREATE UNIQUE INDEX contact_customer_id ON contact (customer_id) WHERE customer_id IS NOT NULL;
CREATE UNIQUE INDEX contact_phone ON contact (phone);

-- The commands whose effect is in this file, written in the transaction that has the effect. The catalogue cannot commit
-- together with this file, so after a crash this table is what is believed.
CREATE TABLE applied (
    command    BLOB PRIMARY KEY CHECK (length(command) = 16),
    attempt    INTEGER NOT NULL,
    applied_ms INTEGER NOT NULL,
    report     TEXT NOT NULL
) STRICT;

CREATE INDEX applied_age ON applied (applied_ms);
