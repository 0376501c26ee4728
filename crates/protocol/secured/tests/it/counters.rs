//! Replay: the strict rule of a card, and the window of the centre.

use secured::counter::{MAX, Refused, Window, check};
use secured::parameters::CounterMode::{Higher, None, OneHigher, Unchecked};

#[test]
fn the_four_modes() {
    for received in [0, 1, 5, 6, 7, MAX] {
        assert_eq!((check(None, 5, received), check(Unchecked, 5, received)), (Ok(5), Ok(5)));
    }
    assert_eq!(
        [4, 5, 6, 7].map(|received| check(Higher, 5, received)),
        [Err(Refused::Low), Err(Refused::Low), Ok(6), Ok(7)]
    );
    assert_eq!(
        [4, 5, 6, 7].map(|received| check(OneHigher, 5, received)),
        [Err(Refused::Low), Err(Refused::Low), Ok(6), Err(Refused::High)]
    );
    assert_eq!(check(Higher, MAX - 1, MAX), Ok(MAX));
    assert_eq!(check(Higher, MAX, MAX), Err(Refused::Blocked));
    assert_eq!(check(OneHigher, MAX, MAX), Err(Refused::Blocked));
}

#[test]
fn the_centre_takes_each_of_the_last_64_once() {
    let mut window = Window::default();
    for counter in [10, 9, 12, 11, 74] {
        window = window.accept(counter).expect("new");
        assert_eq!(window.accept(counter), Err(Refused::Low), "{counter} again");
    }
    assert_eq!(window.highest, 74);
    assert_eq!(window.accept(10), Err(Refused::Low), "too old");
    assert_eq!(window.accept(11), Err(Refused::Low), "taken, the last that is remembered");
    for counter in 13..74 {
        window = window.accept(counter).expect("overtaken");
    }
    for counter in 0..=74 {
        assert_eq!(window.accept(counter), Err(Refused::Low), "{counter}");
    }
    window = window.accept(1_000_000).expect("far ahead");
    assert_eq!(window.accept(74), Err(Refused::Low));
    window = window.accept(MAX).expect("the last");
    assert_eq!(window.accept(MAX - 1), Err(Refused::Blocked));
}
