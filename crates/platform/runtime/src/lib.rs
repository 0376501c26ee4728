//! What every process needs: configuration, telemetry, the system log, clocks, and the signal to stop. Nothing here
//! knows what a service does. Start with [`config::load`] and [`events`].

pub mod clock;
pub mod config;
pub mod events;
pub mod gather;
pub mod mask;
pub mod stop;
pub mod telemetry;
pub mod trace_id;

pub use clock::Clock;
pub use gather::gather;
pub use trace_id::{TraceId, Traces};
