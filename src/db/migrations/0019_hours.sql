-- The hours of the week in which a fax may be sent, in HylaFAX's words; null is any.
ALTER TABLE jobs ADD COLUMN hours TEXT;
