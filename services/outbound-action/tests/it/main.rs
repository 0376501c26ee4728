//! The outbound action processor on the embedded store and the in-process queue, with launchers that the test plays.

mod acknowledgements;
mod asynchronous;
mod centre;
mod fault;
mod faulty_store;
mod janitor;
mod ordered;
mod profiles;
mod refusals;
mod transfer;
mod wire;
