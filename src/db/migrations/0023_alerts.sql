-- What may call for a person, to be told by e-mail; and how far that was looked through: of the past nobody is told.
CREATE INDEX events_alerts ON events (seq) WHERE type IN (
    'dialling.limit_reached', 'route.out_of_service', 'route.in_service', 'storage.ample', 'storage.low',
    'storage.full', 'storage.accounted', 'certificate.expiring', 'audit.damaged'
);
INSERT INTO meta (name, value) SELECT 'alerts_told', CAST(ifnull(max(seq), 0) AS BLOB) FROM events;
