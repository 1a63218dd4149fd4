//! The Helm chart under manifests/, which the command carries with it and renders without Helm.
//!
//! In: values that are merged with the chart's own, and the release they are for. Out: the objects in the order in which
//! Helm installs them, each with its text and its template's name. Refuses values with which a template fails, and text
//! that is no YAML.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use gotmpl::{Template, TemplateError};
use include_dir::{Dir, include_dir};
use serde::Deserialize;
use serde_json::{Value, json};

mod functions;
mod manifest;

pub use manifest::Object;

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../manifests");

/// What the templates see as `.Release`.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its name, which the objects carry too.
    pub name: String,
    /// The namespace it is installed from.
    pub namespace: String,
}

/// Chart.yaml, as far as it matters.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The chart's name.
    pub name: String,
    /// The chart's version.
    pub version: String,
    /// The version of what it installs, and the default tag of the filter's image.
    pub app_version: String,
}

/// A chart, parsed and ready to render.
pub struct Chart {
    metadata: Metadata,
    defaults: Value,
    templates: Arc<OnceLock<Template>>,
    paths: Vec<String>,
    files: Vec<(&'static str, &'static str)>,
    api_versions: Vec<String>,
}

/// Why a chart gave no objects.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// A template failed, mostly because it calls the values wrong.
    #[error("{template}: {message}")]
    Template {
        /// Path of the template in the chart.
        template: String,
        /// Its own words.
        message: String,
    },
    /// A template gave text that is no YAML.
    #[error("{template} gave no YAML: {message}")]
    Yaml {
        /// Path of the template in the chart.
        template: String,
        /// The parser's words.
        message: String,
    },
    /// The chart itself is broken.
    #[error("{file} of the embedded chart is broken: {message}")]
    Broken {
        /// Path of the file in the chart.
        file: String,
        /// What is wrong.
        message: String,
    },
}

// === impl Chart ===

impl Chart {
    /// The chart that this command was built with.
    ///
    /// # Errors
    /// [`ChartError::Broken`], which the tests rule out.
    pub fn embedded() -> Result<Self, ChartError> {
        let metadata: Metadata = serde_saphyr::from_str(file("Chart.yaml")?).map_err(broken("Chart.yaml"))?;
        let defaults = serde_saphyr::from_str(file("values.yaml")?).map_err(broken("values.yaml"))?;

        let mut files = Vec::new();
        collect(&FILES, &mut files);
        files.sort_unstable();
        let (sources, files): (Vec<_>, _) = files.into_iter().partition(|(path, _)| path.starts_with("templates/"));
        // The functions are made before the templates that `include` looks into are there: it gets a weak reference to
        // where they will be, since a strong one would hold itself.
        let templates = Arc::new(OnceLock::<Template>::new());
        let weak = Arc::downgrade(&templates);
        let empty = |name: &str| {
            let weak = weak.clone();
            Template::new(name).funcs(functions::functions()).func("include", move |args| {
                let [gotmpl::Value::String(name), data] = args else {
                    return Err(TemplateError::Exec("include wants a name and a context".to_owned()));
                };
                let held = weak.upgrade();
                let Some(template) = held.as_ref().and_then(|t| t.get()) else {
                    return Err(TemplateError::UndefinedTemplate(name.to_string()));
                };
                Ok(gotmpl::Value::String(template.execute_template_to_string(name, data)?.into()))
            })
        };
        let mut all = empty(&metadata.name);
        let mut paths = Vec::new();
        for (path, source) in sources {
            let parsed = empty(path).parse(source).map_err(broken(path))?;
            for name in parsed.templates() {
                if let Some(body) = parsed.lookup(name) {
                    all = all.add_parse_tree(name, body.clone());
                }
            }
            if path.ends_with(".yaml") {
                paths.push(path.to_owned());
            }
        }
        let _ = templates.set(all);
        Ok(Self { metadata, defaults, templates, paths, files, api_versions: Vec::new() })
    }

