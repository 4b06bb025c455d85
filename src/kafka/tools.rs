//! Commands of Kafka's own tools for advice to a person, ready to be pasted into a shell.

use crate::config::KafkaConfig;

/// One of these, as a text shows it.
pub(super) fn command(config: &KafkaConfig, tool: &str, words: &[&str]) -> String {
    let server = config.bootstrap.first().map(ToString::to_string);
    let words = words.iter().map(|word| format!(" {}", quoted(word)));
    format!(
        "`{tool} --bootstrap-server {}{}`",
        server.unwrap_or_default(),
        words.collect::<String>()
    )
}

/// The command that gives a topic a setting, `name=value`.
pub(super) fn set_of_topic(config: &KafkaConfig, topic: &str, setting: &str) -> String {
    let words = [
        "--alter",
        "--entity-type",
        "topics",
        "--entity-name",
        topic,
        "--add-config",
        setting,
    ];
    command(config, "kafka-configs.sh", &words)
}

/// The command that makes a topic, with further words.
pub(super) fn create_topic(config: &KafkaConfig, topic: &str, more: &[&str]) -> String {
    let words = [&["--create", "--topic", topic], more].concat();
    command(config, "kafka-topics.sh", &words)
}

/// For a shell, in quotes only where it needs them.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:@,+/=".contains(c);
    if word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostPort;

    #[test]
    fn a_command_is_safe_to_paste_whatever_the_names_are() {
        let server = HostPort {
            host: "kafka".into(),
            port: 9092,
        };
        let config = KafkaConfig::new(vec![server]);
        assert_eq!(
            command(
                &config,
                "kafka-x.sh",
                &["--topic", "a.b", "--name", "it's $1"]
            ),
            r"`kafka-x.sh --bootstrap-server kafka:9092 --topic a.b --name 'it'\''s $1'`"
        );
    }
}
