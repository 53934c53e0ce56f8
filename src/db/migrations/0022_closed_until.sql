-- Until when time outside the hours was added to the deadline of a fax already; null when none was.
ALTER TABLE jobs ADD COLUMN closed_until INTEGER;
UPDATE jobs SET closed_until = next_try_at WHERE state = 'scheduled' AND next_try_at IS NOT schedule_at;
