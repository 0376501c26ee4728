//! `simvault card` as a process: its table, its reader (played here), its mistakes.

use std::{
    io::{BufRead, BufReader, Lines, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    time::Duration,
};

use testkit::Folder;
use uicc::{apdu::command, profile::ATR_SIM, vpcd};

const BOOK: &str = "record,name,number\n1,Alice,+491721217212\n2,\"O'Neil, Ann\",0301234567\n9,Иван 2,*100#\n250,Conn,+44207946000012345678901234567\n";

/// A virtual card; killed with the test if it has not ended before.
pub struct Card {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Card {
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = simvault(arguments).spawn().expect("simvault starts");
        let log = BufReader::new(child.stderr.take().expect("standard error")).lines();
        Self { child, log }
    }

    /// The next line of the log that says so.
    pub fn says(&mut self, text: &str) -> String {
        let mut lines = self.log.by_ref().map_while(Result::ok);
        lines.find(|line| line.contains(text)).unwrap_or_else(|| panic!("the card ended without saying {text:?}"))
    }

    /// What it leaves on standard output when it is told to end.
    pub fn end(mut self) -> String {
        assert!(testkit::signal("TERM", &[self.child.id()]));
        let mut left = String::new();
        self.child.stdout.take().expect("standard output").read_to_string(&mut left).expect("text");
        assert!(self.child.wait().expect("it ends").success());
        left
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().unwrap_or_default();
        drop(self.child.wait());
    }
}

fn simvault(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simvault"));
    command.arg("card").args(arguments).env_remove("RUST_LOG").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The other end of the link: what vsmartcard's vpcd does.
struct Reader(TcpStream);

impl Reader {
    fn say(&mut self, message: &[u8]) {
        self.0.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
        self.0.write_all(&vpcd::frame(message)).expect("written");
    }

    fn hear(&mut self) -> Vec<u8> {
        let mut length = [0; 2];
        self.0.read_exact(&mut length).expect("an answer");
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut answer).expect("an answer");
        answer
    }

    fn ask(&mut self, message: &[u8]) -> Vec<u8> {
        self.say(message);
        self.hear()
    }

    fn select_phonebook(&mut self) {
        for file in [0x7F10, 0x6F3A] {
            assert_eq!(self.ask(&command::select(file))[0], 0x9F);
        }
    }
}

fn book(folder: &Folder, text: &str) -> String {
    let path = folder.join("book.csv");
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

#[test]
fn a_book_is_put_on_the_card_and_printed_back() {
    let folder = Folder::new("card");
    let path = book(&folder, BOOK);
    for kind in ["--classic", "--uicc"] {
        let output = simvault(&["--load", &path, "--dump", kind]).output().expect("simvault starts");
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stdout), BOOK);
    }
    let copy = folder.join("copy.csv").display().to_string();
    assert!(simvault(&["--load", &path, "--dump", &copy]).status().expect("simvault starts").success());
    assert_eq!(std::fs::read_to_string(Path::new(&copy)).expect("a file"), BOOK);
}

#[test]
fn mistakes_are_told_with_their_place() {
    let folder = Folder::new("card-mistakes");
    for (row, more, expected) in [
        ("0,A,1", "", "line 2, column record: \"0\", expected a whole number, 1 to 250"),
        ("9,A,1", "--records 5", "line 2, column record: \"9\", expected a whole number, 1 to 5"),
        ("1,A,030 12", "", "line 2, column number: character ' ' of the number: expected a digit, +, *, #, p or w"),
        (
            "1,A name that is long,1",
            "",
            "line 2, column name: the name needs more than 14 octets; a card with more room: --alpha",
        ),
        ("1,A name that is long,1", "--alpha 20", ""),
        ("1,A", "", "line 2: 2 fields, expected 3: record,name,number"),
    ] {
        let path = book(&folder, &format!("record,name,number\n{row}\n"));
        let more: Vec<&str> = more.split_whitespace().collect();
        let arguments = [&["--load", path.as_str(), "--dump"], more.as_slice()].concat();
        let output = simvault(&arguments).output().expect("simvault starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let wanted = if expected.is_empty() { String::new() } else { format!("simvault card: {path}: {expected}\n") };
        assert_eq!((said, output.status.success()), (wanted, expected.is_empty()), "{row}");
    }
    let output = simvault(&[]).output().expect("simvault starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, "simvault card: nothing to do: expected --connect, --listen, --centre or --dump\n");
}

#[test]
fn a_card_goes_into_a_reader_again_and_again() {
    let folder = Folder::new("card-reader");
    let path = book(&folder, BOOK);
    let reader = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = reader.local_addr().expect("an address").to_string();
    let mut card = Card::start(&["--connect", &address, "--load", &path, "--dump"]);
    let record = [&b"Bob"[..], &[0xFF; 11], &[3, 0x81, 0x11, 0xF2], &[0xFF; 10]].concat();
    for first in [true, false] {
        let mut reader = Reader(reader.accept().expect("the card connects").0);
        // The reader asks whether it is there, also before power on.
        assert_eq!(reader.ask(&[4]), ATR_SIM);
        reader.say(&[1]);
        reader.say(&[2]);
        reader.select_phonebook();
        assert_eq!(reader.ask(&command::get_response(15))[2..4], 7000_u16.to_be_bytes(), "250 records of 28");
        assert_eq!(reader.ask(&command::read_record(1, 28))[..5], *b"Alice");
        if first {
            assert_eq!(reader.ask(&command::update_record(3, &record)), [0x90, 0x00]);
        }
        reader.say(&[0]);
        assert_eq!(reader.ask(&[4]), ATR_SIM);
        drop(reader);
        card.says("trying again");
    }
    assert_eq!(card.end(), BOOK.replace("9,Иван", "3,Bob,112\n9,Иван"));
}

#[test]
fn a_reader_may_come_to_the_card() {
    let mut card = Card::start(&["--listen", "127.0.0.1:0", "--uicc", "--pin", "2468", "--records", "5"]);
    let line = card.says("waiting for a reader on ");
    let address = line.rsplit(' ').next().expect("an address").to_owned();
    let mut reader = Reader(TcpStream::connect(&address).expect("the card listens"));
    assert_eq!(reader.ask(&[4]), uicc::profile::ATR_UICC);
    reader.select_phonebook();
    assert_eq!(reader.ask(&command::read_record(1, 28)), [0x98, 0x04], "not without the PIN");
    assert_eq!(reader.ask(&command::verify_chv1(b"2468\xFF\xFF\xFF\xFF")), [0x90, 0x00]);
    assert_eq!(reader.ask(&command::read_record(5, 28)).len(), 30);
    assert_eq!(reader.ask(&[0x00, 0xA4, 0x00, 0x04, 0x02, 0x3F, 0x00])[0], 0x61);
    for control in [0, 1] {
        reader.say(&[control]);
    }
    reader.select_phonebook();
    assert_eq!(reader.ask(&command::read_record(1, 28)), [0x98, 0x04], "without power it has forgotten the PIN");
    assert_eq!(reader.ask(&command::verify_chv1(b"2468\xFF\xFF\xFF\xFF")), [0x90, 0x00]);
    drop(reader);
    card.says("has closed the connection");
    let mut reader = Reader(TcpStream::connect(&address).expect("the card listens"));
    reader.select_phonebook();
    assert_eq!(reader.ask(&command::read_record(1, 28)), [0x98, 0x04], "taken out of its reader too");
    assert_eq!(card.end(), "");
}
