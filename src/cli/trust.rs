//! Whom the client believes that it is the service: the authorities that are built in, or those of a file; and the words for what
//! is wrong with a certificate.

use std::path::Path;

use rustls::{CertificateError, InvalidMessage};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::failure::Failure;

/// Trusts the authorities of a file of PEM, and no other.
pub(super) fn only(path: &Path) -> Result<TlsConfig, Failure> {
    let wrong = |what: &str| {
        Failure::yours(format!("--ca: {}: {what}", path.display()))
            .with_remedy("Give a file with the certificates of authorities in PEM (-----BEGIN CERTIFICATE-----).")
    };
    let text = std::fs::read(path).map_err(|error| wrong(&format!("it cannot be read: {error}")))?;
    let mut certificates: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(&text) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(wrong(&format!("it is no PEM: {error}"))),
        }
    }
    // The client would pass over what cannot be one, and then trust nobody.
    let usable =
        |certificate: &Certificate<'_>| rustls::RootCertStore::empty().add(certificate.der().to_vec().into()).is_ok();
    if certificates.is_empty() || !certificates.iter().all(usable) {
        return Err(wrong(if certificates.is_empty() {
            "there is no certificate in it"
        } else {
            "a certificate in it is of no use"
        }));
    }
    Ok(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates)).build())
}

/// Why there is no connection, if that is TLS's doing, with what to do about it. Then nothing has been sent.
pub(super) fn complaint(error: &ureq::Error) -> Option<(String, &'static str)> {
    let error = match error {
        ureq::Error::Rustls(error) => error,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref::<rustls::Error>()?,
        _ => return None,
    };
    match error {
        rustls::Error::InvalidCertificate(why) => Some(of_certificate(why)),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            Some(("it does not speak TLS".to_owned(), "Is it http:// and not https:// there?"))
        }
        _ => None,
    }
}

fn of_certificate(why: &CertificateError) -> (String, &'static str) {
    let (what, remedy) = match why {
        CertificateError::UnknownIssuer => (
            "its certificate is signed by no authority that is trusted here",
            "Name the authority's certificate with --ca FILE (or ROSTER_CA).",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            ("its certificate is for another name", "Give a name as --url that is in the certificate.")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("its certificate has expired", "Have it renewed, or set this machine's clock right.")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("its certificate is not valid yet", "Set this machine's clock right.")
        }
        other => return (format!("its certificate does not hold: {other}"), "Have it made anew."),
    };
    (what.to_owned(), remedy)
}
