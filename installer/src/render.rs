//! `otelmesh render`: the chart's objects as text, without a cluster.
//!
//! In: values and what the release is called. Out: YAML as `helm template` prints it, or one JSON list. Refuses values
//! that are wrong, with one line for each key. The same values give the same bytes.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::chart::{Chart, Object, Release};
use crate::values::{Sources, Values};

/// Arguments of `otelmesh render`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  Everything for the whole mesh, with the filter pinned to what was pushed:
    otelmesh render --set filter.image.registry=registry.example.com,filter.image.digest=sha256:…
  One application only, ready for kubectl:
    otelmesh render -f values.yaml --set filter.selector.matchLabels.app=shop | kubectl apply -f -
  One object:
    otelmesh render -f values.yaml --show-only templates/filter/wasmplugin.yaml")]
pub struct RenderArgs {
    /// Namespace that the release is installed from
    #[arg(short, long, default_value = "otelmesh")]
    namespace: String,
    /// Name of the release, and of its objects
    #[arg(long, default_value = "otelmesh", value_name = "NAME")]
    release_name: String,
    /// How objects are written: YAML documents, or one JSON object of kind List
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
    /// Only the objects of this template, such as templates/mesh/telemetry.yaml. May be repeated
    #[arg(long, value_name = "TEMPLATE")]
    show_only: Vec<String>,
    // Last, since clap puts what follows under the same heading.
    #[command(flatten)]
    sources: Sources,
}

/// How objects are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

// === impl RenderArgs ===

impl RenderArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn run(self) -> Result<ExitCode> {
        let chart = Chart::embedded()?;
        if let Some(unknown) = self.show_only.iter().find(|path| !chart.templates().contains(path)) {
            bail!("--show-only {unknown} is no template of the chart; there are {}", chart.templates().join(", "));
        }
        let release = Release { name: self.release_name, namespace: self.namespace };
        let mut objects = render(&chart, &self.sources, &release)?;
        if !self.show_only.is_empty() {
            let chart = &chart.metadata().name;
            objects.retain(|object| self.show_only.iter().any(|path| object.source == format!("{chart}/{path}")));
        }
        let text = match self.output {
            Format::Yaml => yaml(&objects),
            Format::Json => json(&objects)?,
        };
        io::stdout().write_all(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Merges, checks and renders.
///
/// # Errors
/// A sentence for the operator, or one line for each key that is wrong.
pub fn render(chart: &Chart, sources: &Sources, release: &Release) -> Result<Vec<Object>> {
    let merged = sources.merge(chart.defaults())?;
    Values::read(&merged)?;
    check_name(&release.name)?;
    Ok(chart.render(&merged, release)?)
}

/// Helm's own rule for names of releases.
fn check_name(name: &str) -> Result<()> {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |part: &str| {
        part.starts_with(is_word) && part.ends_with(is_word) && part.chars().all(|c| is_word(c) || c == '-')
    };
    if name.len() > 53 || !name.split('.').all(is_label) {
        bail!("--release-name {name:?} must be at most 53 lower-case letters, digits and dashes");
    }
    Ok(())
}

/// Objects as `helm template` prints them.
pub fn yaml(objects: &[Object]) -> String {
    objects.iter().map(|object| format!("---\n# Source: {}\n{}\n", object.source, object.text)).collect()
}

fn json(objects: &[Object]) -> Result<String> {
    let items: Vec<&Value> = objects.iter().map(|object| &object.value).collect();
    Ok(serde_json::to_string_pretty(&json!({"apiVersion": "v1", "kind": "List", "items": items}))? + "\n")
}
