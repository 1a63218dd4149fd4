//! The bounds that types cannot express. In: a configuration. Out: nothing, or a sentence that names the key and its
//! bounds.

use std::fmt;

use crate::body::Body;
use crate::limits::{
    DEFAULT_CLUSTER, MAX_BOUNDARIES, MAX_BUCKETS, MAX_RESOURCE_ATTRIBUTES, MAX_RULES, MAX_TEMPLATES, MAX_TEXT,
};
use crate::pattern::{HostPattern, PathTemplate};
use crate::{Config, ConfigError, Exclude, Exporter, Format, Millis, Pairs, Protocol, Routes, response_flags};

impl Config {
    /// Checks every bound that the types cannot express.
    ///
    /// # Errors
    /// A sentence that names the key and its bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Exporter { cluster, authority, protocol, compression: _, traces_path, logs_path, metrics_path, timeout } =
            &self.exporter;
        check(
            !cluster.is_empty() && is_text(cluster),
            "exporter.cluster must name an Envoy cluster in printable ASCII",
        )?;
        check(
            *protocol == Protocol::HttpProtobuf || cluster != DEFAULT_CLUSTER,
            "exporter.cluster must name the receiver's gRPC port, usually 4317, where exporter.protocol is grpc",
        )?;
        check(is_text(authority), "exporter.authority must be printable ASCII")?;
        for (key, path) in [("tracesPath", traces_path), ("logsPath", logs_path), ("metricsPath", metrics_path)] {
            check(
                path.starts_with('/') && is_text(path),
                format_args!("exporter.{key} must be a path that starts with /"),
            )?;
        }
        let delays = Millis(100)..=Millis(60_000);
        check(delays.contains(timeout), "exporter.timeout must be from 100ms to 60s")?;

        let b = &self.batch;
        check(delays.contains(&b.schedule_delay), "batch.scheduleDelay must be from 100ms to 60s")?;
        check((1..=8192).contains(&b.max_export_batch_size), "batch.maxExportBatchSize must be from 1 to 8192")?;
        check(
            (4096..=4 * 1024 * 1024).contains(&b.max_export_batch_bytes),
            "batch.maxExportBatchBytes must be from 4096 to 4194304",
        )?;
        check(
            (b.max_export_batch_bytes..=64 * 1024 * 1024).contains(&b.max_queue_bytes),
            "batch.maxQueueBytes must be from batch.maxExportBatchBytes to 67108864",
        )?;
        check((1..=16).contains(&b.max_in_flight), "batch.maxInFlight must be from 1 to 16")?;

        let p = &self.propagation;
        let lists = [
            ("extract", Some(&p.extract)),
            ("inject", p.inject.as_ref()),
            ("clear", Some(&p.clear)),
            ("inbound.extract", p.inbound.extract.as_ref()),
            ("inbound.inject", p.inbound.inject.as_ref()),
            ("inbound.clear", p.inbound.clear.as_ref()),
            ("outbound.extract", p.outbound.extract.as_ref()),
            ("outbound.inject", p.outbound.inject.as_ref()),
            ("outbound.clear", p.outbound.clear.as_ref()),
        ];
        for (key, list) in lists {
            check(list.is_none_or(|formats| is_set(formats)), format_args!("propagation.{key} names a format twice"))?;
        }
        check((0.0..=1.0).contains(&self.logs.ratio), "logs.ratio must be from 0 to 1")?;
        let body = &self.logs.body;
        check(
            body.len() <= MAX_TEXT && Body::parse(body).is_some(),
            "logs.body must be text of at most 1024 bytes with known fields in braces, such as {method} {path} {status}",
        )?;
        self.check_attributes()?;
        self.check_sampling()?;
        self.check_metrics()?;
        self.check_redaction()?;

        check(p.boundaries.len() <= MAX_RULES, "propagation.boundaries may hold 64 boundaries at most")?;
        for host in p.boundaries.iter().flat_map(|boundary| &boundary.hosts) {
            let is_host = HostPattern::parse(host).is_some();
            check(is_host, format_args!("propagation.boundaries: {host} is neither a name nor *.name"))?;
        }

        let Pairs(attributes) = &self.resource.attributes;
        check(attributes.len() <= MAX_RESOURCE_ATTRIBUTES, "resource.attributes may hold 64 attributes at most")?;
        for (key, value) in attributes {
            check(!key.is_empty() && key.len() <= MAX_TEXT, "resource.attributes has an empty or overlong key")?;
            check(value.len() <= MAX_TEXT, format_args!("resource.attributes.{key} is longer than 1024 bytes"))?;
        }
        Ok(())
    }
}

