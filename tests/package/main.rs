//! The .deb through its whole life in a fresh Debian 12 that boots: installed, configured,
//! watched, reloaded, upgraded with events in the spool and under writers, removed, purged.
//! The .rpm's life is in `rpm.rs`, the upgrade from an older build in `older.rs`.
//!
//! Run by `make test-package`, not by `cargo test`: it needs root and takes minutes. Where
//! it cannot run it says so and passes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test, helpers included, fails by panicking"
)]

mod machine;
mod next;
mod older;
mod rpm;
mod writers;

use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use machine::{Machine, host, missing};
use spoolway_test_support::daemon::Writer;
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::kafka::{Kafka, Listener};
use spoolway_test_support::skipped;
use writers::Writers;

const UNIT: &str = "spoolway.service";
const CONFIG: &str = "/etc/spoolway/spoolway.toml";
const DROP_INS: &str = "/etc/spoolway/conf.d";
const SAMPLE: &str = include_str!("../../packaging/spoolway.toml");
const README: &str = include_str!("../../README.md");
const SOCKET: &str = "/run/spoolway/app.sock";
const WITHIN: Duration = Duration::from_secs(60);

/// `WatchdogSec` in the test, and how long a quiet daemon is looked at: several of them.
const WATCHDOG: Duration = Duration::from_secs(4);
const QUIET: Duration = Duration::from_secs(13);

/// Where the unit looks for the password of the user who produces.
const CREDENTIAL: &str = "/etc/credstore/kafka-password";
const USER: &str = "alice";
const PASSWORD: &str = "alice-secret";

/// The package once more, with a higher version.
const NEXT: &str = "/spoolway-next.deb";
const BEFORE_UPGRADE: &[u8] = b"before the upgrade";
const AFTER_UPGRADE: &[u8] = b"after the upgrade";

/// A broker that is not there.
const NOWHERE: &str = "127.0.0.1:9";

#[test]
fn the_package_lives_its_life_in_a_fresh_debian_that_boots() -> Result<()> {
    let Some(deb) = package("SPOOLWAY_DEB") else {
        return Ok(());
    };
    let machine = Machine::boot()?;
    let life = Life { machine };
    let result = life.live(&deb);
    if result.is_err() {
        eprintln!("{}", life.journal().unwrap_or_default());
    }
    result
}

/// The package that this variable names, unless it cannot be tested here.
fn package(variable: &str) -> Option<String> {
    let package = std::env::var(variable).ok();
    let why = missing().or_else(|| package.is_none().then(|| format!("needs {variable}")));
    if let Some(why) = why {
        skipped("the package", &why);
        return None;
    }
    package
}

fn step(what: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let started = std::time::Instant::now();
    let result = work();
    let word = if result.is_ok() { "ok" } else { "FAILED" };
    eprintln!("{word:>7} {:>6.1?} {what}", started.elapsed());
    result
}

/// A package's sample with these brokers, further lines of `[kafka]`, and durable acks.
fn adapted(sample: &str, bootstrap: &str, kafka: &str) -> String {
    let broker = format!("bootstrap.servers = \"{bootstrap}\"\n{kafka}");
    sample
        .replace("bootstrap.servers = \"localhost:9092\"", &broker)
        .replace("#ack = \"none\"", "ack = \"durable\"")
}

struct Life {
    machine: Machine,
}

impl Life {
    fn live(&self, deb: &str) -> Result<()> {
        self.machine.put(deb, "/spoolway.deb")?;
        self.machine.put(next::deb(deb)?.path(), NEXT)?;
        step("installed, not started, and the sample passes", || {
            self.install()
        })?;
        step("ready without a broker, and says so", || {
            self.start_offline()
        })?;
        step("log files of another user, by the drop-in", || self.logs())?;
        step("a member of the group writes as the README has it", || {
            self.member()
        })?;
        step("a credential that the service alone can read", || {
            self.credential()
        })?;
        step("a reload takes effect, a bad file does not", || {
            self.reload()
        })?;
        step(
            "the watchdog leaves an idle daemon without a broker alone",
            || self.watchdog_quiet(),
        )?;
        step("a daemon that is killed again and again comes back", || {
            self.killed()
        })?;
        step("the watchdog bites on a hung drain", || {
            self.watchdog_drain()
        })?;
        step("the watchdog bites on a hung disk", || self.watchdog_disk())?;
        step(
            "an upgrade keeps configuration, spool and connections, Kafka away",
            || self.upgrade(),
        )?;
        step(
            "restarts and an upgrade refuse no writer and lose nothing",
            || self.restart(),
        )?;
        step(
            "removal keeps configuration and spool, purge keeps a spool",
            || self.remove(),
        )
    }

