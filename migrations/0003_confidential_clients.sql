-- Clients that authenticate, and what they may do.

-- What an administrator registered, as JSON.
CREATE TABLE registered_clients (
    client_id TEXT PRIMARY KEY,
    registration TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Identifiers of assertions and proofs that were used: each serves once. RFC 7523 §3, RFC 9449 §11.1.
CREATE TABLE used_once (
    hash TEXT PRIMARY KEY,
    until BIGINT NOT NULL
);
CREATE INDEX used_once_by_end ON used_once (until);

-- How a client proved itself when its grant began, and the key its tokens are bound to (RFC 9449 §6).
ALTER TABLE authorization_codes ADD COLUMN auth_methods TEXT NOT NULL DEFAULT 'none';
ALTER TABLE authorization_codes ADD COLUMN jkt TEXT;
ALTER TABLE authorization_codes ADD COLUMN needs_dpop BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE grants ADD COLUMN auth_method TEXT NOT NULL DEFAULT 'none';
ALTER TABLE grants ADD COLUMN jkt TEXT;

-- What an ID token says of the sign-in. OpenID Connect Core §2.
ALTER TABLE authorization_codes ADD COLUMN nonce TEXT;
ALTER TABLE authorization_codes ADD COLUMN sid TEXT;
ALTER TABLE grants ADD COLUMN sid TEXT;

-- Requests that were pushed, RFC 9126.
CREATE TABLE pushed_requests (
    hash TEXT PRIMARY KEY,
    client_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    fetched_at BIGINT NOT NULL,
    request TEXT NOT NULL,
    auth_method TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    spent_at BIGINT
);
ALTER TABLE interactions ADD COLUMN pushed TEXT;
CREATE INDEX pushed_requests_by_expiry ON pushed_requests (expires_at);

-- Devices that wait for a person, RFC 8628.
CREATE TABLE device_codes (
    hash TEXT PRIMARY KEY,
    -- As it is compared: capitals, no dash.
    user_code TEXT NOT NULL UNIQUE,
    grant_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    fetched_at BIGINT NOT NULL,
    scope TEXT NOT NULL,
    resources TEXT NOT NULL,
    may_refresh BOOLEAN NOT NULL,
    auth_method TEXT NOT NULL,
    -- The key of the request's proof, if it had one.
    jkt TEXT,
    needs_dpop BOOLEAN NOT NULL,
    -- Where the request came from: shown to the person.
    source TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- The browser that opened it first, and who was signed in there.
    claimed_by TEXT,
    subject TEXT,
    signed_in_at BIGINT,
    sid TEXT,
    decided_at BIGINT,
    allowed BOOLEAN,
    polled_at BIGINT,
    wait BIGINT NOT NULL,
    spent_at BIGINT
);
CREATE INDEX device_codes_by_expiry ON device_codes (expires_at);
CREATE INDEX device_codes_pending ON device_codes (expires_at) WHERE decided_at IS NULL;

-- What a person is called, for OpenID Connect Core §5.1.
ALTER TABLE users ADD COLUMN name TEXT;
ALTER TABLE users ADD COLUMN email TEXT;
ALTER TABLE users ADD COLUMN email_verified BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE users ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0;
UPDATE users SET updated_at = created_at;

-- ES256 unless it says otherwise.
ALTER TABLE signing_keys ADD COLUMN alg TEXT NOT NULL DEFAULT 'ES256';
