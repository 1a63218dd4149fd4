//! `http.route`, and with it the name of a span. In: a request's path. Out: the first configured template that it
//! matches, or, where folding is on, the path with `{id}` in place of segments that look like ids. Never a raw path: the
//! number of folded routes is bounded for each worker, and beyond the bound there is none. A host never names a span.

use std::cell::RefCell;

use crate::config;
use crate::config::pattern::PathTemplate;

/// Where routes come from.
#[derive(Debug)]
pub struct Routes {
    templates: Vec<PathTemplate>,
    max_folded: usize,
    /// In order.
    folded: RefCell<Vec<String>>,
}

/// Longest folded route in bytes; longer paths have none.
const MAX_LEN: usize = 128;
/// What stands for an id.
const ID: &str = "{id}";
/// Hex and base64 words from this length on are no words that a person chose.
const MIN_TOKEN: usize = 16;

// === impl Routes ===

impl Routes {
    /// Reads the configuration.
    pub fn new(routes: &config::Routes) -> Self {
        Self {
            templates: routes.templates.iter().filter_map(|t| PathTemplate::parse(t)).collect(),
            max_folded: if routes.fold { config::MAX_FOLDED_ROUTES } else { 0 },
            folded: RefCell::default(),
        }
    }

    /// The route of a path without its query.
    pub fn of(&self, path: &str) -> Option<String> {
        if let Some(template) = self.templates.iter().find(|template| template.matches(path.as_bytes())) {
            return Some(template.as_str().to_owned());
        }
        if self.max_folded == 0 || path.len() > MAX_LEN || !path.starts_with('/') {
            return None;
        }
        let route = fold(path);
        // Nobody else borrows it: the set is not passed on.
        let mut known = self.folded.try_borrow_mut().ok()?;
        match known.binary_search(&route) {
            Ok(_) => Some(route),
            Err(_) if known.len() >= self.max_folded => None,
            Err(at) => {
                known.insert(at, route.clone());
                Some(route)
            }
        }
    }
}

fn fold(path: &str) -> String {
    let segments = path.split('/').map(|segment| if is_id(segment) { ID } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

/// Numbers, UUIDs, long words with digits in them, and whatever is not plain text.
fn is_id(segment: &str) -> bool {
    let is_plain = segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~'));
    let has_digit = segment.bytes().any(|b| b.is_ascii_digit());
    let is_number = has_digit && segment.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_'));
    !is_plain || is_number || (has_digit && segment.len() >= MIN_TOKEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn routes(templates: &[&str], fold: bool) -> Routes {
        Routes::new(&config::Routes { templates: templates.iter().map(|t| (*t).to_owned()).collect(), fold })
    }

    #[test]
    fn the_first_template_that_matches_names_the_route() {
        let routes = routes(&["/orders/new", "/orders/{id}", "/orders/{other}"], false);
        assert_eq!(routes.of("/orders/7").as_deref(), Some("/orders/{id}"));
        assert_eq!(routes.of("/orders/new").as_deref(), Some("/orders/new"));
        assert_eq!(routes.of("/carts/7"), None, "nothing is folded unless asked");
    }

    #[test]
    fn folding_takes_out_what_looks_like_an_id() {
        let rows = [
            ("/", "/"),
            ("/orders", "/orders"),
            ("/orders/7", "/orders/{id}"),
            ("/orders/2026-11-24/lines", "/orders/{id}/lines"),
            ("/v1/users/0af76519-16cd-43dd-8448-eb211c80319c", "/v1/users/{id}"),
            ("/o/64fe8b2a57d3eff7", "/o/{id}"),
            ("/a/%2e%2e/b", "/a/{id}/b"),
            ("/files/report.pdf", "/files/report.pdf"),
            ("/static/internationalization", "/static/internationalization"),
        ];
        let routes = routes(&[], true);
        for (path, route) in rows {
            assert_eq!(routes.of(path).as_deref(), Some(route), "{path}");
        }
        assert_eq!(routes.of(&format!("/{}", "a".repeat(200))), None, "too long");
        assert_eq!(routes.of("*"), None, "no path");
    }

    #[test]
    fn folded_routes_are_bounded_and_templates_are_not() {
        let routes = routes(&["/known/{id}"], true);
        for n in 0..1000 {
            let word: String = format!("{n}").bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
            routes.of(&format!("/{word}"));
        }
        assert_eq!(routes.folded.borrow().len(), config::MAX_FOLDED_ROUTES);
        assert_eq!(routes.of("/never-seen"), None);
        assert!(routes.of("/a").is_some(), "one that was there before");
        assert!(routes.of("/known/7").is_some());
    }
}
