-- What people look at in the console must not cost more because reports are long or the history is.

-- What an import came to, without its errors: written when it is complete. In a table of its own, because a report may be long, and what stands
-- behind it in a row is reached only through all of it. `bad`: it has errors, or was not applied though it was no dry run.
CREATE TABLE outcome (
    seq     INTEGER PRIMARY KEY REFERENCES command (seq) ON DELETE CASCADE,
    bad     INTEGER NOT NULL CHECK (bad IN (0, 1)),
    applied INTEGER NOT NULL CHECK (applied IN (0, 1)),
    -- As stored JSON: counts, the number of errors, and why it was not applied.
    summary TEXT NOT NULL
) STRICT;

INSERT INTO outcome (seq, bad, applied, summary)
SELECT seq,
       json_extract(report, '$.error_count') > 0 OR coalesce(json_extract(report, '$.not_applied'), 'dry_run') <> 'dry_run',
       json_extract(report, '$.not_applied') IS NULL,
       json_object('version', '1', 'counts', json_extract(report, '$.counts'), 'not_applied', json_extract(report, '$.not_applied'),
                   'error_count', json_extract(report, '$.error_count'))
FROM command WHERE state = 'complete';

-- What the imports of each day came to, by program: kept when they are forgotten. Counted in the transaction that completes them. Dry runs,
-- and what was cancelled, are no imports here; of one that was not applied every row that was read counts as failed.
CREATE TABLE day_tally (
    account     BLOB NOT NULL REFERENCES account (id),
    -- Since 1970-01-01, UTC.
    day         INTEGER NOT NULL,
    program     BLOB NOT NULL REFERENCES program (id),
    imports     INTEGER NOT NULL,
    bad_imports INTEGER NOT NULL,
    added       INTEGER NOT NULL,
    updated     INTEGER NOT NULL,
    unchanged   INTEGER NOT NULL,
    ignored     INTEGER NOT NULL,
    failed      INTEGER NOT NULL,
    PRIMARY KEY (account, day, program)
) STRICT, WITHOUT ROWID;

INSERT INTO day_tally (account, day, program, imports, bad_imports, added, updated, unchanged, ignored, failed)
SELECT account, finished_ms / 86400000, program, count(*), sum(bad),
       sum(iif(applied, json_extract(summary, '$.counts.added'), 0)),
       sum(iif(applied, json_extract(summary, '$.counts.updated'), 0)),
       sum(iif(applied, json_extract(summary, '$.counts.unchanged'), 0)),
       sum(iif(applied, json_extract(summary, '$.counts.ignored'), 0)),
       sum(json_extract(summary, iif(applied, '$.counts.failed', '$.counts.read')))
FROM command JOIN outcome ON outcome.seq = command.seq
WHERE coalesce(json_extract(options, '$.dry_run'), 0) = 0
  AND coalesce(json_extract(summary, '$.not_applied'), '') <> 'cancelled'
GROUP BY account, finished_ms / 86400000, program;

-- An account's commands, newest first: ids are UUIDs of version 7, which begin with the time.
CREATE INDEX command_of_account ON command (account, id);

-- Which import was under way at a moment.
CREATE INDEX command_finished ON command (program, finished_ms) WHERE state = 'complete';
