//! A bounded run of `faults` on the built binary: real processes, real kills.

use std::path::PathBuf;

use loadtest::faults::{FaultsConfig, run};

/// The binary beside the folder of this test: `cargo xtask test` builds it first.
pub fn simvault() -> PathBuf {
    let test = std::env::current_exe().expect("a path of this test");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("target/debug/deps");
    let simvault = folder.join("simvault");
    assert!(simvault.is_file(), "{} is missing: cargo build --package simvault", simvault.display());
    simvault
}

/// Duplicates of the network, dead replicas, then kills: all of inbound-data, Postgres with commits before it, all of
/// outbound-action with a wiped Redis, and single replicas. Every card is compared with the store afterwards.
///
/// Covers: SC-ID-06, SC-OD-02, SC-OD-03, SC-IC-11, SC-AR-07, PF-05, PF-13, PF-14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_every_kind_lose_nothing_and_store_nothing_twice() {
    // Removed at the end; of a failure everything is kept: logs, steps, and the way of each message that is missing.
    let folder = tempfile::Builder::new().prefix("simvault-faults-").tempdir().expect("a folder");
    let config = FaultsConfig {
        simvault: simvault(),
        kills: 4,
        length: Some(std::time::Duration::from_secs(25)),
        seed: 7,
        cards: 500,
        per_second: 400.0,
        folder: folder.path().to_owned(),
    };
    let kept = Kept(Some(folder));
    let report = run(&config, &|line| println!("{line}")).await.expect("the centre starts");
    let comparison = &report.comparison;
    std::fs::write(config.folder.join("report.json"), format!("{:#}", report.json())).expect("the folder takes a file");
    assert!(report.is_clean(), "{:#?} {:#?}", report.failures, comparison.differences);
    assert!(report.kills.len() >= 3, "{:?}", report.kills);
    assert!(report.kills.iter().all(|kill| kill.in_flight >= 50), "{:?}", report.kills);
    // Each of three services with all its replicas, and again after one of them was dead: evenly shared.
    assert_eq!(report.shares.len(), 6);
    assert!(report.shares.iter().all(|share| share.is_even()), "{:?}", report.shares);
    assert_eq!((report.poisoned, report.dead_letters), (1, 0));
    // The network's repeats were seen as such: told apart in billing, absent from the journal.
    assert!(comparison.billing_repeats > 50, "{comparison:?}");
    assert_eq!(comparison.journal_rows, comparison.messages);
    assert!(comparison.messages > 2000, "{comparison:?}");
    drop(kept);
}

/// The folder of a run: gone with it, unless the test fails.
struct Kept(Option<tempfile::TempDir>);

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(folder) = self.0.take().filter(|_| std::thread::panicking()) {
            println!("kept: {}", folder.keep().display());
        }
    }
}
