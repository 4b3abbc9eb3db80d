-- Back to an empty database. The group roles stay: another database of the server may use them.
DROP TABLE accepted, quarantine, dead_letter, outbox, turn, untold, message_key, message, address,
    conversation, channel, business;
DROP SEQUENCE message_id, incarnation_id;
