-- Commands can be cancelled.

-- Who asked for it. A command that had never been claimed is complete at once, wherever it stands in its lane: so [head, next_seq) may
-- hold complete commands, and who claims one passes it over. One that was claimed before is made complete by
-- whoever claims it next, after a look whether it was applied.
ALTER TABLE command ADD COLUMN cancelled_by text;

-- As small as what was cancelled: how many of these stand before a command that waits.
CREATE INDEX command_cancelled ON command (program, seq) WHERE cancelled_by IS NOT NULL;
