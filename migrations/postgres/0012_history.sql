-- What people look at in the console must not cost more because reports are long or the history is.

-- What an import came to, without its errors: written when it is complete. Long values lie apart from the row, so these columns are read
-- without the report. NULL of what an older node completed: then the report is asked. `bad`: it has errors, or was not applied though it
-- was no dry run.
ALTER TABLE command
    ADD COLUMN outcome text,
    ADD COLUMN bad boolean,
    ADD COLUMN applied boolean,
    -- When its last attempt began, by this database's clock, and which one that was.
    ADD COLUMN started_ms bigint,
    ADD COLUMN attempts int NOT NULL DEFAULT 0;

-- When the running attempt began, by this database's clock.
ALTER TABLE lane ADD COLUMN claimed_ms bigint NOT NULL DEFAULT 0;

UPDATE command SET
    outcome = json_build_object('version', '1', 'counts', report::json -> 'counts', 'not_applied', report::json -> 'not_applied',
                                 'error_count', report::json -> 'error_count')::text,
    bad = (report::json ->> 'error_count')::bigint > 0 OR coalesce(report::json ->> 'not_applied', 'dry_run') <> 'dry_run',
    applied = report::json ->> 'not_applied' IS NULL
WHERE finished_ms IS NOT NULL;

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
FROM command, LATERAL (SELECT outcome::json -> 'counts' AS counts, outcome::json ->> 'not_applied' AS not_applied) AS of_it
WHERE finished_ms IS NOT NULL AND coalesce((options::json ->> 'dry_run')::boolean, false) = false
  AND coalesce(not_applied, '') <> 'cancelled'
GROUP BY account, finished_ms / 86400000, program;

-- Which import was under way at a moment.
CREATE INDEX command_finished ON command (program, finished_ms) WHERE finished_ms IS NOT NULL;
