//! How far an act is: a bar that moves even while no card is ready, or lines for a log.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::DemoOptions;

/// Between two lines of an act in a log.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Between two pictures of the spinner.
const TICK: Duration = Duration::from_millis(100);

/// Progress of one act, in cards.
pub struct Progress {
    bar: ProgressBar,
    /// `1/4 backing up`
    title: String,
    cards: u64,
    /// When a line was written; `None`: a bar is shown.
    told: Option<Instant>,
}

impl Progress {
    /// `act`: its number, of four. `cards`: how many have to be ready.
    pub fn new(options: &DemoOptions, act: u8, title: &str, cards: u64) -> Self {
        let title = format!("{act}/4 {title}");
        if options.plain {
            eprintln!("{title}");
            let bar = ProgressBar::with_draw_target(Some(cards), ProgressDrawTarget::hidden());
            return Self { bar, title, cards, told: Some(Instant::now()) };
        }
        let style =
            ProgressStyle::with_template("{prefix:22} {bar:16} {pos:>4}/{len:4} {elapsed:>3} {spinner} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(cards), ProgressDrawTarget::stderr()).with_style(style);
        bar.set_prefix(title.clone());
        bar.enable_steady_tick(TICK);
        Self { bar, title, cards, told: None }
    }

    /// So many cards are ready; `done`: what was done so far, which moves long before a card is ready.
    pub fn show(&mut self, ready: u64, done: &str) {
        self.bar.set_position(ready);
        self.bar.set_message(done.to_owned());
        if let Some(told) = self.told.as_mut().filter(|told| told.elapsed() >= LINE_INTERVAL) {
            *told = Instant::now();
            eprintln!("{}: {ready} of {} cards, {done}", self.title, self.cards);
        }
    }

    /// The act is over; the bar stays.
    pub fn finish(&self) {
        self.bar.finish();
    }
}
