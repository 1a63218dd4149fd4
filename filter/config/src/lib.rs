//! pluginConfig, the one typed definition that the filter and the CLI share.
//!
//! In: the JSON text that Envoy hands over (a WasmPlugin's `pluginConfig`), or none. Out: a [`Config`] in which every
//! value is within its bounds. Refuses, with a sentence for the operator, what is not JSON, an unknown key, or a value
//! out of bounds; the caller then switches the filter off rather than refusing traffic.

#![cfg_attr(
    not(test),
    deny(
        clippy::panic,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unreachable,
        clippy::todo
    )
)]

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, de};

use json::Json;
use read::{Read, object};

pub mod body;
mod check;
pub mod decimal;
mod export;
mod json;
mod limits;
mod metrics;
mod millis;
mod pairs;
pub mod pattern;
mod propagation;
mod property;
mod read;
mod records;
mod redaction;
pub mod response_flags;
mod sampling;

pub use export::{Batch, Compression, DropPolicy, Exporter, Protocol};
pub use limits::*;
pub use metrics::{HistogramForm, Metrics, Temporality};
pub use millis::Millis;
pub use pairs::Pairs;
pub use propagation::{Boundary, BoundaryPolicy, Format, Propagation, Side, Trust};
pub use property::PropertyPath;
pub use records::{Attribute, Direction, LogPolicy, Logs, Resource, Routes, Semconv, Source, Traces, ValueType};
pub use redaction::{ClientAddress, Redaction};
pub use sampling::{Action, Exclude, Keep, Rule, Sampling};

/// The whole pluginConfig. Every key may be left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Where telemetry goes.
    #[serde(deserialize_with = "of_object")]
    pub exporter: Exporter,
    /// How records are gathered before they leave, for each worker thread of Envoy.
    #[serde(deserialize_with = "of_object")]
    pub batch: Batch,
    /// Which trace headers are read and written.
    #[serde(deserialize_with = "of_object")]
    pub propagation: Propagation,
    /// Which new traces are recorded.
    #[serde(deserialize_with = "of_object")]
    pub sampling: Sampling,
    /// Where `http.route` and span names come from.
    #[serde(deserialize_with = "of_object")]
    pub routes: Routes,
    /// Further attributes of spans and logs, at most 64.
    pub attributes: Vec<Attribute>,
    /// Which names HTTP attributes have.
    pub semconv: Semconv,
    /// What records must not say.
    #[serde(deserialize_with = "of_object")]
    pub redaction: Redaction,
    /// Which requests leave no record at all.
    #[serde(deserialize_with = "of_object")]
    pub exclude: Exclude,
    /// Whether spans are SERVER or CLIENT spans.
    pub direction: Direction,
    /// Who the telemetry is about.
    #[serde(deserialize_with = "of_object")]
    pub resource: Resource,
    /// Spans.
    #[serde(deserialize_with = "of_object")]
    pub traces: Traces,
    /// Access logs.
    #[serde(deserialize_with = "of_object")]
    pub logs: Logs,
    /// Metrics.
    #[serde(deserialize_with = "of_object")]
    pub metrics: Metrics,
}

/// Why a pluginConfig was refused, as a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(String);

object!(Config {
    exporter = "exporter",
    batch = "batch",
    propagation = "propagation",
    sampling = "sampling",
    routes = "routes",
    attributes = "attributes",
    semconv = "semconv",
    redaction = "redaction",
    exclude = "exclude",
    direction = "direction",
    resource = "resource",
    traces = "traces",
    logs = "logs",
    metrics = "metrics",
});

// === impl Config ===

impl Config {
    /// Reads a pluginConfig; nothing at all, or `null`, means the defaults.
    ///
    /// # Errors
    /// A sentence that names the key and its bounds, or the line and column where the JSON is broken.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let text = json.trim_ascii();
        if text.is_empty() || text == b"null" {
            return Ok(Self::default());
        }
        let config: Self =
            Json::parse(text).and_then(Read::read).map_err(|refusal| ConfigError(refusal.to_string()))?;
        config.check()?;
        Ok(config)
    }
}

/// Reads a struct from an object alone; by itself serde would take an array too, field by field.
pub(crate) fn of_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Visitor<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(de::value::MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_map(Visitor(PhantomData))
}

// === impl ConfigError ===

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}
