//! The command line as clap reads it: syntax only, no meaning.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::kafka::KafkaCommand;
use crate::config::{ConfigSource, Context, DROP_INS, FirstLook, parse_duration};

/// The configuration that is read when no flag names another.
pub const DEFAULT_CONFIG: &str = "/etc/spoolway/spoolway.toml";

/// Gets every event off this host and into Apache Kafka.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 64 usage, 69 the daemon (or the cluster) does not answer or \
    refuses, 70 cannot start or go on, 75 not durable (try again later), 78 configuration. \
    `kafka test` has more."
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon in the foreground.
    Run(RunArgs),
    /// Check a configuration, with its secrets and certificates, and report every mistake.
    Check(CheckArgs),
    /// Show, describe or begin a configuration.
    Config(ConfigArgs),
    /// Send the lines of standard input to a running daemon.
    Push(PushArgs),
    /// Show what a running daemon holds and does.
    Status(StatusArgs),
    /// Try the routes of a configuration on sample events.
    Route {
        /// What to do.
        #[command(subcommand)]
        command: RouteCommand,
    },
    /// Show the log files that a running daemon follows, or move its place in one.
    Tail(TailArgs),
    /// Look at the events that could not be delivered, send them again, or drop them.
    DeadLetter(DeadLetterArgs),
    /// Look at the connection to the cluster, without the daemon.
    Kafka {
        /// What to do.
        #[command(subcommand)]
        command: KafkaCommand,
    },
    /// List the topics of the cluster, without the daemon.
    Topics(TopicsArgs),
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Configuration file [default: /etc/spoolway/spoolway.toml]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["socket", "brokers", "topic"])]
    config: Option<PathBuf>,
    /// Directory of the spool; wins over spool.dir
    #[arg(long, value_name = "DIR")]
    spool_dir: Option<PathBuf>,
    /// First look without a file: Unix socket to listen on
    #[arg(long, value_name = "PATH", requires_all = ["brokers", "topic", "spool_dir"])]
    socket: Option<PathBuf>,
    /// First look: bootstrap servers, host:port[,host:port], reached over plain TCP
    #[arg(long, value_name = "LIST", requires = "socket")]
    brokers: Option<String>,
    /// First look: topic for all events
    #[arg(long, value_name = "TOPIC", requires = "socket")]
    topic: Option<String>,
}

