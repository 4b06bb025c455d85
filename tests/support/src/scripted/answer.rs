//! From the bytes of a request to the bytes of its answer.
//!
//! Decodes with `kafka-protocol`, applies the request to the state, encodes the answer and
//! bends it as the script orders. What a request must not do is written down as a
//! violation. Sockets and time are `server`'s.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, InitProducerIdResponse, MetadataRequest,
    ProduceRequest, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::script::{Action, Api, Fired};
use super::state::{Request, Sent, State};
use super::{code, metadata, produce, sasl};

/// What the connection does next.
#[derive(Debug)]
pub(super) enum Reply {
    /// Write these bytes after waiting so long, then perhaps close.
    Send {
        bytes: Vec<u8>,
        after: Duration,
        close: bool,
    },
    /// Never answer on this connection again.
    Silence,
    /// This request has no answer.
    Nothing,
    /// Close it.
    Close,
}

/// The body of a request.
enum Body {
    ApiVersions,
    Metadata(MetadataRequest),
    InitProducerId(InitProducerIdRequest),
    Produce(ProduceRequest),
}

/// Handles one frame that came to `broker`.
pub(super) fn answer(state: &mut State, broker: i32, connection: u64, frame: &Bytes) -> Reply {
    if let Some(reply) = sasl::intercept(state, connection, frame) {
        return reply;
    }
    let (header, key, body) = match decode(state, frame) {
        Ok(decoded) => decoded,
        Err(Undecoded::Violation(text)) => {
            state.violations.push(format!("broker {broker}: {text}"));
            return Reply::Close;
        }
        Err(Undecoded::ApiVersionsTooNew(correlation_id)) => {
            return send(frame_of(correlation_id, 0, &unsupported_api_versions()));
        }
    };
    let api = body.api();
    let fired = state.script.fire(api, broker, &body.targets());
    let mut request = Request {
        at: Instant::now(),
        broker,
        connection,
        api,
        version: header.request_api_version,
        client_id: header.client_id.as_deref().unwrap_or_default().to_owned(),
        bytes: frame.len(),
        sent: Vec::new(),
        actions: fired.actions().cloned().collect(),
    };
    if let Some(action) = fired.withheld() {
        let reply = if *action == Action::Silence {
            Reply::Silence
        } else {
            Reply::Close
        };
        if let Body::Produce(produce) = &body {
            request.sent = produce::unapplied(state, produce);
        }
        state.requests.push(request);
        return reply;
    }
    let version = header.request_api_version;
    let unasked = matches!(&body, Body::Produce(produce) if produce.acks == 0);
    let applied = apply(state, broker, version, body, &fired, &mut request.sent);
    let failed = request.sent.iter().any(|sent| sent.code != code::NONE);
    state.requests.push(request);
    if unasked {
        // The only way in which a broker tells of an error then (KafkaApis.scala).
        return if failed { Reply::Close } else { Reply::Nothing };
    }
    match applied {
        Ok(payload) => {
            let header_version = key.response_header_version(version);
            bend(header.correlation_id, header_version, payload, &fired)
        }
        Err(e) => {
            state
                .violations
                .push(format!("the scripted broker could not encode: {e:#}"));
            Reply::Close
        }
    }
}

impl Body {
    fn api(&self) -> Api {
        match self {
            Body::ApiVersions => Api::ApiVersions,
            Body::Metadata(_) => Api::Metadata,
            Body::InitProducerId(_) => Api::InitProducerId,
            Body::Produce(_) => Api::Produce,
        }
    }

    /// The topics and partitions that the request names.
    fn targets(&self) -> Vec<(String, Option<i32>)> {
        match self {
            Body::ApiVersions | Body::InitProducerId(_) => Vec::new(),
            Body::Metadata(m) => {
                let topics = m.topics.iter().flatten().filter_map(|t| t.name.as_ref());
                topics.map(|name| (name.to_string(), None)).collect()
            }
            Body::Produce(p) => {
                let topics = p.topic_data.iter();
                let all = topics.flat_map(|t| t.partition_data.iter().map(move |p| (t, p)));
                all.map(|(t, p)| (t.name.to_string(), Some(p.index)))
                    .collect()
            }
        }
    }
}

