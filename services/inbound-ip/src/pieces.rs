//! A report of sessions in as many calls as the registry's limit of devices asks for.

use proto::centre::RegisterSessionsRequest;

/// A snapshot: each piece says what is held between its bounds, and all of them together speak of every device.
/// Without an endpoint, as [`of_changes`].
pub fn of_snapshot(mut devices: Vec<i64>, devices_max: usize) -> Vec<RegisterSessionsRequest> {
    devices.sort_unstable();
    let mut rest = devices.as_slice();
    let mut pieces = Vec::new();
    let mut snapshot_from = None;
    loop {
        let (piece, later) = rest.split_at_checked(devices_max.max(1)).unwrap_or((rest, &[]));
        // Up to just before the next piece; the last one is without bound.
        let snapshot_to = later.first().map(|next| next.saturating_sub(1));
        pieces.push(RegisterSessionsRequest {
            opened: piece.to_vec(),
            snapshot: true,
            snapshot_from,
            snapshot_to,
            ..RegisterSessionsRequest::default()
        });
        let Some(next) = later.first() else { return pieces };
        snapshot_from = Some(*next);
        rest = later;
    }
}

/// What changed; none when nothing did. No device may be in both lists.
pub fn of_changes(opened: Vec<i64>, closed: Vec<i64>, devices_max: usize) -> Vec<RegisterSessionsRequest> {
    let mut opened = opened.chunks(devices_max.max(1));
    let mut closed = closed.chunks(devices_max.max(1));
    let mut pieces = Vec::new();
    loop {
        let (opened, closed) = (opened.next(), closed.next());
        if opened.is_none() && closed.is_none() {
            return pieces;
        }
        pieces.push(RegisterSessionsRequest {
            opened: opened.unwrap_or_default().to_vec(),
            closed: closed.unwrap_or_default().to_vec(),
            ..RegisterSessionsRequest::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_in_pieces_speaks_of_every_device_once() {
        let bounds = |devices: &[i64]| {
            let pieces = of_snapshot(devices.to_vec(), 2).into_iter();
            pieces.map(|piece| (piece.opened, piece.snapshot_from, piece.snapshot_to)).collect::<Vec<_>>()
        };
        assert_eq!(bounds(&[]), [(vec![], None, None)]);
        assert_eq!(bounds(&[7, 3]), [(vec![3, 7], None, None)]);
        let expected = [(vec![-4, 3], None, Some(6)), (vec![7, 8], Some(7), Some(19)), (vec![20], Some(20), None)];
        assert_eq!(bounds(&[20, 8, 7, -4, 3]), expected);
    }

    #[test]
    fn a_million_sessions_go_in_pieces_that_the_registry_takes() {
        let pieces = of_snapshot((0..1_000_000).collect(), 100_000);
        assert!(pieces.len() == 10 && pieces.iter().all(|piece| piece.opened.len() == 100_000 && piece.snapshot));
    }

    #[test]
    fn changes_come_in_pieces_and_none_when_there_are_none() {
        assert!(of_changes(vec![], vec![], 2).is_empty());
        let pieces = of_changes(vec![1, 2, 3], vec![4], 2);
        let lists: Vec<_> = pieces.iter().map(|piece| (piece.opened.clone(), piece.closed.clone())).collect();
        assert_eq!(lists, [(vec![1, 2], vec![4]), (vec![3], vec![])]);
        assert!(pieces.iter().all(|piece| !piece.snapshot));
    }
}
