-- The audit log is read, newest first.
CREATE INDEX audit_at ON audit (at);
