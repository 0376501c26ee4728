//! Faults that can be planted at build time, so that the fault tests prove that they would notice
//! (`SIMVAULT_PLANT=acknowledge-before-commit cargo build`). A normal build has none.

const PLANT: Option<&str> = option_env!("SIMVAULT_PLANT");

/// Results are sent before the data is safe.
pub const ACKNOWLEDGES_BEFORE_COMMIT: bool = is_planted(b"acknowledge-before-commit");
/// Repeats are processed again (D-110 is skipped).
pub const FORGETS_DUPLICATES: bool = is_planted(b"no-duplicate-check");

const fn is_planted(name: &[u8]) -> bool {
    let Some(planted) = PLANT else { return false };
    let planted = planted.as_bytes();
    if planted.len() != name.len() {
        return false;
    }
    let mut at = 0;
    while at < name.len() {
        if planted[at] != name[at] {
            return false;
        }
        at += 1;
    }
    true
}
