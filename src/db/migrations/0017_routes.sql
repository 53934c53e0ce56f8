-- A fax has a list of routes, in order. What is still to be tried of it in this try is its lane; jobs.route is
-- the one it took last, or would take first. Both stay empty for what ended before there were lists.
ALTER TABLE jobs ADD COLUMN routes TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN lane   TEXT NOT NULL DEFAULT '';
UPDATE jobs SET routes = route, lane = route WHERE final_at IS NULL;
DROP INDEX jobs_ready;
CREATE INDEX jobs_ready ON jobs (lane, rank, seq) WHERE state = 'queued' AND blocked = 0;
