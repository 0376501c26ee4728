//! Service outbound-action.
