//! What `synod-simulator` promises: what a run may do to an algorithm, what an exploration visits,
//! and that both can be repeated.

mod asks;
mod byzantine;
mod choices;
mod collectors;
mod convert;
mod crashes;
mod delivery;
mod determinism;
mod disks;
mod early_faults;
mod exploration;
mod headers;
mod histories;
mod history_explored;
mod history_files;
mod history_runs;
mod jobs_and_timers;
mod kit;
mod lanes;
mod leaves;
mod links;
mod liveness;
mod noise;
mod partitions;
mod peers;
mod properties;
mod queues;
mod random_worlds;
mod reduction;
mod schedules;
mod shrinking;
mod strategies;
mod symmetry;
mod traitors;
mod windows;
