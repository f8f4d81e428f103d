//! All of the state in which a run failed: the fields that its last step changed first.

use serde_json::Value;

use crate::failure::Failure;

/// Fields that are told, and characters of each.
const FIELDS_TOLD_MAX: usize = 20;
const FIELD_TOLD_MAX: usize = 110;

/// The state of the node that acted last, a line for each field; none where it was told already.
pub(super) fn told(failure: &Failure) -> Option<String> {
    let (node, state) = failure.state.as_ref()?;
    let Value::Object(fields) = state else {
        return Some(format!("all of {node}\n{}", line(' ', &state.to_string())));
    };
    let changes = failure.trace.steps.last().map_or(&[][..], |step| &step.changes);
    let was = |field: &str| {
        let of_field = |path: &str| path.split('.').next() == Some(field);
        changes.iter().find(|it| of_field(&it.path))
    };
    let mut lines = Vec::new();
    for (field, now) in fields.iter().filter(|(field, _)| was(field).is_some()) {
        let whole = was(field).filter(|it| it.path == *field);
        let before = whole.map_or_else(String::new, |it| format!(", before: {}", it.old));
        lines.push(line('*', &format!("{field}: {now}{before}")));
    }
    let same = fields.iter().filter(|(field, _)| was(field).is_none());
    lines.extend(same.map(|(field, now)| line(' ', &format!("{field}: {now}"))));
    let more = lines.len().saturating_sub(FIELDS_TOLD_MAX);
    lines.truncate(FIELDS_TOLD_MAX);
    let stars = if lines.iter().any(|it| it.starts_with("  *")) {
        ", * is what the last step changed"
    } else {
        ""
    };
    let more = if 0 < more { format!("    and {more} more fields\n") } else { String::new() };
    Some(format!("all of {node}{stars}\n{}{more}", lines.concat()))
}

fn line(mark: char, text: &str) -> String {
    let told: String = text.chars().take(FIELD_TOLD_MAX).collect();
    let more = if told.len() < text.len() { "…" } else { "" };
    format!("  {mark} {told}{more}\n")
}
