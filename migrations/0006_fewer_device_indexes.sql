-- Waiting devices are counted every five seconds; the index by expiry serves for that.
DROP INDEX device_codes_pending;
