//! What the environment says of simulations in tests.

use std::path::PathBuf;
use std::time::Duration;

/// How long a test runs unless `SYNOD_BUDGET` or `SYNOD_RUNS` says otherwise.
const BUDGET: Duration = Duration::from_secs(2);

/// How much a test runs: what comes first ends it.
pub(super) struct Budget {
    pub(super) time: Option<Duration>,
    pub(super) runs: Option<u64>,
}

/// What `SYNOD_BUDGET` and `SYNOD_RUNS` say.
pub(super) fn budget() -> Budget {
    let runs = variable("SYNOD_RUNS").map(|text| match text.parse::<u64>() {
        Ok(runs) if (1..1 << 62).contains(&runs) => runs,
        _ => panic!("SYNOD_RUNS is `{text}`: write a number from 1, below 2^62"),
    });
    let time = variable("SYNOD_BUDGET").map(|text| match read_budget(&text) {
        Some(budget) => budget,
        None => panic!("SYNOD_BUDGET is `{text}`: write 500ms, 0.5s, 2s or 10m"),
    });
    Budget { time: time.or_else(|| runs.is_none().then_some(BUDGET)), runs }
}

/// What `SYNOD_SEED` says.
pub(super) fn first_seed() -> u64 {
    variable("SYNOD_SEED").map_or(0, |text| match text.parse::<u64>() {
        Ok(seed) if seed < 1 << 63 => seed,
        _ => panic!("SYNOD_SEED is `{text}`: write a number, below 2^63"),
    })
}

/// The schedule that `SYNOD_REPLAY` names.
pub(super) fn replayed() -> Option<PathBuf> {
    std::env::var_os("SYNOD_REPLAY").map(PathBuf::from)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn read_budget(text: &str) -> Option<Duration> {
    let unit = text.trim_start_matches(|it: char| it.is_ascii_digit() || it == '.');
    let count: f64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        "ms" => count / 1_000.0,
        "" | "s" => count,
        "m" => count * 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_number_with_a_unit() {
        let read = |text| read_budget(text).map(|it| it.as_millis());
        assert_eq!(["500ms", "2s", "2", "10m"].map(read), [500, 2_000, 2_000, 600_000].map(Some));
        assert_eq!(["0.5s", "1.5", "0.5m", ".5ms"].map(read), [500, 1_500, 30_000, 0].map(Some));
        assert_eq!(["", "s", "2h", "fast", "-1s", "1.2.3s", "."].map(read), [None; 7]);
    }
}
