-- Moves of everything from or into this database (src/store/moving). While one is not finished, no node accepts or claims
-- anything; after one has led out of here, none does any more. Usually empty, so that asking costs nothing.
CREATE TABLE moving (
    id          uuid NOT NULL,
    direction   text NOT NULL CHECK (direction IN ('out', 'in')),
    -- Where the other side is: for people.
    peer        text NOT NULL,
    begun_ms    bigint NOT NULL,
    finished_ms bigint,
    PRIMARY KEY (id, direction)
);