impl RunArgs {
    /// Where the configuration comes from, to be loaded now and at each reload.
    pub(super) fn source(self) -> ConfigSource {
        let context = Context {
            spool_dir: self.spool_dir,
            ..Context::default()
        };
        match (self.socket, self.brokers, self.topic) {
            (Some(socket), Some(brokers), Some(topic)) => ConfigSource::Flags {
                flags: FirstLook {
                    socket,
                    brokers,
                    topic,
                },
                context,
            },
            _ => ConfigSource::File {
                path: config_or_default(self.config),
                context,
            },
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Configuration file [default: /etc/spoolway/spoolway.toml]
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// The same as FILE
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the spool; wins over spool.dir
    #[arg(long, value_name = "DIR")]
    spool_dir: Option<PathBuf>,
    /// Check FILE as a drop-in alone, whatever is missing; so is a file in a folder conf.d
    #[arg(long)]
    drop_in: bool,
    /// Leave secrets and certificates unread
    #[arg(long)]
    without_files: bool,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
    /// Print [routing] and the routes with every setting written out, presets included
    #[arg(long, conflicts_with = "json")]
    pub(super) show: bool,
}

impl CheckArgs {
    /// The file to check, with everything it names.
    pub(super) fn source(&self) -> ConfigSource {
        let path = config_or_default(self.file.clone().or_else(|| self.config.clone()));
        let folder = path.parent().and_then(Path::file_name);
        let context = Context {
            spool_dir: self.spool_dir.clone(),
            probe_files: !self.without_files,
            drop_in: self.drop_in || folder.is_some_and(|name| name == DROP_INS),
            ..Context::default()
        };
        ConfigSource::File { path, context }
    }
}

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    pub(super) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the commented sample, or write it to a new file.
    Init {
        /// File to write; it must not exist
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the JSON schema of the configuration file.
    Schema,
    /// Print the configuration in force, drop-ins merged and secrets masked.
    Show {
        /// Configuration file [default: /etc/spoolway/spoolway.toml]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Say of each key which line of which file sets it, and show the defaults
        #[arg(long)]
        origin: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum RouteCommand {
    /// Show for each line of FILE which route takes it and the record that would be sent.
    Test {
        /// Sample events, one a line; - for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Configuration file [default: /etc/spoolway/spoolway.toml]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Name of the input that the events are said to come from; the first without it
        #[arg(long, value_name = "NAME")]
        input: Option<String>,
        /// Partitions that the topics have, to show which one a key goes to
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
    },
}

impl RouteCommand {
    /// The configuration whose routes are tried.
    pub(super) fn source(&self) -> ConfigSource {
        let Self::Test { config, .. } = self;
        ConfigSource::File {
            path: config_or_default(config.clone()),
            context: Context::default(),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct PushArgs {
    /// Socket of the input
    #[arg(long, value_name = "PATH", conflicts_with_all = ["config", "input"])]
    pub(super) socket: Option<PathBuf>,
    /// Configuration that names the socket [default: /etc/spoolway/spoolway.toml]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Name of the input; without it the only one
    #[arg(long, value_name = "NAME")]
    pub(super) input: Option<String>,
    /// Wait until every line is durable, as the input's ack setting means it
    #[arg(long)]
    pub(super) ack: bool,
    /// Longest wait without any progress
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub(super) timeout: Duration,
}

/// How a running daemon is found.
#[derive(Debug, Args)]
pub(super) struct ControlArgs {
    /// Configuration of the daemon [default: /etc/spoolway/spoolway.toml]
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) config: Option<PathBuf>,
    /// Spool directory of the daemon, when it runs without a file
    #[arg(long, value_name = "DIR", global = true, conflicts_with = "control")]
    pub(super) spool_dir: Option<PathBuf>,
    /// Control socket of the daemon
    #[arg(long, value_name = "PATH", global = true)]
    pub(super) control: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) control: ControlArgs,
    /// Print the daemon's answer as one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct TailArgs {
    #[command(flatten)]
    pub(super) control: ControlArgs,
    #[command(subcommand)]
    pub(super) command: TailCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum TailCommand {
    /// Show each file: identity, offset, size, lag, last error.
    Status {
        /// Only files whose path has this in it
        #[arg(value_name = "PATH")]
        path: Option<String>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Go on reading a file somewhere else; refused while events would be lost or doubled.
    Seek {
        /// Its path, or its key as the status shows it
        file: PathBuf,
        /// Byte, start or end; within a line it is the line's beginning
        #[arg(value_name = "OFFSET|start|end", value_parser = SeekTo::parse)]
        to: SeekTo,
        /// Yes, events may be lost or doubled
        #[arg(long)]
        yes: bool,
    },
    /// Forget a file; one that is still there is then read as a new one.
    Forget {
        /// Its path, or its key as the status shows it
        file: PathBuf,
        /// Yes, events may be lost or doubled
        #[arg(long)]
        yes: bool,
    },
}

/// Where to go in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SeekTo {
    Start,
    End,
    Offset(u64),
}

impl SeekTo {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "start" | "beginning" => Ok(Self::Start),
            "end" => Ok(Self::End),
            _ => text.parse().map(Self::Offset).map_err(|_| {
                format!("{text:?} is no place: write a number of bytes, start or end")
            }),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct DeadLetterArgs {
    #[command(flatten)]
    pub(super) control: ControlArgs,
    #[command(subcommand)]
    pub(super) command: DeadLetterCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetterCommand {
    /// List dead letters, oldest first.
    List {
        /// First sequence number
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        from: u64,
        /// Most entries, up to 1000
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: u32,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Print the bytes of one on standard output, and what is known of it on standard error.
    Show {
        /// Its sequence number
        seq: u64,
    },
    /// Send them again.
    Retry(Selection),
    /// Remove them for good.
    Drop {
        #[command(flatten)]
        selection: Selection,
        /// Yes, these events may be lost
        #[arg(long)]
        yes: bool,
    },
}

/// Some dead letters, or all.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Selection {
    /// Sequence numbers
    #[arg(value_name = "SEQ")]
    pub(super) seqs: Vec<u64>,
    /// All of them
    #[arg(long)]
    pub(super) all: bool,
}

#[derive(Debug, Args)]
pub(super) struct TopicsArgs {
    /// Only topics whose name this pattern describes, e.g. 'orders-*'
    #[arg(value_name = "PATTERN")]
    pub(super) filter: Option<String>,
    /// Configuration file [default: /etc/spoolway/spoolway.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also those that Kafka keeps for itself
    #[arg(long)]
    pub(super) all: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
}

impl TopicsArgs {
    /// The configuration that names the cluster.
    pub(super) fn source(&self) -> ConfigSource {
        ConfigSource::File {
            path: config_or_default(self.config.clone()),
            context: Context::default(),
        }
    }
}

/// The file that a flag names, or the default.
pub(super) fn config_or_default(config: Option<PathBuf>) -> PathBuf {
    config.unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG))
}