/// Why a frame is no request.
enum Undecoded {
    Violation(String),
    ApiVersionsTooNew(i32),
}

fn decode(state: &State, frame: &Bytes) -> Result<(RequestHeader, ApiKey, Body), Undecoded> {
    let violation = |text: String| Undecoded::Violation(text);
    let Some(&[k0, k1, v0, v1, c0, c1, c2, c3]) = frame.first_chunk::<8>() else {
        return Err(violation(format!(
            "a frame of {} bytes is no request",
            frame.len()
        )));
    };
    let number = i16::from_be_bytes([k0, k1]);
    let version = i16::from_be_bytes([v0, v1]);
    let (key, api) = match ApiKey::try_from(number) {
        Ok(key @ ApiKey::ApiVersions) => (key, Api::ApiVersions),
        Ok(key @ ApiKey::Metadata) => (key, Api::Metadata),
        Ok(key @ ApiKey::InitProducerId) => (key, Api::InitProducerId),
        Ok(key @ ApiKey::Produce) => (key, Api::Produce),
        _ => return Err(violation(format!("request with api key {number}"))),
    };
    let (min, max) = state.versions.get(&api).copied().unwrap_or((0, -1));
    if version < min || version > max {
        if api == Api::ApiVersions {
            return Err(Undecoded::ApiVersionsTooNew(i32::from_be_bytes([
                c0, c1, c2, c3,
            ])));
        }
        return Err(violation(format!(
            "{api:?} version {version}, offered {min} to {max}"
        )));
    }
    let mut rest = frame.clone();
    let header = RequestHeader::decode(&mut rest, key.request_header_version(version))
        .map_err(|e| violation(format!("header of {api:?} v{version}: {e:#}")))?;
    let body = match api {
        Api::ApiVersions => {
            ApiVersionsRequest::decode(&mut rest, version).map(|_| Body::ApiVersions)
        }
        Api::Metadata => MetadataRequest::decode(&mut rest, version).map(Body::Metadata),
        Api::InitProducerId => {
            InitProducerIdRequest::decode(&mut rest, version).map(Body::InitProducerId)
        }
        Api::Produce => ProduceRequest::decode(&mut rest, version).map(Body::Produce),
    };
    let body = body.map_err(|e| violation(format!("body of {api:?} v{version}: {e:#}")))?;
    if !rest.is_empty() {
        return Err(violation(format!(
            "{} bytes after {api:?} v{version}",
            rest.len()
        )));
    }
    Ok((header, key, body))
}

fn apply(
    state: &mut State,
    broker: i32,
    version: i16,
    body: Body,
    fired: &Fired,
    sent: &mut Vec<Sent>,
) -> anyhow::Result<BytesMut> {
    let mut out = BytesMut::new();
    match body {
        Body::ApiVersions => api_versions(state, fired).encode(&mut out, version)?,
        Body::Metadata(request) => {
            metadata::answer(state, version, &request, fired).encode(&mut out, version)?;
        }
        Body::InitProducerId(request) => {
            init_producer_id(state, &request, fired).encode(&mut out, version)?;
        }
        Body::Produce(request) => {
            let (response, batches) = produce::answer(state, broker, &request, fired);
            *sent = batches;
            response.encode(&mut out, version)?;
        }
    }
    Ok(out)
}

