//! Kafka's own command line tools, run against the broker: the Java producer to compare with
//! and the console consumer as a second opinion. Each run is a JVM start of its own.

use std::fs;
use std::iter;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Kafka;
use super::home::Home;

/// A consumer without an end to read to stops when nothing has come for so long.
const SILENCE: Duration = Duration::from_secs(8);

/// What the Java producer shall send.
#[derive(Debug, Clone)]
pub struct ProducerTest<'a> {
    /// Topic to send to; exists.
    pub topic: &'a str,
    /// Number of records.
    pub records: u64,
    /// Bytes of each record's value.
    pub record_bytes: u32,
    /// Producer properties, such as `acks=all`; `bootstrap.servers` is the PLAINTEXT listener
    /// unless it is among them.
    pub properties: &'a [&'a str],
}

/// What the Java producer reported at its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Performance {
    /// Records sent.
    pub records: u64,
    /// Records per second.
    pub rate: f64,
    /// 50th percentile of the time from send to acknowledgement.
    pub median: Duration,
    /// 99th percentile of the same.
    pub p99: Duration,
}

impl Kafka {
    /// Runs `ProducerPerformance` as fast as it goes and returns its last line, parsed.
    pub fn producer_performance(&self, test: &ProducerTest<'_>) -> Result<Performance> {
        // In a file: as arguments, values must not contain an equals sign.
        let config = tempfile::NamedTempFile::new_in(self.folder.path())?;
        let bootstrap = format!("bootstrap.servers={}", self.bootstrap());
        let lines: Vec<&str> = iter::once(&*bootstrap)
            .chain(test.properties.iter().copied())
            .collect();
        fs::write(&config, lines.join("\n"))?;
        let mut java = self.tool("org.apache.kafka.tools.ProducerPerformance")?;
        java.args(["--topic", test.topic, "--throughput", "-1"])
            .args(["--num-records", &test.records.to_string()])
            .args(["--record-size", &test.record_bytes.to_string()])
            .arg("--producer.config")
            .arg(config.path());
        let output = run(java)?;
        parse_performance(&output).with_context(|| format!("unexpected output:\n{output}"))
    }

    /// Reads `records` records of `topic` from its start with the console consumer and
    /// returns what it prints: one value a line.
    pub fn console_consumer(&self, topic: &str, records: u64) -> Result<String> {
        self.console_consumer_with(topic, records, &[])
    }

    /// The same with properties of its formatter, such as `print.key=true`.
    pub fn console_consumer_with(
        &self,
        topic: &str,
        records: u64,
        properties: &[&str],
    ) -> Result<String> {
        let mut java = self.tool("org.apache.kafka.tools.consumer.ConsoleConsumer")?;
        java.args(["--bootstrap-server", &self.bootstrap(), "--topic", topic])
            .args(["--from-beginning", "--timeout-ms", "30000"])
            .args(["--max-messages", &records.to_string()]);
        for property in properties {
            java.args(["--formatter-property", property]);
        }
        run(java)
    }

    /// Reads `records` records of all topics whose name the regular expression `pattern`
    /// describes, in one run, and returns one value a line, topics mixed.
    pub fn console_consumer_of_all(&self, pattern: &str, records: u64) -> Result<String> {
        let mut java = self.tool("org.apache.kafka.tools.consumer.ConsoleConsumer")?;
        java.args([
            "--bootstrap-server",
            &self.bootstrap(),
            "--include",
            pattern,
        ])
        .args(["--from-beginning", "--timeout-ms", "30000"])
        .args(["--max-messages", &records.to_string()]);
        run(java)
    }

    /// Reads `topic` as Kafka's own consumer with isolation.level=read_committed does, from its
    /// start until nothing has come for [`SILENCE`], and returns one value a line.
    pub fn console_consumer_committed(&self, topic: &str) -> Result<String> {
        let mut java = self.tool("org.apache.kafka.tools.consumer.ConsoleConsumer")?;
        java.args(["--bootstrap-server", &self.bootstrap(), "--topic", topic])
            .args(["--isolation-level", "read_committed", "--from-beginning"])
            .args(["--timeout-ms", &SILENCE.as_millis().to_string()]);
        run(java)
    }

    fn tool(&self, class: &str) -> Result<Command> {
        let home = Home::of(self.version().of_tools())?;
        let mut java = home.java(&self.folder.path().join("tmp"), None);
        java.arg("-Xmx512m").arg(class);
        Ok(java)
    }
}

fn run(mut java: Command) -> Result<String> {
    let output = java
        .output()
        .with_context(|| format!("starting {java:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{java:?} ended with {}: {errors}",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// The line with the percentiles is the last one:
/// `N records sent, R records/sec (…), … ms avg latency, … ms 50th, … ms 95th, … ms 99th, …`
fn parse_performance(output: &str) -> Option<Performance> {
    let line = output
        .lines()
        .rev()
        .find(|line| line.contains(" ms 99th"))?;
    let before = |mark: &str| -> Option<f64> {
        let (head, _) = line.split_once(mark)?;
        head.rsplit([' ', ',']).next()?.parse().ok()
    };
    let milliseconds = |mark: &str| Some(Duration::from_secs_f64(before(mark)? / 1000.0));
    Some(Performance {
        records: line.split(' ').next()?.parse().ok()?,
        rate: before(" records/sec")?,
        median: milliseconds(" ms 50th")?,
        p99: milliseconds(" ms 99th")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_producer_performance_is_understood() {
        let output = "warm-up\n1000 records sent, 5263.157895 records/sec (1.28 MB/sec), \
                      2.85 ms avg latency, 160.00 ms max latency, 2 ms 50th, 5 ms 95th, \
                      17 ms 99th, 160 ms 99.9th.\n";
        let performance = parse_performance(output).unwrap();
        assert_eq!(performance.records, 1000);
        assert_eq!(performance.rate, 5263.157895);
        assert_eq!(performance.median, Duration::from_millis(2));
        assert_eq!(performance.p99, Duration::from_millis(17));
    }
}
