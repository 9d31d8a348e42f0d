-- What is over is not kept for ever: first its upload goes, then the command.

-- Whether the upload of a complete command has been removed.
ALTER TABLE command ADD COLUMN file_removed boolean NOT NULL DEFAULT false;

-- The next ones to go, of both kinds.
CREATE INDEX command_over ON command (file_removed, finished_ms) WHERE finished_ms IS NOT NULL;
