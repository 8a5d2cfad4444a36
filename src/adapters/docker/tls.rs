//! TLS to an engine. Its certificate must come from the authority in `ca.pem`. The system's roots do not count: any
//! of them could issue a certificate for the engine's name.

use std::path::Path;
use std::sync::Arc;

use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// The certificates of a client, from one directory with Docker's file names.
struct ClientCertificates {
    roots: RootCertStore,
    /// The client's own certificate and key; `None` for an engine that requires none.
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

/// Returns the connector to an engine with TLS, using `ca.pem`, `cert.pem` and `key.pem` of this directory. The error
/// is the reason.
pub(super) fn connector(directory: &Path) -> Result<HttpsConnector<HttpConnector>, String> {
    let ClientCertificates { roots, own } = ClientCertificates::read(directory)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots))
        .and_then(|builder| match own {
            Some((certificates, key)) => builder.with_client_auth_cert(certificates, key),
            None => Ok(builder.with_no_client_auth()),
        });
    let config = config
        .map_err(|error| format!("cannot use cert.pem and key.pem in {}: {error}", directory.display()))?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    Ok(HttpsConnector::from((tcp, config)))
}

impl ClientCertificates {
    fn read(directory: &Path) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let path = directory.join("ca.pem");
        if let (0, _) = roots.add_parsable_certificates(certificates(&path)?) {
            return Err(format!("{} contains no CA certificate", path.display()));
        }
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| directory.join(name));
        if !certificate.exists() && !key.exists() {
            return Ok(Self { roots, own: None });
        }
        let certificates = certificates(&certificate)?;
        let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| not_read(&key, &error))?;
        Ok(Self { roots, own: Some((certificates, key)) })
    }
}

/// Returns the certificates in a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| not_read(path, &error))?;
    if read.is_empty() {
        return Err(format!("{} contains no certificate", path.display()));
    }
    Ok(read)
}

fn not_read(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("cannot read {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn the_authority_of_the_directory_is_the_only_one() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        let key = KeyPair::generate().unwrap();
        let pem = CertificateParams::default().self_signed(&key).unwrap().pem();
        let read = || ClientCertificates::read(directory.path());
        assert!(read().err().unwrap().contains("ca.pem: "));
        write("ca.pem", "");
        assert!(read().err().unwrap().contains("ca.pem contains no certificate"));
        write("ca.pem", &pem);
        let papers = read().unwrap();
        assert_eq!((papers.roots.len(), papers.own.is_none()), (1, true));
        write("cert.pem", &pem);
        assert!(read().err().unwrap().contains("key.pem: "));
        write("key.pem", &key.serialize_pem());
        assert!(read().unwrap().own.is_some());
    }
}
