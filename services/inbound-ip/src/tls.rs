//! TLS of the link: the server's certificate only, for cards authenticate by the frame's tag.

use anyhow::Context;
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;

/// Reads certificate and key, from files or from the settings themselves.
///
/// # Errors
/// When one of the two cannot be read or is no PEM, or they do not belong together.
pub fn acceptor(tls: &Tls) -> anyhow::Result<TlsAcceptor> {
    let identity = net::tls::Identity {
        certificates_pem: pem(&tls.certificate).context("TLS certificate")?,
        private_key_pem: pem(tls.key.expose()).context("TLS key")?,
    };
    Ok(TlsAcceptor::from(net::tls::server_config(&identity, None)?))
}

/// The PEM text, or the content of the file that is named.
fn pem(text_or_path: &str) -> anyhow::Result<Vec<u8>> {
    if text_or_path.trim_start().starts_with("-----BEGIN") {
        return Ok(text_or_path.as_bytes().to_vec());
    }
    Ok(net::tls::read_pem(text_or_path.as_ref())?)
}
