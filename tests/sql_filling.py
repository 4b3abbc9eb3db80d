"""A database with so many rows in every table that a plan shows whether they are all read."""

from tests.store_rig import BUSINESS, LINE

CUSTOMERS = 20_000
MESSAGES_EACH = 3

FILLING = f"""
INSERT INTO business VALUES ('{BUSINESS}');
INSERT INTO channel VALUES ('{BUSINESS}', '{LINE}', 'wati');
INSERT INTO conversation (business_id, canonical_key, created_at)
SELECT '{BUSINESS}', 'phone:hotel:+' || n, now() FROM generate_series(1, {CUSTOMERS}) AS n;
INSERT INTO address SELECT '{BUSINESS}', 'phone', '', '+' || id, id FROM conversation;
INSERT INTO message (business_id, id, conversation_id, channel_id, address_kind, address_value,
    author, kind, body, source, event_at, received_at, fate)
SELECT '{BUSINESS}', c.id + {CUSTOMERS} * (n - 1), c.id, '{LINE}', 'phone', '+' || c.id,
    CASE n WHEN 1 THEN 'assistant' ELSE 'customer' END, 'text', 'Hola', 'webhook',
    now() - n * interval '1 minute', now() - interval '1 hour',
    CASE n WHEN 1 THEN NULL ELSE 'answered' END
FROM conversation AS c, generate_series(1, {MESSAGES_EACH}) AS n;
INSERT INTO message_key SELECT '{BUSINESS}', '{LINE}', 'k' || id, id FROM message;
INSERT INTO untold SELECT '{BUSINESS}', conversation_id, id, 'context', received_at
FROM message WHERE id > {CUSTOMERS};
INSERT INTO turn (business_id, id, conversation_id, stage, channel_id, address_kind, address_value,
    opened_at, closed_at, newest_at, verdict, threshold_seconds, message_ids, recall,
    recall_reasons, recall_urgent, recalled, matched_by_content, missed_ids, missed_left_out,
    attempt, tries, replaced, outcome, reason, response_id, model, input_tokens, cached_tokens,
    output_tokens, reasoning_tokens, answer_seconds, ended_at, incarnation)
SELECT '{BUSINESS}', id, conversation_id, 'ended', channel_id, address_kind, address_value,
    event_at, event_at, event_at, 'none', 300, ARRAY[id], 'complete', '{{}}', false, 0, 0, '{{}}',
    0, 1, 0, false, 'answered', '', '', '', 0, 0, 0, 0, 1.0, event_at, 1
FROM message WHERE id > {CUSTOMERS};
INSERT INTO outbox
SELECT '{BUSINESS}', id, id + {CUSTOMERS}, 1, 'accepted', 'relevo-' || id, now(), 1, now(), now(),
    NULL, false, ''
FROM message WHERE id <= {CUSTOMERS};
INSERT INTO legacy_message (business_id, channel_id, legacy_id, to_number, author, lead_id, lid,
    body, created_at, state)
SELECT '{BUSINESS}', '{LINE}', 'l' || n, '+' || n, 'customer', 'lead ' || n, n, 'Hola', now(),
    CASE WHEN n < 100 THEN 'waiting' ELSE 'inserted' END
FROM generate_series(1, {CUSTOMERS}) AS n;
INSERT INTO dead_letter SELECT '{BUSINESS}', id, conversation_id, 'answering', 'timeout', now(),
    now(), 'superseded' FROM turn;
INSERT INTO outgoing (business_id, conversation_id, author, body, due_at, state, message_id,
    created_at)
SELECT '{BUSINESS}', conversation_id, 'agent', 'Hola', now(), 'queued', id, now()
FROM message WHERE id <= {CUSTOMERS};
"""
