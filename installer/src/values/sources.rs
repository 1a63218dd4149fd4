//! Where values come from, and how they are laid over each other: as Helm does it.
//!
//! In: the options `--profile`, `--values`, `--set-json`, `--set` and `--set-string`, and the chart's defaults. Out: one merged value,
//! later sources over earlier ones in that order, maps key by key, with null dropping a key of the chart. Refuses files
//! that cannot be read, are no YAML or hold more than one map.

use std::fs;
use std::io::{self, Read};

use serde_json::{Map, Value};

use super::profile::Profile;
use super::set::{self, Assignment};

/// The options that give values, the same for every command that renders the chart.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Values")]
pub struct Sources {
    /// Values that make a whole installation of one kind; files and options win over it
    #[arg(long, value_enum, value_name = "NAME")]
    pub profile: Option<Profile>,
    /// YAML file with values; - is standard input. May be repeated, the last wins
    #[arg(short = 'f', long = "values", value_name = "FILE")]
    pub files: Vec<String>,
    /// Values as KEY=VALUE, such as filter.image.registry=registry.example.com:5000. May be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// As --set, but VALUE is always a string
    #[arg(long, value_name = "KEY=VALUE")]
    pub set_string: Vec<String>,
    /// As --set, but VALUE is JSON, such as filter.selector={"matchLabels":{"app":"shop"}}
    #[arg(long, value_name = "KEY=JSON")]
    pub set_json: Vec<String>,
}

/// Why a source gave no values.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// It could not be read.
    #[error("cannot read the values file {file}: {error}")]
    Read {
        /// Its name.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// It is no YAML, or no map.
    #[error("the values file {file} is no YAML map: {message}")]
    Yaml {
        /// Its name.
        file: String,
        /// The parser's words.
        message: String,
    },
    /// Something else than a map is laid over a map of the chart.
    #[error("wrong values:\n  {0}: must be a map")]
    NoMap(String),
    /// An option's text is not of the grammar.
    #[error("{option} {text:?} {message}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its text.
        text: String,
        /// What is wrong with it.
        message: String,
    },
}

// === impl Sources ===

impl Sources {
    /// The merged values.
    ///
    /// # Errors
    /// [`SourcesError`] for the first source that gives none.
    pub fn merge(&self, defaults: &Value) -> Result<Value, SourcesError> {
        let mut over = Value::Object(Map::new());
        if let Some(profile) = self.profile {
            let file = profile.file();
            lay(
                &mut over,
                values(profile.text()).map_err(|message| SourcesError::Yaml { file: file.to_owned(), message })?,
            );
        }
        for file in &self.files {
            lay(&mut over, read(file)?);
        }
        for text in &self.set_json {
            let failed = failed("--set-json", text);
            let (path, json) = set::split_key(text).map_err(&failed)?;
            let value = serde_json::from_str(&json).map_err(|e| failed(format!("holds no JSON: {e}")))?;
            set::assign(&mut over, &path, value);
        }
        for text in &self.set {
            for Assignment { path, value } in set::parse(text).map_err(failed("--set", text))? {
                let value = value.value(set::look(defaults, &path));
                set::assign(&mut over, &path, value);
            }
        }
        for text in &self.set_string {
            for Assignment { path, value } in set::parse(text).map_err(failed("--set-string", text))? {
                set::assign(&mut over, &path, value.string());
            }
        }
        let mut merged = defaults.clone();
        coalesce(&mut merged, over, "")?;
        Ok(merged)
    }
}

fn failed(option: &'static str, text: &str) -> impl Fn(String) -> SourcesError {
    let text = text.to_owned();
    move |message| SourcesError::Option { option, text: text.clone(), message }
}

fn read(file: &str) -> Result<Value, SourcesError> {
    let mut text = String::new();
    if file == "-" {
        io::stdin().read_to_string(&mut text).map(drop)
    } else {
        fs::read_to_string(file).map(|t| text = t)
    }
    .map_err(|error| SourcesError::Read { file: file.to_owned(), error })?;
    values(&text).map_err(|message| SourcesError::Yaml { file: file.to_owned(), message })
}

fn values(text: &str) -> Result<Value, String> {
    // Helm's YAML is 1.1, where 010 is eight.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    match serde_saphyr::from_str_with_options(text, options).map_err(|e| e.to_string())? {
        Value::Null => Ok(Value::Object(Map::new())),
        map @ Value::Object(_) => Ok(map),
        _ => Err("it must be a map of values".to_owned()),
    }
}

