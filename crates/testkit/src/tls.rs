//! Certificates for tests: an authority of their own, and leaves that it signs.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// A certificate and its private key, both PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate_pem: String,
    pub private_key_pem: String,
}

/// An authority that lives as long as the test.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// # Panics
    /// When no key can be made.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names are legal names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another name than the leaves have: OpenSSL takes a leaf of the same name for one that signed itself.
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().expect("a key pair");
        Self(CertifiedIssuer::self_signed(params, key).expect("a self-signed authority"))
    }

    /// What peers trust.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these DNS names or addresses, for either side of a connection.
    ///
    /// # Panics
    /// When a name cannot stand in a certificate.
    #[must_use]
    pub fn identity(&self, names: &[&str]) -> Identity {
        let key = KeyPair::generate().expect("a key pair");
        let params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        let certificate = params.expect("names for a certificate").signed_by(&key, &self.0).expect("a signature");
        Identity { certificate_pem: certificate.pem(), private_key_pem: key.serialize_pem() }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// A certificate that signs itself, for `localhost` and 127.0.0.1.
///
/// # Panics
/// When no key can be made.
#[must_use]
pub fn self_signed() -> Identity {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate for localhost");
    Identity { certificate_pem: made.cert.pem(), private_key_pem: made.signing_key.serialize_pem() }
}