impl Config {
    fn check_attributes(&self) -> Result<(), ConfigError> {
        let Routes { templates, .. } = &self.routes;
        check(templates.len() <= MAX_TEMPLATES, "routes.templates may hold 256 templates at most")?;
        for template in templates {
            let is_template = PathTemplate::parse(template).is_some();
            check(
                is_template,
                format_args!("routes.templates: {template} is no template such as /orders/{{id}} or /api/**"),
            )?;
        }
        check(self.attributes.len() <= MAX_RULES, "attributes may hold 64 attributes at most")?;
        for attribute in &self.attributes {
            let name = &attribute.name;
            check(
                !name.is_empty() && name.len() <= MAX_TEXT,
                "attributes has an entry without a name, or an overlong one",
            )?;
            check(
                attribute.property.as_ref().is_none_or(|path| path.names().is_some()),
                format_args!("attributes: {name} has a property with an empty name in its path"),
            )?;
            check(
                attribute.source().is_some(),
                format_args!(
                    "attributes: {name} needs exactly one of literal, env, requestHeader, responseHeader, baggage, property"
                ),
            )?;
            check(
                !attribute.is_secret(),
                format_args!("attributes: {name} would show a header that carries credentials"),
            )?;
        }
        Ok(())
    }

    fn check_redaction(&self) -> Result<(), ConfigError> {
        let redaction = &self.redaction;
        let lens = [redaction.query_keys.len(), redaction.paths.len()];
        check(lens.iter().all(|len| *len <= MAX_RULES), "redaction lists more than 64 of a kind")?;
        for path in &redaction.paths {
            let is_template = PathTemplate::parse(path).is_some();
            check(is_template, format_args!("redaction.paths: {path} is no template such as /users/{{id}} or /me/**"))?;
        }
        check((64..=2048).contains(&redaction.max_value_bytes), "redaction.maxValueBytes must be from 64 to 2048")
    }

    fn check_metrics(&self) -> Result<(), ConfigError> {
        let m = &self.metrics;
        let intervals = Millis(1_000)..=Millis(600_000);
        check(intervals.contains(&m.interval), "metrics.interval must be from 1s to 10m")?;
        check((2..=MAX_BUCKETS).contains(&m.max_buckets), "metrics.maxBuckets must be from 2 to 160")?;
        check((10..=10_000).contains(&m.max_series), "metrics.maxSeries must be from 10 to 10000")?;
        for (key, bounds) in [("boundaries", &m.boundaries), ("sizeBoundaries", &m.size_boundaries)] {
            check(
                (1..=MAX_BOUNDARIES).contains(&bounds.len())
                    && bounds.iter().all(|bound| (0.0..=1e15).contains(bound))
                    && bounds.is_sorted_by(|a, b| a < b),
                format_args!("metrics.{key} must hold 1 to 64 numbers from 0 to 1e15, each larger than the one before"),
            )?;
        }
        Ok(())
    }

    fn check_sampling(&self) -> Result<(), ConfigError> {
        let sampling = &self.sampling;
        check((0.0..=1.0).contains(&sampling.ratio), "sampling.ratio must be from 0 to 1")?;
        check(sampling.rules.len() <= MAX_RULES, "sampling.rules may hold 64 rules at most")?;
        for (n, rule) in sampling.rules.iter().enumerate() {
            let of = |what: &'static str| move || format!("sampling.rules[{n}] {what}");
            let is_short =
                [rule.methods.len(), rule.hosts.len(), rule.paths.len(), rule.ports.len(), rule.headers.0.len()]
                    .iter()
                    .all(|len| *len <= MAX_RULES);
            check_that(is_short, of("lists more than 64 of a kind"))?;
            check_that(rule.action.is_some() != rule.ratio.is_some(), of("needs either action or ratio"))?;
            check_that(rule.ratio.is_none_or(|r| (0.0..=1.0).contains(&r)), of("has a ratio that is not from 0 to 1"))?;
            let limit = rule.max_per_second;
            check_that(
                limit.is_none_or(|l| (0.001..=1e6).contains(&l)),
                of("has a maxPerSecond that is not from 0.001 to 1000000"),
            )?;
            let paths = rule.paths.iter().all(|p| PathTemplate::parse(p).is_some());
            check_that(paths, of("has a path that is no template such as /orders/{id} or /api/**"))?;
            let hosts = rule.hosts.iter().all(|h| HostPattern::parse(h).is_some());
            check_that(hosts, of("has a host that is neither a name nor *.name"))?;
        }
        let Exclude { paths, user_agents } = &self.exclude;
        check(paths.len().max(user_agents.len()) <= MAX_RULES, "exclude lists more than 64 of a kind")?;
        for path in paths {
            let is_template = PathTemplate::parse(path).is_some();
            check(is_template, format_args!("exclude.paths: {path} is no template such as /orders/{{id}} or /api/**"))?;
        }
        check(user_agents.iter().all(|a| !a.is_empty()), "exclude.userAgents has an empty entry, which excludes all")?;
        for flag in &sampling.keep.response_flags {
            let is_known = response_flags::bit(flag).is_some();
            check(is_known, format_args!("sampling.keep.responseFlags: Envoy has no response flag {flag}"))?;
        }
        Ok(())
    }
}

fn check_that(holds: bool, sentence: impl FnOnce() -> String) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError(sentence())) }
}

fn check(holds: bool, sentence: impl fmt::Display) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError(sentence.to_string())) }
}

fn is_text(s: &str) -> bool {
    s.len() <= MAX_TEXT && s.bytes().all(|b| b.is_ascii_graphic())
}

fn is_set(formats: &[Format]) -> bool {
    formats.iter().enumerate().all(|(i, f)| !formats.iter().skip(i.saturating_add(1)).any(|g| g == f))
}
