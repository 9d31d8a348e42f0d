-- What is over is not kept for ever: first its upload goes, then the command.

-- Whether the upload of a complete command has been removed.
ALTER TABLE command ADD COLUMN file_removed INTEGER NOT NULL DEFAULT 0 CHECK (file_removed IN (0, 1));

-- The next ones to go, of both kinds.
CREATE INDEX command_over ON command (file_removed, finished_ms) WHERE state = 'complete';
