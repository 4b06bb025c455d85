//! A blocking Kafka client for tests: one request, one answer, over plain TCP.
//!
//! It never follows the addresses of a metadata answer, so it suits the one-node brokers of
//! `crate::kafka`. It shares no code with Spoolway's own client: a fault there must not hide
//! itself here.

mod admin;
mod batch;
mod codec;
mod committed;
mod read;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiVersionsRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Request, StrBytes, encode_request_header_into_buffer};

pub use admin::{Access, Admin, Operation, Resource};
pub use codec::Codec;
pub use read::{Record, Watermarks};

/// Longest silence of the broker within one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Largest answer taken, bytes; above the largest fetch that `read` asks for.
const MAX_ANSWER: usize = 256 << 20;

/// What the client calls itself, in `client.id` and in ApiVersions.
const CLIENT_NAME: &str = "spoolway-tests";

/// One connection to one broker, its API versions known.
pub struct Connection {
    stream: TcpStream,
    versions: HashMap<i16, (i16, i16)>,
    correlation: i32,
}

impl Connection {
    /// Connects and asks for the API versions.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, CALL_TIMEOUT)
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(CALL_TIMEOUT))?;
        stream.set_write_timeout(Some(CALL_TIMEOUT))?;
        let mut connection = Self {
            stream,
            versions: HashMap::new(),
            correlation: 0,
        };
        let ask = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(CLIENT_NAME))
            .with_client_software_version(StrBytes::from_static_str("0"));
        let answer = connection.call_version(&ask, 3)?;
        check(answer.error_code).context("api versions")?;
        for api in answer.api_keys {
            connection
                .versions
                .insert(api.api_key, (api.min_version, api.max_version));
        }
        Ok(connection)
    }

    /// Sends `request` in the highest version that both sides know and that is at most
    /// `highest`, and waits for the answer.
    pub fn call<R: Request>(&mut self, request: &R, highest: i16) -> Result<R::Response> {
        let Some(&(least, most)) = self.versions.get(&R::KEY) else {
            bail!("the broker does not serve API {}", R::KEY);
        };
        let version = most.min(R::VERSIONS.max).min(highest);
        ensure!(
            version >= least.max(R::VERSIONS.min),
            "no common version of API {}: broker has {least} to {most}",
            R::KEY,
        );
        self.call_version(request, version)
    }

    fn call_version<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        self.correlation += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_static_str(CLIENT_NAME)));
        let mut frame = BytesMut::zeroed(4);
        encode_request_header_into_buffer(&mut frame, &header)?;
        request.encode(&mut frame, version)?;
        let length = i32::try_from(frame.len() - 4)?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&frame).context("sending a request")?;

        let mut answer = self.read_frame()?;
        let header_version =
            <R::Response as kafka_protocol::protocol::HeaderVersion>::header_version(version);
        let header = ResponseHeader::decode(&mut answer, header_version)?;
        ensure!(
            header.correlation_id == self.correlation,
            "answer {} to request {}",
            header.correlation_id,
            self.correlation,
        );
        R::Response::decode(&mut answer, version)
    }

    fn read_frame(&mut self) -> Result<Bytes> {
        let mut length = [0; 4];
        self.stream
            .read_exact(&mut length)
            .context("reading an answer")?;
        let length = usize::try_from(i32::from_be_bytes(length))?;
        ensure!(length <= MAX_ANSWER, "an answer of {length} bytes");
        let mut answer = vec![0; length];
        self.stream
            .read_exact(&mut answer)
            .context("reading an answer")?;
        Ok(answer.into())
    }
}

/// Turns a Kafka error code into an error that names it.
fn check(code: i16) -> Result<()> {
    match ResponseError::try_from_code(code) {
        None => Ok(()),
        Some(error) => bail!("the broker answered {error:?} ({code})"),
    }
}
