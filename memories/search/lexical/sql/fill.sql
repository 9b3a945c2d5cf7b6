-- Write the terms of all memories again.
TRUNCATE memory_terms, memory_terms_sample;
    WITH added AS (
        INSERT INTO memory_terms (memory_id, user_id, project_id, expires_at, length, keys, counts)
        SELECT m.id, m.user_id, m.project_id, m.expires_at, t.* FROM memory_logs AS m, LATERAL memory_terms_of(
            memory_term_seed((SELECT secret FROM memory_terms_secret), m.user_id, m.project_id),
            m.task, m.agent, m.date, m.raw_data) AS t
        RETURNING *
    )
    INSERT INTO memory_terms_sample (key, memory_id, user_id, project_id, length)
    SELECT key, memory_id, user_id, project_id, length FROM added, unnest(keys) AS key WHERE is_sampled;
