-- Inserts and deletes are handled by statement. Updates are handled by row, because only row triggers can name columns:
-- storing an embedding fires no trigger. There is no foreign key, because it would lock each row that it checks.
CREATE OR REPLACE FUNCTION memory_terms_on_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH added AS (
        INSERT INTO memory_terms (memory_id, user_id, project_id, expires_at, length, keys, counts)
        SELECT m.id, m.user_id, m.project_id, m.expires_at, t.* FROM inserted AS m, LATERAL memory_terms_of(
            memory_term_seed((SELECT secret FROM memory_terms_secret), m.user_id, m.project_id),
            m.task, m.agent, m.date, m.raw_data) AS t
        RETURNING *
    )
    INSERT INTO memory_terms_sample (key, memory_id, user_id, project_id, length)
    SELECT key, memory_id, user_id, project_id, length FROM added, unnest(keys) AS key WHERE is_sampled;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER memory_terms_on_insert AFTER INSERT ON memory_logs
REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION memory_terms_on_insert();

CREATE OR REPLACE FUNCTION memory_terms_on_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH removed AS (
        DELETE FROM memory_terms AS t USING (SELECT OLD.id) AS m WHERE t.memory_id = m.id RETURNING t.*
    )
    DELETE FROM memory_terms_sample AS s USING removed AS r
    WHERE r.is_sampled AND s.key = ANY (r.keys) AND s.memory_id = r.memory_id;
    WITH added AS (
        INSERT INTO memory_terms (memory_id, user_id, project_id, expires_at, length, keys, counts)
        SELECT m.id, m.user_id, m.project_id, m.expires_at, t.* FROM (SELECT NEW.*) AS m, LATERAL memory_terms_of(
            memory_term_seed((SELECT secret FROM memory_terms_secret), m.user_id, m.project_id),
            m.task, m.agent, m.date, m.raw_data) AS t
        RETURNING *
    )
    INSERT INTO memory_terms_sample (key, memory_id, user_id, project_id, length)
    SELECT key, memory_id, user_id, project_id, length FROM added, unnest(keys) AS key WHERE is_sampled;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER memory_terms_on_update
AFTER UPDATE OF id, user_id, project_id, task, agent, date, raw_data, expires_at ON memory_logs FOR EACH ROW
WHEN ((OLD.id, OLD.user_id, OLD.project_id, OLD.task, OLD.agent, OLD.date, OLD.raw_data, OLD.expires_at)
    IS DISTINCT FROM (NEW.id, NEW.user_id, NEW.project_id, NEW.task, NEW.agent, NEW.date, NEW.raw_data, NEW.expires_at))
EXECUTE FUNCTION memory_terms_on_update();

CREATE OR REPLACE FUNCTION memory_terms_on_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH removed AS (
        DELETE FROM memory_terms AS t USING deleted AS m WHERE t.memory_id = m.id RETURNING t.*
    )
    DELETE FROM memory_terms_sample AS s USING removed AS r
    WHERE r.is_sampled AND s.key = ANY (r.keys) AND s.memory_id = r.memory_id;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER memory_terms_on_delete AFTER DELETE ON memory_logs
REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION memory_terms_on_delete();

CREATE OR REPLACE FUNCTION memory_terms_on_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE memory_terms, memory_terms_sample;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER memory_terms_on_truncate AFTER TRUNCATE ON memory_logs
FOR EACH STATEMENT EXECUTE FUNCTION memory_terms_on_truncate();
