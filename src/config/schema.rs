//! The JSON schema of the configuration file, for editors and linters that know TOML.
//!
//! Made from the table of keys. It finds typing mistakes; what it cannot say (ranges,
//! contradictions, files) is the parser's to find: `spoolway check`.

use serde_json::{Map, Value, json};

use super::keys::{Key, Kind, TABLES, Table};

/// A size: digits and a unit.
const SIZE: &str = "^[0-9][0-9._]* ?(B|[kKMGT]B|[KMGT]iB)$";

/// A duration: one or more numbers with a unit each.
const DURATION: &str = "^([0-9]+ ?[a-z]+ ?)+$";

/// The schema, draft 2020-12.
pub fn schema() -> Value {
    let mut properties = Map::new();
    for table in TABLES.iter().filter(|table| !table.is_inner()) {
        if table.name.is_empty() {
            properties.extend(flat(table));
        } else {
            let described = described(table);
            match properties.get_mut(table.name) {
                Some(known) => or(known, &described),
                None => {
                    properties.insert(table.name.to_owned(), described);
                }
            }
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Spoolway configuration",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn described(table: &Table) -> Value {
    let dotted = table.keys.iter().any(|key| key.name.contains('.'));
    let properties = if dotted { nested(table) } else { flat(table) };
    // Kafka has many more properties; which are refused, and why, only the parser knows.
    let object = json!({
        "type": "object",
        "additionalProperties": dotted,
        "properties": properties,
        "required": if dotted { Vec::new() } else { required(table) },
    });
    if table.many {
        let items = match table.variant {
            Some(_) => json!({"oneOf": [object]}),
            None => object,
        };
        json!({"type": "array", "minItems": 1, "items": items})
    } else {
        object
    }
}

/// Adds what another type of the same list may have.
fn or(list: &mut Value, other: &Value) {
    const CHOICES: &str = "/items/oneOf";
    let more = other.pointer(CHOICES).and_then(Value::as_array);
    if let (Some(Value::Array(choices)), Some(more)) = (list.pointer_mut(CHOICES), more) {
        choices.extend(more.iter().cloned());
    }
}

/// Drop-ins and `--spool-dir` may bring what a single table lacks; in a list each table
/// stands for itself.
fn required(table: &Table) -> Vec<&'static str> {
    let needed = table.keys.iter().filter(|key| key.default == "required");
    needed.filter(|_| table.many).map(|key| key.name).collect()
}

fn flat(table: &Table) -> Map<String, Value> {
    let pairs = table
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), value(key)));
    pairs.collect()
}

/// TOML reads `linger.ms` as a table `linger`; a quoted name stays one. Both are right.
fn nested(table: &Table) -> Map<String, Value> {
    let mut root = flat(table);
    for key in table.keys {
        for name in [&[key.name], key.also].concat() {
            let parts: Vec<&str> = name.split('.').collect();
            insert(&mut root, &parts, value(key));
        }
    }
    root
}

fn insert(map: &mut Map<String, Value>, parts: &[&str], leaf: Value) {
    let Some((first, rest)) = parts.split_first() else {
        return;
    };
    if rest.is_empty() {
        map.insert((*first).to_owned(), leaf);
        return;
    }
    let branch = map
        .entry(*first)
        .or_insert_with(|| json!({"type": "object", "properties": {}}));
    if let Some(inner) = branch.get_mut("properties").and_then(Value::as_object_mut) {
        insert(inner, rest, leaf);
    }
}

fn value(key: &Key) -> Value {
    let mut schema = match key.kind {
        Kind::Any => json!({}),
        Kind::Choice(words) => json!({"type": "string", "enum": words}),
        Kind::Duration => json!({"type": "string", "pattern": DURATION}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::List => json!({"type": ["string", "array"], "items": {"type": "string"}}),
        Kind::Number => json!({"type": "integer"}),
        Kind::Quantity => json!({"type": ["integer", "string"]}),
        Kind::Secret => json!({"oneOf": [{"type": "string"}, secret_source()]}),
        Kind::Table(name) => {
            let table = TABLES.iter().find(|table| table.name == name);
            table.map_or_else(|| json!({}), described)
        }
        Kind::Size => json!({"type": "string", "pattern": SIZE}),
        Kind::Text => json!({"type": "string"}),
    };
    if let Some(object) = schema.as_object_mut() {
        let words = [key.effect, key.range].map(plain);
        let words = words.iter().filter(|words| !words.is_empty()).cloned();
        object.insert(
            "description".to_owned(),
            words.collect::<Vec<_>>().join(". ").into(),
        );
        // Where the reference shows a TOML value, it is the default.
        if let Ok(default) = serde_json::from_str::<Value>(key.plain_default()) {
            object.insert("default".to_owned(), default);
        }
    }
    schema
}

fn secret_source() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {"credential": text, "env": text, "file": text},
    })
}

fn plain(markdown: &str) -> String {
    markdown.replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_both_dotted_and_nested_with_type_and_default() {
        let schema = schema();
        let at = |pointer: &str| schema.pointer(pointer).cloned().unwrap_or_default();
        let kafka = "/properties/kafka/properties";
        assert_eq!(at(&format!("{kafka}/linger.ms/default")), 5);
        assert_eq!(at(&format!("{kafka}/linger/properties/ms/default")), 5);
        assert_eq!(
            at("/properties/spool/properties/max_bytes/default"),
            "10GiB"
        );
        let input = at("/properties/input/items/oneOf/0/required");
        assert_eq!(input, json!(["name", "type", "path"]));
        let file = "/properties/input/items/oneOf/1";
        assert_eq!(
            at(&format!("{file}/required")),
            json!(["name", "type", "include"])
        );
        let lines = format!("{file}/properties/multiline/properties/max_lines/default");
        assert_eq!(at(&lines), 500);
        assert_eq!(at("/properties/stop_timeout/type"), "string");
    }

    /// The whole of what the schema uses, so that the sample can be held against it without
    /// another dependency.
    fn accepts(schema: &Value, value: &toml::Value) -> Result<(), String> {
        if let Some(choices) = schema.get("oneOf").and_then(Value::as_array)
            && value.is_table()
        {
            let tried = choices.iter().map(|choice| accepts(choice, value));
            let tried: Vec<_> = tried.collect();
            let fit = tried.iter().filter(|tried| tried.is_ok()).count();
            return if fit == 1 {
                Ok(())
            } else {
                Err(format!("{tried:?}"))
            };
        }
        match value {
            toml::Value::Table(table) => {
                for (name, inner) in table {
                    let found = schema.pointer(&format!("/properties/{name}"));
                    let found = found.ok_or_else(|| format!("{name} is not in {schema}"))?;
                    accepts(found, inner).map_err(|error| format!("{name}: {error}"))?;
                }
                Ok(())
            }
            toml::Value::Array(items) => items
                .iter()
                .try_for_each(|item| accepts(schema.get("items").unwrap_or(&Value::Null), item)),
            toml::Value::String(text) => {
                let words = schema.get("enum").and_then(Value::as_array);
                match words {
                    Some(words) if !words.contains(&json!(text)) => Err(format!("{text:?}")),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    #[test]
    fn the_shipped_sample_fits_the_schema_and_a_typing_mistake_does_not() {
        let sample = include_str!("../../packaging/spoolway.toml");
        let table: toml::Table = sample.parse().unwrap();
        accepts(&schema(), &toml::Value::Table(table)).unwrap();
        let wrong: toml::Table = "[spool]\nmax_byts = \"1GiB\"".parse().unwrap();
        accepts(&schema(), &toml::Value::Table(wrong)).unwrap_err();
    }
}
