-- What was refused last, for the administrator who is asked why.
CREATE TABLE refusals (
    reference TEXT PRIMARY KEY,
    refused_at BIGINT NOT NULL,
    endpoint TEXT NOT NULL,
    rule TEXT NOT NULL,
    client_id TEXT,
    subject TEXT,
    address TEXT NOT NULL,
    told TEXT NOT NULL,
    cause TEXT NOT NULL
);
CREATE INDEX refusals_by_time ON refusals (refused_at);

-- What administrators did by command, until a server has written it to its log.
CREATE TABLE command_notes (
    id TEXT PRIMARY KEY,
    noted_at BIGINT NOT NULL,
    command TEXT NOT NULL
);
