-- People at the console send imports too: what they upload first lies here, and what they send has no token. (`command.token` is 0 then,
-- which is no token's number: older nodes carry such a command out as any other.)

-- SHA-256 of what was signed or uploaded; NULL of what was accepted before this was kept, or by an older node.
ALTER TABLE command ADD COLUMN body_digest bytea;

-- Files that are no imports yet, for a day. Their pieces are in `payload`, under an id that no command has; no row of `receiving` says
-- that they are nobody's, so older nodes leave them alone.
CREATE TABLE upload (
    program    uuid NOT NULL,
    id         uuid NOT NULL,
    account    uuid NOT NULL,
    -- Who sent it: a user's name.
    from_name  text NOT NULL,
    file_name  text NOT NULL,
    bytes      bigint NOT NULL,
    digest     bytea NOT NULL CHECK (length(digest) = 32),
    created_ms bigint NOT NULL,
    PRIMARY KEY (program, id)
);

-- Not unique, as with `command_by_id`.
CREATE INDEX upload_by_id ON upload (account, id);

-- The next ones to go.
CREATE INDEX upload_age ON upload (created_ms);

-- Which upload a command was made of. It goes with the upload.
CREATE TABLE upload_use (
    account uuid NOT NULL,
    command uuid NOT NULL,
    upload  uuid NOT NULL,
    PRIMARY KEY (account, command)
);

CREATE INDEX upload_use_of ON upload_use (account, upload);

-- Which field a column of a program's files was last said to be; '': it is left out. Names are compared byte by byte whatever the
-- database's language is.
CREATE TABLE mapped_column (
    program       uuid NOT NULL,
    name          text COLLATE "C" NOT NULL,
    field         text NOT NULL,
    remembered_ms bigint NOT NULL,
    PRIMARY KEY (program, name)
);
