-- Wrong passwords in a row, by the hash of the name that was typed, whether there is such an account or not.
CREATE TABLE sign_in_failures (
    name TEXT PRIMARY KEY,
    failures BIGINT NOT NULL,
    failed_at BIGINT NOT NULL
);
CREATE INDEX sign_in_failures_by_time ON sign_in_failures (failed_at);
