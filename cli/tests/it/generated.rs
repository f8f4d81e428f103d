//! What `replay --as-test` prints for the schedules beside it; compiled and run as it is, but for a line that
//! says how it fails.

mod partition;
mod unbounded;
mod windows;
