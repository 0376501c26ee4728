//! Accounts of the load's cards, made through the application server as an operator's personalisation file is.

use anyhow::{Context, Result};
use proto::centre::{CreateAccountsRequest, MonitorRow, NewAccount, accounts_client::AccountsClient};
use tonic::transport::Channel;

use crate::load_card::monitor_row;

/// Accounts of one call.
const CALL_MAX: usize = 500;

/// Creates the accounts of `count` cards from the number `first` on, with `records` records each, personalised: the cards
/// hold their configuration.
///
/// # Errors
/// What the application server says.
pub async fn create(channel: Channel, first: u64, count: usize, records: u8) -> Result<()> {
    let mut client = AccountsClient::new(channel);
    let numbers: Vec<u64> = (first..).take(count).collect();
    for numbers in numbers.chunks(CALL_MAX) {
        let accounts = numbers.iter().map(|&msisdn| account(msisdn, records)).collect();
        client.create_accounts(CreateAccountsRequest { accounts }).await.context("CreateAccounts")?;
    }
    Ok(())
}

fn account(msisdn: u64, records: u8) -> NewAccount {
    let row = monitor_row(records);
    NewAccount {
        msisdn: msisdn.to_string(),
        name: "load".to_owned(),
        iccid: format!("8949{:015}", msisdn % 1_000_000_000_000_000),
        profile: "E2".to_owned(),
        bearer: "sms".to_owned(),
        monitor: vec![MonitorRow {
            index: 0,
            df: row.df.into(),
            ef: row.ef.into(),
            record_offset: row.record_offset.into(),
            record_count: row.record_count.into(),
            data_offset: row.data_offset.into(),
            data_octets: row.data_octets.into(),
        }],
        personalised: true,
        ..NewAccount::default()
    }
}
