-- Everything that the nodes share: who there is, what was asked, and the contacts.
--
-- Every primary key begins with the account, the program or the token, and no statement of a request crosses two programs,
-- so that the same schema can be spread over machines by engines that speak PostgreSQL's protocol. For the same reason there
-- are no foreign keys: they would lock the parent's row with every child, and a spread parent could not be locked at all.
-- Who inserts a child asks for its parent in the same transaction, and parents are never deleted.
--
-- Moments are milliseconds since 1970-01-01 UTC, given by the node; leases and turns are by the clock of this database
-- (microseconds: _us), so that nodes with wrong clocks agree.

-- A value that proves that a node's master key is the one that the secrets below were sealed with.
CREATE TABLE master_key_check (
    one    int PRIMARY KEY CHECK (one = 1),
    sealed bytea NOT NULL
);

-- `number` is the order of creation, which version-7 ids keep only within one process and one clock.
CREATE TABLE account (
    id         uuid PRIMARY KEY,
    number     bigint GENERATED ALWAYS AS IDENTITY,
    name       text NOT NULL,
    created_ms bigint NOT NULL
);

-- When an account was last served: the one that waited longest is next. Apart from `account`, because it changes with every
-- claim, and accounts hardly ever do.
CREATE TABLE turn (
    account   uuid PRIMARY KEY,
    served_us bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE program (
    id         uuid PRIMARY KEY,
    number     bigint GENERATED ALWAYS AS IDENTITY,
    account    uuid NOT NULL,
    name       text NOT NULL,
    active     boolean NOT NULL,
    region     text NOT NULL,
    -- The digits of its E.164 form.
    phone      bigint,
    timezone   text,
    -- 48 random bits in the ids of all its contacts. Unique over all accounts, so that an id leads to one program.
    tag        bigint NOT NULL UNIQUE,
    created_ms bigint NOT NULL
);

CREATE INDEX program_of_account ON program (account, number);

-- The programs' own fields. A removed one stays: contacts still hold values under its number, so the number may not be
-- given to another field, and the name may come back only with the type that those values have.
CREATE TABLE field (
    program    uuid NOT NULL,
    number     bigint NOT NULL CHECK (number >= 32),
    name       text NOT NULL,
    type       text NOT NULL,
    created_ms bigint NOT NULL,
    removed_ms bigint,
    PRIMARY KEY (program, number),
    UNIQUE (program, name)
);

-- `secret` is sealed with the master key (src/store/secrets.rs), bound to `token`: rows cannot be swapped. The names of
-- tokens are compared byte by byte whatever the database's language is.
CREATE TABLE token (
    token      text COLLATE "C" PRIMARY KEY,
    number     bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    account    uuid NOT NULL,
    name       text NOT NULL,
    secret     bytea NOT NULL,
    created_ms bigint NOT NULL,
    revoked_ms bigint
);

CREATE INDEX token_of_account ON token (account, number);

-- A program's queue, in one row. Commands are numbered without gaps under this row's lock, and completed in that order. So
-- [head, next_seq) are those that wait or run, `head` is next, and no command needs a state of its own that could
-- contradict this: before `head` it is complete, at `head` it may run, after it, it waits.
--
-- `attempt` is the fence: it counts the claims of the command at `head`, and what an earlier claim still tries to do finds
-- another number here.
CREATE TABLE lane (
    program        uuid PRIMARY KEY,
    account        uuid NOT NULL,
    head           bigint NOT NULL DEFAULT 1,
    next_seq       bigint NOT NULL DEFAULT 1,
    running        boolean NOT NULL DEFAULT false,
    attempt        int NOT NULL DEFAULT 0,
    -- Until then the claim stands, unless it is renewed; after it anybody may take over. By this database's clock.
    lease_until_ms bigint NOT NULL DEFAULT 0,
    -- Who has it: for people.
    node           text,
    -- Rows judged by the running attempt, as last told.
    rows           bigint NOT NULL DEFAULT 0,
    -- Since when its head could be claimed: within an account, programs take turns by it.
    ready_us       bigint NOT NULL DEFAULT 0,
    CHECK (head <= next_seq)
) WITH (fillfactor = 50);

-- As small as what waits, however many programs there are.
CREATE INDEX lane_open ON lane (program) WHERE head < next_seq;

-- `seq` is the order of acceptance in its program. The token's name is copied: a command keeps saying who sent it.
-- `report` without `finished_ms`: the import is applied (the report came with the contacts, in their transaction), and was
-- not yet told to be complete.
CREATE TABLE command (
    program       uuid NOT NULL,
    seq           bigint NOT NULL,
    id            uuid NOT NULL,
    account       uuid NOT NULL,
    token         bigint NOT NULL,
    from_name     text NOT NULL,
    created_ms    bigint NOT NULL,
    payload_bytes bigint NOT NULL,
    options       text NOT NULL,
    finished_ms   bigint,
    trace         text,
    report        text,
    PRIMARY KEY (program, seq),
    CHECK (finished_ms IS NULL OR (trace IS NOT NULL AND report IS NOT NULL))
);

-- Not unique: an index that is must begin with the program where tables are spread. The ids are the service's own.
CREATE INDEX command_by_id ON command (account, id);

-- Uploads, in pieces of 1 MiB at most, so that neither side needs one whole in memory. By the command's id, not its number:
-- a large one is written before the lane is locked, and the number is given after it.
CREATE TABLE payload (
    program uuid NOT NULL,
    command uuid NOT NULL,
    piece   int NOT NULL,
    bytes   bytea NOT NULL,
    PRIMARY KEY (program, command, piece)
);

-- Not compressed: it is written once and read once, and compressing costs more time than the disk does.
ALTER TABLE payload ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- What was accepted, by signature: the same again is the same request.
CREATE TABLE signature (
    token             bigint NOT NULL,
    signature         bytea NOT NULL CHECK (length(signature) = 32),
    command           uuid NOT NULL,
    request_digest    bytea NOT NULL CHECK (length(request_digest) = 32),
    remember_until_ms bigint NOT NULL,
    PRIMARY KEY (token, signature)
);

CREATE INDEX signature_expires ON signature (token, remember_until_ms);

-- The same, by Idempotency-Key.
CREATE TABLE idempotency_key (
    token       bigint NOT NULL,
    program     uuid NOT NULL,
    key         text COLLATE "C" NOT NULL,
    command     uuid NOT NULL,
    body_digest bytea NOT NULL CHECK (length(body_digest) = 32),
    created_ms  bigint NOT NULL,
    PRIMARY KEY (token, program, key)
);

CREATE INDEX idempotency_key_age ON idempotency_key (token, created_ms);

-- What a program has, counted by every import in its own transaction, so that a list's total costs nothing. Apart from
-- `lane`: an import holds this row from its beginning to its end, and nobody may wait for it but the next import.
CREATE TABLE stock (
    program     uuid PRIMARY KEY,
    -- Not max(number) + 1: a number is never given twice.
    next_number bigint NOT NULL DEFAULT 1,
    contacts    bigint NOT NULL DEFAULT 0,
    active      bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- A row costs three index entries: its number, customer_id and phone. The public id needs none: it holds `number`, and
-- `salt` proves that the whole id is meant (src/contact/contact_id.rs). Room is left on the pages, so that an update that
-- changes no key finds place beside the old row and touches no index.
CREATE TABLE contact (
    program     uuid NOT NULL,
    number      bigint NOT NULL,
    -- 34 random bits of the public id.
    salt        bigint NOT NULL,
    -- The digits of its E.164 form. (Within an import's transaction it may be negative for a moment: a phone that is given
    -- up so that another contact can take it.)
    phone       bigint NOT NULL,
    created_ms  bigint NOT NULL,
    updated_ms  bigint NOT NULL,
    active      boolean NOT NULL,
    -- NULL where it is blank: any number of contacts may have none.
    customer_id text COLLATE "C" CHECK (customer_id <> ''),
    -- All other values, packed by field number (src/contact/profile.rs).
    profile     bytea NOT NULL,
    -- When fields last changed; NULL for the many contacts whose fields never did.
    times       bytea,
    PRIMARY KEY (program, number)
) WITH (fillfactor = 85);

-- Partial: contacts without a customer_id cost nothing here.
CREATE UNIQUE INDEX contact_customer_id ON contact (program, customer_id) WHERE customer_id IS NOT NULL;
CREATE UNIQUE INDEX contact_phone ON contact (program, phone);
