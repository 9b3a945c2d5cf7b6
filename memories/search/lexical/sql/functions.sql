-- A key is a hash of the installation's secret, the tenant and the term. It has 64 bits, so that two terms do not share
-- a key by chance. Whoever does not know the secret cannot look for a collision. Keys only find rows quickly: every
-- statement that counts or ranks also compares the tenant itself, before it cuts by a LIMIT.
--
-- Words: Unicode is folded (compatibility forms, accents, the German sharp s), and punctuation separates words. Then
-- PostgreSQL's English configuration does the rest: lower case, stop words, stems. It hardly changes words of other
-- languages, and it treats memories and queries alike. The following terms are added:
-- - Overlapping pairs of characters of Chinese, Japanese, Thai, Lao, Khmer and Burmese, where no spaces separate words.
--   A Chinese or Japanese character is also a term of its own.
-- - Identifiers, paths, versions, addresses and dates as a whole (`get_user_by_id`, `v2.10.1`, `10.0.12.5`, `C++`), next
--   to their parts. A whole is rarer than its parts, so it counts more. Its signs are written as letters, at which
--   PostgreSQL's parser does not split.
-- - The parts of `camelCase`, and of a number with its unit (`500ms`, `24th`).
--
-- The text of a memory: its task, agent and date ("2024-05-08", and "8 May" as people write it), then every string and
-- number in raw_data to a depth of 32, then the keys. Each value and the whole are cut. This bounds the work of a write,
-- and stays far below the limit of a tsvector.
-- (jsonb_path_query_array, because the set-returning jsonb_path_query takes a minute for a million values.)
CREATE OR REPLACE FUNCTION memory_lexemes(words text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    pairs text := '';
BEGIN
    IF octet_length(words) <> char_length(words) THEN
        words := normalize(regexp_replace(normalize(words, NFKD), '[\u0300-\u036f]+', '', 'g'), NFC);
        words := replace(regexp_replace(words, '[\u00a0-\u00bf\u2000-\u206f\u2190-\u2bff\u3000-\u303f]+', ' ', 'g'), 'ß', 'ss');
        IF words ~ '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]' THEN
            pairs := memory_pairs(words);
            words := regexp_replace(words, '([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff])', ' \1 ', 'g');
            words := regexp_replace(words, '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+', ' ', 'g');
        END IF;
    END IF;
    RETURN to_tsvector('pg_catalog.english', concat_ws(' ',
        regexp_replace(words, '[!-/:-@[-`{-~]+', ' ', 'g'), memory_wholes_and_parts(words), pairs));
END $$;

-- The first pattern finds pairs at even places of each run of characters, the second one those at odd places.
CREATE OR REPLACE FUNCTION memory_pairs(words text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    runs text := regexp_replace(words, '[^\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+', ' ', 'g');
    pairs text := regexp_replace(runs, '([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]{2})', '\1 ', 'g')
        || ' ' || regexp_replace(regexp_replace(runs, '(^| )[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]', '\1', 'g'), '([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]{2})', '\1 ', 'g');
BEGIN
    RETURN regexp_replace(pairs, '(^| )[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff](?= |$)', ' ', 'g');
END $$;

CREATE OR REPLACE FUNCTION memory_camel_parts(word text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT ' ' || regexp_replace(regexp_replace(word, '[^A-Za-z0-9]+', ' ', 'g'),
        '([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])', '\1\3 \2\4', 'g')
$$;

CREATE OR REPLACE FUNCTION memory_wholes_and_parts(words text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT string_agg(coalesce(
        translate(left(found[1], 200), '-_./:@+#', 'ǀǀǀǀǀǀʘǂ')
            || CASE WHEN found[1] ~ '[a-z0-9][A-Z]' THEN memory_camel_parts(found[1]) ELSE '' END,
        memory_camel_parts(found[2]),
        regexp_replace(found[3], '([0-9])([A-Za-z])', '\1 \2')
    ), ' ')
    FROM (
        SELECT regexp_matches(words,
            '([A-Za-z0-9]+(?:[-_./:@]+[A-Za-z0-9]+)+|\m[A-Za-z0-9]+(?:\+\+|#))'
            '|(\m[A-Za-z0-9]*[a-z0-9][A-Z][A-Za-z0-9]*)|(\m[0-9]+[A-Za-z]{1,4}\M)', 'g') AS found
    ) AS each
$$;

CREATE OR REPLACE FUNCTION memory_words(task text, agent text, date date, raw_data jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT left(concat_ws(E'\n', left(said.task, 4000), left(said.agent, 4000), to_char(date, 'YYYY-MM-DD FMDD FMMonth FMMon'),
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