    fn systemctl(&self, words: &[&str]) -> Result<String> {
        self.machine.run(&[&["systemctl"], words].concat())
    }

    fn property(&self, name: &str) -> Result<String> {
        self.systemctl(&["show", "-P", name, UNIT])
    }

    /// dpkg's word for the version that is installed.
    fn version(&self) -> Result<String> {
        let show = ["dpkg-query", "--show", "--showformat=${Version}"];
        self.machine.run(&[&show[..], &["spoolway"]].concat())
    }

    fn ledger(&self) -> Result<serde_json::Value> {
        let status = self.machine.run(&["spoolway", "status", "--json"])?;
        let mut status: serde_json::Value = serde_json::from_str(&status)?;
        Ok(status["ledger"].take())
    }

    fn journal(&self) -> Result<String> {
        self.machine
            .run(&["journalctl", "--no-pager", "-o", "cat", "-u", UNIT])
    }

    /// How often the journal of the service holds these words.
    fn said(&self, words: &str) -> Result<usize> {
        Ok(self.journal()?.matches(words).count())
    }

    fn configure(&self, bootstrap: &str, kafka: &str) -> Result<()> {
        let text = adapted(SAMPLE, bootstrap, kafka);
        self.machine.write(CONFIG, &text)
    }

    fn install(&self) -> Result<()> {
        // As the README has it; what the package needs is there, so no network is asked.
        self.machine
            .run(&["apt-get", "install", "-y", "/spoolway.deb"])?;
        for unit in [UNIT, "spoolway.socket"] {
            assert!(
                self.systemctl(&["is-enabled", unit]).is_err(),
                "{unit} is enabled"
            );
            assert!(
                self.systemctl(&["is-active", unit]).is_err(),
                "{unit} is active"
            );
        }
        self.machine.run(&["spoolway", "check"])?;
        self.machine.run(&["id", "spoolway"])?;
        let owned = ["stat", "-c", "%U:%G %a", "/run/spoolway"];
        assert_eq!(self.machine.run(&owned)?, "spoolway:spoolway 755");
        self.machine.run(&["test", "-d", DROP_INS])?;
        let conffiles = self
            .machine
            .run(&["cat", "/var/lib/dpkg/info/spoolway.conffiles"])?;
        assert_eq!(conffiles, CONFIG);
        Ok(())
    }

    /// A link that is down: what waits for the network to be online waits for ever.
    fn without_network(&self) -> Result<()> {
        let name = "never-online.service";
        let unit = "[Unit]\nBefore=network-online.target\n\
            [Service]\nType=oneshot\nExecStart=sleep infinity\n";
        self.machine
            .write(&format!("/etc/systemd/system/{name}"), unit)?;
        self.systemctl(&["daemon-reload"])?;
        self.systemctl(&["start", "--no-block", name, "network-online.target"])?;
        Ok(())
    }

    /// systemd's own reading of the installed units; the root has no manual pages.
    fn verify_units(&self) -> Result<()> {
        for unit in [UNIT, "spoolway.socket"] {
            let path = self.systemctl(&["show", "-P", "FragmentPath", unit])?;
            let script = format!("systemd-analyze verify --man=no {path} 2>&1 || true");
            let said = self.machine.run(&["sh", "-c", &script])?;
            assert!(!said.contains("spoolway"), "{said}");
        }
        Ok(())
    }

    fn start_offline(&self) -> Result<()> {
        self.verify_units()?;
        self.without_network()?;
        self.configure(NOWHERE, "")?;
        let seconds = WATCHDOG.as_secs();
        let faster = format!("[Service]\nWatchdogSec={seconds}\n");
        self.machine
            .write("/etc/systemd/system/spoolway.service.d/test.conf", &faster)?;
        self.systemctl(&["daemon-reload"])?;
        // Type=notify: it returns when the daemon has said READY.
        self.systemctl(&["enable", "--now", "spoolway.socket", UNIT])?;
        assert_eq!(self.property("ActiveState")?, "active");
        let online = self.systemctl(&["is-active", "network-online.target"]);
        assert!(online.is_err(), "the network came up");
        wait_for(WITHIN, "a status line", || {
            Ok(self.property("StatusText")?.contains("in spool"))
        })?;
        let state = ["stat", "-c", "%U %a", "/var/lib/spoolway"];
        assert_eq!(self.machine.run(&state)?, "spoolway 700");
        let score = self
            .machine
            .run(&["systemd-analyze", "security", "--threshold=12", UNIT])?;
        eprintln!("        {}", score.lines().last().unwrap_or_default());
        Ok(())
    }