/// Lays one source over another. A null stays, since it is the chart's key that it drops.
fn lay(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                lay(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

/// Lays all sources over the chart's defaults; a null drops the key. Where the chart has a map, Helm only warns of
/// another value and its schema then refuses it; types alone would take a list for a map, field by field.
fn coalesce(defaults: &mut Value, over: Value, path: &str) -> Result<(), SourcesError> {
    match (defaults, over) {
        (Value::Object(defaults), Value::Object(over)) => {
            for (key, value) in over {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match defaults.get_mut(&key) {
                    Some(_) if value.is_null() => drop(defaults.remove(&key)),
                    Some(default) => coalesce(default, value, &path)?,
                    None => drop(defaults.insert(key, value)),
                }
            }
            Ok(())
        }
        (Value::Object(_), _) => Err(SourcesError::NoMap(path.to_owned())),
        (default, over) => {
            *default = over;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merge(files: &[&str], sources: Sources) -> Result<Value, SourcesError> {
        let dir = tempfile::tempdir().unwrap();
        let files = files.iter().enumerate().map(|(i, text)| {
            let path = dir.path().join(format!("{i}.yaml"));
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        });
        let sources = Sources { files: files.collect(), ..sources };
        sources.merge(&json!({"a": {"x": 1, "y": {"z": 2}}, "l": [1, 2]}))
    }

    #[test]
    fn maps_merge_key_by_key_and_lists_are_replaced() {
        let merged = merge(&["a: {x: 3, new: 4}", "a: {x: 5}\nl: [9]"], Sources::default()).unwrap();
        assert_eq!(merged, json!({"a": {"x": 5, "new": 4, "y": {"z": 2}}, "l": [9]}));
    }

    #[test]
    fn null_drops_a_key_of_the_chart() {
        assert_eq!(merge(&["a: {y: null}\nl: ~"], Sources::default()).unwrap(), json!({"a": {"x": 1}}));
        let set = Sources { set: vec!["a.y=null".to_owned()], ..Sources::default() };
        assert_eq!(merge(&["a: {y: {z: 7}}"], set).unwrap(), json!({"a": {"x": 1}, "l": [1, 2]}));
    }

    #[test]
    fn options_win_over_files_and_set_string_over_set_over_set_json() {
        let texts = |text: &str| vec![text.to_owned()];
        let sources = Sources {
            set: texts("a.x=20,a.s=1"),
            set_json: texts("a={\"x\":10,\"j\":[true]}"),
            set_string: texts("a.s=2"),
            ..Sources::default()
        };
        let merged = merge(&["a: {x: 3, f: 1}"], sources).unwrap();
        assert_eq!(merged["a"], json!({"x": 20, "j": [true], "s": "2", "y": {"z": 2}}));
    }

    #[test]
    fn a_file_that_is_no_map_is_refused_with_its_name() {
        for (text, word) in
            [("- a", "map"), ("a: 1\n---\nb: 2\n", "multiple"), ("a: 1\na: 2\n", "duplicate"), ("a: [", "line")]
        {
            let error = merge(&[text], Sources::default()).unwrap_err().to_string();
            assert!(error.contains("0.yaml is no YAML map") && error.contains(word), "{text:?} gave {error}");
        }
        let missing = Sources { files: vec!["/nonexistent.yaml".to_owned()], ..Sources::default() };
        assert!(missing.merge(&json!({})).unwrap_err().to_string().contains("/nonexistent.yaml"));
    }

    #[test]
    fn what_is_no_map_does_not_replace_one() {
        for text in ["a: [1, {z: 2}]", "a: 3"] {
            assert!(
                matches!(merge(&[text], Sources::default()), Err(SourcesError::NoMap(path)) if path == "a"),
                "{text}"
            );
        }
        assert!(matches!(merge(&["a: {y: x}"], Sources::default()), Err(SourcesError::NoMap(path)) if path == "a.y"));
    }

    #[test]
    fn an_empty_file_changes_nothing() {
        assert_eq!(merge(&["", "# nothing\n"], Sources::default()).unwrap(), merge(&[], Sources::default()).unwrap());
    }
}
