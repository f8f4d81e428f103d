//! What `replay --as-test` prints for the schedules beside it; compiled and run as it is.

mod partition;
mod unbounded;
mod windows;
