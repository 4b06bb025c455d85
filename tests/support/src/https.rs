//! A small web server in the test process: plain or TLS, one thread, answers by a closure.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::kafka::Identity;

/// A request: first line and headers as they came, and the body.
#[derive(Debug, Clone)]
pub struct Ask {
    /// `GET /path`
    pub line: String,
    /// Lines of the head, names in lower case.
    pub head: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Ask {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.head.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Status and body.
pub type Answer = (u16, String);

/// The server; it ends when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    secure: bool,
    stopping: Arc<AtomicBool>,
}

impl Server {
    /// Starts on a free port of 127.0.0.1; with TLS when there is an identity.
    pub fn start(
        identity: Option<&Identity>,
        answer: impl Fn(&Ask) -> Answer + Send + 'static,
    ) -> Result<Self> {
        let config = identity.map(tls).transpose()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let secure = config.is_some();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                // A client that goes away is its own affair.
                let _ = stream.map(|stream| serve(stream, config.as_ref(), &answer));
            }
        });
        Ok(Self {
            address,
            secure,
            stopping,
        })
    }

    /// `http://127.0.0.1:port` or the same with https.
    pub fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
    }
}

fn tls(identity: &Identity) -> Result<Arc<ServerConfig>> {
    let chain = CertificateDer::from_pem_file(&identity.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&identity.key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)?;
    Ok(Arc::new(config))
}

fn serve(
    stream: TcpStream,
    config: Option<&Arc<ServerConfig>>,
    answer: &impl Fn(&Ask) -> Answer,
) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    match config {
        None => exchange(stream, answer),
        Some(config) => {
            let session = ServerConnection::new(Arc::clone(config))?;
            exchange(StreamOwned::new(session, stream), answer)
        }
    }
}

fn exchange(mut stream: impl Read + Write, answer: &impl Fn(&Ask) -> Answer) -> Result<()> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        let mut part = [0; 4096];
        let count = stream.read(&mut part)?;
        anyhow::ensure!(count > 0, "cut request");
        bytes.extend_from_slice(&part[..count]);
    };
    let text = String::from_utf8(bytes[..end].to_vec())?;
    let mut lines = text.split("\r\n");
    let line = lines.next().context("no first line")?;
    let line = line
        .rsplit_once(' ')
        .map_or(line, |(line, _)| line)
        .to_owned();
    let head: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length = head.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(Ok(0), |(_, value)| value.parse())?;
    let mut body = bytes.split_off(end);
    while body.len() < length {
        let mut part = [0; 4096];
        let count = stream.read(&mut part)?;
        anyhow::ensure!(count > 0, "cut body");
        body.extend_from_slice(&part[..count]);
    }
    let ask = Ask {
        line,
        head,
        body: String::from_utf8(body)?,
    };
    let (status, body) = answer(&ask);
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    stream.flush()?;
    Ok(())
}
