//! What `sweep` is asked for.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  synod sweep bully --nodes 3..9 --seeds 100
  synod sweep bully --nodes 3,5 --loss 0,1,5 --delay-max-ms 10,100 --crashes 0,1 --out bully.csv

A list has its values separated by commas; 3..9 is from 3 to 9. Each world is calm but for what its
row says. Crashes begin in the first half of a run, and losses end with it.

A run is settled when every `eventually` property holds, bounds set aside, and none ceases to hold
before the end; without such a property, when nothing is under way any more. The time runs from the
start, so crashes are in it; the quantiles are over the settled_runs. A run that violates a property
ends there, and is not settled. Quantiles are values that were measured: p99 is the smallest that
99 in 100 runs do not exceed.

The exit code is 1 if a run violated a property; the rows are complete all the same.")]
pub(crate) struct Sweep {
    /// The algorithm's name.
    pub(crate) algorithm: String,
    /// Numbers of nodes.
    #[arg(long, default_value = "5", value_parser = numbers)]
    pub(crate) nodes: Values,
    /// Messages lost, in percent; up to four decimals.
    #[arg(long, default_value = "0", value_parser = percents)]
    pub(crate) loss: Values,
    /// Greatest delays of a message, in milliseconds; the least one is 1 ms.
    #[arg(long, default_value = "10", value_parser = numbers)]
    pub(crate) delay_max_ms: Values,
    /// Crashes planned in a run, at most.
    #[arg(long, default_value = "0", value_parser = numbers)]
    pub(crate) crashes: Values,
    /// How many seeds to run in each world.
    #[arg(long, default_value_t = 100, env = "SYNOD_RUNS")]
    pub(crate) seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0, env = "SYNOD_SEED")]
    pub(crate) seed: u64,
    /// The virtual time of each run, in seconds.
    #[arg(long, default_value_t = 20, value_parser = |text: &str| super::seconds::<u32>(text, 1..=86_400))]
    pub(crate) time: u32,
    /// Write the rows to this file, not to the standard output.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

/// One side of a grid: different values, in the order of asking.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Values(pub(crate) Vec<u32>);

/// Values that a side may have at most.
const VALUES_MAX: usize = 1_000;

fn numbers(text: &str) -> Result<Values, String> {
    values(text, |number| number.parse().ok(), 1)
}

/// Percents as chances in a million.
fn percents(text: &str) -> Result<Values, String> {
    let values = values(text, millionths, 10_000)?;
    match values.0.iter().all(|chances| *chances <= 1_000_000) {
        true => Ok(values),
        false => Err(String::from("more than 100 percent cannot be lost")),
    }
}

fn millionths(percent: &str) -> Option<u32> {
    let (whole, part) = percent.split_once('.').unwrap_or((percent, "0"));
    let digits = part.bytes().all(|digit| digit.is_ascii_digit()) && (1..=4).contains(&part.len());
    let part = digits.then(|| format!("{part:0<4}").parse::<u32>().ok())??;
    whole.parse::<u32>().ok()?.checked_mul(10_000)?.checked_add(part)
}

/// Reads `1,3..5`; a range goes from value to value in steps of `step`.
fn values(text: &str, read: impl Fn(&str) -> Option<u32>, step: usize) -> Result<Values, String> {
    let no_value = |item: &str| format!("`{item}` is no value: expected 5, or 3..9, or 1,3,5");
    let mut values = Vec::new();
    for item in text.split(',') {
        let (least, most) = item.split_once("..").unwrap_or((item, item));
        let (least, most) = read(least).zip(read(most)).ok_or_else(|| no_value(item))?;
        if most < least {
            return Err(format!("`{item}` is empty: a range goes from the smaller value"));
        }
        let left = VALUES_MAX + 1 - values.len().min(VALUES_MAX);
        values.extend((least..=most).step_by(step).take(left));
    }
    if VALUES_MAX < values.len() {
        return Err(format!("more than {VALUES_MAX} values"));
    }
    let different: BTreeSet<&u32> = values.iter().collect();
    if different.len() < values.len() {
        return Err(String::from("a value is given twice"));
    }
    Ok(Values(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_read() {
        assert_eq!(numbers("3..5"), Ok(Values(vec![3, 4, 5])));
        assert_eq!(numbers("1,3..4,9"), Ok(Values(vec![1, 3, 4, 9])));
        assert_eq!(percents("0,0.5,12.25"), Ok(Values(vec![0, 5_000, 122_500])));
        assert_eq!(percents("0..2"), Ok(Values(vec![0, 10_000, 20_000])));
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in ["", "x", "5..3", "1,,2", "3,3", "1..3,2", "-1", "0..4000000000"] {
            assert!(numbers(wrong).is_err(), "{wrong}");
        }
        for wrong in ["101", "1.", "0.00001", "1.+5", "100.0001"] {
            assert!(percents(wrong).is_err(), "{wrong}");
        }
    }
}
