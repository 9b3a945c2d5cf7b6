-- Wakes the relay: one NOTIFY a statement, however many events it inserts. Recorded events wake no relay.
-- The payload is the earliest available_at of the new events, in seconds since 1970. The claim starts reading its
-- index there, and skips the entries of delivered events that the next vacuum removes.
-- PostgreSQL sends equal payloads of one transaction once.
CREATE OR REPLACE FUNCTION outbox_wakeup() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    since numeric;
BEGIN
    SELECT extract(epoch FROM min(available_at)) INTO since FROM inserted WHERE status = 'pending';
    IF since IS NOT NULL THEN
        PERFORM pg_notify('outbox_event', since::text);
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER outbox_wakeup AFTER INSERT ON outbox_event
REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION outbox_wakeup();
