//! `simvault`: one binary that is every service, by role; `all` and `demo` are every service in one process.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use simvault::{
    card, centre, demo,
    process::{self, File, RoleArguments},
    roles,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "simvault", version, about = "Service centre that backs up and restores the phonebooks of SIM cards")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// SMPP receiver links: what cards send by SMS
    InboundSmpp(RoleArguments),
    /// TCP and TLS connections of cards
    InboundIp(RoleArguments),
    /// Checks, stores and acknowledges what cards send
    InboundData(RoleArguments),
    /// Takes actions from the queue and builds messages of them
    OutboundAction(RoleArguments),
    /// SMPP transmitter links: what goes to cards by SMS
    OutboundSmpp(RoleArguments),
    /// Pushes to cards that are connected by IP
    OutboundIp(RoleArguments),
    /// Accounts, books, restore, configuration
    ApplicationServer(RoleArguments),
    /// Every service in this process
    All(RoleArguments),
    /// Brings the database to the schema of this version
    Migrate(RoleArguments),
    /// Backs up, loses and restores a few hundred virtual cards, in this process
    Demo(demo::DemoArguments),
    /// A virtual SIM card or UICC in a virtual PC/SC reader
    Card(card::CardArguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().role {
        Role::InboundSmpp(arguments) => process::run("inbound-smpp", File::Needed, &arguments, roles::inbound_smpp),
        Role::InboundIp(arguments) => process::run("inbound-ip", File::Needed, &arguments, roles::inbound_ip),
        Role::InboundData(arguments) => process::run("inbound-data", File::Needed, &arguments, roles::inbound_data),
        Role::OutboundAction(arguments) => {
            process::run("outbound-action", File::Needed, &arguments, roles::outbound_action)
        }
        Role::OutboundSmpp(arguments) => process::run("outbound-smpp", File::Needed, &arguments, roles::outbound_smpp),
        Role::OutboundIp(arguments) => process::run("outbound-ip", File::Needed, &arguments, roles::outbound_ip),
        Role::ApplicationServer(arguments) => {
            process::run("application-server", File::Needed, &arguments, roles::application_server)
        }
        Role::All(arguments) => process::run("all", File::Optional, &arguments, centre::run),
        Role::Migrate(arguments) => process::run("migrate", File::Optional, &arguments, roles::migrate),
        Role::Demo(arguments) => return demo::run(&arguments),
        Role::Card(arguments) => return card::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simvault: {}", process::told(&error));
            ExitCode::FAILURE
        }
    }
}
