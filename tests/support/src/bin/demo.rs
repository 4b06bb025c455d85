//! `make demo`: Spoolway's promise, shown once from end to end on a real Apache Kafka.
//!
//! Starts everything it needs on loopback and in a temporary folder, and stops all of it.
//! usage: demo PATH-OF-SPOOLWAY PATH-OF-THE-SAMPLE-CONFIG

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::kafka::{Kafka, Listener};

const TOPIC: &str = "events";
const FIRST: u64 = 5;
const DURING: u64 = 2_000;
const OUTAGE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(spoolway), Some(sample)) = (arguments.next(), arguments.next()) else {
        bail!("usage: demo PATH-OF-SPOOLWAY PATH-OF-THE-SAMPLE-CONFIG");
    };
    let folder = tempfile::Builder::new()
        .prefix("spoolway-demo-")
        .tempdir()?;

    say("starting a real Apache Kafka (TLS, SCRAM, access rules) on loopback");
    let mut kafka = Kafka::builder().start()?;
    kafka.admin().create_topic(TOPIC, 4, &[])?;
    kafka.admin().allow_produce("alice", TOPIC)?;

    let config = write_config(folder.path(), &sample, &kafka)?;
    let socket = folder.path().join("app.sock");
    say(&format!(
        "starting the daemon on the shipped sample, adapted: {}",
        config.display()
    ));
    let mut daemon = Daemon::start(&spoolway, &config, &socket)?;

    say(&format!(
        "writing {FIRST} events to the socket; an ack means: on disk"
    ));
    write_events(&socket, 0..FIRST)?;
    let records = kafka
        .admin()
        .wait_for_records(TOPIC, FIRST as usize, PATIENCE)?;
    for record in &records {
        let id = record.header("spoolway-id").map(String::from_utf8_lossy);
        let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default());
        println!(
            "    {TOPIC}-{} @{}  {value}  id {}",
            record.partition,
            record.offset,
            id.unwrap_or_default(),
        );
    }

    say(&format!(
        "stopping Kafka; writing {DURING} more events meanwhile"
    ));
    kafka.stop()?;
    let stopped = Instant::now();
    write_events(&socket, FIRST..FIRST + DURING)?;
    show_status(&spoolway, &config)?;
    wait_for(OUTAGE * 2, "the outage to last", || {
        Ok(stopped.elapsed() >= OUTAGE)
    })?;

    say("starting Kafka again");
    kafka.start()?;
    let total = (FIRST + DURING) as usize;
    let records = kafka.admin().wait_for_records(TOPIC, total, PATIENCE)?;
    check(&records, total)?;
    say(&format!(
        "all {total} events arrived, each once, byte for byte"
    ));
    // What is shown is up to a second old.
    wait_for(PATIENCE, "a status without what is over", || {
        let shown = status(&spoolway, &config)?;
        Ok(!shown.contains("ERROR") && !shown.contains("waiting="))
    })?;
    show_status(&spoolway, &config)?;

    say("stopping the daemon and Kafka");
    daemon.stop()?;
    kafka.stop()?;
    say("done; nothing is left running");
    Ok(())
}

fn say(text: &str) {
    println!("\n== {text}");
}

fn event(number: u64) -> String {
    format!(r#"{{"type":"track","number":{number},"text":"hello from the edge"}}"#)
}

/// Adapts the sample to the demo's broker and folder; every line that it needs must be there.
fn write_config(folder: &Path, sample: &Path, kafka: &Kafka) -> Result<PathBuf> {
    let password = folder.join("kafka-password");
    fs::write(&password, "alice-secret\n")?;
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600))?;
    let mut text = fs::read_to_string(sample)?;
    let folder_text = folder.display();
    let kafka_lines = format!(
        "bootstrap.servers = \"{}\"\nsecurity.protocol = \"SASL_SSL\"\n\
         sasl.mechanism = \"SCRAM-SHA-512\"\nsasl.username = \"alice\"\n\
         sasl.password = {{ file = \"{}\" }}\nssl.ca.location = \"{}\"",
        kafka.address(Listener::SaslSsl),
        password.display(),
        kafka.pki().ca.display(),
    );
    for (line, instead) in [
        (
            "dir = \"/var/lib/spoolway\"",
            format!("dir = \"{folder_text}/spool\""),
        ),
        (
            "path = \"/run/spoolway/app.sock\"",
            format!("path = \"{folder_text}/app.sock\"\nack = \"durable\""),
        ),
        ("bootstrap.servers = \"localhost:9092\"", kafka_lines),
    ] {
        let found = format!("\n{line}\n");
        ensure!(text.contains(&found), "the sample has no line {line}");
        text = text.replacen(&found, &format!("\n{instead}\n"), 1);
    }
    let config = folder.join("spoolway.toml");
    fs::write(&config, text)?;
    Ok(config)
}

/// The daemon; killed when dropped.
struct Daemon(Child);

impl Daemon {
    fn start(spoolway: &Path, config: &Path, socket: &Path) -> Result<Self> {
        let child = Command::new(spoolway)
            .arg("run")
            .arg("--config")
            .arg(config)
            .spawn();
        let daemon = Self(child.with_context(|| format!("cannot run {}", spoolway.display()))?);
        wait_for(PATIENCE, "the daemon to listen", || {
            Ok(UnixStream::connect(socket).is_ok())
        })?;
        Ok(daemon)
    }

    fn stop(&mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.0.wait()?;
        ensure!(status.success(), "the daemon ended with {status}");
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes events and waits until the last one is acknowledged as durable.
fn write_events(socket: &Path, numbers: std::ops::Range<u64>) -> Result<()> {
    let count = numbers.end - numbers.start;
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let lines: String = numbers.map(|number| event(number) + "\n").collect();
    stream.write_all(lines.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut last = String::new();
    for line in BufReader::new(&stream).lines() {
        last = line?;
    }
    ensure!(
        last == format!("{{\"ack\":{count}}}"),
        "the daemon answered {last:?}"
    );
    println!("    answer to the writer: {last}");
    Ok(())
}

fn show_status(spoolway: &Path, config: &Path) -> Result<()> {
    for line in status(spoolway, config)?.lines() {
        println!("    {line}");
    }
    Ok(())
}

/// What `spoolway status` prints.
fn status(spoolway: &Path, config: &Path) -> Result<String> {
    let output = Command::new(spoolway)
        .arg("status")
        .arg("--config")
        .arg(config)
        .output()?;
    ensure!(
        output.status.success(),
        "status: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Every event is there, once, unchanged.
fn check(records: &[spoolway_test_support::wire::Record], total: usize) -> Result<()> {
    ensure!(
        records.len() == total,
        "{} records instead of {total}",
        records.len()
    );
    let mut values: Vec<&[u8]> = records
        .iter()
        .map(|record| record.value.as_deref().unwrap_or_default())
        .collect();
    let mut expected: Vec<String> = (0..total as u64).map(event).collect();
    values.sort_unstable();
    expected.sort_unstable();
    let same = values
        .iter()
        .zip(&expected)
        .all(|(value, expected)| *value == expected.as_bytes());
    ensure!(same, "some event is missing, doubled or changed");
    Ok(())
}
