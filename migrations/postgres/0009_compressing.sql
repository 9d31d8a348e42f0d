-- Uploads are compressed by the database, where it was built with lz4: a third of the log and of the disk, in no more time than
-- writing them as they are takes. (Without it they stay as they are: the other method, pglz, takes more than twice as long.) Only
-- how new pieces lie in the table changes, so that older nodes read and write them as ever.
DO $$
BEGIN
    ALTER TABLE payload ALTER COLUMN bytes SET COMPRESSION lz4, ALTER COLUMN bytes SET STORAGE EXTENDED;
EXCEPTION
    WHEN feature_not_supported THEN NULL;
END
$$;
