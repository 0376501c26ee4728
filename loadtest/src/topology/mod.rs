//! The whole centre as processes of its own: Postgres, Redis, and replicas of every service.

pub mod process;
