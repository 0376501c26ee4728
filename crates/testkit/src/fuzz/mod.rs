//! Faulty octets for every decoder: a mutational fuzzer for stable Rust, without coverage but with a sense for structure.
//!
//! A [`Target`] is a decoder with valid inputs and with what must hold of whatever it understands. The input of a round is
//! made of the target's seeds by the seed and the round's number alone ([`Target::input`]), so that these two replay it. A
//! bounded run is among the tests; `cargo xtask fuzz` runs for long. Start with [`targets::all`].

mod mutate;
pub mod random;
pub mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::heap;
use random::Random;

/// What a target made of its input. An error says which property does not hold.
pub type Verdict = Result<Reading, String>;

/// Whether the octets were understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Understood,
    Refused,
}

impl Reading {
    /// Understood when any part was.
    #[must_use]
    pub fn of(is_understood: bool) -> Self {
        if is_understood { Self::Understood } else { Self::Refused }
    }
}

/// A decoder and what must hold of it.
pub struct Target {
    pub name: &'static str,
    /// Valid inputs: each is understood.
    pub seeds: Vec<Vec<u8>>,
    /// Heap of one run, at most: so many octets besides [`HEAP_PER_OCTET`] for each octet of the input.
    pub heap_octets: usize,
    run: Box<Run>,
}

type Run = dyn Fn(&[u8]) -> Verdict + Send + Sync;

/// Octets of an input, at most.
pub const INPUT_OCTETS_MAX: usize = 4096;
/// A record of three octets is padded to the length of its row, at most 255, and stands in a vector that doubles.
pub const HEAP_PER_OCTET: usize = 512;
/// Heap that any decoder may take.
pub const HEAP_OCTETS: usize = 128 * 1024;

/// What is wrong with a target, and how to see it again.
#[derive(Clone, Debug)]
pub struct Failure {
    pub target: &'static str,
    pub seed: u64,
    pub round: u64,
    pub input: Vec<u8>,
    pub what: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { target, seed, round, what, input } = self;
        write!(f, "{target}: {what}\n  again: cargo xtask fuzz --target {target} --seed {seed} --round {round}\n  ")?;
        input.iter().try_for_each(|octet| write!(f, "{octet:02X}"))
    }
}

/// How many inputs were what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub understood: u64,
    pub refused: u64,
}

impl Target {
    /// With no heap beyond [`HEAP_OCTETS`].
    pub fn new(
        name: &'static str,
        seeds: Vec<Vec<u8>>,
        run: impl Fn(&[u8]) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self { name, seeds, heap_octets: HEAP_OCTETS, run: Box::new(run) }
    }

    /// The input of one round; it depends on nothing else.
    #[must_use]
    pub fn input(&self, seed: u64, round: u64) -> Vec<u8> {
        let mut random = Random::new(seed, round);
        let mut octets = if random.one_in(8) || self.seeds.is_empty() {
            random.octets(300)
        } else {
            random.pick(&self.seeds).cloned().unwrap_or_default()
        };
        for _ in 0..random.below(7) {
            mutate::mutate(&mut octets, &self.seeds, &mut random);
        }
        octets.truncate(INPUT_OCTETS_MAX);
        octets
    }

    /// Runs the target on these octets: no panic, the properties hold, the heap is bounded. The heap counts only in a program
    /// with [`heap::Counting`].
    pub fn check(&self, input: &[u8]) -> Verdict {
        let mut outcome = None;
        let peak = heap::peak(|| outcome = catch_unwind(AssertUnwindSafe(|| (self.run)(input))).ok());
        let reading = outcome.unwrap_or_else(|| Err("panics".to_owned()))?;
        let limit = self.heap_octets + HEAP_PER_OCTET * input.len();
        if peak > limit {
            return Err(format!("takes {peak} octets of heap, at most {limit} are allowed"));
        }
        Ok(reading)
    }

    /// Runs one round.
    ///
    /// # Errors
    /// The [`Failure`] with the input.
    pub fn round(&self, seed: u64, round: u64) -> Result<Reading, Failure> {
        let input = self.input(seed, round);
        self.check(&input).map_err(|what| Failure { target: self.name, seed, round, input, what })
    }

    /// The seeds as they are, which must be understood, and then so many rounds.
    ///
    /// # Errors
    /// The first [`Failure`].
    pub fn rounds(&self, seed: u64, rounds: u64) -> Result<Counts, Failure> {
        for input in &self.seeds {
            let what = match self.check(input) {
                Ok(Reading::Understood) => continue,
                Ok(Reading::Refused) => "a seed is not understood".to_owned(),
                Err(what) => what,
            };
            return Err(Failure { target: self.name, seed, round: 0, input: input.clone(), what });
        }
        let mut counts = Counts::default();
        for round in 0..rounds {
            match self.round(seed, round)? {
                Reading::Understood => counts.understood += 1,
                Reading::Refused => counts.refused += 1,
            }
        }
        Ok(counts)
    }
}
