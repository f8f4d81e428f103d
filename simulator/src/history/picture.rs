//! Operations as a picture: a row for each client, time from left to right.

use std::collections::BTreeMap;

/// An operation as people see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shown {
    /// Who asked.
    pub client: String,
    /// The operation's number.
    pub id: u64,
    /// What was asked, and what came back.
    pub text: String,
    /// The place of the invocation among all events of the history.
    pub invoked: u64,
    /// The place of the return; nothing if it never returned.
    pub returned: Option<u64>,
}

/// Operations in a picture at most, the last ones.
const SHOWN_MAX: usize = 60;
/// Characters of an operation's text at most.
const TEXT_MAX: usize = 60;

/// The marks that a picture is drawn with.
struct Marks {
    begin: char,
    line: char,
    end: char,
    arrow: &'static str,
}

/// Draws the operations: `├ write 3 ┤` from invocation to return, `├ write 3 ┄` if it never
/// returned.
pub(super) fn picture(operations: &[Shown], ascii: bool) -> String {
    let marks = match ascii {
        true => Marks { begin: '|', line: '-', end: '|', arrow: "->" },
        false => Marks { begin: '├', line: '─', end: '┤', arrow: "→" },
    };
    let skipped = operations.len().saturating_sub(SHOWN_MAX);
    let operations = operations.get(skipped..).unwrap_or_default();
    let labels: Vec<String> = operations.iter().map(|it| label(it, &marks)).collect();
    let (columns, width) = columns(operations, &labels);
    let names = operations.iter().map(|it| it.client.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    if 0 < skipped {
        text += &format!("({skipped} operations before these)\n");
    }
    for (client, row) in rows(operations) {
        let mut line = format!("{client:<names$}  ");
        let mut at = 0;
        for place in row {
            if let (Some(shown), Some(label)) = (operations.get(place), labels.get(place)) {
                let start = column(&columns, shown.invoked);
                let end = shown.returned.map_or(width, |returned| column(&columns, returned));
                line.extend(std::iter::repeat_n(' ', start.saturating_sub(at)));
                line += &interval(shown, label, end - start, &marks);
                at = end + 1;
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// One operation, `length` characters and its end.
fn interval(shown: &Shown, label: &str, length: usize, marks: &Marks) -> String {
    let Marks { begin, line, end, .. } = marks;
    let rest = length.saturating_sub(label.chars().count() + 3);
    let (before, after) = (rest / 2, rest - rest / 2);
    let run = |count| line.to_string().repeat(count);
    let last = if shown.returned.is_some() { end.to_string() } else { String::from("...") };
    format!("{begin}{} {label} {}{last}", run(before), run(after))
}

fn label(shown: &Shown, marks: &Marks) -> String {
    let text = shown.text.replace('→', marks.arrow).replace(char::is_control, " ");
    if text.chars().count() <= TEXT_MAX {
        return text;
    }
    let cut: String = text.chars().take(TEXT_MAX - 3).collect();
    format!("{cut}...")
}

/// The column of each event, so that every operation has room for its text; and that of the end.
fn columns(operations: &[Shown], labels: &[String]) -> (BTreeMap<u64, usize>, usize) {
    let mut ends: BTreeMap<u64, Option<usize>> = BTreeMap::new();
    for (place, shown) in operations.iter().enumerate() {
        ends.insert(shown.invoked, None);
        ends.extend(shown.returned.map(|returned| (returned, Some(place))));
    }
    let room = |place: usize| labels.get(place).map_or(0, |label| label.chars().count() + 3);
    let mut columns: BTreeMap<u64, usize> = BTreeMap::new();
    let mut next = 0;
    for (event, ended) in ends {
        let mut at = next;
        if let Some((place, shown)) = ended.and_then(|it| Some((it, operations.get(it)?))) {
            at = at.max(column(&columns, shown.invoked) + room(place));
        }
        columns.insert(event, at);
        next = at + 2;
    }
    let open = operations.iter().enumerate().filter(|(_, shown)| shown.returned.is_none());
    let needed = open.map(|(place, shown)| column(&columns, shown.invoked) + room(place));
    let width = needed.max().unwrap_or(0).max(next);
    (columns, width)
}

fn column(columns: &BTreeMap<u64, usize>, event: u64) -> usize {
    columns.get(&event).copied().unwrap_or(0)
}

/// The operations of each row: one row for each client, and a further one where a client has
/// operations at the same time.
fn rows(operations: &[Shown]) -> Vec<(&str, Vec<usize>)> {
    let mut rows: Vec<(&str, Vec<usize>, Option<u64>)> = Vec::new();
    for (place, shown) in operations.iter().enumerate() {
        let is_free = |row: &&mut (&str, Vec<usize>, Option<u64>)| {
            row.0 == shown.client && row.2.is_some_and(|until| until < shown.invoked)
        };
        match rows.iter_mut().find(is_free) {
            Some(row) => {
                row.1.push(place);
                row.2 = shown.returned;
            }
            None => rows.push((&shown.client, vec![place], shown.returned)),
        }
    }
    rows.sort_by(|one, other| by_name(one.0, other.0));
    rows.into_iter().map(|(client, places, _)| (client, places)).collect()
}

/// Numbers by value, before all other names.
fn by_name(one: &str, other: &str) -> std::cmp::Ordering {
    let number = |name: &str| name.parse::<u64>().map_or((true, 0), |number| (false, number));
    number(one).cmp(&number(other)).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::{Shown, picture};

    fn shown(client: &str, text: &str, invoked: u64, returned: Option<u64>) -> Shown {
        Shown { client: client.into(), id: invoked, text: text.into(), invoked, returned }
    }

    #[test]
    fn intervals_overlap_in_the_picture_as_they_did_in_time() {
        let operations = [
            shown("0", "write 3", 0, Some(4)),
            shown("10", "read → 3", 1, Some(2)),
            shown("2", "write 4", 3, None),
            shown("10", "read → 4", 5, Some(6)),
        ];
        let expected = "\
0   ├─── write 3 ────┤
2                  ├─── write 4 ────...
10    ├ read → 3 ┤     ├ read → 4 ┤
";
        assert_eq!(picture(&operations, false), expected);
        assert!(picture(&operations, true).is_ascii());
    }
}
