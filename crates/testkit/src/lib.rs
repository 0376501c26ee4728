//! What tests share: servers of their own, folders, clocks.
