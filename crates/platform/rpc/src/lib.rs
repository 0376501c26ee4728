//! gRPC: balancing client, server set-up, health.
