//! Service application-server.
