//! What every process needs: configuration, telemetry, drain.
