//! A real Apache Kafka for tests, benches and the demo: one KRaft node on loopback ports.
//!
//! `make setup` fetches the jars; without them a start fails and says so. Topics, access rules
//! and records go through `crate::wire`.

mod aws;
mod home;
mod pki;
mod ports;
pub(crate) mod process;
mod properties;
mod tools;
mod trio;
pub mod wait;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::issuer::Issuer;
use crate::wire::Admin;
use home::{Home, copy_tree};
use ports::Ports;
use process::Process;
use properties::{NODE_ID, Properties};

pub use aws::{Account, REGION};
pub use home::Version;
pub use pki::{Identity, Pki};
pub use properties::{Listener, USERS};
pub use tools::{Performance, ProducerTest};
pub use trio::Trio;

/// Longest time from the start of the JVM until the broker answers; a busy machine is slow.
const READY_TIMEOUT: Duration = Duration::from_secs(90);

/// How a broker shall be; see [`Kafka::builder`].
#[derive(Debug, Clone)]
pub struct Builder {
    version: Version,
    full_jvm: bool,
    extra: Vec<(String, String)>,
    accounts: Vec<Account>,
    parent: Option<PathBuf>,
    ip: IpAddr,
}

impl Builder {
    /// Which release; the newest by default.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Whether to run with the optimising compiler, G1, 1 GiB of heap and Kafka's own thread
    /// counts. For throughput figures; off by default, as it takes longer to start.
    #[must_use]
    pub fn full_jvm(mut self, full: bool) -> Self {
        self.full_jvm = full;
        self
    }

    /// One more line of `server.properties`; it wins over the built-in ones.
    #[must_use]
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.extra.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Lets these in at the SASL_PLAINTEXT listener with their AWS keys, by OAUTHBEARER and by
    /// AWS_MSK_IAM, as Amazon MSK does.
    #[must_use]
    pub fn aws(mut self, accounts: &[Account]) -> Self {
        self.accounts = accounts.to_vec();
        self
    }

    /// Listens on `::1` instead of 127.0.0.1, and tells clients so.
    #[must_use]
    pub fn ipv6(mut self) -> Self {
        self.ip = Ipv6Addr::LOCALHOST.into();
        self
    }

    /// Where the broker's folder is made, instead of in the system's temporary folder.
    #[must_use]
    pub fn folder_in(mut self, parent: &Path) -> Self {
        self.parent = Some(parent.to_owned());
        self
    }

    /// Starts the broker and waits until it serves.
    pub fn start(self) -> Result<Kafka> {
        let home = Home::of(self.version)?;
        if !self.full_jvm {
            train(&home, self.version)?;
        }
        let mut kafka = self.prepare(home)?;
        kafka.start()?;
        Ok(kafka)
    }

    fn prepare(self, home: Home) -> Result<Kafka> {
        let ports = Ports::choose(self.ip)?;
        self.prepare_at(home, ports)
    }

    fn prepare_at(self, home: Home, ports: Ports) -> Result<Kafka> {
        let mut naming = tempfile::Builder::new();
        naming.prefix("spoolway-kafka-");
        let folder = match &self.parent {
            Some(parent) => naming.tempdir_in(parent)?,
            None => naming.tempdir()?,
        };
        let log_dir = folder.path().join("data");
        fs::create_dir(&log_dir)?;
        fs::create_dir(folder.path().join("tmp"))?;
        let pki = Pki::make(folder.path())?;
        let issuer = Issuer::make(folder.path())?;
        let mut extra = self.extra;
        let mut classes = None;
        if !self.accounts.is_empty() {
            classes = Some(aws::classes(&home)?);
            extra.extend(aws::properties(folder.path(), &self.accounts)?);
        }
        let text = Properties {
            version: self.version,
            ports: &ports,
            log_dir: &log_dir,
            pki: &pki,
            jwks: &issuer.jwks,
            small: !self.full_jvm,
            extra: &extra,
        }
        .text()?;
        let properties = folder.path().join("server.properties");
        fs::write(&properties, text)?;
        copy_tree(&home.formatted(&properties, &log_dir)?, &log_dir)?;
        let archive = ClassArchive::Use(home.class_archive()?);
        Ok(Kafka {
            version: self.version,
            full_jvm: self.full_jvm,
            archive,
            home,
            classes,
            ports,
            pki,
            issuer,
            process: None,
            folder,
        })
    }
}

/// What the JVM does with the archive of loaded classes.
#[derive(Debug)]
enum ClassArchive {
    Use(PathBuf),
    Write(PathBuf),
}

