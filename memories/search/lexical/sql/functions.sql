-- A key is a hash of the installation's secret, the tenant and the term. It has 64 bits, so that two terms do not share
-- a key by chance. Whoever does not know the secret cannot look for a collision. Keys only find rows quickly: every
-- statement that counts or ranks also compares the tenant itself, before it cuts by a LIMIT.
--
-- Words: Unicode is normalised, and punctuation separates words. Then a configuration of PostgreSQL does the rest: lower
-- case, stop words, stems. Afterwards accents are removed. The most frequent words of a memory tell its language
-- (memories/embeddings/stop_words.py), and else its script does; English is the default. Words that only have letters of
-- certain languages also have their stems in these. A question has the terms of its words in every language in which the
-- tenant has a memory. The following terms are added, all with ǀ in front, so that they are no words:
-- - Identifiers, paths, versions, addresses and dates as a whole (`get_user_by_id`, `v2.10.1`, `10.0.12.5`, `C++`), next
--   to their parts. A whole is rarer than its parts, so it counts more. Signs are dropped, but not between digits: so
--   `parse-iso-date`, `parseISODate` and the words "parse iso date" of a question meet.
-- - Stop words that are written as names (IT, "the band The Who").
-- - The memory's date, its day and its month; its language and that it is not English, if it is not.
-- Words of other kinds:
-- - Overlapping pairs of characters of Chinese and Japanese, where no spaces separate words, and every character; pairs
--   and threes of Thai, Lao, Khmer and Burmese; pairs of Korean words, next to the words.
-- - The parts of `camelCase`, of a number with its unit (`500ms`, `24th`), and of `v2`.
--
-- Most functions are in plpgsql, which plans their statements once in a session.

-- The stop words of all languages, and the languages of each. In plpgsql, because the words would be parsed again with each statement that a SQL function is copied into.
CREATE OR REPLACE FUNCTION memory_stop_words() RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN $json${stop_words}$json$::jsonb;
END $$;

-- The languages whose stop words and endings PostgreSQL knows, without English.
CREATE OR REPLACE FUNCTION memory_languages() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT '{languages}'::text[] $$;

CREATE OR REPLACE FUNCTION memory_configuration(language text) RETURNS regconfig
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce((
        SELECT oid FROM pg_ts_config WHERE cfgname = language AND cfgnamespace = 'pg_catalog'::regnamespace
    ), 'pg_catalog.english'::regconfig)::regconfig
$$;

