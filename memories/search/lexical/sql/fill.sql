-- Write the terms of all memories again.
TRUNCATE memory_terms, memory_terms_sample;
    WITH added AS (
        INSERT INTO memory_terms SELECT t.* FROM memory_logs AS m, LATERAL memory_terms_of(
            m.id, m.user_id, m.project_id, m.task, m.agent, m.date, m.raw_data) AS t
        RETURNING *
    )
    INSERT INTO memory_terms_sample
    SELECT key, memory_id, length FROM added, unnest(keys) AS key WHERE hashint8(memory_id) & 31 = 0;

