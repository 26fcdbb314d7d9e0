-- What became of each client's document, who may do what, and what is made for developers and pages.

-- When it was first read; what its host said last, if that was no document.
ALTER TABLE clients ADD COLUMN first_seen_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE clients ADD COLUMN failed_at BIGINT;
ALTER TABLE clients ADD COLUMN failed_rule TEXT;
ALTER TABLE clients ADD COLUMN failed_because TEXT;
-- Since when its host says that there is no such document, and since when that is confirmed.
ALTER TABLE clients ADD COLUMN gone_since BIGINT;
ALTER TABLE clients ADD COLUMN gone_confirmed_at BIGINT;
UPDATE clients SET first_seen_at = fetched_at;
CREATE INDEX clients_by_digest ON clients (digest);
CREATE INDEX client_documents_by_client ON client_documents (client_id);

-- The history of each client, numbered from 1.
CREATE TABLE client_events (
    client_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    digest TEXT,
    -- JSON: the fields that changed, each with its grade.
    changes TEXT NOT NULL,
    -- What was done about it.
    answer TEXT NOT NULL,
    PRIMARY KEY (client_id, number)
);
CREATE INDEX client_events_by_digest ON client_events (digest);

-- The administrator's rules beside those of the configuration.
CREATE TABLE client_rules (
    pattern TEXT PRIMARY KEY,
    -- JSON: the rule as the configuration would write it.
    rule TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Counts the changes that every process has to notice.
CREATE TABLE revisions (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO revisions (name, value) VALUES ('clients', 1);

ALTER TABLE interactions ADD COLUMN client_id TEXT NOT NULL DEFAULT '';
CREATE INDEX grants_by_client ON grants (client_id);
CREATE INDEX consents_by_client ON consents (client_id);

-- Logos, as we encoded them.
CREATE TABLE logos (
    hash TEXT PRIMARY KEY,
    png TEXT NOT NULL
);
CREATE TABLE client_logos (
    client_id TEXT PRIMARY KEY,
    logo_uri TEXT NOT NULL,
    hash TEXT,
    fetched_at BIGINT NOT NULL,
    failed_because TEXT
);

-- Documents of clients that a developer runs on a machine of their own.
CREATE TABLE dev_clients (
    id TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    document TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX dev_clients_by_subject ON dev_clients (subject);
