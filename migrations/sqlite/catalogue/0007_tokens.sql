-- Tokens may be limited, get new secrets, and say when they were last used.

-- It may change nothing.
ALTER TABLE token ADD COLUMN read_only INTEGER NOT NULL DEFAULT 0 CHECK (read_only IN (0, 1));

-- The ids of the programs that it reaches, with blanks between them; NULL: all of its account. The secret of a token that is limited in
-- either way is sealed for another purpose, with the limits: a roster that does not know of limits cannot open it, so it lets
-- nobody in with it; and the limits cannot be changed without the master key.
ALTER TABLE token ADD COLUMN programs TEXT;

-- The secret before the last rotation, sealed, bound to `token` and to the moment until which it still holds.
ALTER TABLE token ADD COLUMN old_secret BLOB;
ALTER TABLE token ADD COLUMN old_secret_until_ms INTEGER;

-- Roughly: written once a minute at most.
ALTER TABLE token ADD COLUMN last_used_ms INTEGER;
