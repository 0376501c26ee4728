//! Black-box tests of the drivers over loopback sockets.

mod smpp_link;
mod smpp_raw_peer;
