//! What the checks said, for people and for programs.
//!
//! In: checks and a snapshot. Out: text with a mark for each sentence and, under it, cause, next command and hint; or one
//! JSON document with the same. The order is that of the checks.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::{Check, Finding, HINTS, Severity, Snapshot};

const GOOD: Style = AnsiColor::Green.on_default().bold();
const ODD: Style = AnsiColor::Yellow.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const TITLE: Style = Style::new().bold();
const QUIET: Style = Style::new().dimmed();
/// Enough to see what they have in common; JSON has them all.
const SHOWN: usize = 10;

/// What the checks said.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether no check with severity error failed or could not be told.
    pub success: bool,
    checks: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    id: &'static str,
    category: &'static str,
    sentence: &'static str,
    result: Outcome,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Success,
    Warning,
    Error,
    /// Nobody knows, which is no error, and not good either.
    Unknown,
}

// === impl Report ===

impl Report {
    /// Runs checks.
    pub fn new(checks: &[Check], snapshot: &Snapshot) -> Self {
        let lines: Vec<Line> = checks.iter().map(|check| Line::new(check, snapshot)).collect();
        Self { success: lines.iter().all(|line| line.result != Outcome::Error), checks: lines }
    }

    /// For people, with ANSI colours that a writer may strip.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut category = "";
        for line in &self.checks {
            if line.category != category {
                let gap = if category.is_empty() { "" } else { "\n" };
                category = line.category;
                // Writing to a String does not fail.
                let _ = writeln!(text, "{gap}{TITLE}{category}{TITLE:#}\n{}", "-".repeat(category.len()));
            }
            let _ = line.write(&mut text);
        }
        let count = |outcome| self.checks.iter().filter(|line| line.result == outcome).count();
        let verdict = match (count(Outcome::Error), count(Outcome::Unknown)) {
            (0, 0) => format!("{GOOD}√{GOOD:#} no check failed"),
            (0, unknown) => format!("{ODD}‼{ODD:#} no check failed, {unknown} could not be done"),
            (failed, _) => format!("{BAD}×{BAD:#} {failed} of {} checks failed", self.checks.len()),
        };
        text + "\n" + &verdict + "\n"
    }
}

// === impl Line ===

impl Line {
    fn new(check: &Check, snapshot: &Snapshot) -> Self {
        let failed = match check.severity {
            Severity::Error => Outcome::Error,
            Severity::Warning => Outcome::Warning,
        };
        let (result, findings) = match (check.run)(snapshot) {
            Ok(findings) if findings.is_empty() => (Outcome::Success, findings),
            Ok(findings) => (failed, findings),
            Err(reason) => {
                let cause = format!("this could not be looked at: {}", reason.lines().next().unwrap_or_default());
                let next = "otelmesh check --pre lists missing rights; to ask pods takes create on pods/portforward";
                (Outcome::Unknown, vec![Finding { cause, next: next.to_owned() }])
            }
        };
        let hint = (result != Outcome::Success).then(|| format!("{HINTS}#{}", check.id));
        Self { id: check.id, category: check.category, sentence: check.sentence, result, findings, hint }
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let (mark, style) = match self.result {
            Outcome::Success => ("√", GOOD),
            Outcome::Warning | Outcome::Unknown => ("‼", ODD),
            Outcome::Error => ("×", BAD),
        };
        writeln!(text, "{style}{mark}{style:#} {}", self.sentence)?;
        for finding in self.findings.iter().take(SHOWN) {
            writeln!(text, "    {}", finding.cause)?;
            writeln!(text, "    {QUIET}next:{QUIET:#} {}", finding.next)?;
        }
        if self.findings.len() > SHOWN {
            writeln!(text, "    and {} more; -o json has them all", self.findings.len() - SHOWN)?;
        }
        match &self.hint {
            Some(hint) => writeln!(text, "    {QUIET}see {hint}{QUIET:#}"),
            None => Ok(()),
        }
    }
}
