-- MAIN: kept in the row up to 8 kB, so that ranking reads no other table.
-- The list of pending entries makes writes three times as fast; at 256 kB, reading it costs a search under 1 ms.
-- How common a common term is, is read from the sample, one memory in 32, and there from the index alone.
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
