-- How many programs have contacts, as the planner is told, whatever ANALYZE finds: one.
--
-- Statistics are of yesterday, and a program is loaded within one transaction. Had most programs one contact when the statistics
-- were made, then a program has "one contact" for the planner while it gets its hundred thousand, and an index by the program
-- alone looks as good as the whole key: each batch of an import would go through all contacts of the program for each of its rows.
-- Believing that all contacts are one program's, it always uses the whole key.
ALTER TABLE contact ALTER COLUMN program SET (n_distinct = 1);

-- What is set is taken over by the next ANALYZE.
ANALYZE contact (program);
