-- One schema for SQLite and PostgreSQL: TEXT, BIGINT (seconds since 1970) and BOOLEAN only.
-- A hash is SHA-256 in base64url of a secret that only its owner has.

CREATE TABLE users (
    subject TEXT PRIMARY KEY,
    username TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    is_admin BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    disabled_at BIGINT
);

CREATE TABLE setup_links (
    hash TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL,
    spent_at BIGINT
);

CREATE TABLE signing_keys (
    generation BIGINT PRIMARY KEY,
    kid TEXT NOT NULL UNIQUE,
    private_key TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE server_secrets (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE sessions (
    hash TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    signed_in_at BIGINT NOT NULL,
    idle_until BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);
CREATE INDEX sessions_by_end ON sessions (ends_at);

-- Every version of a document that something refers to, by its digest.
CREATE TABLE client_documents (
    digest TEXT PRIMARY KEY,
    client_id TEXT NOT NULL,
    document TEXT NOT NULL,
    first_read_at BIGINT NOT NULL
);

-- The last good copy of each client.
CREATE TABLE clients (
    client_id TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    fetched_at BIGINT NOT NULL,
    fresh_until BIGINT NOT NULL
);

CREATE TABLE consents (
    subject TEXT NOT NULL,
    client_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    resources TEXT NOT NULL,
    digest TEXT NOT NULL,
    granted_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (subject, client_id, scope, resources)
);
CREATE INDEX consents_by_expiry ON consents (expires_at);

CREATE TABLE interactions (
    hash TEXT PRIMARY KEY,
    browser_hash TEXT NOT NULL,
    subject TEXT NOT NULL,
    request TEXT NOT NULL,
    digest TEXT NOT NULL,
    fetched_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    spent_at BIGINT
);
CREATE INDEX interactions_by_expiry ON interactions (expires_at);

CREATE TABLE authorization_codes (
    hash TEXT PRIMARY KEY,
    grant_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    subject TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    code_challenge TEXT NOT NULL,
    scope TEXT NOT NULL,
    resources TEXT NOT NULL,
    signed_in_at BIGINT NOT NULL,
    may_refresh BOOLEAN NOT NULL,
    expires_at BIGINT NOT NULL,
    spent_at BIGINT
);
CREATE INDEX authorization_codes_by_expiry ON authorization_codes (expires_at);

-- Everything that came from one approval by one person, with at most one family of refresh tokens.
CREATE TABLE grants (
    id TEXT PRIMARY KEY,
    client_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    subject TEXT NOT NULL,
    scope TEXT NOT NULL,
    resources TEXT NOT NULL,
    signed_in_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    family TEXT UNIQUE,
    generation BIGINT NOT NULL,
    rotated_at BIGINT NOT NULL,
    idle_until BIGINT NOT NULL,
    revoked_at BIGINT,
    revoked_because TEXT
);
CREATE INDEX grants_by_end ON grants (ends_at);
