-- A registered client that authenticates may be allowed to come without a PKCE challenge.
ALTER TABLE authorization_codes RENAME TO authorization_codes_before;
CREATE TABLE authorization_codes (
    hash TEXT PRIMARY KEY,
    grant_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    subject TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    code_challenge TEXT,
    scope TEXT NOT NULL,
    resources TEXT NOT NULL,
    signed_in_at BIGINT NOT NULL,
    may_refresh BOOLEAN NOT NULL,
    expires_at BIGINT NOT NULL,
    spent_at BIGINT,
    auth_methods TEXT NOT NULL,
    jkt TEXT,
    needs_dpop BOOLEAN NOT NULL,
    nonce TEXT,
    sid TEXT
);
INSERT INTO authorization_codes (hash, grant_id, client_id, digest, subject, redirect_uri, code_challenge, scope, resources,
    signed_in_at, may_refresh, expires_at, spent_at, auth_methods, jkt, needs_dpop, nonce, sid)
    SELECT hash, grant_id, client_id, digest, subject, redirect_uri, code_challenge, scope, resources,
    signed_in_at, may_refresh, expires_at, spent_at, auth_methods, jkt, needs_dpop, nonce, sid FROM authorization_codes_before;
DROP TABLE authorization_codes_before;
CREATE INDEX authorization_codes_by_expiry ON authorization_codes (expires_at);

-- What the client asked for when the person allowed this much; NULL where that was not written down.
ALTER TABLE consents ADD COLUMN asked TEXT;
