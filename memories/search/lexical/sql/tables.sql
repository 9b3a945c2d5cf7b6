-- The keys of terms depend on this secret of the installation, so that nobody can choose words whose keys collide with
-- another tenant's. A dump of the database contains it, together with the keys.
CREATE TABLE memory_terms_secret (
    secret bigint NOT NULL,
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only)
);
INSERT INTO memory_terms_secret SELECT hashtextextended(concat(gen_random_uuid(), gen_random_uuid()), 0);

-- STORAGE MAIN keeps the arrays in the row up to 8 kB, so that ranking reads no TOAST table.
-- GIN's list of pending entries makes writes three times as fast. At 256 kB, reading it costs a search less than 1 ms.
-- The frequency of a common term is estimated from the sample, one memory in 32, by an index-only scan. The choice is
-- random: a choice by id would depend on how many memories other tenants write.
CREATE TABLE memory_terms (
    memory_id bigint PRIMARY KEY,
    user_id text NOT NULL,
    project_id text NOT NULL,
    expires_at timestamptz,
    length int NOT NULL,
    is_sampled boolean NOT NULL DEFAULT random() < 1 / 32.0,
    keys bigint[] STORAGE MAIN NOT NULL,
    counts smallint[] STORAGE MAIN NOT NULL
);
CREATE INDEX memory_terms_keys ON memory_terms USING gin (keys) WITH (gin_pending_list_limit = 256);

CREATE TABLE memory_terms_sample (
    key bigint,
    memory_id bigint,
    user_id text NOT NULL,
    project_id text NOT NULL,
    length int NOT NULL,
    PRIMARY KEY (key, memory_id) INCLUDE (user_id, project_id, length)
);
