-- Wakes the readers of the stream (outbox.queue.stream) when events without a handler are recorded.
CREATE OR REPLACE FUNCTION outbox_recorded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM inserted WHERE status = 'delivered') THEN
        PERFORM pg_notify('outbox_recorded', '');
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER outbox_recorded AFTER INSERT ON outbox_event
REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION outbox_recorded();
