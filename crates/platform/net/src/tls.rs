//! TLS settings from PEM: one crypto provider (ring) for the whole process, client and server configurations.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

/// What is wrong with certificates or keys; says which input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    #[error("cannot read {path}")]
    Read { path: String, source: io::Error },
    #[error("{what} is not valid PEM")]
    Pem { what: &'static str, source: rustls::pki_types::pem::Error },
    #[error("{what} contains no certificate")]
    NoCertificate { what: &'static str },
    #[error("certificate and key do not make a TLS configuration")]
    Rustls(#[from] rustls::Error),
    #[error("client certificates cannot be verified with these authorities")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// A certificate chain (leaf first) and its private key, both PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificates_pem: Vec<u8>,
    pub private_key_pem: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity { .. }")
    }
}

impl Identity {
    /// Reads both files.
    ///
    /// # Errors
    /// [`TlsError::Read`] with the path.
    pub fn from_files(certificates: &Path, private_key: &Path) -> Result<Self, TlsError> {
        Ok(Self { certificates_pem: read_pem(certificates)?, private_key_pem: read_pem(private_key)? })
    }

    fn parts(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let key = PrivateKeyDer::from_pem_slice(&self.private_key_pem)
            .map_err(|source| TlsError::Pem { what: "the private key", source })?;
        Ok((certificates("the certificate chain", &self.certificates_pem)?, key))
    }
}

/// Installs the ring provider for the process; later calls do nothing.
pub fn install_provider() {
    // An error means that a provider is installed already, which is what is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Reads a PEM file whole.
///
/// # Errors
/// [`TlsError::Read`] with the path.
pub fn read_pem(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.display().to_string(), source })
}

/// A server's configuration. With `client_authorities_pem`, clients must show a certificate signed by one of them.
///
/// # Errors
/// [`TlsError`] when a PEM or its contents do not fit.
pub fn server_config(
    identity: &Identity,
    client_authorities_pem: Option<&[u8]>,
) -> Result<Arc<ServerConfig>, TlsError> {
    install_provider();
    let builder = ServerConfig::builder();
    let builder = match client_authorities_pem {
        Some(pem) => {
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots("the client authorities", pem)?)).build()?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let (chain, key) = identity.parts()?;
    Ok(Arc::new(builder.with_single_cert(chain, key)?))
}

/// A client's configuration that trusts `authorities_pem` alone, showing `identity` where asked.
///
/// # Errors
/// [`TlsError`] when a PEM or its contents do not fit.
pub fn client_config(authorities_pem: &[u8], identity: Option<&Identity>) -> Result<Arc<ClientConfig>, TlsError> {
    install_provider();
    let builder = ClientConfig::builder().with_root_certificates(roots("the authorities", authorities_pem)?);
    Ok(Arc::new(match identity {
        Some(identity) => {
            let (chain, key) = identity.parts()?;
            builder.with_client_auth_cert(chain, key)?
        }
        None => builder.with_no_client_auth(),
    }))
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { what, source })?;
    if chain.is_empty() { Err(TlsError::NoCertificate { what }) } else { Ok(chain) }
}

fn roots(what: &'static str, pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(what, pem)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}
