//! Peers that are not ours: Debian's PC/SC daemon with vsmartcard's virtual reader, gnokii that lists the phonebook of the card in
//! it, and pcsc-tools' scriptor that changes a record; the centre backs the change up.

use std::{
    fmt::Write as _,
    os::unix::net::UnixListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use testkit::{Folder, free_port};

use uicc::files::{EF_ADN, EF_EXT1};

use crate::{
    card::Card,
    rig::{Rig, msisdn, new_account, row, until},
};

const DRIVER: &str = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so";
const PATIENCE: Duration = Duration::from_secs(60);

/// A PC/SC daemon of the test's own with one virtual reader, which listens on a port of its own.
struct Daemon {
    child: Child,
    folder: Folder,
    port: u16,
}

impl Daemon {
    fn start() -> Self {
        for (program, package) in [
            ("/usr/sbin/pcscd", "pcscd"),
            (DRIVER, "vsmartcard-vpcd"),
            ("/usr/bin/gnokii", "gnokii-cli"),
            ("/usr/bin/scriptor", "pcsc-tools"),
        ] {
            assert!(
                Path::new(program).exists(),
                "{program} is missing: `cargo xtask test` installs package {package}, or: apt-get install {package}"
            );
        }
        let (folder, port) = (Folder::new("pcsc"), free_port());
        let readers = folder.join("readers");
        std::fs::create_dir(&readers).expect("a folder");
        let reader = format!(
            "FRIENDLYNAME \"Virtual PCD\"\nDEVICENAME /dev/null:{port:#X}\nLIBPATH {DRIVER}\nCHANNELID {port:#X}\n"
        );
        std::fs::write(readers.join("vpcd"), reader).expect("written");
        // The daemon's socket has a fixed place, unless it is handed one as systemd does: descriptor 3.
        let socket = UnixListener::bind(folder.join("pcscd.comm")).expect("a socket");
        let log = std::fs::File::create(folder.join("pcscd.log")).expect("a log");
        let child = Command::new("sh")
            .arg("-c")
            .arg("exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec /usr/sbin/pcscd --foreground --config \"$0\"")
            .arg(&readers)
            .stdin(std::os::fd::OwnedFd::from(socket))
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("pcscd starts");
        Self { child, folder, port }
    }

    /// A tool of PC/SC that speaks with this daemon.
    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("PCSCLITE_CSOCK_NAME", self.folder.join("pcscd.comm"));
        // Tools look for settings of their own there.
        command.env("HOME", self.folder.path()).current_dir(self.folder.path());
        command
    }

    /// APDUs through scriptor, one a line; what it prints.
    fn script(&self, text: &str) -> String {
        let file = self.folder.join("script.apdu");
        std::fs::write(&file, text).expect("written");
        let output = self.tool("/usr/bin/scriptor").arg(&file).stdin(Stdio::null()).output().expect("scriptor starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The lines of gnokii's listing of the SIM's phonebook.
    fn phonebook(&self) -> Vec<String> {
        let settings = self.folder.join("gnokii.conf");
        std::fs::write(&settings, "[global]\nport = 0\nmodel = APDU\nconnection = pcsc\n").expect("written");
        let arguments = ["--getphonebook", "SM", "1", "end", "--raw"];
        let mut gnokii = self.tool("/usr/bin/gnokii");
        let output = gnokii.arg("--config").arg(&settings).args(arguments).output().expect("gnokii starts");
        let listed: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        assert!(!listed.is_empty(), "{}\n{}", String::from_utf8_lossy(&output.stderr), self.log());
        listed
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("pcscd.log")).unwrap_or_default()
    }

    /// Waits until a tool finds the card.
    fn wait_for_card(&self) {
        let started = Instant::now();
        while !self.script("reset\n").contains("OK") {
            assert!(started.elapsed() < PATIENCE, "no card in the reader: {}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        testkit::signal("TERM", &[self.child.id()]);
        drop(self.child.wait());
    }
}

/// 250 entries, and one in three of them has a name outside the GSM alphabet.
fn table() -> String {
    let mut text = String::from("record,name,number\n");
    for record in 1..=250 {
        let name = if record % 3 == 0 { format!("Иван {record}") } else { format!("Name {record}") };
        writeln!(text, "{record},{name},+49170{record:07}").expect("a string takes all");
    }
    text
}

/// What scriptor sends to write record 7, as a phone of each generation would.
const SIM_WRITES: &str = "A0A40000027F10\nA0A40000026F3A\nA0DC07041CRECORD\nA0B207041C\n";
/// By the application's name, EF_PBR of its phonebook, and EF_ADN by the short identifier that EF_PBR gives.
const USIM_WRITES: &str = "00A4040410A0000000871002FFFFFFFF8907090000\n00A40804067F105F3A4F30\n00B2010440\n\
                           00DC07141CRECORD\n00B207141C\n";
const RECORD: &str = "426F62FFFFFFFFFFFFFFFFFFFFFF038111F2FFFFFFFFFFFFFFFFFFFF";

/// gnokii lists 250 records of the card, and scriptor changes one: the centre has the whole book, and the change.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_lists_a_sims_phonebook_and_what_it_changes_is_backed_up() {
    listed_changed_and_backed_up("--classic", SIM_WRITES).await;
}

/// The same for a USIM, which gnokii reads as the SIM that it is to old phones.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_lists_a_usims_phonebook_and_what_it_changes_is_backed_up() {
    listed_changed_and_backed_up("--uicc", USIM_WRITES).await;
}

async fn listed_changed_and_backed_up(kind: &str, writes: &str) {
    let rig = Rig::start().await;
    let mut account = new_account(1, mobile::Bearer::Ip);
    account.personalised = true;
    account.monitor = vec![row(0, EF_ADN, 250, 28), row(1, EF_EXT1, 250, 13)];
    let key: String = account.ip_key.iter().map(|octet| format!("{octet:02X}")).collect();
    rig.subscribe(account).await;
    let daemon = Daemon::start();
    for (name, text) in [("book.csv", &table()), ("key", &key)] {
        std::fs::write(daemon.folder.join(name), text).expect("written");
    }
    let [book, key] = ["book.csv", "key"].map(|name| daemon.folder.join(name).display().to_string());
    let (reader, centre) = (format!("127.0.0.1:{}", daemon.port), rig.cards.to_string());
    let card = Card::start(
        &[
            &[kind, "--connect", &reader, "--load", &book, "--dump", "--speed", "1000", "--log", "warn"],
            &["--centre", centre.as_str(), "--msisdn", &msisdn(1), "--key", &key][..],
        ]
        .concat(),
    );
    daemon.wait_for_card();
    let expected: Vec<String> = table().lines().skip(1).map(listed_by_gnokii).collect();
    assert_eq!(daemon.phonebook(), expected);
    until("the centre has the whole book", async || rig.book(&msisdn(1)).await.len() == 250).await;

    let said = daemon.script(&writes.replace("RECORD", RECORD));
    let is_read_back = said.lines().any(|line| line.contains("42 6F 62 FF") && !line.contains("DC 07"));
    assert!(is_read_back, "{said}");
    assert!(daemon.phonebook()[6].starts_with("Bob;112;"));
    let entry = (u32::from(EF_ADN.df), u32::from(EF_ADN.ef), 7);
    let octets = octets(RECORD);
    until("the centre has the change", async || rig.book(&msisdn(1)).await.get(&entry) == Some(&octets)).await;
    assert!(card.end().contains("\n7,Bob,112\n"));
    rig.stop().await;
}

/// A line of the table as gnokii lists it: name, number, memory, place, group.
fn listed_by_gnokii(row: &str) -> String {
    let fields: Vec<&str> = row.split(',').collect();
    format!("{};{};SM;{};5", fields[1], fields[2], fields[0])
}

/// Hexadecimal digits to octets.
fn octets(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|character| character.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).expect("an octet")).collect()
}
