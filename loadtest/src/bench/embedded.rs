//! The embedded profile (G12): every service in one process, on SQLite and the in-process queue.

use std::{
    fs,
    net::TcpListener,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tokio_util::sync::CancellationToken;

use super::{BenchConfig, WARM_UP, WINDOW};
use crate::{
    cpu,
    load::{self, Load, Pace, Report, count},
    smsc::{Smsc, SmscConfig},
    topology::{
        CENTRE_NUMBER, SMSC_ACCOUNT,
        process::{Keeper, Recipe},
    },
};

/// What the one process carried.
#[derive(Clone, Debug)]
pub struct Embedded {
    pub report: Report,
    /// CPU microseconds of the process per message; the load is not in it.
    pub micros: f64,
}

/// Accounts of the embedded store; every page is written once before anything counts.
const CARDS_MAX: usize = 5000;

/// Starts `simvault all`, loads it saturated, stops it.
pub async fn run(config: &BenchConfig) -> Result<Embedded> {
    let stop = CancellationToken::new();
    let _ends_with_us = stop.clone().drop_guard();
    let smsc_config = SmscConfig { keep_ledger: false, ..SmscConfig::default() };
    let (smsc, phones) = Smsc::start(smsc_config, stop.clone()).await.context("the SMSC simulator")?;
    let folder = config.folder.join("embedded");
    fs::create_dir_all(&folder)?;
    let grpc = free_address()?;
    let password = folder.join("smsc-password");
    fs::write(&password, SMSC_ACCOUNT)?;
    let password = password.display();
    let link = |section: &str, bind: &str| {
        format!(
            "[[{section}.links]]\nname = \"{bind}\"\naddresses = [\"{}\"]\nbind = \"{bind}\"\n\
             system_id = \"{SMSC_ACCOUNT}\"\npassword = {{ file = \"{password}\" }}\nsource_address = \"{CENTRE_NUMBER}\"\n",
            smsc.address()
        )
    };
    let text = format!(
        "[telemetry]\nfilter = \"info\"\n[store]\nurl = \"sqlite:{}\"\n\
         [application_server.server]\nlisten = \"{grpc}\"\n[inbound_ip]\nlisten = \"127.0.0.1:0\"\n\
         [outbound_action]\nsms_budget_per_day = 0\n[outbound_smpp]\nwindow = 1000\n{}{}",
        folder.join("simvault.db").display(),
        link("outbound_smpp", "transmitter"),
        link("inbound_smpp", "receiver"),
    );
    let file = folder.join("simvault.toml");
    fs::write(&file, text)?;
    let keeper = Keeper::new(Duration::from_secs(1));
    keeper.start(Recipe {
        name: "all".to_owned(),
        program: config.simvault.clone(),
        arguments: vec!["all".to_owned(), "--config".to_owned(), file.display().to_string()],
        environment: Vec::new(),
        log: folder.join("all.log"),
    })?;
    let began = Instant::now();
    while smsc.links().await < 2 {
        let runs = !keeper.running().is_empty();
        if !runs || began.elapsed() > Duration::from_secs(30) {
            bail!("`simvault all` has no SMPP links after {:?}; log in {}", began.elapsed(), folder.display());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let balancer = rpc::Balancer::new(rpc::EndpointsConfig::new([grpc]), stop.clone())?;
    let cards = config.cards.min(CARDS_MAX);
    let channel = loop {
        match balancer.least_loaded() {
            Some(channel) => break channel,
            None if began.elapsed() > Duration::from_secs(30) => bail!("`simvault all` is not ready after 30 s"),
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    load::accounts::create(channel, load::FIRST_MSISDN, cards, config.records).await?;
    let load = Load::start(smsc, phones, cards, config.records);
    let measured = measure(config, &load, &keeper).await?;
    let killed = tokio::task::spawn_blocking(move || keeper.stop(Duration::from_secs(30))).await??;
    ensure!(killed.is_empty(), "`simvault all` does not stop within 30 s");
    Ok(measured)
}

async fn measure(config: &BenchConfig, load: &Load, keeper: &Keeper) -> Result<Embedded> {
    load.set_pace(Pace::Saturated { window: WINDOW });
    tokio::time::sleep(WARM_UP * 4).await;
    let pid = keeper.running().first().map(|(_, pid)| *pid).context("`simvault all` ended")?;
    load.report().await;
    let before = cpu::of_process(pid);
    tokio::time::sleep(Duration::from_secs(config.seconds * 2)).await;
    let (report, after) = (load.report().await, cpu::of_process(pid));
    load.set_pace(Pace::Stopped);
    let began = Instant::now();
    while load.counts().in_flight() > 0 && began.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ensure!(report.accepted > 0 && report.failed == 0, "{} accepted, {} refused", report.accepted, report.failed);
    let micros = count(after.saturating_sub(before)) / 1000.0 / count(report.accepted);
    Ok(Embedded { report, micros })
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.to_string())
}
