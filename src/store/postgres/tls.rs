//! TLS to the database: whom it is believed, and the words for what is wrong with a certificate.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::StoreError;

/// What is checked of a server's certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trust {
    /// Nothing: nobody can listen in, but anybody may be at the other end.
    Anybody,
    /// That an authority has signed it.
    Authority(Roots),
    /// That an authority has signed it, for the host that was asked for.
    Host(Roots),
}

/// Whose signature counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Roots {
    /// That of whom this machine's system trusts.
    System,
    /// That of the certificates in a file of PEM.
    File(PathBuf),
}

/// What makes connections with TLS. Where nothing is to be checked no file is read.
pub(super) fn connector(trust: &Trust) -> Result<MakeRustlsConnect, StoreError> {
    // Named here, not installed for the process: so it does not matter what else is linked into it.
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Anybody => Arc::new(Lenient { checks: None, provider: Arc::clone(&provider) }),
        Trust::Authority(roots) => {
            Arc::new(Lenient { checks: Some(web_pki(roots, &provider)?), provider: Arc::clone(&provider) })
        }
        Trust::Host(roots) => web_pki(roots, &provider)?,
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Fault(format!("setting up TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn web_pki(roots: &Roots, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, StoreError> {
    let store = match roots {
        Roots::System => of_system()?,
        Roots::File(path) => of_file(path)?,
    };
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
        .build()
        .map_err(|error| StoreError::Fault(format!("setting up the check of certificates: {error}")))
}

fn of_system() -> Result<RootCertStore, StoreError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        return Err(StoreError::Refused(
            "this machine has no certificates of authorities to check the database's by; install them (Debian: \
             ca-certificates), or name the database's own with sslrootcert=PATH in its URL"
                .to_owned(),
        ));
    }
    Ok(store)
}

fn of_file(path: &Path) -> Result<RootCertStore, StoreError> {
    let wrong = |what: String| {
        StoreError::Refused(format!("sslrootcert: {}: {what}; it must hold certificates in PEM", path.display()))
    };
    let certificates: Vec<CertificateDer<'_>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate).map_err(|error| wrong(format!("a certificate in it is of no use: {error}")))?;
    }
    if store.is_empty() { Err(wrong("there is no certificate in it".to_owned())) } else { Ok(store) }
}

/// Checks less than a browser would, as libpq's weaker modes do; that the other end has the key of its certificate is
/// checked always.
#[derive(Debug)]
struct Lenient {
    /// Who looks for the authority; the name is not looked at. `None`: any certificate will do.
    checks: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(checks) = &self.checks else { return Ok(ServerCertVerified::assertion()) };
        match checks.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last: everything before it was right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What is wrong with the server's TLS, if that is why there is no connection; with what to do about it.
pub(super) fn complaint(error: &tokio_postgres::Error) -> Option<String> {
    let source = std::error::Error::source(error)?;
    // The driver's own words: it has no type for this.
    if source.to_string() == "server does not support TLS" {
        return Some(
            "it offers no TLS, and sslmode asks for it; set 'ssl = on' there, or sslmode=disable in the URL".to_owned(),
        );
    }
    let wrapped = source.downcast_ref::<io::Error>()?.get_ref()?;
    let complaint = match wrapped.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(why) => of_certificate(why),
        other => format!("TLS failed: {other}"),
    };
    Some(complaint)
}

fn of_certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "its certificate is signed by no authority that is trusted here; name the authority's certificate with \
             sslrootcert=PATH in the URL"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name; use a name in the URL that is in the certificate, or \
             sslmode=verify-ca, which does not look at the name"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired; renew it, or set this machine's clock right".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; set this machine's clock right".to_owned()
        }
        other => format!("its certificate does not hold: {other}"),
    }
}
