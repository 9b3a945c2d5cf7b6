DROP TRIGGER memory_terms_on_insert ON memory_logs;
DROP TRIGGER memory_terms_on_update ON memory_logs;
DROP TRIGGER memory_terms_on_delete ON memory_logs;
DROP TRIGGER memory_terms_on_truncate ON memory_logs;
DROP FUNCTION memory_terms_on_insert, memory_terms_on_update, memory_terms_on_delete, memory_terms_on_truncate,
    memory_terms_of, memory_text_terms, memory_term_key, memory_term_seed, memory_words, memory_question,
    memory_names, memory_wholes, memory_lexemes, memory_spaced, memory_groups, memory_parts, memory_camel_parts,
    memory_identifiers, memory_languages_of_letters, memory_language, memory_trimmed, memory_tokens, memory_normalized,
    memory_folded, memory_configuration, memory_languages, memory_stop_words, memory_without_bookkeeping;
DROP TABLE memory_terms, memory_terms_sample, memory_terms_secret;
