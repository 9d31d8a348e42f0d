-- Tokens may be limited, get new secrets, and say when they were last used.

-- `read_only`: it may change nothing. `programs`: the ids of the programs that it reaches, with blanks between them; NULL: all of its
-- account. The secret of a token that is limited in either way is sealed for another purpose, with the limits: a node that does not
-- know of limits cannot open it, so it lets nobody in with it, also while it runs on beside newer ones; and the limits cannot be changed
-- without the master key.
--
-- `old_secret` is the one before the last rotation, sealed, bound to `token` and to the moment until which it still holds.
-- `last_used_ms` is rough: each node writes it once a minute at most.
ALTER TABLE token
    ADD COLUMN read_only boolean NOT NULL DEFAULT false,
    ADD COLUMN programs text COLLATE "C",
    ADD COLUMN old_secret bytea,
    ADD COLUMN old_secret_until_ms bigint,
    ADD COLUMN last_used_ms bigint;