    /// A log of root's that the group adm may read, as most on Debian.
    fn logs(&self) -> Result<()> {
        let log = "/var/log/app/web.log";
        self.machine.write(log, "before the first start\n")?;
        self.machine.run(&["chown", "root:adm", log])?;
        self.machine.run(&["chmod", "640", log])?;
        let folder = "/etc/systemd/system/spoolway.service.d";
        let drop_in = "/usr/share/doc/spoolway/examples/read-logs.conf";
        self.machine.run(&["cp", drop_in, folder])?;
        let input = "[[input]]\nname = \"logs\"\ntype = \"file\"\n\
            include = [\"/var/log/app/*.log\"]\n";
        self.machine
            .write("/etc/spoolway/conf.d/logs.toml", input)?;
        self.machine
            .run(&["spoolway", "check", "--without-files"])?;
        self.systemctl(&["daemon-reload"])?;
        self.systemctl(&["restart", UNIT])?;
        let append = format!("echo one >> {log} && mv {log} {log}.1 && echo two >> {log}");
        self.machine.run(&["sh", "-c", &append])?;
        wait_for(WITHIN, "both lines in the spool", || {
            Ok(self.ledger()?["in_spool"] == 2)
        })?;
        self.machine
            .run(&["rm", "/etc/spoolway/conf.d/logs.toml"])?;
        Ok(())
    }

    fn member(&self) -> Result<()> {
        let mut lines = README.lines();
        let push = lines.find(|line| line.ends_with("# as a member of the group spoolway"));
        let push = push.context("a command for members in the README")?;
        self.machine
            .run(&["useradd", "--groups", "spoolway", "member"])?;
        let before = self.ledger()?["accepted"].as_u64().context("a ledger")?;
        let by = |user: &str| {
            self.machine
                .run(&["runuser", "-u", user, "--", "sh", "-c", push])
        };
        by("member")?;
        let refused = by("nobody")
            .expect_err("no member of the group")
            .to_string();
        assert!(refused.contains("Permission denied"), "{refused}");
        wait_for(WITHIN, "the event of the member", || {
            Ok(self.ledger()?["accepted"] == before + 1)
        })
    }

    fn credential(&self) -> Result<()> {
        let sasl = "security.protocol = \"SASL_SSL\"\nsasl.mechanism = \"PLAIN\"\n\
            sasl.username = \"edge\"\nsasl.password = { credential = \"kafka-password\" }";
        self.configure(NOWHERE, sasl)?;
        // Without the file the service runs: events are made durable meanwhile.
        self.systemctl(&["restart", UNIT])?;
        self.machine.write(CREDENTIAL, &format!("{PASSWORD}\n"))?;
        self.machine.run(&["chmod", "600", CREDENTIAL])?;
        self.systemctl(&["restart", UNIT])?;
        self.systemctl(&["reload", UNIT])?;
        for path in [
            "/run/credentials/spoolway.service/kafka-password",
            CREDENTIAL,
        ] {
            for user in ["nobody", "spoolway"] {
                let cat = ["setpriv", "--reuid", user, "--clear-groups", "cat", path];
                let readable = self.machine.run(&cat).is_ok();
                let service = user == "spoolway" && path.starts_with("/run");
                assert_eq!(readable, service, "{user} {path}");
            }
        }
        assert_eq!(self.said(PASSWORD)?, 0);
        Ok(())
    }

    fn reload(&self) -> Result<()> {
        self.configure(NOWHERE, "linger.ms = 7")?;
        self.systemctl(&["restart", UNIT])?;
        let process = self.property("MainPID")?;
        self.configure(NOWHERE, "linger.ms = 8")?;
        self.systemctl(&["reload", UNIT])?;
        wait_for(WITHIN, "the reload", || {
            Ok(self.said("configuration reloaded: [kafka] linger.ms")? > 0)
        })?;
        self.configure(NOWHERE, "linger.msx = 8")?;
        assert!(self.systemctl(&["reload", UNIT]).is_err());
        assert!(self.said("linger.msx")? > 0, "the journal names the key");
        assert_eq!(self.property("ActiveState")?, "active");
        assert_eq!(self.property("MainPID")?, process);
        self.configure(NOWHERE, "")
    }

