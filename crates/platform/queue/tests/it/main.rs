//! One contract, two queues; and what only Redis can do to us.

mod contract;
mod memory;
mod redis;
