//! Tens of thousands of stations live in one process.

use mobile::{Station, StationConfig};
use uicc::files::EF_ADN;

use crate::heap;

#[test]
fn a_station_is_small() {
    const OCTETS_MAX: usize = 16 * 1024;
    let (mut station, blank) = heap::kept(|| Station::new(StationConfig::default()));
    let ((), more) = heap::kept(|| {
        for number in 1..=100 {
            let mut entry = [0xFF; 28];
            entry[..7].copy_from_slice(b"STATION");
            entry[14..20].copy_from_slice(&[5, 0x81, 0x20, 0x80, 0x91, number]);
            assert!(station.update_record(EF_ADN, number, &entry));
            while station.poll_output().is_some() {}
        }
    });
    let full = blank + more;
    println!("size_of {}, heap: blank {blank}, with 100 entries {full} octets", size_of::<Station>());
    assert!(size_of::<Station>() < 2048, "{}", size_of::<Station>());
    assert!(blank > 0 && more > 0, "the heap is counted");
    assert!(full < OCTETS_MAX, "blank {blank}, full {full}");
}
