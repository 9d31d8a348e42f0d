-- Commands can be cancelled, and are listed.

-- Who asked for it. A command that had never run is complete at once; one that runs, or ran before a crash, is made so by its worker,
-- which first looks whether it was applied.
ALTER TABLE command ADD COLUMN cancelled_by TEXT;

-- A program's commands, newest first.
CREATE INDEX command_of_program ON command (program, seq);