    fn watchdog_quiet(&self) -> Result<()> {
        self.systemctl(&["restart", UNIT])?;
        self.push("before")?;
        self.left_alone()
    }

    /// The same daemon runs for several times as long as the watchdog waits.
    fn left_alone(&self) -> Result<()> {
        let process = self.property("MainPID")?;
        let until = std::time::Instant::now() + QUIET;
        wait_for(QUIET * 2, "the time to pass", || {
            assert_eq!(self.property("MainPID")?, process);
            Ok(std::time::Instant::now() >= until)
        })
    }

    /// One durable event.
    fn push(&self, event: &str) -> Result<()> {
        let mut writer = Writer::connect(&self.machine.inside(SOCKET))?;
        writer.send_acked(event.as_bytes())?;
        Ok(())
    }

    /// More often in ten seconds than systemd bears by default.
    fn killed(&self) -> Result<()> {
        for round in 0..8 {
            let process = self.property("MainPID")?;
            self.systemctl(&["kill", "--kill-whom=main", "--signal=KILL", UNIT])?;
            self.follows(&process)
                .with_context(|| format!("round {round}"))?;
        }
        assert_eq!(self.ledger()?["lost"], 0);
        Ok(())
    }

    /// Waits for the daemon after the one of this process.
    fn follows(&self, process: &str) -> Result<()> {
        wait_for(WITHIN, "the next daemon", || {
            let next = self.property("MainPID")?;
            Ok(self.property("ActiveState")? == "active" && next != process && next != "0")
        })?;
        Ok(())
    }

    /// Waits for one more bite, ends what holds the daemon, and waits for the next daemon.
    fn bitten(
        &self,
        bites: usize,
        process: &str,
        release: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let bite = wait_for(WITHIN, "the watchdog", || {
            Ok(self.said("Watchdog timeout")? > bites)
        });
        release()?;
        bite?;
        self.follows(process)?;
        let ledger = self.ledger()?;
        assert_eq!(ledger["lost"], 0, "{ledger}");
        let kept = ledger["in_spool"].as_u64();
        assert!(kept.is_some_and(|kept| kept > 0), "{ledger}");
        Ok(())
    }

    /// One thread is held by a tracer that delays its next system call: the others go on.
    fn watchdog_drain(&self) -> Result<()> {
        let (bites, process) = (self.said("Watchdog timeout")?, self.property("MainPID")?);
        let drain = self.machine.threads(UNIT, "drain")?;
        assert_eq!(drain.len(), 1, "{drain:?}");
        let mut tracer = Command::new("strace")
            .args(["-qq", "-o", "/dev/null", "-e", "trace=all"])
            .args(["-e", "inject=all:delay_enter=600000000", "-p", &drain[0]])
            .stderr(Stdio::null())
            .spawn()?;
        self.bitten(bites, &process, || {
            tracer.kill()?;
            tracer.wait()?;
            Ok(())
        })
    }

    /// A frozen file system: the flush that a writer waits for does not come back.
    fn watchdog_disk(&self) -> Result<()> {
        let (bites, process) = (self.said("Watchdog timeout")?, self.property("MainPID")?);
        let spool = self.machine.spool().display().to_string();
        let mut writer = Writer::connect(&self.machine.inside(SOCKET))?;
        host(&["fsfreeze", "--freeze", &spool])?;
        let sent = writer.send(b"never acknowledged");
        self.bitten(bites, &process, || {
            host(&["fsfreeze", "--unfreeze", &spool])?;
            Ok(())
        })?;
        sent?;
        assert_eq!(writer.told().acked, 0, "an ack without a flush");
        Ok(())
    }

    /// A changed conffile stays also where the new package has another one.
    fn upgrade(&self) -> Result<()> {
        let mark = "# not of the package\n";
        let config = self.machine.inside(CONFIG);
        let text = std::fs::read_to_string(&config)? + mark;
        std::fs::write(&config, &text)?;
        let before = self.ledger()?["in_spool"].as_u64();
        let mut writer = Writer::connect(&self.machine.inside(SOCKET))?;
        writer.send_acked(BEFORE_UPGRADE)?;
        let process = self.property("MainPID")?;
        self.machine.run(&["dpkg", "--force-confold", "-i", NEXT])?;
        assert_ne!(self.property("MainPID")?, process);
        assert!(self.version()?.ends_with(next::SUFFIX));
        assert_eq!(std::fs::read_to_string(&config)?, text);
        assert!(self.machine.inside(&format!("{CONFIG}.dpkg-dist")).exists());
        writer.send_acked(AFTER_UPGRADE)?;
        let ledger = self.ledger()?;
        assert_eq!(ledger["in_spool"].as_u64(), before.map(|before| before + 2));
        assert_eq!(ledger["lost"], 0, "{ledger}");
        Ok(())
    }

