//! TLS to Postgres, by rustls (PF-20).

use std::sync::Arc;

use net::tls::{Identity, TlsError, client_config, install_provider, read_pem};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{Result, StoreError, StoreTls, TlsMode};

/// # Errors
/// `Refused` for files that are not there or hold something else; says which.
pub fn connector(tls: &StoreTls) -> Result<MakeRustlsConnect> {
    let config = match tls.mode {
        TlsMode::VerifyFull => verifying(tls).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            StoreError::Refused(format!("TLS to Postgres: {error}{cause}"))
        })?,
        TlsMode::Require => encrypting(),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn verifying(tls: &StoreTls) -> std::result::Result<ClientConfig, TlsError> {
    let authorities = tls.ca.as_deref().map_or(Ok(Vec::new()), read_pem)?;
    let identity = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => Some(Identity::from_files(certificate, key)?),
        _ => None,
    };
    client_config(&authorities, identity.as_ref()).map(Arc::unwrap_or_clone)
}

fn encrypting() -> ClientConfig {
    install_provider();
    let builder = ClientConfig::builder();
    let any = Arc::new(AnyServer(builder.crypto_provider().clone()));
    builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth()
}

/// Takes every certificate whose key the server has.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
