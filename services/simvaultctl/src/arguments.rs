//! What can be typed.

use bytes::Bytes;
use clap::{Args, Parser, Subcommand, ValueEnum};
use proto::centre;

use crate::{configuration, notation, security::Security, time};

/// Operates a Simvault centre: accounts, books, restores and configuration of cards.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Arguments {
    /// The application server.
    #[arg(long, global = true, env = "SIMVAULT_SERVER", default_value = "http://127.0.0.1:7400")]
    pub server: String,
    /// Who asks; the audit log keeps it.
    #[arg(long, global = true, env = "USER", default_value = "unknown")]
    pub user: String,
    /// Answers as JSON, for scripts: times in UTC microseconds, octets in hexadecimal.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Subscribers and their cards.
    #[command(subcommand)]
    Account(Account),
    /// How messages of cards are secured, and their keys.
    #[command(subcommand)]
    Security(Security),
    /// Stored records of a card.
    #[command(subcommand)]
    Book(Book),
    /// Changes of a book, newest first.
    History {
        /// Number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
        /// Device id; the open card when left out.
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        device: i64,
        /// Changes shown at most.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Writes stored records back to the card.
    Restore(Restore),
    /// Writes octets to any file of the card.
    Addressable {
        /// Number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
        /// DF/EF/RECORD[+OFFSET]=HEX, such as 7F10/6F3A/5=424F42FF or 7F10/6F3A/5+14=FF. Record 0: a transparent file.
        #[arg(required = true, value_parser = notation::addressed_record)]
        records: Vec<centre::AddressedRecord>,
    },
    /// Sends configuration items to the card.
    #[command(after_help = configuration::HELP)]
    Configure {
        /// Number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
        /// NAME=VALUE or CID=HEX, see below.
        #[arg(required = true, value_parser = configuration::item)]
        items: Vec<centre::ConfigurationItem>,
    },
    /// Tells a card of any profile what to do.
    Control {
        /// Number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
        request: Request,
    },
    /// Shows what a card is configured with: as it acknowledged, and as it was asked to be.
    Settings {
        /// Number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
        /// Device id; the open card when left out.
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        device: i64,
    },
    /// Backups of a card in blocks with pauses: how far each is, and when it goes on.
    Sessions {
        /// Number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
        /// Device id; the open card when left out.
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        device: i64,
    },
    /// Transfers between devices: collections, and who else may fetch them.
    #[command(subcommand)]
    Transfer(Transfer),
    /// What is under way to cards.
    #[command(subcommand)]
    Actions(Actions),
    /// Who did and looked at what, newest first.
    Audit {
        /// Number in E.164, with or without +; everybody's when left out.
        #[arg(value_parser = notation::msisdn, default_value = "", hide_default_value = true)]
        msisdn: String,
        /// Rows shown at most.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// How many actions are in which state.
    Queues,
    /// Messages for users and customer service, newest first.
    Notices {
        /// Notices shown at most.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
}

#[derive(Subcommand)]
pub enum Account {
    /// Opens an account and sends the card its first configuration.
    Create(Create),
    /// Shows an account with its cards.
    Show {
        /// Number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
    },
    /// Lists accounts by number.
    List {
        /// Accounts shown at most.
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Only numbers after this one: the next page.
        #[arg(long, value_parser = notation::msisdn, default_value = "", hide_default_value = true)]
        after: String,
    },
    /// Serves a subscriber, or stops it. Active again, the card backs up what changed meanwhile.
    State {
        /// Number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
        /// Whether the subscriber is served.
        state: AccountState,
    },
    /// A lost card: its book is kept, and a new card opens under the same number.
    ReplaceCard {
        /// Number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
        /// ICCID of the new card, 18 to 20 digits.
        iccid: String,
        #[command(flatten)]
        card: Card,
    },
    /// Changes what a user is called and how it signs in. An empty login or password removes it.
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
    User {
        /// Number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
        #[arg(long, group = "change")]
        name: Option<String>,
        #[arg(long, group = "change")]
        address: Option<String>,
        /// 3 to 64 of a-z 0-9 . _ @ + -
        #[arg(long, group = "change")]
        login: Option<String>,
        /// Reads the password, one line of 8 to 128 characters, from standard input.
        #[arg(long, group = "change")]
        password: bool,
    },
    /// The number changes, the book stays.
    ChangeNumber {
        /// The number of today in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
        /// The new number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        new_msisdn: String,
    },
    /// Deletes every row of a subscriber. There is no way back.
    Erase {
        /// Number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
        /// Do it.
        #[arg(long, required = true)]
        yes: bool,
    },
}

#[derive(Args)]
pub struct Create {
    /// Number in E.164, with or without +.
    #[arg(value_parser = notation::msisdn)]
    pub msisdn: String,
    /// ICCID of the card, 18 to 20 digits.
    #[arg(long)]
    pub iccid: String,
    /// The subscriber's name.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub name: String,
    /// Tenant; the default one when left out.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub tenant: String,
    #[command(flatten)]
    pub card: Card,
}

#[derive(Args)]
pub struct Card {
    /// Channel of messages to the card; SMS, or as the old card, when left out.
    #[arg(long)]
    pub bearer: Option<Bearer>,
    /// Key of the IP link, 16 to 64 octets in hexadecimal.
    #[arg(long, value_parser = notation::octets, default_value = "", hide_default_value = true)]
    pub ip_key: Bytes,
    /// The card holds its configuration already: nothing is sent.
    #[arg(long)]
    pub personalised: bool,
    /// Which messages the card speaks (first, second or third embodiment); E2, or as the old card, when left out.
    #[arg(long)]
    pub profile: Option<Profile>,
    /// A monitor row, INDEX:DF/EF:FIRST-LAST@OFFSET+OCTETS such as 0:7F10/6F3A:1-254@0+28. Default: that one, or as the
    /// old card.
    #[arg(long = "row", value_parser = notation::monitor_row)]
    pub rows: Vec<centre::MonitorRow>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Profile {
    E1,
    E2,
    E3,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Request {
    /// Backups begin (E1, E2).
    #[value(name = "service-on", alias = "service_on")]
    ServiceOn,
    /// Backups end (E1, E2).
    #[value(name = "service-off", alias = "service_off")]
    ServiceOff,
    /// The card sends all that it has.
    Resynchronise,
    /// The card sends what waits (E3).
    Poll,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Bearer {
    Sms,
    Ip,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum AccountState {
    Active,
    Suspended,
    #[value(name = "service_off", alias = "service-off")]
    ServiceOff,
}

#[derive(Subcommand)]
pub enum Book {
    /// Shows the records, now or as of an earlier time.
    Show {
        /// Number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
        /// Device id; the open card when left out.
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        device: i64,
        /// `10m`, `2h`, `3d` ago, or a time such as 2026-03-01T09:30 (local) or 2026-03-01T09:30:00+01:00.
        #[arg(long, value_parser = time::parse)]
        as_of: Option<i64>,
    },
    /// Decides about a resynchronisation that would empty much of the book and is held for a person.
    Decide {
        /// Number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
        /// What becomes of the book.
        decision: Decision,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Decision {
    /// The book becomes what the card reported.
    Apply,
    /// The book stays; restore it to the card next.
    Drop,
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("selection").required(true))]
pub struct Restore {
    /// Number in E.164, with or without +.
    #[arg(value_parser = notation::msisdn)]
    pub msisdn: String,
    /// The card becomes equal to the book: records that are only on the card are emptied.
    #[arg(long, group = "selection")]
    pub all: bool,
    /// ROW:FIRST-LAST, such as 0:5-9.
    #[arg(long, group = "selection", value_parser = notation::range)]
    pub range: Option<centre::RecordRange>,
    /// ROW:RECORD,RECORD, such as 0:3,7,12.
    #[arg(long, group = "selection", value_parser = notation::records)]
    pub records: Option<centre::RecordList>,
    /// Whole monitor rows, such as 0,1.
    #[arg(long, group = "selection", value_parser = notation::rows)]
    pub rows: Option<centre::MonitorRows>,
    /// As the book was: `10m`, `2h`, `3d` ago, or a time such as 2026-03-01T09:30 (local).
    #[arg(long, value_parser = time::parse)]
    pub as_of: Option<i64>,
    /// Device id whose book is used, such as that of a lost card; the newest with a book when left out.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub from_device: i64,
}

#[derive(Subcommand)]
pub enum Actions {
    /// Lists actions of one number, or of everybody without acknowledgements.
    List {
        #[arg(value_parser = notation::msisdn, default_value = "", hide_default_value = true)]
        msisdn: String,
        /// Only what is queued, sent or waiting.
        #[arg(long)]
        open: bool,
        /// Actions shown at most.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Stops an action.
    Cancel {
        /// SUBSCRIBER/ACTION as the list shows it.
        #[arg(value_parser = notation::action)]
        action: centre::ActionReference,
    },
    /// Launches a waiting or failed action again, now.
    Retry {
        /// SUBSCRIBER/ACTION as the list shows it.
        #[arg(value_parser = notation::action)]
        action: centre::ActionReference,
    },
}

#[derive(Subcommand)]
pub enum Transfer {
    /// Shows what a user has stored, who else may fetch it, and the sessions of the last day.
    List {
        /// Number in E.164, with or without +.
        #[arg(value_parser = notation::msisdn)]
        msisdn: String,
    },
    /// The owner lets another user fetch a collection.
    Consent(Consent),
    /// The owner does so no more.
    Withdraw(Consent),
}

#[derive(Args)]
pub struct Consent {
    /// The owner's number in E.164, with or without +.
    #[arg(value_parser = notation::msisdn)]
    pub msisdn: String,
    /// The collection's name; it need not be there yet.
    pub name: String,
    /// The other user's number in E.164, with or without +.
    #[arg(long, value_parser = notation::msisdn)]
    pub to: String,
}
