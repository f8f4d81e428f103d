//! The programs that are compared, and how their processes are started.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use synod_core::NodeId;
use synod_transport_quic::Limits;

use crate::child::{Order, Times};
use crate::place::{Place, SENDER};
use crate::process::{cargo, printed, target, version};
use crate::running::Running;
use crate::{raw, synod, tcp};

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Program {
    Synod,
    Quinn,
    QuinnLarge,
    Tcp,
    RactorTcp,
    RactorTls,
    RactorQuic,
    Kameo,
}

/// The workspace of other people's programs.
const PEERS: &str = "peers-quic";

/// The first word on the command line of a process that is measured.
const MEASURED: &str = "measured";

/// Does what the command line says, if this is a process that is measured.
pub(crate) fn is_child() -> bool {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [MEASURED, "synod"] => synod::run_alone(),
        [MEASURED, _] => tcp::run_queue(),
        [MEASURED, name, place, node] => {
            let node = NodeId(node.parse().expect("a number"));
            let place = PathBuf::from(place);
            match *name {
                "synod" => synod::run(&place, node),
                "quinn" => raw::run(&place, node, raw::PACKET_BYTES),
                "quinn-large" => raw::run(&place, node, Limits::PACKET_BYTES_CAP),
                _ => tcp::run(&place, node),
            }
        }
        _ => return false,
    }
    true
}

impl Program {
    const OTHERS: [Self; 4] = [Self::RactorTcp, Self::RactorTls, Self::RactorQuic, Self::Kameo];

    /// Those that can run here. Says why others cannot.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::Synod, Self::Quinn, Self::QuinnLarge, Self::Tcp];
        match printed(&mut cargo(PEERS, "build")) {
            Ok(_) => all.extend(Self::OTHERS),
            Err(error) => println!("others are NOT MEASURED: they cannot be built here: {error}"),
        }
        all
    }

    fn name(self) -> &'static str {
        match self {
            Self::Synod => "synod",
            Self::Quinn => "quinn",
            Self::QuinnLarge => "quinn-large",
            Self::Tcp => "tcp",
            Self::RactorTcp => "ractor-tcp",
            Self::RactorTls => "ractor-tls",
            Self::RactorQuic => "ractor-quic",
            Self::Kameo => "kameo",
        }
    }

    /// Its name, with the version that is measured if it is not of this workspace.
    pub(crate) fn title(self) -> String {
        let lock = include_str!("../../peers-quic/Cargo.lock");
        match self {
            Self::Synod => String::from("synod"),
            Self::Quinn => String::from("bare quinn"),
            Self::QuinnLarge => String::from("large packets"),
            Self::Tcp => String::from("TCP, postcard"),
            Self::RactorTcp => format!("ractor {} TCP", version(lock, "ractor_cluster")),
            Self::RactorTls => format!("ractor {} TLS", version(lock, "ractor_cluster")),
            Self::RactorQuic => format!("ractor {} quinn", version(lock, "ractor_cluster")),
            Self::Kameo => format!("kameo {}", version(lock, "kameo")),
        }
    }

    /// What starts one of its processes, on one core alone if that is given.
    fn command(self, core: Option<u32>) -> Result<Command, String> {
        let binary = if Self::OTHERS.contains(&self) {
            let binary = if self == Self::Kameo { "kameo" } else { "ractor" };
            target(PEERS).join("release").join(binary)
        } else {
            std::env::current_exe().map_err(|error| error.to_string())?
        };
        let mut command = match core {
            None => Command::new(binary),
            Some(core) => {
                let mut taskset = Command::new("taskset");
                taskset.args(["--cpu-list", &core.to_string()]).arg(binary);
                taskset
            }
        };
        command.args([MEASURED, self.name()]);
        Ok(command)
    }
}

/// On which cores the processes of a program run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cores {
    /// Where the system puts them, and moves them to.
    Any,
    /// Each on one of its own, as if they were machines.
    OneEach,
}

impl Cores {
    /// One for each of so many processes, if this machine has them and `taskset` may say so.
    pub(crate) fn one_each(processes: u32) -> Self {
        let taken = (0..processes).all(|core| {
            let pinned =
                Command::new("taskset").args(["--cpu-list", &core.to_string(), "true"]).output();
            pinned.is_ok_and(|it| it.status.success())
        });
        if taken { Self::OneEach } else { Self::Any }
    }
}

/// Processes of one program that are ready.
pub(crate) struct Session {
    /// The one that is told what to do, first.
    processes: Vec<Running>,
    /// Seconds until it was.
    pub(crate) ready_after: f64,
    /// Outlives them.
    _place: Option<Place>,
}

/// What came of an order, in seconds.
pub(crate) struct Measured {
    pub(crate) times: Vec<f64>,
    /// Processor time of all processes.
    pub(crate) processor: f64,
}

impl Session {
    /// A process that sends to itself; none if the program is not measured so.
    pub(crate) fn alone(program: Program) -> Result<Option<Self>, String> {
        if ![Program::Synod, Program::Quinn, Program::RactorTcp, Program::Kameo].contains(&program)
        {
            return Ok(None); // As another column.
        }
        let mut process = Running::start(&mut program.command(None)?)?;
        process.hear()?;
        Ok(Some(Self { processes: vec![process], ready_after: 0.0, _place: None }))
    }

    /// A sender and so many receivers; none if the program is not measured so.
    pub(crate) fn start(
        program: Program,
        receivers: u32,
        cores: Cores,
    ) -> Result<Option<Self>, String> {
        if program == Program::Kameo {
            return Ok(None);
        }
        let place = Place::make(receivers);
        let start = |node: NodeId| {
            let core = (cores == Cores::OneEach).then_some(node.0 - SENDER.0);
            let mut command = program.command(core)?;
            command.arg(place.path()).arg(node.0.to_string());
            let mut process = Running::start(&mut command)?;
            let ready = process.hear()?;
            Ok::<_, String>((process, ready))
        };
        let mut others = Vec::new();
        for node in 0..receivers {
            others.push(start(NodeId(SENDER.0 + 1 + node))?.0);
        }
        let (sender, ready) = start(SENDER)?;
        let ready_after = heard(&ready).first().map_or(0.0, Duration::as_secs_f64);
        let processes = std::iter::once(sender).chain(others).collect();
        Ok(Some(Self { processes, ready_after, _place: Some(place) }))
    }

    /// What an order costs; nothing if the program knows no such thing.
    pub(crate) fn measure(&mut self, order: Order) -> Result<Option<Measured>, String> {
        let before = self.processor();
        let Some(first) = self.processes.first_mut() else { return Ok(None) };
        let times = heard(&first.ask(&order.to_string())?);
        let processor = self.processor() - before;
        let times: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
        Ok((!times.is_empty()).then_some(Measured { times, processor }))
    }

    fn processor(&self) -> f64 {
        self.processes.iter().map(Running::processor).sum()
    }
}

/// The times that a process has said.
fn heard(line: &str) -> Times {
    line.split_whitespace().filter_map(|it| it.parse().ok().map(Duration::from_nanos)).collect()
}
