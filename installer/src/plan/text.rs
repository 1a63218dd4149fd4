//! A plan for people, with ANSI colours that a writer may strip.
//!
//! In: a plan. Out: a line for each object that changes, its fields where they are asked for, the conflicts with their
//! owners, and the sum.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use super::{Action, Change, Plan};

const ADD: Style = AnsiColor::Green.on_default();
const REMOVE: Style = AnsiColor::Red.on_default();
const ALTER: Style = AnsiColor::Yellow.on_default();
const QUIET: Style = Style::new().dimmed();

/// One line an object.
pub fn summary(plan: &Plan) -> String {
    text(plan, false)
}

/// Every field that changes, and new objects as a whole.
pub fn details(plan: &Plan) -> String {
    text(plan, true)
}

fn text(plan: &Plan, details: bool) -> String {
    let mut text = String::new();
    for change in plan.changes.iter().filter(|c| c.action != Action::Keep || c.adopts || !c.conflicts.is_empty()) {
        // Writing to a String does not fail.
        let _ = write_change(&mut text, change, details);
    }
    let _ = writeln!(text, "{}", sum(plan));
    text
}

fn write_change(text: &mut String, change: &Change, details: bool) -> std::fmt::Result {
    let (sign, style, note) = match change.action {
        Action::Create => ("+", ADD, ""),
        Action::Update if change.adopts => ("~", ALTER, " (is there already: taken over, put back by uninstall)"),
        Action::Keep if change.adopts => {
            ("=", QUIET, " (is there already, just so: taken over, put back by uninstall)")
        }
        Action::Update => ("~", ALTER, ""),
        Action::Keep => ("=", QUIET, ""),
        Action::Delete => ("-", REMOVE, ""),
        Action::Restore => ("-", ALTER, " (put back as it was before)"),
    };
    writeln!(text, "{style}{sign} {}{note}{style:#}", change.id)?;
    if details && change.action == Action::Create {
        for line in change.object.as_ref().map(yaml).unwrap_or_default().lines() {
            writeln!(text, "    {ADD}+ {line}{ADD:#}")?;
        }
    }
    if details {
        for field in &change.fields {
            writeln!(text, "    {}", field.path)?;
            for (sign, style, value) in [("-", REMOVE, &field.before), ("+", ADD, &field.after)] {
                for line in value.as_ref().map(yaml).unwrap_or_default().lines() {
                    writeln!(text, "      {style}{sign} {line}{style:#}")?;
                }
            }
        }
    }
    for conflict in &change.conflicts {
        writeln!(text, "    {REMOVE}! {conflict}{REMOVE:#}")?;
    }
    Ok(())
}

fn yaml(value: &Value) -> String {
    let secret = value["kind"] == "Secret";
    let mut value = value.clone();
    for key in ["data", "stringData"] {
        if secret && let Some(data) = value[key].as_object_mut() {
            data.values_mut().for_each(|v| *v = "(hidden)".into());
        }
    }
    serde_saphyr::to_string(&value).unwrap_or_else(|_| value.to_string())
}

/// Such as `3 to create, 1 to delete`.
pub fn sum(plan: &Plan) -> String {
    let count = |action| plan.changes.iter().filter(|change| change.action == action).count();
    let parts = [
        (count(Action::Create), "to create"),
        (count(Action::Update), "to change"),
        (count(Action::Delete), "to delete"),
        (count(Action::Restore), "to put back"),
        (count(Action::Keep), "as they should be"),
    ];
    let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") }
}
