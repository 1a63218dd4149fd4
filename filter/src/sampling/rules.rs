//! Sampling by rule. In: what is known of a request when its trace begins. Out: the first rule that it matches, whose
//! sampler decides instead of the general ratio. Everything that a rule names has to match; what it leaves out matches
//! anything.

use std::cell::Cell;

use super::Sampler;
use crate::attributes::{Kind, Request};
use crate::config;
use crate::config::pattern::{HostPattern, PathTemplate};
use crate::host::Headers;

/// A rule, ready for use.
#[derive(Debug)]
pub struct Rule {
    methods: Vec<String>,
    hosts: Vec<HostPattern>,
    paths: Vec<PathTemplate>,
    ports: Vec<u16>,
    headers: Vec<(String, Option<String>)>,
    kind: Option<Kind>,
    sampler: Sampler,
    limit: Option<Bucket>,
}

/// A request that begins a trace.
#[derive(Debug)]
pub struct Subject<'a> {
    /// Its method, path and host.
    pub request: &'a Request,
    /// All of its headers.
    pub headers: &'a Headers,
    /// Which side of the call we stand on.
    pub kind: Kind,
}

/// So many a second on average, and no more at once than in one second; of each worker.
#[derive(Debug)]
struct Bucket {
    per_second: f64,
    tokens: Cell<f64>,
    filled: Cell<u64>,
}

// === impl Rule ===

impl Rule {
    /// Reads a rule; `None` where a pattern in it is none.
    pub fn new(rule: &config::Rule) -> Option<Self> {
        let ratio = match rule.action {
            Some(config::Action::Keep) => 1.0,
            Some(config::Action::Drop) => 0.0,
            None => rule.ratio?,
        };
        let mut sampler = Sampler::new(ratio);
        if rule.max_per_second.is_some() {
            // What a limit cuts off is not known in advance, so no ratio can be told.
            sampler.tells = false;
        }
        Some(Self {
            methods: rule.methods.clone(),
            hosts: rule.hosts.iter().map(|h| HostPattern::parse(h)).collect::<Option<_>>()?,
            paths: rule.paths.iter().map(|p| PathTemplate::parse(p)).collect::<Option<_>>()?,
            ports: rule.ports.clone(),
            headers: rule.headers.0.iter().map(|(k, v)| (k.to_ascii_lowercase(), v.clone())).collect(),
            kind: match rule.direction {
                config::Direction::Auto => None,
                config::Direction::Inbound => Some(Kind::Server),
                config::Direction::Outbound => Some(Kind::Client),
            },
            sampler,
            limit: rule.max_per_second.map(Bucket::new),
        })
    }

    fn matches(&self, subject: &Subject<'_>) -> bool {
        let Subject { request, headers, kind } = subject;
        let any = |list_is_empty: bool, matches: bool| list_is_empty || matches;
        let (host, port) = request.host_and_port();
        let path = request.url_path();
        let has = |(name, value): &(String, Option<String>)| {
            let came = headers.get(name.as_bytes());
            came.is_some_and(|came| value.as_ref().is_none_or(|value| value.as_bytes() == came))
        };
        self.kind.is_none_or(|k| k == *kind)
            && any(self.methods.is_empty(), self.methods.contains(&request.method))
            && any(self.paths.is_empty(), self.paths.iter().any(|p| p.matches(path.as_bytes())))
            && any(self.hosts.is_empty(), self.hosts.iter().any(|h| h.matches(host)))
            && any(self.ports.is_empty(), port.is_some_and(|port| self.ports.contains(&port)))
            && self.headers.iter().all(has)
    }

    /// Its sampler.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// Whether its limit allows one more recorded trace now.
    pub fn allows(&self, now: u64) -> bool {
        self.limit.as_ref().is_none_or(|bucket| bucket.take(now))
    }
}

/// The first rule that a request matches.
pub fn first<'a>(rules: &'a [Rule], subject: &Subject<'_>) -> Option<&'a Rule> {
    rules.iter().find(|rule| rule.matches(subject))
}

// === impl Bucket ===

impl Bucket {
    fn new(per_second: f64) -> Self {
        Self { per_second, tokens: Cell::new(per_second.max(1.0)), filled: Cell::new(0) }
    }

