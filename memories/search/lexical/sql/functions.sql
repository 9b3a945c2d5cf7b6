-- A key is a hash of the installation's secret, the tenant and the term. It has 64 bits, so that two terms do not share
-- a key by chance. Whoever does not know the secret cannot look for a collision. Keys only find rows quickly: every
-- statement that counts or ranks also compares the tenant itself, before it cuts by a LIMIT.
--
-- Words: Unicode is folded (compatibility forms, accents). Each Chinese or Japanese character is a term, because no
-- spaces separate their words. ASCII punctuation separates terms, so that paths, hosts, dates and identifiers are found
-- by their parts. PostgreSQL's English configuration does the rest: lower case, stop words, stems. It hardly changes
-- words of other languages, and it treats memories and queries alike.
--
-- The text of a memory: its task, agent and date ("2024-05-08", and "8 May" as people write it), then every string and
-- number in raw_data to a depth of 32, then the keys. Each value and the whole are cut. This bounds the work of a write,
-- and stays far below the limit of a tsvector.
-- (jsonb_path_query_array, because the set-returning jsonb_path_query takes a minute for a million values.)
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
    SELECT left(concat_ws(E'\n', left(said.task, 4000), left(said.agent, 4000), to_char(date, 'YYYY-MM-DD FMDD FMMonth'),
        (SELECT string_agg(left(value, 4000), E'\n') FROM jsonb_array_elements_text(jsonb_path_query_array(
            said.raw_data, 'strict $.**{0 to 32} ? (@.type() == "string" || @.type() == "number")')) AS value),
        (SELECT string_agg(left(key, 200), E'\n') FROM jsonb_array_elements_text(jsonb_path_query_array(
            said.raw_data, 'strict $.**{0 to 32} ? (@.type() == "object").keyvalue().key')) AS key)
    ), 16000)
    FROM memory_without_bookkeeping(task, agent, raw_data) AS said
$$;

-- The seed of a tenant's keys.
CREATE OR REPLACE FUNCTION memory_term_seed(secret bigint, user_id text, project_id text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT hashtextextended(project_id, hashtextextended(user_id, secret))
$$;

CREATE OR REPLACE FUNCTION memory_term_key(seed bigint, lexeme text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT hashtextextended(lexeme, seed) $$;

CREATE OR REPLACE FUNCTION memory_terms_of(seed bigint, task text, agent text, date date, raw_data jsonb)
RETURNS TABLE (length int, keys bigint[], counts smallint[])
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sum(count)::int, array_agg(key), array_agg(count)
    FROM (
        SELECT memory_term_key(seed, lexeme), coalesce(cardinality(positions), 1)::smallint
        FROM unnest(memory_lexemes(memory_words(task, agent, date, raw_data)))
        UNION ALL
        -- The empty term is in every memory: its statistics are the tenant's.
        SELECT memory_term_key(seed, ''), 1::smallint
        ORDER BY 1
    ) AS term (key, count)
$$;
