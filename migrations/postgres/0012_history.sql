-- What people look at in the console must not cost more because reports are long or the history is.

-- How often the program's contacts were changed (but for what older nodes did).
ALTER TABLE stock ADD COLUMN version bigint NOT NULL DEFAULT 0;

-- What an import came to, without its errors: written when it is complete. Long values lie apart from the row, so these columns are read
-- without the report. NULL of what an older node completed: then the report is asked. `bad`: it has errors, or was not applied though it
-- was no dry run.
ALTER TABLE command
    ADD COLUMN outcome text,
    ADD COLUMN bad boolean,
    ADD COLUMN applied boolean,
    -- When its last attempt began, and which one that was.
    ADD COLUMN started_ms bigint,
    ADD COLUMN attempts int NOT NULL DEFAULT 0;

-- When the last attempt at its head began; 0 where an older node began it.
ALTER TABLE lane ADD COLUMN claimed_ms bigint NOT NULL DEFAULT 0;

-- A cell may have a NUL, which a text of JSON can spell and `jsonb` cannot hold.
UPDATE command SET
    outcome = jsonb_build_object('version', '1', 'counts', told -> 'counts', 'not_applied', told -> 'not_applied',
                                 'error_count', told -> 'error_count')::text,
    bad = (told ->> 'error_count')::bigint > 0 OR coalesce(told ->> 'not_applied', 'dry_run') <> 'dry_run',
    applied = told ->> 'not_applied' IS NULL
FROM (SELECT program, seq, replace(report, '\u0000', '\u0020')::jsonb AS told
      FROM command WHERE finished_ms IS NOT NULL) AS complete
WHERE command.program = complete.program AND command.seq = complete.seq;

-- What the imports of each day came to, by program: kept when they are forgotten. Counted in the statement that completes them. Dry runs,
-- and what was cancelled, are no imports here; of one that was not applied every row that was read counts as failed. Programs complete one
-- import at a time, so nobody waits for a row here who does not wait for the lane.
CREATE TABLE day_tally (
    account     uuid NOT NULL,
    -- Since 1970-01-01, UTC.
    day         bigint NOT NULL,
    program     uuid NOT NULL,
    imports     bigint NOT NULL,
    bad_imports bigint NOT NULL,
    added       bigint NOT NULL,
    updated     bigint NOT NULL,
    unchanged   bigint NOT NULL,
    ignored     bigint NOT NULL,
    failed      bigint NOT NULL,
    PRIMARY KEY (account, day, program)
) WITH (fillfactor = 50);

INSERT INTO day_tally (account, day, program, imports, bad_imports, added, updated, unchanged, ignored, failed)
SELECT account, finished_ms / 86400000, program, count(*), count(*) FILTER (WHERE bad),
       sum(CASE WHEN applied THEN (counts ->> 'added')::bigint ELSE 0 END),
       sum(CASE WHEN applied THEN (counts ->> 'updated')::bigint ELSE 0 END),
       sum(CASE WHEN applied THEN (counts ->> 'unchanged')::bigint ELSE 0 END),
       sum(CASE WHEN applied THEN (counts ->> 'ignored')::bigint ELSE 0 END),
       sum((counts ->> CASE WHEN applied THEN 'failed' ELSE 'read' END)::bigint)
FROM command, LATERAL (SELECT outcome::jsonb -> 'counts' AS counts, outcome::jsonb ->> 'not_applied' AS not_applied) AS of_it
WHERE finished_ms IS NOT NULL AND coalesce((replace(options, '\u0000', '\u0020')::jsonb ->> 'dry_run')::boolean, false) = false
  AND coalesce(not_applied, '') <> 'cancelled'
GROUP BY account, finished_ms / 86400000, program;

-- Which import was under way at a moment.
CREATE INDEX command_finished ON command (program, finished_ms) WHERE finished_ms IS NOT NULL;

-- Those that an older node completes beside newer ones: there are some only while a new version is rolled out.
CREATE INDEX command_untold ON command (program) WHERE finished_ms IS NOT NULL AND outcome IS NULL;
