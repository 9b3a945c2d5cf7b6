"""What PostgreSQL keeps for the lexical ranking: the terms of every memory, written by triggers.

Triggers, so that the terms are of the same transaction as the row, whoever wrote it and how: never stale,
never missing after a bulk insert or a line of SQL. Who changes how words become terms writes a migration that
runs CREATE_FUNCTIONS again and then FILL: terms of two kinds do not meet.

    memory_terms: a row a memory
        keys    its distinct terms as hashes, ascending; the GIN index over them is the inverted index
        counts  how often each stands in the memory, in the order of keys
        length  the sum of counts
    memory_terms_sample: a row for each term of every 32nd memory, to estimate how common a term is

Why so. Tried with 100,000 memories of 27 terms: a table with a row for each term of each memory took 350 MB
against 35 and three times as long to write. A tsvector under GIN cannot be read a tenant at a time, and every
row of a common word is visited to rank by it. Of pgvector's sparsevec the index is approximate and the scan
reads the whole tenant. The terms have a table of their own because memory_logs is updated several times a
memory (embedded, indexed), and each such update would enter all of its terms into the index anew.
"""

# A key is of (tenant, term), so that a look-up reads nothing of other tenants. 32 bits: within a tenant, two
# terms share a key once in billions; between tenants it happens, which is why each ranking ends with a join to
# the tenant's own memories.
#
# Words: Unicode is folded (compatibility forms, accents), Chinese and Japanese characters are terms each (no
# spaces tell their words), and ASCII punctuation separates, so that paths, hosts, dates and identifiers are
# found by their parts. Then PostgreSQL's English configuration: lower case, stop words, stems; words of other
# languages pass through it nearly as they are, in memories and questions alike.
#
# The text of a memory: its task, agent and date ("2024-05-08", and "8 May" as people ask), then every string
# and number in raw_data to a depth of 32, then the keys. Each value and the whole are cut: that bounds the work
# of a write, and keeps far below what a tsvector holds.
# (jsonb_path_query_array, because the set-returning jsonb_path_query takes a minute over a million values.)
CREATE_FUNCTIONS = r"""
CREATE OR REPLACE FUNCTION memory_lexemes(words text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    IF octet_length(words) <> char_length(words) THEN
        words := normalize(regexp_replace(normalize(words, NFKD), '[\u0300-\u036f]+', '', 'g'), NFC);
        words := regexp_replace(words, '([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff])', ' \1 ', 'g');
    END IF;
    RETURN to_tsvector('pg_catalog.english', regexp_replace(words, '[!-/:-@[-`{-~]+', ' ', 'g'));
END $$;

CREATE OR REPLACE FUNCTION memory_words(task text, agent text, date date, raw_data jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT left(concat_ws(E'\n', left(task, 4000), left(agent, 4000), to_char(date, 'YYYY-MM-DD FMDD FMMonth'),
        (SELECT string_agg(left(value, 4000), E'\n') FROM jsonb_array_elements_text(jsonb_path_query_array(
            raw_data, 'strict $.**{0 to 32} ? (@.type() == "string" || @.type() == "number")')) AS value),
        (SELECT string_agg(left(key, 200), E'\n') FROM jsonb_array_elements_text(jsonb_path_query_array(
            raw_data, 'strict $.**{0 to 32} ? (@.type() == "object").keyvalue().key')) AS key)
    ), 16000)
$$;

CREATE OR REPLACE FUNCTION memory_term_key(user_id text, project_id text, lexeme text) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (hashtextextended(lexeme, hashtextextended(project_id, hashtextextended(user_id, 0))) >> 32)::int
$$;

CREATE OR REPLACE FUNCTION memory_terms_of(
    memory_id bigint, user_id text, project_id text, task text, agent text, date date, raw_data jsonb
) RETURNS SETOF memory_terms
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT memory_id, array_agg(key), array_agg(count), sum(count)::int
    FROM (
        SELECT memory_term_key(user_id, project_id, lexeme), coalesce(cardinality(positions), 1)::smallint
        FROM unnest(memory_lexemes(memory_words(task, agent, date, raw_data)))
        UNION ALL
        -- The empty term stands in every memory: its statistics are the tenant's.
        SELECT memory_term_key(user_id, project_id, ''), 1::smallint
        ORDER BY 1
    ) AS term (key, count)
$$;
"""

