//! Ways in which octets go wrong, among them those that decoders trust too soon: lengths, counts, ends.

use super::{INPUT_OCTETS_MAX, random::Random};

/// Does one thing to the octets; `others` are pieces to put in.
pub(super) fn mutate(octets: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    let at = random.below(octets.len() + 1);
    match random.below(12) {
        0 => flip(octets, at, random),
        1 => octets.truncate(at),
        2 => octets.truncate(octets.len().saturating_sub(1 + random.below(3))),
        3 => octets.insert(at, random.octet()),
        4 => drop(octets.drain(range(at, octets.len(), random))),
        5 => {
            let piece: Vec<u8> = octets.get(range(at, octets.len(), random)).unwrap_or_default().to_vec();
            insert(octets, at, &piece);
        }
        6 => {
            let other = random.pick(others).cloned().unwrap_or_default();
            let from = random.below(other.len() + 1);
            let piece = other.get(range(from, other.len(), random)).unwrap_or_default();
            insert(octets, at, piece);
        }
        // The head of one and the tail of another.
        7 => {
            let other = random.pick(others).cloned().unwrap_or_default();
            octets.truncate(at);
            octets.extend(other.iter().skip(random.below(other.len() + 1)));
        }
        8 | 9 => lie(octets, random),
        10 => {
            const EDGES: [u8; 9] = [0x00, 0x01, 0x7F, 0x80, 0x81, 0x82, 0xFE, 0xFF, 0x1B];
            let edge = random.pick(&EDGES).copied().unwrap_or(0);
            octets.get_mut(at).into_iter().for_each(|octet| *octet = edge);
        }
        _ => {
            let step = random.octet() % 5;
            octets.get_mut(at).into_iter().for_each(|octet| *octet = octet.wrapping_add(step).wrapping_sub(2));
        }
    }
    octets.truncate(INPUT_OCTETS_MAX);
}

fn flip(octets: &mut [u8], at: usize, random: &mut Random) {
    let bit = random.below(8);
    octets.get_mut(at).into_iter().for_each(|octet| *octet ^= 1 << bit);
}

/// From `at` on, mostly few octets.
fn range(at: usize, end: usize, random: &mut Random) -> std::ops::Range<usize> {
    let most = if random.one_in(4) { end.saturating_sub(at) } else { end.saturating_sub(at).min(16) };
    at..at + random.below(most + 1)
}

fn insert(octets: &mut Vec<u8>, at: usize, piece: &[u8]) {
    octets.splice(at..at, piece.iter().copied()).for_each(drop);
}

/// Finds a number that tells how much follows, of one or two octets, and makes it tell something else; the last one of four
/// octets in front of a PDU is such a number too.
fn lie(octets: &mut [u8], random: &mut Random) {
    let length = octets.len();
    let told = |at: usize| octets.get(at).is_some_and(|&octet| octet > 0 && at + usize::from(octet) < length);
    let exact = |at: usize| octets.get(at).is_some_and(|&octet| at + 1 + usize::from(octet) == length);
    let places: Vec<usize> = (0..length).filter(|&at| exact(at)).collect();
    let places =
        if places.is_empty() || random.one_in(3) { (0..length).filter(|&at| told(at)).collect() } else { places };
    let Some(&at) = random.pick(&places) else { return };
    let lie = match random.below(6) {
        0 => 0,
        1 => u8::MAX,
        2 => 0x80,
        3 => octets[at].wrapping_sub(1),
        4 => octets[at].wrapping_add(1),
        _ => octets[at].wrapping_mul(2),
    };
    octets[at] = lie;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_numbers_make_the_same_faults_and_they_are_many() {
        let seeds = vec![(0..40).collect::<Vec<u8>>(), vec![3, 1, 2, 3], Vec::new()];
        let faulty = |round| {
            let mut random = Random::new(7, round);
            let mut octets = seeds[0].clone();
            (0..4).for_each(|_| mutate(&mut octets, &seeds, &mut random));
            octets
        };
        let mut made: Vec<Vec<u8>> = (0..1000).map(faulty).collect();
        assert_eq!(made, (0..1000).map(faulty).collect::<Vec<_>>());
        made.sort();
        made.dedup();
        assert!(made.len() > 900, "{} different ones", made.len());
    }
}
