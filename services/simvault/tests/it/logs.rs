//! What the centres of this test binary log, at DEBUG, kept in memory.

use std::{
    io::Write,
    sync::{Mutex, Once, PoisonError},
};

static LINES: Mutex<String> = Mutex::new(String::new());
static CAPTURE: Once = Once::new();

#[derive(Clone, Copy)]
struct Keep;

impl Write for Keep {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(octets));
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Once per process.
pub fn capture() {
    CAPTURE.call_once(|| {
        tracing_subscriber::fmt()
            .with_env_filter("debug,h2=off,hyper=off,hyper_util=off,tower=off,tonic=off")
            .with_ansi(false)
            .with_writer(|| Keep)
            .init();
    });
}

/// Lines that contain every one of `words`.
pub fn lines(words: &[&str]) -> Vec<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned).collect()
}

/// Lines that contain `text`, whatever the case of its letters.
pub fn mention(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.lines().filter(|line| line.to_lowercase().contains(&text)).map(str::to_owned).collect()
}

/// The hexadecimal digits after `key`.
pub fn hexadecimal_after(line: &str, key: &str) -> String {
    let after = line.split_once(key).map_or("", |(_, after)| after);
    after.trim_start_matches('"').chars().take_while(char::is_ascii_hexdigit).collect()
}