-- Some letters are no letters with accents to Unicode: the dotless i of Turkish (whose capital is everybody's I), ø, ł.
CREATE OR REPLACE FUNCTION memory_folded(words text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN octet_length(words) = char_length(words) THEN words
        ELSE translate(normalize(regexp_replace(normalize(words, NFKD), '[\u0300-\u036f]+', '', 'g'), NFC),
            'ıøłđðħ', 'iolddh') END
$$;

-- Signs of all scripts become spaces (PostgreSQL's parser may take them for letters: «؟» at the end of a question, «।»),
-- and pictures are words of their own. Marks that may as well be missing go: vowels of Hebrew and Arabic, the tatweel,
-- soft hyphens. Digits of other scripts and two letters that Persian writes otherwise become the common ones.
CREATE OR REPLACE FUNCTION memory_normalized(words text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    IF octet_length(words) = char_length(words) THEN
        RETURN words;
    END IF;
    words := replace(normalize(words, NFKC), 'ß', 'ss');
    IF words ~ '[\u00ad\u0591-\u0dff\u200d\u2060\ufe00-\ufe0f\ufeff\U0001f000-\U0001faff]' THEN
        IF words ~ '[٠-٩۰-۹०-९০-৯یک]' THEN
            words := translate(words, '٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹०१२३४५६७८९০১২৩৪৫৬৭৮৯یک', '0123456789012345678901234567890123456789يك');
        END IF;
        words := regexp_replace(words,
            '[\u00ad\u200d\u2060\ufeff\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\ufe00-\ufe0f]+', '', 'g');
        words := regexp_replace(words, '([\U0001f000-\U0001faff])', ' \1 ', 'g');
    END IF;
    RETURN regexp_replace(words, '[{signs}]+', ' ', 'g');
END $$;

-- What stands between spaces, and between words of a script without spaces; a line begins with '.'.
CREATE OR REPLACE FUNCTION memory_tokens(words text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT string_to_array(replace(translate(CASE WHEN octet_length(words) = char_length(words) THEN words
        ELSE regexp_replace(words,
            '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+', ' ', 'g')
        END, E'\t\r', '  '), E'\n', ' . '), ' ')
$$;

CREATE OR REPLACE FUNCTION memory_trimmed(token text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ SELECT btrim(token, '.,;:!?()[]{}<>"`*' || chr(39)) $$;

-- The language of normalised words: '' if neither a word nor a script tells it.
CREATE OR REPLACE FUNCTION memory_language(words text, tokens text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    stop jsonb := memory_stop_words();
    told text := (
        SELECT language FROM unnest(tokens[:300]) AS token,
            jsonb_array_elements_text(stop -> memory_trimmed(lower(token))) AS language
        GROUP BY language ORDER BY count(DISTINCT lower(token)) DESC, language = 'english' DESC, language LIMIT 1
    );
BEGIN
    IF told IS NULL AND octet_length(words) <> char_length(words) THEN
        told := (
            SELECT CASE WHEN script[1] <> '' THEN CASE WHEN words ~ '[ЂЈЉЊЋЏђјљњћџ]' THEN 'serbian' ELSE 'russian' END
                WHEN script[2] <> '' THEN 'greek' WHEN script[3] <> '' THEN 'arabic' WHEN script[4] <> '' THEN 'hindi'
                WHEN script[5] <> '' THEN 'armenian' WHEN script[6] <> '' THEN 'tamil' END
            FROM regexp_match(words, '([\u0400-\u04ff])|([\u0370-\u03ff])|([\u0600-\u06ff])|([\u0900-\u097f])|([\u0530-\u058f])|([\u0b80-\u0bff])') AS script
        );
    END IF;
    RETURN coalesce(told, '');
END $$;

-- The languages that have all Latin letters of this text: "kitabı okudum" is Turkish. Some letters are in several
-- languages; then one word in four must have a letter beyond ASCII, and else one in eight: the keys and the task of a
-- memory are often English. An alphabet here lacks letters that are only in borrowed words.
CREATE OR REPLACE FUNCTION memory_languages_of_letters(said text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    words text := lower(normalize(left(said, 2000), NFC));
    letters text := regexp_replace(words, '[^\u00df-\u00f6\u00f8-\u024f\u1e00-\u1eff]+', '', 'g');
    found text[];
BEGIN
    IF letters = '' THEN
        RETURN '{}';
    END IF;
    found := ARRAY(
        SELECT language FROM (VALUES ('danish', 'åæø'), ('finnish', 'äö'), ('french', 'àâçèéêëîïôùûœ'), ('german', 'ßäöü'),
            ('hungarian', 'áéíóöúüőű'), ('italian', 'àèìòù'), ('norwegian', 'åæø'), ('portuguese', 'àáâãçéêíóôõú'),
            ('romanian', 'âîăşţșț'), ('spanish', 'áéíñóú'), ('swedish', 'äåö'), ('turkish', 'çöüğış')
        ) AS alphabet (language, its) WHERE translate(letters, its, '') = ''
    );
    RETURN CASE WHEN (
        SELECT count(*) FILTER (WHERE word ~ '[\u00df-\u00f6\u00f8-\u024f\u1e00-\u1eff]')
            * CASE cardinality(found) WHEN 1 THEN 8 ELSE 4 END >= count(*)
        FROM unnest(memory_tokens(words)) AS word WHERE word ~ '[a-z\u00df-\u00f6\u00f8-\u024f\u1e00-\u1eff]'
    ) THEN found ELSE '{}' END;
END $$;

-- Whether a single stop word tells the language of a question, and it is none of English: "the red door" is as likely
-- English as Dutch.
CREATE OR REPLACE FUNCTION memory_language_is_doubtful(language text, tokens text[]) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    stop jsonb := memory_stop_words();
BEGIN
    RETURN language NOT IN ('', 'english') AND 1 = (
        SELECT count(DISTINCT lower(token)) FROM unnest(tokens[:300]) AS token
        WHERE stop -> memory_trimmed(lower(token)) ? language
    );
END $$;

-- Tokens that may be identifiers and the like: with a sign inside, a capital after the first letter, or a digit and more.
CREATE OR REPLACE FUNCTION memory_identifiers(tokens text[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN ARRAY(
        SELECT DISTINCT left(memory_trimmed(token), 200) FROM unnest(tokens) AS token
        WHERE token COLLATE "C" ~ '[^!-/:-@[-`{-~][-_./:@\\&]+[^!-/:-@[-`{-~]|[0-9],[0-9]{3}|[A-Za-z0-9](\+\+|#)|[0-9][A-Za-z\u0370-\u04ff]|[A-Za-z][0-9]|[a-z][A-Z]'
    );
END $$;

CREATE OR REPLACE FUNCTION memory_camel_parts(word text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT regexp_replace(word, '([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])', '\1\3 \2\4', 'g')
$$;

-- The parts of camelCase, of a number with its unit, and of a name with its number (`libssl3`); the number of a version;
-- a number without the signs of its thousands and without `0x`.
CREATE OR REPLACE FUNCTION memory_parts(identifiers text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN (
        SELECT coalesce(string_agg(coalesce(memory_camel_parts(part[1]), part[2] || ' ' || part[3], part[4]), ' '), '')
        FROM unnest(identifiers) AS token,
            regexp_matches(token, '(\m[A-Za-z0-9]*[a-z0-9][A-Z][A-Za-z0-9]*)|\m([0-9]+)([[:alpha:]]{1,4})\M|\m[vV]([0-9]+)', 'g') AS part
    ) || (
        SELECT coalesce(string_agg(' ' || coalesce(part[1] || ' ' || part[2], replace(part[3], ',', ''), part[4]), ''), '')
        FROM unnest(identifiers) AS token,
            regexp_matches(token, '\m([[:alpha:]]{2,})([0-9]+)\M|\m([0-9]{1,3}(?:,[0-9]{3})+)\M|\m0[xX]([0-9A-Fa-f]{4,})\M', 'g') AS part
    );
END $$;

-- Overlapping groups of characters: pairs, and threes where a character is less than a syllable.
CREATE OR REPLACE FUNCTION memory_groups(words text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN (SELECT string_agg(CASE WHEN two IS NULL THEN '' WHEN three IS NULL OR one >= U&'\3040' THEN one || two
        ELSE one || two || ' ' || one || two || three END, ' ')
    FROM (
        SELECT one, lead(one) OVER () AS two, lead(one, 2) OVER () AS three FROM (
            SELECT CASE WHEN sign >= U&'\3040' COLLATE "C" AND sign < U&'\A000' COLLATE "C"
                OR sign >= U&'\0E00' COLLATE "C" AND sign < U&'\0F00' COLLATE "C"
                OR sign >= U&'\AC00' COLLATE "C" AND sign < U&'\D7B0' COLLATE "C"
                OR sign >= U&'\1780' COLLATE "C" AND sign < U&'\1800' COLLATE "C"
                OR sign >= U&'\1000' COLLATE "C" AND sign < U&'\10A0' COLLATE "C" THEN sign END COLLATE "C" AS one
            FROM unnest(string_to_array(words, NULL)) AS sign
        ) AS sign
    ) AS neighbours WHERE one IS NOT NULL);
END $$;

-- The text that PostgreSQL's parser gets for normalised words: it would take a run of Thai or Chinese for one word.
CREATE OR REPLACE FUNCTION memory_spaced(words text, identifiers text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    parts text := memory_parts(identifiers);
    spaced text := regexp_replace(words COLLATE "C", '[!-/:-@[-`{-~]+', ' ', 'g');
BEGIN
    IF octet_length(words) <> char_length(words)
        AND words ~ '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]'
    THEN
        parts := concat_ws(' ', parts, memory_groups(spaced));
        -- Korean endings stand at words of other scripts, too.
        spaced := regexp_replace(spaced, '([A-Za-z0-9])([\uac00-\ud7af])', '\1 \2', 'g');
        spaced := regexp_replace(spaced, '([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff])|[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+', ' \1 ', 'g');
    END IF;
    -- The Arabic stemmer knows the article, but takes the first letter of some words without it for a preposition.
    IF octet_length(words) <> char_length(words) AND words ~ '[\u0621-\u064a]' THEN
        spaced := regexp_replace(translate(spaced, 'أإآٱىة', 'اااايه'),
            '\m(?:[وف]?(?:ال|بال|كال|فال|لل)|و)(?=[\u0621-\u064a]{3})', '', 'g');
    END IF;
    RETURN concat_ws(' ', spaced, parts);
END $$;

-- The terms of a text from memory_spaced, with the place of each: words in other configurations have the same places.
CREATE OR REPLACE FUNCTION memory_lexemes(spaced text, configuration regconfig)
RETURNS TABLE (lexeme text, count int, place int)
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN QUERY SELECT memory_folded(t.lexeme), coalesce(cardinality(t.positions), 1), t.positions[1]::int
    FROM unnest(to_tsvector(configuration, spaced)) AS t;
    -- An ending with an accent is only known with it, and people leave accents out.
    IF octet_length(spaced) <> char_length(spaced) AND spaced ~ '[\u00c0-\u024f\u1e00-\u1eff]' THEN
        RETURN QUERY SELECT t.lexeme, coalesce(cardinality(t.positions), 1), t.positions[1]::int
        FROM unnest(to_tsvector(configuration, memory_folded(lower(spaced)))) AS t;
    END IF;
END $$;

-- Identifiers and the like as a whole, the parts of a path that are wholes themselves, and the names of files without their
-- ends. Dates also count by the day.
CREATE OR REPLACE FUNCTION memory_wholes(identifiers text[]) RETURNS TABLE (lexeme text)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    wholes text[];
BEGIN
    IF identifiers = '{}' THEN
        RETURN;
    END IF;
    wholes := ARRAY(
        SELECT match[1] FROM unnest(identifiers) AS token, regexp_matches(token,
            '([[:alnum:]]+(?:[-_./:@\\&]+[[:alnum:]]+)+|\m[[:alnum:]]+(?:\+\+|#)|\m[[:alnum:]]*[a-z0-9][A-Z][[:alnum:]]*|\m[0-9]+[[:alpha:]]{1,4}\M)',
            'g') AS match
    );
    RETURN QUERY SELECT DISTINCT lower(form) FROM (
        SELECT whole FROM unnest(wholes) AS whole
        UNION ALL
        SELECT part FROM unnest(wholes) AS whole, regexp_split_to_table(whole, '[/:@\\]+') AS part
        WHERE translate(whole, '/:@\', '') <> whole
            AND (translate(part, '-_.', '') <> part OR lower(substr(part, 2)) <> substr(part, 2))
    ) AS part, unnest(CASE WHEN whole ~ '^[[:alpha:]]+(?:-[[:alpha:]]+)+$' THEN ARRAY['ǀ' || replace(whole, '-', ''), replace(whole, '-', '')]
        WHEN whole ~ '^[vV][0-9]+[.][0-9]' THEN ARRAY['ǀ' || substr(whole, 2)]
        ELSE ARRAY['ǀ' || regexp_replace(whole, '([^0-9])[-_./:@\\&]+|[-_./:@\\&]+([^0-9])', '\1\2', 'g')] END) AS form;
    IF strpos(array_to_string(wholes, ' '), '.') > 0 THEN
        RETURN QUERY SELECT DISTINCT 'ǀ' || lower(replace(file[1], '_', '')) FROM unnest(wholes) AS whole, regexp_matches(whole,
            '([[:alnum:]]+(?:_[[:alnum:]]+)+|\m[[:alnum:]]*[a-z0-9][A-Z][[:alnum:]]*)[.][A-Za-z][A-Za-z0-9]{0,3}\M', 'g') AS file;
    END IF;
    RETURN QUERY SELECT DISTINCT concat_ws('-', 'ǀ' || year, lpad(month, 2, '0'), lpad(day, 2, '0'))
    FROM unnest(wholes) AS whole, LATERAL (
        SELECT date[1], date[2], date[3]
        FROM regexp_match(whole, '^([0-9]{4})[-./]([0-9]{1,2})[-./]([0-9]{1,2})$') AS date
        UNION SELECT date[3], date[place], date[3 - place]
        FROM regexp_match(whole, '^([0-9]{1,2})[-./]([0-9]{1,2})[-./]([0-9]{4})$') AS date, generate_series(1, 2) AS place
        WHERE place = 2 OR whole LIKE '%/%'
    ) AS date (year, month, day)
    WHERE length(whole) BETWEEN 8 AND 10 AND whole < ':' AND month::int BETWEEN 1 AND 12 AND day::int BETWEEN 1 AND 31;
END $$;

-- Stop words that are written as names: in capitals, or with a capital in the middle of a sentence.
CREATE OR REPLACE FUNCTION memory_names(tokens text[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    stop jsonb := memory_stop_words();
BEGIN
    RETURN ARRAY(
        SELECT DISTINCT 'ǀ!' || lower(trimmed) FROM unnest(tokens) WITH ORDINALITY AS t (token, place), memory_trimmed(token) AS trimmed
        WHERE lower(token) <> token AND length(trimmed) > 1 AND stop ? lower(trimmed)
            AND (upper(trimmed) = trimmed OR right(tokens[place - 1], 1) <> ALL ('{.,!,?,:,-}'))
    );
END $$;

-- The terms of a question, by their places: terms with the same place are forms of one word. `languages` are those in
-- which the tenant has memories. A question of stop words alone asks for names.
CREATE OR REPLACE FUNCTION memory_question(question text, languages text[]) RETURNS TABLE (lexeme text, place int)
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
DECLARE
    words text := memory_normalized(question);
    tokens text[] := memory_tokens(words);
    identifiers text[] := memory_identifiers(tokens);
    spaced text := memory_spaced(words, identifiers);
    language text := memory_language(words, tokens);
    told regconfig := memory_configuration(language);
    written text[] := string_to_array(trim(regexp_replace(memory_folded(lower(words)), '[^[:alnum:]]+', ' ', 'g')), ' ');
    places int[] := ARRAY(SELECT t.place FROM memory_lexemes(spaced, told) AS t);
    by_letters text[] := '{}';
BEGIN
    -- Otherwise a language of its letters is one of the tenant's, or none of its memories has these stems.
    IF languages = '{}' AND language = '' AND octet_length(question) <> char_length(question) THEN
        by_letters := memory_languages_of_letters(question);
    END IF;
    IF memory_language_is_doubtful(language, tokens) THEN
        places := places || ARRAY(SELECT t.place FROM memory_lexemes(spaced, 'pg_catalog.english'::regconfig) AS t);
    END IF;
    -- A word that is grammar in the question's own language is none of its words in another one.
    RETURN QUERY
    SELECT t.lexeme, min(t.place) FROM (
        SELECT told AS configuration UNION SELECT 'pg_catalog.english'::regconfig
        UNION SELECT memory_configuration(name) FROM unnest(languages || by_letters) AS name
    ) AS c, memory_lexemes(spaced, configuration) AS t
    WHERE t.place = ANY (places) GROUP BY t.lexeme;
    RETURN QUERY
    SELECT w.lexeme, NULL::int FROM memory_wholes(identifiers) AS w
    UNION SELECT name, NULL FROM unnest(memory_names(tokens)) AS name
    UNION SELECT 'ǀ' || array_to_string(written[first:first + size], ''), NULL
        FROM generate_subscripts(written, 1) AS first, generate_series(0, 3) AS size
        WHERE cardinality(written) <= 16 AND first + size <= cardinality(written)
    UNION SELECT 'ǀ!' || word, NULL FROM unnest(written) AS word WHERE places = '{}';
END $$;

-- The text of a memory: its task and agent, then every string and number in raw_data to a depth of 32, then the keys.
-- Each value and the whole are cut. This bounds the work of a write, and stays far below the limit of a tsvector.
-- (jsonb_path_query_array, because the set-returning jsonb_path_query takes a minute for a million values.)
CREATE OR REPLACE FUNCTION memory_words(task text, agent text, raw_data jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT left(concat_ws(E'\n', left(said.task, 4000), left(said.agent, 4000),
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

-- The terms of a text, some of them twice. Those that are not its words do not count for its length.
CREATE OR REPLACE FUNCTION memory_text_terms(said text) RETURNS TABLE (lexeme text, count int, is_word boolean)
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
DECLARE
    words text := memory_normalized(said);
    tokens text[] := memory_tokens(words);
    identifiers text[] := memory_identifiers(tokens);
    spaced text := memory_spaced(words, identifiers);
    language text := memory_language(words, tokens);
BEGIN
    -- A word of English in a short text may be one of another language: "as alterações".
    IF (language = '' OR language = 'english' AND char_length(said) < 300) AND octet_length(said) <> char_length(said)
        AND said ~ '[\u00c0-\u024f\u0300-\u036f\u1e00-\u1eff]'
    THEN
        RETURN QUERY
        SELECT term.* FROM unnest(memory_languages_of_letters(said)) AS name, LATERAL (
            SELECT t.lexeme, t.count, false FROM memory_lexemes(left(spaced, 2000), memory_configuration(name)) AS t
            UNION ALL SELECT marker, 1, false FROM unnest(ARRAY['ǀ≠english', 'ǀ=' || name]) AS marker
        ) AS term;
    END IF;
    RETURN QUERY
    SELECT term.lexeme, max(term.count), bool_or(term.is_word) FROM (
        SELECT t.lexeme, t.count, true FROM memory_lexemes(spaced, memory_configuration(language)) AS t
        UNION ALL SELECT w.lexeme, 1, false FROM memory_wholes(identifiers) AS w
        UNION ALL SELECT name, 1, false FROM unnest(memory_names(tokens)) AS name
        UNION ALL SELECT marker, 1, false FROM unnest(ARRAY['ǀ≠english', 'ǀ=' || language]) AS marker
            WHERE language = ANY (memory_languages())
    ) AS term (lexeme, count, is_word) GROUP BY 1;
END $$;

CREATE OR REPLACE FUNCTION memory_terms_of(seed bigint, task text, agent text, date date, raw_data jsonb)
RETURNS TABLE (length int, keys bigint[], counts smallint[])
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(sum(count) FILTER (WHERE is_word), 0)::int, array_agg(key ORDER BY key), array_agg(count ORDER BY key)
    FROM (
        SELECT memory_term_key(seed, lexeme), max(count)::smallint, bool_or(is_word) FROM (
            SELECT * FROM memory_text_terms(memory_words(task, agent, raw_data))
            UNION ALL SELECT lexeme, 1, true
            FROM unnest(to_tsvector('pg_catalog.english', to_char(date, 'FMDD FMMonth FMMon YYYY')))
            UNION ALL SELECT 'ǀ' || to_char(date, form), 1, false FROM unnest('{YYYY-MM-DD,MM-DD,YYYY-MM}'::text[]) AS form
            -- The empty term is in every memory: its statistics are the tenant's.
            UNION ALL SELECT '', 1, false
        ) AS term (lexeme, count, is_word) GROUP BY 1
    ) AS term (key, count, is_word)
$$;
