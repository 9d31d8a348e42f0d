-- Files that are received before their command is accepted.

-- The pieces are in `payload` already, under the id that the command is to have. The accepting transaction takes the row away; whose
-- row has not been touched for a while has been forsaken, and goes with its pieces.
CREATE TABLE receiving (
    program    uuid NOT NULL,
    command    uuid NOT NULL,
    -- When the last piece came, by this database's clock.
    touched_ms bigint NOT NULL,
    PRIMARY KEY (program, command)
);
