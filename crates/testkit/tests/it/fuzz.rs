//! A bounded run of every fuzz target; `cargo xtask fuzz` runs them for long.

use testkit::fuzz::{Reading, targets};

#[global_allocator]
static HEAP: testkit::heap::Counting = testkit::heap::Counting;

/// The same rounds each time. A failure says how to run its round again.
const SEED: u64 = 19;
const ROUNDS: u64 = 3000;

/// Covers: PF-19
#[test]
fn no_decoder_panics_or_reads_otherwise_than_it_writes_or_takes_more_than_its_share_of_memory() {
    let mut failures = Vec::new();
    for target in targets::all() {
        let counts = match target.rounds(SEED, ROUNDS) {
            Ok(counts) => counts,
            Err(failure) => {
                failures.push(failure.to_string());
                continue;
            }
        };
        println!("{}: {counts:?}", target.name);
        // The faults are neither so coarse that nothing gets past the first octet, nor so fine that nothing is wrong; data
        // that may be anything has none.
        let takes_anything = ["compact-records", "secured-data", "station"].contains(&target.name);
        let is_fit = counts.understood > ROUNDS / 100 && (takes_anything || counts.refused > ROUNDS / 100);
        if !is_fit {
            failures.push(format!("{}: {counts:?}", target.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_heap_is_counted_and_a_panic_is_a_failure() {
    let mut target = testkit::fuzz::Target::new("greedy", vec![vec![1]], |octets| {
        let taken = vec![0_u8; 1 << 20];
        assert!(octets.len() < 2, "too many");
        Ok(Reading::of(taken.len() > octets.len()))
    });
    assert!(target.check(&[1]).is_err_and(|what| what.contains("octets of heap")));
    target.heap_octets = 2 << 20;
    assert_eq!(target.check(&[1]), Ok(Reading::Understood));
    assert_eq!(target.check(&[1, 2]), Err("panics".to_owned()));
    let failure = target.rounds(1, 100).expect_err("some inputs are longer than one octet");
    assert_eq!(target.input(1, failure.round), failure.input);
    assert!(failure.to_string().contains("--seed 1 --round"));
}
