-- A login names one user of a tenant.
CREATE UNIQUE INDEX subscriber_login ON subscriber (login, tenant) WHERE login IS NOT NULL;