    /// The chart as it renders for a cluster that serves these APIs, as `GROUP/VERSION` and `GROUP/VERSION/KIND`.
    #[must_use]
    pub fn for_apis(mut self, versions: Vec<String>) -> Self {
        self.api_versions = versions;
        self
    }

    /// The chart's files that are no templates, by their paths.
    pub fn files(&self) -> &[(&'static str, &'static str)] {
        &self.files
    }

    /// Chart.yaml.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// values.yaml.
    pub fn defaults(&self) -> &Value {
        &self.defaults
    }

    /// The templates that can give objects, by their paths in the chart.
    pub fn templates(&self) -> &[String] {
        &self.paths
    }

    /// Renders every template with values that hold the chart's defaults already.
    ///
    /// # Errors
    /// [`ChartError::Template`] in the chart's own words, or [`ChartError::Yaml`].
    pub fn render(&self, values: &Value, release: &Release) -> Result<Vec<Object>, ChartError> {
        let mut objects = Vec::new();
        for path in &self.paths {
            let text = self.execute(path, values, release)?;
            manifest::split(&format!("{}/{path}", self.metadata.name), &text, &mut objects)
                .map_err(|message| ChartError::Yaml { template: path.clone(), message })?;
        }
        manifest::sort(&mut objects);
        Ok(objects)
    }

    /// What Helm prints after it installed the chart.
    ///
    /// # Errors
    /// As [`Chart::render`].
    pub fn notes(&self, values: &Value, release: &Release) -> Result<String, ChartError> {
        self.execute("templates/NOTES.txt", values, release)
    }

    fn execute(&self, path: &str, values: &Value, release: &Release) -> Result<String, ChartError> {
        let failed = |e| ChartError::Template { template: path.to_owned(), message: functions::message(e) };
        let name = &self.metadata.name;
        let files: BTreeMap<_, _> = self.files.iter().copied().collect();
        let context = json!({
            "Values": values,
            "Chart": {"Name": name, "Version": self.metadata.version, "AppVersion": self.metadata.app_version},
            // Helm calls itself Helm here; objects must not claim to be Helm's when they are not.
            "Release": {
                "Name": release.name, "Namespace": release.namespace, "Service": "otelmesh",
                "IsInstall": true, "IsUpgrade": false, "Revision": 1,
            },
            "Capabilities": {
                "KubeVersion": {"Version": KUBE_VERSION, "Major": "1", "Minor": "34"},
                "APIVersions": self.api_versions,
            },
            "Files": files,
            "Template": {"Name": format!("{name}/{path}"), "BasePath": format!("{name}/templates")},
        });
        let context = gotmpl::to_value(&context).map_err(failed)?;
        let templates =
            self.templates.get().ok_or_else(|| failed(TemplateError::UndefinedTemplate(path.to_owned())))?;
        templates.execute_template_to_string(path, &context).map_err(failed)
    }
}

/// The chart's values.yaml, with its comments.
///
/// # Errors
/// [`ChartError::Broken`], which the tests rule out.
pub fn values_text() -> Result<&'static str, ChartError> {
    file("values.yaml")
}

/// Kubernetes as templates see it where no cluster is asked.
const KUBE_VERSION: &str = "v1.34.0";

fn file(path: &str) -> Result<&'static str, ChartError> {
    FILES
        .get_file(path)
        .and_then(|f| f.contents_utf8())
        .ok_or_else(|| ChartError::Broken { file: path.to_owned(), message: "not there, or no text".to_owned() })
}

fn collect(dir: &'static Dir<'static>, found: &mut Vec<(&'static str, &'static str)>) {
    for file in dir.files() {
        if let (Some(path), Some(text)) = (file.path().to_str(), file.contents_utf8()) {
            found.push((path, text));
        }
    }
    for dir in dir.dirs() {
        collect(dir, found);
    }
}

fn broken<E: std::fmt::Display>(file: &str) -> impl FnOnce(E) -> ChartError {
    let file = file.to_owned();
    move |e| ChartError::Broken { file, message: e.to_string() }
}

#[cfg(test)]
mod tests;
