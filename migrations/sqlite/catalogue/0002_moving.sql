-- Moves of everything from or into this catalogue (src/store/moving). While one is not finished, nobody may serve; after one
-- has led out of here, nothing is imported here any more.
CREATE TABLE moving (
    id          BLOB NOT NULL CHECK (length(id) = 16),
    direction   TEXT NOT NULL CHECK (direction IN ('out', 'in')),
    -- Where the other side is: for people.
    peer        TEXT NOT NULL,
    begun_ms    INTEGER NOT NULL,
    finished_ms INTEGER,
    PRIMARY KEY (id, direction)
) STRICT, WITHOUT ROWID;
