ALTER TABLE jobs ADD COLUMN resend_of TEXT;      -- id of the fax whose pages are sent again