# MAIN: kept in the row up to 8 kB, so that ranking reads no other table.
# The list of pending entries makes writes three times as fast; at 256 kB, reading it costs a search under 1 ms.
# How common a common term is, is read from the sample, one memory in 32, and there from the index alone.
CREATE_TABLES = """
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
"""

ADD = """
    WITH added AS (
        INSERT INTO memory_terms SELECT t.* FROM {rows} AS m, LATERAL memory_terms_of(
            m.id, m.user_id, m.project_id, m.task, m.agent, m.date, m.raw_data) AS t
        RETURNING *
    )
    INSERT INTO memory_terms_sample
    SELECT key, memory_id, length FROM added, unnest(keys) AS key WHERE hashint8(memory_id) & 31 = 0;
"""
REMOVE = """
    WITH removed AS (
        DELETE FROM memory_terms AS t USING {rows} AS m WHERE t.memory_id = m.id RETURNING t.*
    )
    DELETE FROM memory_terms_sample AS s USING removed AS r
    WHERE hashint8(r.memory_id) & 31 = 0 AND s.key = ANY (r.keys) AND s.memory_id = r.memory_id;
"""
EMPTY = "TRUNCATE memory_terms, memory_terms_sample;"
FILL = EMPTY + ADD.format(rows="memory_logs")

# A statement's rows at once where it inserts or deletes. Updates row by row, because only those triggers can
# name columns: storing an embedding fires nothing. No foreign key: it would lock each row that it checks.
CREATE_TRIGGERS = f"""
CREATE OR REPLACE FUNCTION memory_terms_on_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {ADD.format(rows="inserted")}
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER memory_terms_on_insert AFTER INSERT ON memory_logs
REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION memory_terms_on_insert();

CREATE OR REPLACE FUNCTION memory_terms_on_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {REMOVE.format(rows="(SELECT OLD.id)")}
    {ADD.format(rows="(SELECT NEW.*)")}
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER memory_terms_on_update
AFTER UPDATE OF id, user_id, project_id, task, agent, date, raw_data ON memory_logs FOR EACH ROW
WHEN ((OLD.id, OLD.user_id, OLD.project_id, OLD.task, OLD.agent, OLD.date, OLD.raw_data)
    IS DISTINCT FROM (NEW.id, NEW.user_id, NEW.project_id, NEW.task, NEW.agent, NEW.date, NEW.raw_data))
EXECUTE FUNCTION memory_terms_on_update();

CREATE OR REPLACE FUNCTION memory_terms_on_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {REMOVE.format(rows="deleted")}
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER memory_terms_on_delete AFTER DELETE ON memory_logs
REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION memory_terms_on_delete();

CREATE OR REPLACE FUNCTION memory_terms_on_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {EMPTY}
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER memory_terms_on_truncate AFTER TRUNCATE ON memory_logs
FOR EACH STATEMENT EXECUTE FUNCTION memory_terms_on_truncate();
"""

CREATE = CREATE_TABLES + CREATE_FUNCTIONS + CREATE_TRIGGERS + FILL

DROP = """
DROP TRIGGER memory_terms_on_insert ON memory_logs;
DROP TRIGGER memory_terms_on_update ON memory_logs;
DROP TRIGGER memory_terms_on_delete ON memory_logs;
DROP TRIGGER memory_terms_on_truncate ON memory_logs;
DROP FUNCTION memory_terms_on_insert, memory_terms_on_update, memory_terms_on_delete, memory_terms_on_truncate,
    memory_terms_of, memory_term_key, memory_words, memory_lexemes;
DROP TABLE memory_terms, memory_terms_sample;
"""
