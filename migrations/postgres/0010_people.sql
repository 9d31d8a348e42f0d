-- Who signs in to the console. Users are above accounts: one may be a member of several. So their keys begin with the user, or with what
-- somebody holds; they are few, and an engine that spreads tables over machines keeps these whole. (Elsewhere a user is called `person`, because `user` is a word of SQL.)

-- `name` is in lower case: it is compared without regard to case, and byte by byte whatever the database's language is. `password` is Argon2id
-- in PHC's form, sealed with the master key and bound to `id`: rows cannot be swapped, and who has a copy of the database alone cannot
-- even begin to guess. NULL: there is none. `number` is the order of creation. A user is never deleted, so that no name comes back as
-- somebody else, and its row can be what those line up by who change what it may do.
CREATE TABLE console_user (
    id                uuid PRIMARY KEY,
    number            bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    name              text COLLATE "C" NOT NULL UNIQUE,
    password          bytea,
    created_ms        bigint NOT NULL,
    last_signed_in_ms bigint,
    disabled_ms       bigint
) WITH (fillfactor = 50);

CREATE TABLE console_membership (
    person  uuid NOT NULL,
    account uuid NOT NULL,
    role    text NOT NULL CHECK (role IN ('viewer', 'editor', 'admin')),
    PRIMARY KEY (person, account)
);

-- By the SHA-256 of the cookie, which is kept nowhere: nobody gets in with what stands here. `account`: where it is now.
CREATE TABLE console_session (
    digest        bytea PRIMARY KEY CHECK (length(digest) = 32),
    person        uuid NOT NULL,
    account       uuid NOT NULL,
    until_ms      bigint NOT NULL,
    idle_until_ms bigint NOT NULL
) WITH (fillfactor = 50);

CREATE INDEX console_session_of_user ON console_session (person);

-- The next ones to be forgotten: whichever end comes first.
CREATE INDEX console_session_over ON console_session (least(until_ms, idle_until_ms));

-- Links that let a user in once, by the SHA-256 of what is in them. One that was used is gone.
CREATE TABLE console_link (
    digest   bytea PRIMARY KEY CHECK (length(digest) = 32),
    person   uuid NOT NULL,
    until_ms bigint NOT NULL
);

CREATE INDEX console_link_of_user ON console_link (person);
CREATE INDEX console_link_over ON console_link (until_ms);
