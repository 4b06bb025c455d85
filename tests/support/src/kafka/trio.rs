//! Three brokers as one cluster on loopback: topics with three replicas, two of which have to
//! confirm, so that a leader can die and another takes over with everything acknowledged.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::home::{Home, Version};
use super::ports::Ports;
use super::wait::wait_for;
use super::{Kafka, Listener, READY_TIMEOUT, train};
use crate::wire::Admin;

/// Node ids of the three.
const IDS: [i32; 3] = [1, 2, 3];

/// Longest time until a new topic has leader and replicas.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(30);

/// The cluster. Nodes are named by their index, from 0.
#[derive(Debug)]
pub struct Trio {
    nodes: Vec<Kafka>,
}

impl Trio {
    /// Starts all three at once and waits until each knows the others.
    pub fn start(version: Version) -> Result<Self> {
        let home = Home::of(version)?;
        train(&home, version)?;
        let ports = IDS.map(|_| Ports::choose(Ipv4Addr::LOCALHOST.into()));
        let ports = ports.into_iter().collect::<Result<Vec<_>>>()?;
        let voters = IDS.iter().zip(&ports);
        let voters = voters.map(|(id, p)| format!("{id}@{}", p.address(Listener::Controller)));
        let voters = voters.collect::<Vec<_>>().join(",");
        let mut nodes = Vec::new();
        for (id, ports) in IDS.into_iter().zip(ports) {
            let builder = Kafka::builder()
                .version(version)
                .property("node.id", &id.to_string())
                .property("controller.quorum.voters", &voters)
                .property("controller.quorum.election.timeout.ms", "1000")
                .property("min.insync.replicas", "2")
                .property("transaction.state.log.replication.factor", "3")
                .property("transaction.state.log.min.isr", "2");
            let node = builder.prepare_at(home.clone(), ports)?;
            name_node(&node.folder.path().join("data"), id)?;
            nodes.push(node);
        }
        for node in &mut nodes {
            node.process = Some(node.spawn()?);
        }
        let trio = Self { nodes };
        trio.wait_complete()?;
        Ok(trio)
    }

    /// Starts a node that was killed, and waits until it and the others know each other.
    pub fn restart(&mut self, index: usize) -> Result<()> {
        let node = &mut self.nodes[index];
        node.process = Some(node.spawn()?);
        self.wait_complete()
    }

    fn wait_complete(&self) -> Result<()> {
        for node in &self.nodes {
            wait_for(READY_TIMEOUT, "three brokers to know each other", || {
                let known = node.admin().brokers();
                Ok(known.is_ok_and(|mut known| {
                    known.sort_unstable();
                    known == IDS
                }))
            })?;
        }
        Ok(())
    }

    /// `bootstrap.servers` with all three.
    pub fn bootstrap(&self) -> String {
        let all: Vec<String> = self.nodes.iter().map(Kafka::bootstrap).collect();
        all.join(",")
    }

    /// One of them, to be killed; see [`Trio::restart`].
    pub fn node(&mut self, index: usize) -> &mut Kafka {
        &mut self.nodes[index]
    }

    /// Makes a topic with three replicas of each partition and these settings, and waits until
    /// all nodes see all replicas in sync.
    pub fn create_topic(
        &self,
        topic: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        let admin = self.nodes[0].admin();
        admin.make_topic(topic, partitions, 3, configs)?;
        // What one node knows, another may not know yet.
        wait_for(TOPIC_TIMEOUT, "three replicas in sync", || {
            Ok(self.nodes.iter().all(|node| {
                let admin = node.admin();
                (0..partitions).all(|partition| {
                    let leader = admin.leader(topic, partition);
                    leader.is_ok_and(|leader| leader.is_some_and(|(_, in_sync)| in_sync == 3))
                })
            }))
        })
    }

    /// Who leads partition 0, as an index, and how many replicas are in sync. Asks the nodes
    /// that run; `None` while there is no leader.
    pub fn leader(&self, topic: &str) -> Result<Option<(usize, usize)>> {
        let found = self.ask(|admin| admin.leader(topic, 0));
        Ok(found.and_then(|(id, in_sync)| Some((index(id)?, in_sync))))
    }

    /// Who coordinates the transactions of this id, as an index; `None` while nobody does.
    pub fn coordinator(&self, transactional_id: &str) -> Option<usize> {
        index(self.ask(|admin| admin.coordinator(transactional_id))?)
    }

    /// The first answer of a node that runs.
    fn ask<T>(&self, question: impl Fn(Admin) -> Result<Option<T>>) -> Option<T> {
        let running = self.nodes.iter().filter(|n| n.process_id().is_some());
        running
            .filter_map(|node| question(node.admin()).ok().flatten())
            .next()
    }

    /// The client of the node that leads partition 0: only it hands out records.
    pub fn reader(&self, topic: &str) -> Result<Admin> {
        let (leader, _) = self.leader(topic)?.context("no leader")?;
        Ok(self.nodes[leader].admin())
    }

    /// Address of a node for clients.
    pub fn address(&self, index: usize) -> SocketAddr {
        self.nodes[index].address(Listener::Plaintext)
    }
}

fn index(id: i32) -> Option<usize> {
    IDS.iter().position(|known| *known == id)
}

/// A formatted log folder belongs to node 1, and its own id is known to be there once.
fn name_node(data: &Path, id: i32) -> Result<()> {
    const ID_CHARS: usize = 21;
    let file = data.join("meta.properties");
    let text = fs::read_to_string(&file)?;
    let fresh: String = std::iter::repeat_with(fastrand::alphanumeric)
        .take(ID_CHARS)
        .collect();
    let lines = text.lines().map(|line| match line.split_once('=') {
        Some(("node.id", _)) => format!("node.id={id}"),
        // 22 characters of base64 for 16 bytes; the last one holds two bits.
        Some(("directory.id", _)) => format!("directory.id={fresh}A"),
        _ => line.to_owned(),
    });
    let lines: Vec<String> = lines.collect();
    fs::write(&file, lines.join("\n") + "\n").context("meta.properties")
}
