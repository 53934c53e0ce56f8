-- Whose thing an event is about; null for what belongs to nobody alone.
ALTER TABLE events ADD COLUMN owner_id TEXT;
UPDATE events SET owner_id = CASE
    WHEN subject LIKE 'key:%' THEN (SELECT owner_id FROM api_keys WHERE id = substr(subject, 5))
    WHEN subject LIKE 'account:%' THEN substr(subject, 9)
    ELSE (SELECT owner_id FROM jobs WHERE id = subject)
END;