fn api_versions(state: &State, fired: &Fired) -> ApiVersionsResponse {
    let keys = state.versions.iter().map(|(api, &(min, max))| {
        let key = match api {
            Api::ApiVersions => ApiKey::ApiVersions,
            Api::Metadata => ApiKey::Metadata,
            Api::InitProducerId => ApiKey::InitProducerId,
            Api::Produce => ApiKey::Produce,
        };
        ApiVersion::default()
            .with_api_key(key as i16)
            .with_min_version(min)
            .with_max_version(max)
    });
    let gate = state.gate.as_ref().map(|_| sasl::OFFERED);
    let keys = keys.chain(gate.into_iter().flatten().map(|(key, min, max)| {
        ApiVersion::default()
            .with_api_key(key)
            .with_min_version(min)
            .with_max_version(max)
    }));
    ApiVersionsResponse::default()
        .with_error_code(fired.error().unwrap_or_default())
        .with_throttle_time_ms(fired.throttle_ms())
        .with_api_keys(keys.collect())
}

/// The answer to a version of ApiVersions that is too new, always in version 0 (KIP-511).
fn unsupported_api_versions() -> BytesMut {
    let key = ApiVersion::default()
        .with_api_key(ApiKey::ApiVersions as i16)
        .with_min_version(0)
        .with_max_version(3);
    let answer = ApiVersionsResponse::default()
        .with_error_code(code::UNSUPPORTED_VERSION)
        .with_api_keys(vec![key]);
    let mut out = BytesMut::new();
    answer
        .encode(&mut out, 0)
        .expect("version 0 can always be encoded");
    out
}

fn init_producer_id(
    state: &mut State,
    request: &InitProducerIdRequest,
    fired: &Fired,
) -> InitProducerIdResponse {
    if request.transactional_id.is_some() {
        state
            .violations
            .push("InitProducerId with a transactional id".to_owned());
    }
    let answer = InitProducerIdResponse::default().with_throttle_time_ms(fired.throttle_ms());
    match fired.error() {
        Some(error) => answer
            .with_error_code(error)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1),
        None => {
            let id = state.next_producer_id;
            state.next_producer_id += 1;
            answer.with_producer_id(id.into()).with_producer_epoch(0)
        }
    }
}

fn send(bytes: Vec<u8>) -> Reply {
    Reply::Send {
        bytes,
        after: Duration::ZERO,
        close: false,
    }
}

/// Length prefix, response header of that version, body.
fn frame_of(correlation_id: i32, header_version: i16, body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_i32(0);
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    header
        .encode(&mut out, header_version)
        .expect("a response header can always be encoded");
    out.extend_from_slice(body);
    let length = i32::try_from(out.len() - 4).expect("an answer below 2 GiB");
    out[..4].copy_from_slice(&length.to_be_bytes());
    out.to_vec()
}

fn bend(correlation_id: i32, header_version: i16, body: BytesMut, fired: &Fired) -> Reply {
    let whole = |body: &[u8]| frame_of(correlation_id, header_version, body);
    let mut after = Duration::ZERO;
    for action in fired.actions() {
        match action {
            Action::Delay(time) => after = *time,
            Action::SilenceAfter => return Reply::Silence,
            Action::DropAfter => return Reply::Close,
            Action::Malformed(bytes) => return send(whole(bytes)),
            Action::FrameLength(length) => return send(length.to_be_bytes().to_vec()),
            Action::WrongCorrelationId => {
                let other = correlation_id.wrapping_add(1_000_000);
                return send(frame_of(other, header_version, &body));
            }
            Action::Truncated(n) => {
                return send(whole(&body[..body.len().saturating_sub(*n)]));
            }
            Action::CutShort => {
                let mut bytes = whole(&body);
                bytes.truncate(bytes.len() / 2);
                return Reply::Send {
                    bytes,
                    after,
                    close: true,
                };
            }
            Action::Error(_)
            | Action::ErrorAfter(_)
            | Action::RejectRecord(..)
            | Action::Throttle(_)
            | Action::Silence
            | Action::DropBefore => {}
        }
    }
    Reply::Send {
        bytes: whole(&body),
        after,
        close: false,
    }
}
