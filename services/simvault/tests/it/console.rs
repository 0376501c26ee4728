//! The operator's console (`simvaultctl`, the built program) and customer service (its calls) against a whole centre.

use std::{path::Path, process::Command};

use link::configuration::Item;
use mobile::Bearer;
use proto::centre::restore_request::Selection;
use uicc::files::EF_ADN;

use crate::rig::{Rig, held, msisdn, write};

/// Runs a command of the console; gives what it prints for scripts.
pub async fn console(rig: &Rig, arguments: &[&str]) -> serde_json::Value {
    let program = Path::new(env!("CARGO_BIN_EXE_simvault")).with_file_name("simvaultctl");
    assert!(
        program.is_file(),
        "simvaultctl is not built: `cargo xtask test` builds it, or: cargo build -p simvaultctl"
    );
    let mut command = Command::new(program);
    let server = rig.application_server.to_string();
    command.args(["--json", "--user", "olga", "--server", &server]).args(arguments).env_remove("RUST_LOG");
    let run = tokio::task::spawn_blocking(move || command.output());
    let output = run.await.expect("ran").expect("started");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The action that a command made, `SUBSCRIBER/ACTION`.
fn action_of(answer: &serde_json::Value) -> i64 {
    let reference = answer.get("action").and_then(serde_json::Value::as_str).expect("an action");
    reference.split_once('/').and_then(|(_, action)| action.parse().ok()).expect("SUBSCRIBER/ACTION")
}

/// Covers: S2-OV-03
#[tokio::test]
async fn the_operator_s_console_and_customer_service_start_restores_and_configurations() {
    let rig = Rig::start().await;
    tokio::join!(both_start_both(&rig, 26, Bearer::Sms), both_start_both(&rig, 27, Bearer::Ip));
    rig.stop().await;
}

async fn both_start_both(rig: &Rig, number: u32, bearer: Bearer) {
    let phone = rig.phone(number, bearer).await;
    let digits = msisdn(number);
    let preset = || phone.with(|station| station.eeprom().configuration.retry_preset);
    for record in 1..=5 {
        write(&phone, record, &format!("Before {record}"));
    }
    rig.settled(&phone).await;
    let (before, moment) = (held(&phone), runtime::clock::now());
    for record in 1..=5 {
        write(&phone, record, &format!("After {record}"));
    }
    rig.settled(&phone).await;
    // Customer service, at the user's request.
    assert_eq!(rig.restore(&phone, moment, Selection::All(true)).await.state, "done");
    assert_eq!(held(&phone), before);
    assert_eq!(rig.configure(&phone, &[Item::RetryPreset(4)]).await.state, "done");
    assert_eq!(preset(), 4);
    // The operator: each command prints the action that it made.
    let configured = action_of(&console(rig, &["configure", &digits, "retry=3"]).await);
    assert_eq!(rig.ended(&phone, configured).await.state, "done");
    assert_eq!(preset(), 3);
    let written = action_of(&console(rig, &["addressable", &digits, "7F10/6F3A/2+0=5859"]).await);
    assert_eq!(rig.ended(&phone, written).await.state, "done");
    let name = phone.with(|station| station.read_record(EF_ADN, 2)).expect("record");
    assert_eq!(&name[..6], b"XYfore");
    let (book, blank) = (rig.book(&digits).await, rig.replace(number, bearer).await);
    let restored = action_of(&console(rig, &["restore", &digits, "--all"]).await);
    let restored = rig.ended(&blank, restored).await;
    assert_eq!((restored.r#type.as_str(), restored.state.as_str()), ("restore", "done"));
    assert_eq!((held(&blank), rig.book(&digits).await), (book.clone(), book));
    // The console shows the same as the calls do.
    let actions = rig.actions(&digits, false).await;
    let listed = console(rig, &["actions", "list", &digits]).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(actions.len()), "{listed}");
}
