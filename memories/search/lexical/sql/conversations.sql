-- The words of a saved conversation are who said what, and what its owner added to the memory: memories/dialogue.py has
-- the same rule for the text that is embedded. The task, the agent and the numbers that the service writes would put
-- every conversation before other memories when somebody asks for "the first part of a conversation".
--
-- Of other memories the task, the agent and raw_data are returned unchanged. Of a saved conversation the turns become an
-- array of the strings and numbers in them, without keys, times and ids, next to the rest of raw_data.
CREATE OR REPLACE FUNCTION memory_without_bookkeeping(
    INOUT task text, INOUT agent text, INOUT raw_data jsonb
) LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF agent <> 'conversation' OR jsonb_typeof(raw_data -> 'turns') IS DISTINCT FROM 'array'
        OR NOT raw_data ? 'conversation_id'
    THEN
        RETURN;
    END IF;
    IF task IN (
        'Conversation ' || (raw_data ->> 'conversation_id'),
        format('Conversation %s, part %s', raw_data ->> 'conversation_id', raw_data ->> 'part')
    ) THEN
        task := NULL;
    END IF;
    agent := NULL;
    raw_data := jsonb_build_array(
        jsonb_path_query_array(
            raw_data -> 'turns',
            'strict $[*].**{0 to 32} ? (@.type() == "object").keyvalue() ? (!(@.key like_regex "^(seq|at|id|type|index|call_id|tool_call_id|tool_use_id|signature|cache_control|data|media_type|mime_type|mimeType|detail|format|encrypted_content)$")).value ? (@.type() == "string" || @.type() == "number")'
        ),
        jsonb_path_query_array(
            raw_data -> 'turns',
            'strict $.**{0 to 32} ? (@.type() == "array")[*] ? (@.type() == "string" || @.type() == "number")'
        ),
        raw_data - ARRAY['conversation_id', 'part', 'first_turn', 'last_turn', 'turns']
    );
END $$;
