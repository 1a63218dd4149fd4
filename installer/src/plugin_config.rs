//! `otelmesh config`: the filter's own configuration (pluginConfig), outside of a cluster.
//!
//! In: a pluginConfig as YAML or JSON. Out: whether every proxy would take it, or else the line, the key and the nearest
//! one that there is; further, all keys with their defaults, or their JSON schema. Judges with the filter's own code.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};
use otelmesh_filter::config::Config;
use schemars::generate::SchemaSettings;

/// Arguments of `otelmesh config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Tell whether the filter would take a pluginConfig
    #[command(after_help = "\
Examples:
  otelmesh config check plugin-config.yaml
  kubectl get wasmplugin otelmesh -n istio-system -o jsonpath='{.spec.pluginConfig}' | otelmesh config check -

Exit codes:
  0  it would
  2  it would not: the filter would switch itself off, and leave traffic alone")]
    Check {
        /// The pluginConfig, as YAML or JSON; - for standard input
        file: PathBuf,
    },
    /// Print every key with its default, ready to be changed
    Defaults,
    /// Print the JSON schema, for editors
    Schema,
}

// === impl ConfigArgs ===

impl ConfigArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn run(self) -> Result<ExitCode> {
        let text = match self.command {
            ConfigCommand::Check { file } => {
                let text = read(&file)?;
                check(&text).map_err(|reason| anyhow!("{}: {reason}", file.display()))?;
                format!("{}: every proxy would take it\n", file.display())
            }
            ConfigCommand::Defaults => serde_saphyr::to_string(&Config::default())?,
            ConfigCommand::Schema => {
                let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Config>();
                format!("{}\n", serde_json::to_string_pretty(&schema)?)
            }
        };
        io::stdout().write_all(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn read(file: &PathBuf) -> Result<String> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Whether the filter would take a pluginConfig; the reason where it would not.
fn check(text: &str) -> Result<(), String> {
    // serde's parser knows lines (and JSON is YAML too); the filter's own has the last word.
    let config: Result<Config, _> = serde_saphyr::from_str(text);
    if let Err(error) = config {
        let message = error.to_string();
        let hint = nearest(&message).map(|key| format!("\nDid you mean {key}?")).unwrap_or_default();
        return Err(format!("{message}{hint}"));
    }
    let json: serde_json::Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    Config::parse(json.to_string().as_bytes()).map(drop).map_err(|error| error.to_string())
}

/// The known word that is most like the unknown one, as far as the message names both.
fn nearest(message: &str) -> Option<&str> {
    let line = message.lines().find(|line| line.contains("unknown field") || line.contains("unknown variant"))?;
    let (said, known) = line.split_once("expected ")?;
    let unknown = said.split('`').nth(1)?;
    let words = known.trim_start_matches("one of ").split([',', ' ']).map(|word| word.trim_matches('`'));
    let distance = |word: &&str| strsim::damerau_levenshtein(unknown, word);
    words.filter(|word| !word.is_empty()).min_by_key(distance).filter(|word| distance(word) <= word.len() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_named_with_its_line_and_the_nearest_key() {
        let error = check("batch:\n  scheduleDelay: 1s\nsmapling:\n  ratio: 1\n").unwrap_err();
        assert!(error.contains("smapling") && error.contains("Did you mean sampling?"), "{error}");
        assert!(error.contains("line 3"), "{error}");
        let error = check("propagation: {extract: [b3mutli]}").unwrap_err();
        assert!(error.contains("Did you mean b3multi?"), "{error}");
        let error = check("sampling: {ratio: 2}").unwrap_err();
        assert!(error.contains("sampling.ratio must be from 0 to 1"), "{error}");
        let error = check("attributes:\n- name: a\n  property: {a: b}\n").unwrap_err();
        assert!(error.contains("line 3") && error.contains("expected a path: text such as"), "{error}");
        let error = check("attributes: [{name: a, property: [xds, '']}]").unwrap_err();
        assert!(error.contains("a has a property with an empty name"), "{error}");
        let error = check("xyz: 1").unwrap_err();
        assert!(!error.contains("Did you mean"), "nothing is like it: {error}");
        assert!(check("batch: [").is_err() && check("[]").is_err());
    }

    #[test]
    fn json_yaml_and_the_defaults_themselves_pass() {
        for good in ["{}", r#"{"sampling":{"ratio":0.5}}"#, "sampling:\n  ratio: 0.5\n"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let defaults = serde_saphyr::to_string(&Config::default()).unwrap();
        assert_eq!(check(&defaults), Ok(()), "{defaults}");
    }
}