    fn restart(&self) -> Result<()> {
        let kafka = Kafka::builder().start()?;
        let admin = kafka.admin();
        admin.create_topic("events", 3, &[])?;
        admin.allow_produce(USER, "events")?;
        // The login proves that the service reads the credential.
        let sasl = format!(
            "security.protocol = \"SASL_PLAINTEXT\"\nallow_sasl_plaintext = true\n\
             sasl.mechanism = \"SCRAM-SHA-512\"\nsasl.username = \"{USER}\"\n\
             sasl.password = {{ credential = \"kafka-password\" }}"
        );
        let broker = kafka.address(Listener::SaslPlaintext).to_string();
        self.configure(&broker, &sasl)?;
        self.systemctl(&["restart", UNIT])?;
        let writers = Writers::start(4, &self.machine.inside(SOCKET));
        for round in 0..4 {
            let before = writers.seen.acked.load(Ordering::Relaxed);
            wait_for(WITHIN, "writers at work", || {
                Ok(writers.seen.acked.load(Ordering::Relaxed) > before + 2000)
            })?;
            let process = self.property("MainPID")?;
            if round == 1 {
                self.machine.run(&["dpkg", "--force-confold", "-i", NEXT])?;
            } else {
                self.systemctl(&["restart", UNIT])?;
            }
            assert_ne!(self.property("MainPID")?, process, "round {round}");
        }
        let seen = writers.seen.clone();
        let journal = writers.finish()?;
        let (refused, connected) = (&seen.refused, &seen.connected);
        assert_eq!(refused.load(Ordering::Relaxed), 0, "refused connections");
        assert_eq!(
            connected.load(Ordering::Relaxed),
            4,
            "connections outlive restarts and the upgrade"
        );
        wait_for(WITHIN, "an empty spool", || {
            Ok(self.ledger()?["in_spool"] == 0)
        })?;
        let records = admin.read_all("events")?;
        let found = journal.check(&records);
        assert_eq!(found.lost, [], "{found:?}");
        for event in [BEFORE_UPGRADE, AFTER_UPGRADE] {
            let of_it = records.iter().filter(|r| r.value.as_deref() == Some(event));
            assert_eq!(of_it.count(), 1, "{}", String::from_utf8_lossy(event));
        }
        eprintln!(
            "        {} events acknowledged, {} in Kafka, {} sent again by their writers",
            journal.total_acked(),
            found.records,
            found.doubled
        );
        // With a broker, and nothing in the spool.
        self.left_alone()
    }

    fn remove(&self) -> Result<()> {
        self.machine.run(&["dpkg", "-r", "spoolway"])?;
        assert!(self.systemctl(&["is-active", UNIT]).is_err());
        self.machine.run(&["test", "-e", CONFIG])?;
        assert!(!self.machine.inside(SOCKET).exists());
        let told = self.machine.run(&["dpkg", "-P", "spoolway"])?;
        assert!(
            told.contains("the spool was kept") && told.contains("/var/lib/spoolway"),
            "{told}"
        );
        assert!(!self.machine.inside(CONFIG).exists());
        assert!(spool_has_data(&self.machine.spool()));
        // Without a spool nothing stays.
        self.machine.run(&["umount", "/var/lib/spoolway"])?;
        self.machine.run(&["dpkg", "-i", "/spoolway.deb"])?;
        self.machine.run(&["dpkg", "-P", "spoolway"])?;
        for gone in ["/var/lib/spoolway", "/etc/spoolway"] {
            assert!(!self.machine.inside(gone).exists(), "{gone}");
        }
        Ok(())
    }
}

/// Whether the directory holds any file that the daemon wrote.
fn spool_has_data(spool: &std::path::Path) -> bool {
    let mut names = std::fs::read_dir(spool).unwrap();
    names.any(|entry| entry.unwrap().file_name() != "lost+found")
}