    fn take(&self, now: u64) -> bool {
        // The first time, and after a clock went back, no time has passed.
        let passed = if self.filled.get() == 0 { 0 } else { now.saturating_sub(self.filled.get()) };
        self.filled.set(now);
        let most = self.per_second.max(1.0);
        let tokens = (self.tokens.get() + passed as f64 / 1e9 * self.per_second).min(most);
        let allowed = tokens >= 1.0;
        self.tokens.set(if allowed { tokens - 1.0 } else { tokens });
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn rule(json: &str) -> Rule {
        Rule::new(&serde_json::from_str(json).unwrap()).unwrap()
    }

    fn matches(json: &str, pairs: &[(&str, &str)], kind: Kind) -> bool {
        let headers = Headers::from_wire(Headers::to_wire(pairs));
        rule(json).matches(&Subject { request: &Request::of(&headers), headers: &headers, kind })
    }

    #[test]
    fn all_that_a_rule_names_has_to_match() {
        let get =
            [(":method", "GET"), (":path", "/orders/7?x=1"), (":authority", "shop.example:8080"), ("x-tenant", "a")];
        // Rule, whether it matches, reason.
        let rows = [
            (r#"{"ratio":1}"#, true, "nothing named"),
            (r#"{"ratio":1,"methods":["POST","GET"]}"#, true, "one of the methods"),
            (r#"{"ratio":1,"methods":["POST"]}"#, false, "another method"),
            (r#"{"ratio":1,"paths":["/orders/{id}"]}"#, true, "the path without its query"),
            (r#"{"ratio":1,"paths":["/orders"]}"#, false, "another path"),
            (r#"{"ratio":1,"hosts":["*.example"]}"#, true, "the host without its port"),
            (r#"{"ratio":1,"hosts":["other"]}"#, false, "another host"),
            (r#"{"ratio":1,"ports":[8080]}"#, true, "the port"),
            (r#"{"ratio":1,"ports":[80]}"#, false, "another port"),
            (r#"{"ratio":1,"headers":{"X-Tenant":"a"}}"#, true, "a header with its value"),
            (r#"{"ratio":1,"headers":{"x-tenant":"b"}}"#, false, "with another value"),
            (r#"{"ratio":1,"headers":{"x-tenant":null}}"#, true, "any value"),
            (r#"{"ratio":1,"headers":{"x-other":null}}"#, false, "a header that is not there"),
            (r#"{"ratio":1,"direction":"inbound"}"#, true, "the direction"),
            (r#"{"ratio":1,"direction":"outbound"}"#, false, "the other direction"),
            (r#"{"ratio":1,"methods":["GET"],"ports":[80]}"#, false, "one of two does not match"),
        ];
        for (json, want, reason) in rows {
            assert_eq!(matches(json, &get, Kind::Server), want, "{reason}");
        }
        assert!(!matches(r#"{"ratio":1,"hosts":["a"]}"#, &[], Kind::Server), "a request without a host");
    }

    #[test]
    fn a_limit_allows_so_many_a_second_and_no_burst_beyond_them() {
        const SECOND: u64 = 1_000_000_000;
        let limited = rule(r#"{"action":"keep","maxPerSecond":10}"#);
        let at = |now: u64| (0..50).filter(|_| limited.allows(now)).count();
        assert_eq!(at(SECOND), 10, "a second's worth at once");
        assert_eq!(at(SECOND + SECOND / 2), 5, "half of it half a second later");
        assert_eq!(at(100 * SECOND), 10, "what was not used does not add up");
        assert_eq!(at(SECOND), 0, "a clock that went back fills nothing");
        let rare = rule(r#"{"action":"keep","maxPerSecond":0.5}"#);
        assert!(rare.allows(SECOND) && !rare.allows(2 * SECOND) && rare.allows(3 * SECOND));
        let free = rule(r#"{"action":"keep"}"#);
        assert!((0..1000).all(|_| free.allows(SECOND)));
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let rules = [rule(r#"{"action":"drop","paths":["/a"]}"#), rule(r#"{"action":"keep"}"#)];
        let headers = Headers::from_wire(Headers::to_wire(&[(":path", "/a")]));
        let request = Request::of(&headers);
        let subject = Subject { request: &request, headers: &headers, kind: Kind::Server };
        assert_eq!(first(&rules, &subject).unwrap().sampler(), &Sampler::new(0.0));
    }
}