/// Makes the archive of loaded classes, once per cache, by a start for no other purpose.
fn train(home: &Home, version: Version) -> Result<()> {
    let archive = home.class_archive()?;
    if archive.exists() {
        return Ok(());
    }
    let mut trainee = Kafka::builder().version(version).prepare(home.clone())?;
    let _lock = home.lock()?;
    if archive.exists() {
        return Ok(());
    }
    let partial = archive.with_extension("partial");
    trainee.archive = ClassArchive::Write(partial.clone());
    trainee.start().context("the training run")?;
    trainee.admin().create_topic("training", 1, &[])?;
    trainee.stop()?;
    fs::rename(&partial, &archive)
        .with_context(|| format!("the JVM wrote no {}", partial.display()))?;
    Ok(())
}

/// A broker. Stopped and its folder removed when dropped, and also when the process dies.
#[derive(Debug)]
pub struct Kafka {
    version: Version,
    full_jvm: bool,
    archive: ClassArchive,
    home: Home,
    /// Classes of our own that it loads.
    classes: Option<PathBuf>,
    ports: Ports,
    pki: Pki,
    issuer: Issuer,
    // Before the folder: dropped first.
    process: Option<Process>,
    folder: TempDir,
}

impl Kafka {
    /// The newest version, a small JVM.
    pub fn builder() -> Builder {
        Builder {
            version: Version::V4_4,
            full_jvm: false,
            extra: Vec::new(),
            accounts: Vec::new(),
            parent: None,
            ip: Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// The broker that all tests of this process share: each uses topics and client ids of
    /// its own, and none stops it. It ends with the process.
    ///
    /// # Panics
    ///
    /// When it cannot start.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        SHARED.get_or_init(|| Self::builder().start().expect("the shared broker starts"))
    }

    /// Which release it is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Address of a listener; the same after every restart.
    pub fn address(&self, listener: Listener) -> SocketAddr {
        self.ports.address(listener)
    }

    /// `bootstrap.servers` for the PLAINTEXT listener.
    pub fn bootstrap(&self) -> String {
        self.address(Listener::Plaintext).to_string()
    }

    /// Certificates of this broker and its clients.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// The issuer whose tokens the SASL_SSL listener takes for OAUTHBEARER.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The super user of this broker.
    pub fn admin(&self) -> Admin {
        Admin::new(self.address(Listener::Plaintext))
    }

    /// What all runs of the broker wrote.
    pub fn log(&self) -> String {
        let written = fs::read(self.folder.path().join("broker.log"));
        String::from_utf8_lossy(&written.unwrap_or_default()).into_owned()
    }

    /// Process id of the JVM while there is one.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Starts it, on the same data and ports as before if it ran before, and waits until it
    /// serves.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the broker runs already");
        let mut process = self.spawn()?;
        let admin = self.admin();
        wait::wait_for(READY_TIMEOUT, "the broker to serve", || {
            ensure!(process.is_running()?, "the broker ended");
            Ok(admin.brokers().is_ok_and(|brokers| brokers == [NODE_ID]))
        })
        .with_context(|| format!("the broker wrote:\n{}", process.log_tail()))?;
        self.process = Some(process);
        Ok(())
    }

    /// Starts the JVM and waits for nothing.
    fn spawn(&self) -> Result<Process> {
        let folder = self.folder.path();
        let mut java = self.home.java(&folder.join("tmp"), self.classes.as_deref());
        if self.full_jvm {
            java.args(["-XX:+UseG1GC", "-Xms1g", "-Xmx1g"]);
        } else {
            java.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
            java.args(["-Xms64m", "-Xmx256m"]);
            java.arg(match &self.archive {
                ClassArchive::Use(file) => format!("-XX:SharedArchiveFile={}", file.display()),
                ClassArchive::Write(file) => {
                    format!("-XX:ArchiveClassesAtExit={}", file.display())
                }
            });
        }
        // Kafka reads no URL that it was not told of.
        let urls = "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls";
        java.arg(format!("{urls}=file://{}", self.issuer.jwks.display()));
        java.arg("kafka.Kafka")
            .arg(folder.join("server.properties"));
        Process::start(java, &folder.join("broker.log"), folder)
    }

    /// SIGKILL. Data and ports stay for `start`.
    pub fn kill9(&mut self) -> Result<()> {
        self.take()?.kill()
    }

    /// SIGTERM, then SIGKILL after 20 s. Data and ports stay for `start`.
    pub fn stop(&mut self) -> Result<()> {
        self.take()?.stop()
    }

    /// `stop` and `start`.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.start()
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.running()?.pause()
    }

    /// SIGCONT after `pause`.
    pub fn resume(&self) -> Result<()> {
        self.running()?.signal(Signal::CONT)
    }

    fn running(&self) -> Result<&Process> {
        self.process.as_ref().context("the broker is not running")
    }

    fn take(&mut self) -> Result<Process> {
        self.process.take().context("the broker is not running")
    }
}
