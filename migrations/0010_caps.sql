-- What a pushed request takes, so that all of them can be summed up without being read.
ALTER TABLE pushed_requests ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;
UPDATE pushed_requests SET bytes = LENGTH(request);
CREATE INDEX pushed_requests_by_bytes ON pushed_requests (bytes);
CREATE INDEX pushed_requests_by_client ON pushed_requests (client_id);
-- One that a person is being asked about stays until they have answered.
CREATE INDEX interactions_by_pushed ON interactions (pushed) WHERE pushed IS NOT NULL;
-- The oldest versions of documents are looked for without the documents.
CREATE INDEX client_documents_by_time ON client_documents (first_read_at);
