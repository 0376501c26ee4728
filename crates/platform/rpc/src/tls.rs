//! TLS between services, both sides proving who they are (PF-20). Certificates are PEM files.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// A server's certificate, and the authority whose clients it serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Clients must hold a certificate of this authority.
    pub client_ca: PathBuf,
}

/// A client's certificate, and the authority whose servers it trusts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTls {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Name that the server's certificate must carry; `None`: the host of the endpoint.
    #[serde(default)]
    pub domain: Option<String>,
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("TLS file {path}: {source}")]
pub struct TlsFileError {
    path: String,
    source: std::io::Error,
}

fn read(path: &PathBuf) -> Result<Vec<u8>, TlsFileError> {
    std::fs::read(path).map_err(|source| TlsFileError { path: path.display().to_string(), source })
}

impl ServerTls {
    pub(crate) fn load(&self) -> Result<ServerTlsConfig, TlsFileError> {
        let identity = Identity::from_pem(read(&self.certificate)?, read(&self.key)?);
        Ok(ServerTlsConfig::new().identity(identity).client_ca_root(Certificate::from_pem(read(&self.client_ca)?)))
    }
}

impl ClientTls {
    pub(crate) fn load(&self, host: &str) -> Result<ClientTlsConfig, TlsFileError> {
        let identity = Identity::from_pem(read(&self.certificate)?, read(&self.key)?);
        let domain = self.domain.as_deref().unwrap_or(host);
        let config = ClientTlsConfig::new().identity(identity).domain_name(domain);
        Ok(config.ca_certificate(Certificate::from_pem(read(&self.ca)?)))
    }
}
