//! `otelmesh install` and `otelmesh upgrade`: the chart's objects into the cluster.
//!
//! In: values. Out: a release that is as the values say, also after a run that was killed. Before anything is written, the
//! values are checked, the collector's configuration is validated, and the API server tries every object in a dry run.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::chart::{Chart, Release};
use crate::cluster::{Cluster, ClusterArgs, block_on};
use crate::collector_config;
use crate::images;
use crate::release::{Installed, ReleaseArgs, State};
use crate::render::render;
use crate::run::{RunArgs, Target};
use crate::values::Sources;

/// Arguments of `otelmesh install`.
#[derive(Debug, Args)]
#[command(after_help = "\
What is installed already is brought up to the values that are given; a run that was killed is taken up.

Examples:
  otelmesh install --set filter.image.registry=registry.example.com
  otelmesh install --profile production -f values.yaml --dry-run
  otelmesh install -f values.yaml --yes --timeout 10m")]
pub struct InstallArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    #[command(flatten)]
    chart: ChartArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    sources: Sources,
}

/// Arguments of `otelmesh upgrade`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without values, those of the installed revision are used again, with the defaults of this version's chart.

Examples:
  otelmesh upgrade
  otelmesh upgrade --reuse-values --set filter.config.sampling.ratio=0.01
  otelmesh upgrade -f values.yaml --yes")]
pub struct UpgradeArgs {
    /// Lay --set, --set-string and --set-json over the values of the installed revision
    #[arg(long, conflicts_with = "files")]
    reuse_values: bool,
    #[command(flatten)]
    install: InstallArgs,
}

/// How the chart's objects are made, beyond its values.
#[derive(Debug, Clone, Args)]
pub struct ChartArgs {
    /// Take every image from this registry, under the same repository, as `otelmesh images --registry` lists them
    #[arg(long, value_name = "REGISTRY")]
    pub image_registry: Option<String>,
    /// Collector binary that validates the collector's configuration [default: otelcol, otelcol-contrib or otelcol-k8s on $PATH]
    #[arg(long, value_name = "PATH")]
    pub otelcol: Option<PathBuf>,
}

// === impl ChartArgs ===

impl ChartArgs {
    /// Renders, rewrites images, and validates what is for the collector.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn objects(&self, chart: &Chart, sources: &Sources, release: &Release) -> Result<Vec<Value>> {
        let mut objects: Vec<Value> = render(chart, sources, release)?.into_iter().map(|o| o.value).collect();
        if let Some(registry) = &self.image_registry {
            images::rewrite(&mut objects, registry);
        }
        collector_config::validate(&objects, self.otelcol.as_deref())?;
        Ok(objects)
    }
}

// === impl InstallArgs ===

impl InstallArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// A sentence for the operator; then nothing was changed.
    pub fn run(self) -> Result<ExitCode> {
        // Before the cluster is asked: wrong values need none.
        let chart = Chart::embedded()?;
        render(&chart, &self.sources, &self.release.release())?;
        block_on(async {
            let cluster = Cluster::connect(&self.cluster).await?;
            let target = self.target("install", &chart.for_apis(cluster.apis().await?), &self.sources)?;
            let installed = Installed::read(&cluster, &self.release.release()).await?;
            self.run.run(&cluster, &installed, target).await
        })
    }

    fn target(&self, cause: &str, chart: &Chart, sources: &Sources) -> Result<Target> {
        let release = self.release.release();
        let objects = self.chart.objects(chart, sources, &release)?;
        let notes = chart.notes(&sources.merge(chart.defaults())?, &release)?;
        Ok(Target { cause: cause.to_owned(), values: given(chart, sources)?, objects, notes: Some(notes) })
    }
}

// === impl UpgradeArgs ===

impl UpgradeArgs {
    /// The same upgrade with one value more, over those of the installed revision.
    #[must_use]
    pub fn with_value(mut self, set: String) -> Self {
        self.reuse_values = true;
        self.install.sources.set.push(set);
        self
    }

    /// Runs the command.
    ///
    /// # Errors
    /// A sentence for the operator; then nothing was changed.
    pub fn run(self) -> Result<ExitCode> {
        let install = self.install;
        let chart = Chart::embedded()?;
        let none = is_empty(&install.sources);
        if !none && !self.reuse_values {
            render(&chart, &install.sources, &install.release.release())?;
        }
        block_on(async {
            let cluster = Cluster::connect(&install.cluster).await?;
            let chart = chart.for_apis(cluster.apis().await?);
            let release = install.release.release();
            let installed = Installed::read(&cluster, &release).await?;
            if installed.state() == State::NotInstalled {
                bail!(installed.absent());
            }
            let mut sources = install.sources.clone();
            if (none || self.reuse_values)
                && let Some(current) = installed.current()
            {
                sources = over(&current.values, sources);
            }
            let target = install.target("upgrade", &chart, &sources)?;
            install.run.run(&cluster, &installed, target).await
        })
    }
}

fn is_empty(sources: &Sources) -> bool {
    sources.profile.is_none()
        && [&sources.files, &sources.set, &sources.set_string, &sources.set_json].iter().all(|given| given.is_empty())
}

/// Sources that begin with stored values.
pub(crate) fn over(values: &Value, mut sources: Sources) -> Sources {
    let stored = values.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={value}"));
    sources.set_json = stored.chain(sources.set_json).collect();
    sources
}

/// The values that were given, without the chart's: what differs from its defaults.
pub(crate) fn given(chart: &Chart, sources: &Sources) -> Result<Value> {
    let merged = sources.merge(chart.defaults())?;
    Ok(beyond(chart.defaults(), &merged).unwrap_or_else(|| json!({})))
}

/// What is laid over `defaults` to give `merged`; none if they are equal. A key that is gone is a null, as in Helm.
fn beyond(defaults: &Value, merged: &Value) -> Option<Value> {
    match (defaults, merged) {
        (defaults, merged) if defaults == merged => None,
        (Value::Object(defaults), Value::Object(merged)) => {
            let mut over = serde_json::Map::new();
            for (key, value) in merged {
                let value = defaults.get(key).map_or_else(|| Some(value.clone()), |default| beyond(default, value));
                over.extend(value.map(|value| (key.clone(), value)));
            }
            let gone = defaults.keys().filter(|key| !merged.contains_key(*key));
            over.extend(gone.map(|key| (key.clone(), Value::Null)));
            Some(Value::Object(over))
        }
        (_, merged) => Some(merged.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_were_given_are_kept_and_the_defaults_are_not() {
        let defaults = json!({"a": {"b": 1, "c": 2}, "d": [1], "e": {"f": 1}});
        let merged = json!({"a": {"b": 1, "c": 3}, "d": [1, 2], "e": {}, "g": {"h": true}});
        let over = beyond(&defaults, &merged).unwrap();
        assert_eq!(over, json!({"a": {"c": 3}, "d": [1, 2], "e": {"f": null}, "g": {"h": true}}));
        assert_eq!(beyond(&defaults, &defaults), None);
    }

    #[test]
    fn stored_values_give_the_same_objects_again() {
        let chart = Chart::embedded().unwrap();
        let set = vec!["filter.image.registry=r.example:5000,filter.selector.matchLabels.app=shop".to_owned()];
        let sources = Sources { set, ..Sources::default() };
        let values = given(&chart, &sources).unwrap();
        let again = over(&values, Sources::default());
        assert_eq!(again.merge(chart.defaults()).unwrap(), sources.merge(chart.defaults()).unwrap());
    }
}
