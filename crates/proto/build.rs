//! Compiles `proto/` with protox: cargo is the only build tool.

use std::{env, path::PathBuf};

const FILES: [&str; 5] = [
    "simvault/inbound/v1/inbound.proto",
    "simvault/outbound/v1/outbound.proto",
    "simvault/session/v1/session.proto",
    "simvault/centre/v1/centre.proto",
    "simvault/diagnostics/v1/diagnostics.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    for file in FILES {
        println!("cargo::rerun-if-changed={}", root.join(file).display());
    }
    let descriptors = protox::compile(FILES, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(out, prost::Message::encode_to_vec(&descriptors))?;
    // Payloads travel as `Bytes`: the edge hands on the octets that it read, uncopied.
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
