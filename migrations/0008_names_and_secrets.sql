-- The verified e-mail address as its person signs in with it, in the spelling of RFC 8265. No two accounts have the same one.
ALTER TABLE users ADD COLUMN email_name TEXT;
CREATE UNIQUE INDEX users_by_email_name ON users (email_name);
-- Where it is clear whose it is. SQL knows the spelling of ASCII only: other addresses are names when they are set again.
UPDATE users SET email_name = LOWER(email) WHERE email_verified AND LENGTH(email) = OCTET_LENGTH(email)
    AND NOT EXISTS (SELECT 1 FROM users o WHERE o.subject <> users.subject
                    AND (o.username = LOWER(users.email) OR (o.email_verified AND LOWER(o.email) = LOWER(users.email))));

-- When the secret in the registration was made, where that is known; the one that is to replace it, and when that was made.
ALTER TABLE registered_clients ADD COLUMN secret_made_at BIGINT;
ALTER TABLE registered_clients ADD COLUMN next_secret TEXT;
ALTER TABLE registered_clients ADD COLUMN next_secret_made_at BIGINT;
