//! How many short messages a full book takes, compact and plain (D-08): `cargo xtask compact` prints it.
//!
//! The books are invented: names of [`names`], none of which the code tables were made from, and random numbers that begin
//! as those of the country do ([`numbers`]).

mod invented;
mod names;
mod numbers;

use std::fmt::Write;

use bytes::Bytes;
use invented::{Book, LANGUAGES};
use link::{backup, compact, record::Record};

/// Entries of a book, and octets of each (14 of them for the name).
const ENTRIES: u8 = 255;
const RECORD_OCTETS: usize = 28;
/// What a message may have: plain, with integrity, with integrity and cipher (D-120).
const LIMITS: [usize; 3] = [link::SMS_OCTETS, 113, 98];
/// Messages that a compact book should take at most, for each of [`LIMITS`].
const AIMS: [usize; 3] = [20, 24, 28];
/// Books of each language.
const BOOKS: u64 = 6;

#[test]
fn a_full_book_takes_no_more_messages_than_it_may() {
    let figures: Vec<Figures> = (0..LANGUAGES.len()).map(|language| measure(language, BOOKS)).collect();
    print!("{}", table(&figures));
    for each in figures {
        for (messages, aim) in each.messages.into_iter().zip(AIMS) {
            assert!(messages.compact_most <= aim, "{}: {messages:?}, aim {aim}", each.language);
        }
        assert_eq!(each.messages.map(|messages| messages.plain), [64, 85, 85]);
    }
}

/// What the books of one language take.
#[derive(Clone, Debug, Default)]
struct Figures {
    language: &'static str,
    /// Characters of a name, mean.
    name_characters: f64,
    /// Octets of an entry in compact messages of 140 octets, with what the message adds; mean.
    entry_octets: f64,
    /// Messages for each of [`LIMITS`]: plain, and the mean and most of the compact ones.
    messages: [Messages; 3],
}

/// Messages that a book takes at one limit.
#[derive(Clone, Copy, Debug, Default)]
struct Messages {
    plain: usize,
    compact_mean: f64,
    compact_most: usize,
}

/// Makes books of a language, the same ones each time, and packs them.
fn measure(language: usize, books: u64) -> Figures {
    let mut figures = Figures { language: LANGUAGES[language], ..Figures::default() };
    let share = 1.0 / books as f64;
    for book in 0..books {
        let book = Book::invented(language, book);
        figures.name_characters += share * book.name_characters();
        for (at, limit) in LIMITS.into_iter().enumerate() {
            let (plain, _) = plain(&book.records, limit);
            let (compact, octets) = packed(&book.records, limit);
            let messages = &mut figures.messages[at];
            messages.plain = messages.plain.max(plain);
            messages.compact_mean += share * compact as f64;
            messages.compact_most = messages.compact_most.max(compact);
            if at == 0 {
                figures.entry_octets += share * octets as f64 / f64::from(ENTRIES);
            }
        }
    }
    figures
}

/// Messages and octets in all, with the builder that cards and the centre use.
fn packed(records: &[Record], limit: usize) -> (usize, usize) {
    fill(
        records,
        || compact::Builder::backup(limit),
        |builder, record| builder.push(record).is_ok(),
        |builder| builder.finish_backup(0),
    )
}

/// The same with the plain types alone.
fn plain(records: &[Record], limit: usize) -> (usize, usize) {
    fill(
        records,
        || backup::Builder::new(limit),
        |builder, record| builder.push(record).is_ok(),
        |builder| builder.finish(0),
    )
}

fn fill<B>(
    mut records: &[Record],
    new: impl Fn() -> B,
    push: impl Fn(&mut B, &Record) -> bool,
    finish: impl Fn(B) -> Vec<u8>,
) -> (usize, usize) {
    let (mut messages, mut octets) = (0, 0);
    while !records.is_empty() {
        let mut builder = new();
        let taken = records.iter().take_while(|record| push(&mut builder, record)).count();
        records = records.get(taken.max(1)..).unwrap_or_default();
        octets += finish(builder).len();
        messages += 1;
    }
    (messages, octets)
}

/// One line for each language.
fn table(figures: &[Figures]) -> String {
    let mut text = format!(
        "{ENTRIES} entries of {RECORD_OCTETS} octets. The sources count 64 and 85 short messages (4 and 3 entries each).\n\
         Compact: mean / most over the books. Aims: {} of 140 octets, {} of 113 (integrity), {} of 98 (and cipher).\n\n\
         language     name  octets/entry      140: plain   compact     113: plain   compact      98: plain   compact\n",
        AIMS[0], AIMS[1], AIMS[2],
    );
    for each in figures {
        let mut line = format!("{:<12} {:>4.1}  {:>12.2}", each.language, each.name_characters, each.entry_octets);
        for (messages, aim) in each.messages.iter().zip(AIMS) {
            let mark = if messages.compact_most > aim { '!' } else { ' ' };
            let compact = format!("{:.1} /{:>3}{mark}", messages.compact_mean, messages.compact_most);
            write!(line, "     {:>10}  {compact:>10}", messages.plain).expect("a string takes it");
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn record(record_number: u8, data: Vec<u8>) -> Record {
    Record { monitor_index: 0, record_number, data: Bytes::from(data) }
}
