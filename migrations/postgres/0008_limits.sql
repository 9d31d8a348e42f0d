-- How much waits and runs of an account is asked with every command that is accepted.

-- The same lanes as before, an account's side by side: as small as what waits, and no second index that changes with every command.
DROP INDEX lane_open;
CREATE INDEX lane_open ON lane (account, program) WHERE head < next_seq;
