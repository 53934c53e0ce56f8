-- Whether the pages of a fax are sent in the form that every machine takes, because one was refused.
ALTER TABLE jobs ADD COLUMN reimaged INTEGER NOT NULL DEFAULT 0;
