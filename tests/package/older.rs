//! An older package, as SPOOLWAY_OLD_DEB names it, upgraded to the one that was built: its
//! daemon takes events while Kafka is away, writers keep writing through the upgrade, and the
//! new daemon delivers all of it, also after a way back to the older one.
//!
//! Its version has to be the lower one. The next version of one and the same build is in
//! `main.rs`; this is another build's spool, sample, unit and connections.

use std::sync::atomic::Ordering;

use anyhow::Result;
use spoolway_test_support::daemon::Journal;
use spoolway_test_support::kafka::wait::wait_for;
use spoolway_test_support::kafka::{Kafka, Listener};

use crate::machine::Machine;
use crate::writers::Writers;
use crate::{CONFIG, Life, NOWHERE, SOCKET, UNIT, WITHIN, adapted, package, step};

const OLD: &str = "/spoolway-old.deb";
const NEW: &str = "/spoolway.deb";
const TOPIC: &str = "events";

/// Events that each round of writers has acknowledged before it goes on.
const SOME: u64 = 3000;

#[test]
fn an_older_package_is_upgraded_under_writers_and_its_events_are_delivered() -> Result<()> {
    let (Some(new), Some(old)) = (package("SPOOLWAY_DEB"), package("SPOOLWAY_OLD_DEB")) else {
        return Ok(());
    };
    let machine = Machine::boot()?;
    machine.put(&old, OLD)?;
    machine.put(&new, NEW)?;
    let upgrade = Upgrade(Life { machine });
    let result = upgrade.whole();
    if result.is_err() {
        eprintln!("{}", upgrade.0.journal().unwrap_or_default());
    }
    result
}

struct Upgrade(Life);

impl Upgrade {
    fn whole(&self) -> Result<()> {
        let mut journal = Journal::default();
        step("older: installed, takes events without Kafka", || {
            self.install()
        })?;
        step("older: upgraded under writers, none refused", || {
            journal = self.upgrade()?;
            Ok(())
        })?;
        step("older: back to it and forth again, the spool stays", || {
            self.downgrade()
        })?;
        step("older: what either build took is delivered", || {
            self.deliver(&journal)
        })
    }

    fn dpkg(&self, package: &str) -> Result<()> {
        let install = ["dpkg", "--force-confold", "-i", package];
        self.0.machine.run(&install).map(drop)
    }

    fn config(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.0.machine.inside(CONFIG))?)
    }

    fn install(&self) -> Result<()> {
        self.dpkg(OLD)?;
        let sample = self.config()?;
        let text = adapted(&sample, NOWHERE, "") + "# not of the package\n";
        self.0.machine.write(CONFIG, &text)?;
        self.0
            .systemctl(&["enable", "--now", "spoolway.socket", UNIT])?;
        Ok(())
    }

    /// What the writers were promised, by either build.
    fn upgrade(&self) -> Result<Journal> {
        let (config, version) = (self.config()?, self.0.version()?);
        let writers = Writers::start(4, &self.0.machine.inside(SOCKET));
        let seen = writers.seen.clone();
        let more = |than: u64| seen.acked.load(Ordering::Relaxed) > than + SOME;
        wait_for(WITHIN, "the old build at work", || Ok(more(0)))?;
        let process = self.0.property("MainPID")?;
        self.dpkg(NEW)?;
        let before = seen.acked.load(Ordering::Relaxed);
        wait_for(WITHIN, "the new build at work", || Ok(more(before)))?;
        let journal = writers.finish()?;
        assert_ne!(self.0.version()?, version);
        assert_ne!(self.0.property("MainPID")?, process);
        assert_eq!(self.config()?, config, "the changed conffile");
        assert_eq!(
            seen.refused.load(Ordering::Relaxed),
            0,
            "refused connections"
        );
        let ledger = self.0.ledger()?;
        assert_eq!(ledger["lost"], 0, "{ledger}");
        let kept = ledger["in_spool"].as_u64();
        assert!(kept >= Some(journal.total_acked()), "{ledger}");
        eprintln!(
            "        {} events acknowledged over {} connections, in spool {kept:?}",
            journal.total_acked(),
            seen.connected.load(Ordering::Relaxed)
        );
        Ok(journal)
    }

    fn deliver(&self, journal: &Journal) -> Result<()> {
        let kafka = Kafka::builder().start()?;
        let admin = kafka.admin();
        admin.create_topic(TOPIC, 3, &[])?;
        let broker = kafka.address(Listener::Plaintext).to_string();
        let plain = format!("{broker}\"\nsecurity.protocol = \"PLAINTEXT");
        let config = self.config()?.replace(NOWHERE, &plain);
        self.0.machine.write(CONFIG, &config)?;
        self.0.systemctl(&["restart", UNIT])?;
        wait_for(WITHIN, "an empty spool", || {
            Ok(self.0.ledger()?["in_spool"] == 0)
        })?;
        let found = journal.check(&admin.read_all(TOPIC)?);
        assert_eq!(
            (&found.lost, &found.strange),
            (&vec![], &vec![]),
            "{found:?}"
        );
        eprintln!(
            "        {} in Kafka, {} doubled",
            found.records, found.doubled
        );
        Ok(())
    }

    /// The older build reads the spool, or refuses it by its format; either keeps all of it.
    fn downgrade(&self) -> Result<()> {
        let kept = self.0.ledger()?["in_spool"].clone();
        self.dpkg(OLD)?;
        wait_for(WITHIN, "the older build or its refusal", || {
            let ledger = self.0.ledger().unwrap_or_default();
            Ok(ledger["in_spool"] == kept || self.0.said("is newer than")? > 0)
        })?;
        let word = match self.0.said("is newer than")? {
            0 => "reads",
            _ => "refuses",
        };
        eprintln!("        the older build {word} the spool");
        self.dpkg(NEW)?;
        let ledger = self.0.ledger()?;
        assert_eq!((&ledger["in_spool"], &ledger["lost"]), (&kept, &0.into()));
        Ok(())
    }
}
