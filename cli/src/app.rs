//! A program with every command, over the algorithms that it is given.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::hash::Hash;
use std::io::{self, Write};
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use serde::Serialize;
use synod_core::{Algorithm, Catalogue};
use synod_runtime::{NodeHandle, Outputs};
use synod_simulator::Scenario;

use crate::args::{Args, Command};
use crate::commands;
use crate::configured;
use crate::defect;
use crate::entry::{Entry, Registered};
use crate::help;
use crate::look::Look;
use crate::printer::{Printer, words};
use crate::problem::{Exit, Problem};

/// A program with the commands `demo`, `sim`, `check`, `replay`, `why`, `sweep`, `cluster`, `node`,
/// `doctor`, `status`, `record`, `store`, `cert`, `trace`, `history`, `completions`
/// and `man` over some algorithms.
///
/// ```no_run
/// # use synod::algorithms::Bully as MyElection;
/// fn main() -> std::process::ExitCode {
///     synod::App::new().algorithm::<MyElection>().run()
/// }
/// ```
#[derive(Default)]
pub struct App {
    entries: Vec<Box<dyn Entry>>,
    pub(crate) client: Option<Client>,
}

/// Begins what runs beside a node.
type Client = Box<dyn Fn(NodeHandle, Outputs) -> Served + Send + Sync>;

/// What runs beside a node, until it has failed or has nothing more to do.
pub(crate) type Served = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What a client came to.
pub(crate) type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

impl App {
    /// A program that knows no algorithm yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an algorithm under its name, which no other may have. The first one is what `demo` shows, and what `node` runs
    /// unless it is told. Where it is the only one, no command need be told.
    #[must_use]
    pub fn algorithm<A>(self) -> Self
    where
        A: Algorithm + Clone + Default + fmt::Debug + Hash + Serialize + Sync,
    {
        self.scenario(Scenario::of(|_| A::default()).with_workload())
    }

    /// Adds an algorithm as `scenario` has it: with properties that the algorithm does not declare
    /// itself, or with [clients](Scenario::clients) that traces tell of. Deployed nodes begin with
    /// the algorithm's `Default`.
    #[must_use]
    pub fn scenario<A>(mut self, scenario: Scenario<A>) -> Self
    where
        A: Algorithm + Clone + Default + fmt::Debug + Hash + Serialize + Sync,
    {
        self.entries.push(Box::new(Registered(scenario.showing_states())));
        self
    }

    /// Runs `client` beside every node that `node` and `cluster` start, in its process: what asks the node for
    /// something, such as a server of its own clients. It is given the node, and what the algorithms indicate
    /// from the start on.
    ///
    /// When it returns, the node goes on; one that is to end is [shut down](NodeHandle::shutdown). When it fails, or
    /// panics, the node drains, and the program ends with exit code 6 or 70. It runs while the node drains, which
    /// takes nothing more then, and is dropped after it. It shares its threads with the node: what blocks belongs
    /// on a thread of its own.
    ///
    /// ```no_run
    /// use std::error::Error;
    /// use std::time::Duration;
    /// use synod::runtime::{NodeHandle, Outputs};
    /// # use synod::{Algorithm, Call, Context, Event, Handlers, Request};
    /// # #[derive(Event, Debug, serde::Serialize, serde::Deserialize)]
    /// # #[event(name = "doc.next", local)]
    /// # struct Next;
    /// # impl Request for Next { type Answer = Number; }
    /// # #[derive(Event, Debug, serde::Serialize, serde::Deserialize)]
    /// # #[event(name = "doc.number", local)]
    /// # struct Number(u64);
    /// # #[derive(Clone, Debug, Default, Hash, serde::Serialize)]
    /// # struct Numbers(u64);
    /// # impl Algorithm for Numbers {
    /// #     const NAME: &'static str = "numbers";
    /// #     fn handlers() -> Handlers<Self> { Handlers::new().on(Self::next) }
    /// # }
    /// # impl Numbers {
    /// #     fn next(&mut self, call: Call<Next>, ctx: &mut Context) {
    /// #         ctx.answer(call.ticket, &Number(0));
    /// #     }
    /// # }
    ///
    /// /// `Numbers` answers `Next` with a `Number`.
    /// async fn client(node: NodeHandle, _: Outputs) -> Result<(), Box<dyn Error + Send + Sync>> {
    ///     let Number(number) = node.ask(&Next, Duration::from_secs(3)).await?;
    ///     println!("{} was given {number}", node.id());
    ///     Ok(())
    /// }
    ///
    /// fn main() -> std::process::ExitCode {
    ///     synod::App::new().algorithm::<Numbers>().client(client).run()
    /// }
    /// ```
    #[must_use]
    pub fn client<F, R>(self, client: F) -> Self
    where
        F: Fn(NodeHandle, Outputs) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let client: Client = Box::new(move |node, outputs| Box::pin(client(node, outputs)));
        Self { client: Some(client), ..self }
    }

    /// Does what the command line says. The exit code is 0 if all went well, 1 if a property was
    /// violated, 2 for a wrong command line, 3 if a bound was reached before an answer, 4 if a
    /// replay diverged, 5 if nothing ran, 6 if the environment failed, 70 if the program itself did.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let all = self.command();
        let typed: Vec<OsString> = std::env::args_os().collect();
        let parsed = all.clone().try_get_matches_from(&typed);
        let parsed = parsed.and_then(|it| Ok((Args::from_arg_matches(&it)?, it)));
        let (args, matches) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                // Help goes to the standard output with 0, mistakes to the standard error with 2.
                let _ = error.print();
                if !error.use_stderr() {
                    return ExitCode::SUCCESS;
                }
                return refused(&error, variable(&all, &error));
            }
        };
        let printer = Printer::new(args.look);
        let command = args.command.unwrap_or(Command::Demo);
        let command = configured(&all, &matches, typed, command, &printer);
        let outcome = self.names_differ().and(command).and_then(|command| {
            defect::listen(command.runs_nodes());
            let carried = defect::caught(|| self.carry_out(command, &printer));
            carried.unwrap_or_else(|defect| Err(defect.problem()))
        });
        let exit = match outcome.and_then(|()| printer.is_written()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                printer.problem(&problem);
                problem.exit.into()
            }
        };
        printer.finish();
        exit
    }

    fn carry_out(&self, command: Command, printer: &Printer) -> Result<(), Problem> {
        match command {
            Command::Demo => commands::demo::run(self, printer),
            Command::Sim(sim) => commands::sim::run(self, &sim, printer),
            Command::Check(check) => commands::check::run(self, &check, printer),
            Command::Replay(replay) => commands::replay::run(self, &replay, printer),
            Command::Why(why) => commands::why::run(self, &why, printer),
            Command::Sweep(sweep) => commands::sweep::run(self, &sweep, printer),
            Command::Cluster(cluster) => commands::cluster::run(self, &cluster, printer),
            Command::Node(node) => commands::node::run(self, &node, printer),
            Command::Doctor(doctor) => commands::doctor::run(self, &doctor, printer),
            Command::Status(status) => commands::status::run(&status, printer),
            Command::Record(record) => commands::record::run(&record, printer),
            Command::Store(store) => commands::store::run(self, &store, printer),
            Command::Cert(cert) => commands::cert::run(&cert, printer),
            Command::Trace(trace) => commands::trace::run(self, &trace, printer),
            Command::History(history) => commands::history::run(&history, printer),
            Command::Completions(shell) => {
                commands::shell::completions(self.command(), &called(), &shell, printer)
            }
            Command::Man(manual) => commands::shell::manual(
                self.command().display_name(called()).bin_name(called()),
                &manual,
                printer,
            ),
        }
    }

    /// The command line, whose help names the algorithms.
    fn command(&self) -> clap::Command {
        let help = format!("The algorithm's name: {}", self.names());
        let only = match &*self.entries {
            [only] => Some(only.name()),
            _ => None,
        };
        let named = |command: clap::Command| {
            command.mut_arg("algorithm", |it| match only {
                Some(name) => it.help(&help).required(false).default_value(name),
                None => it.help(&help),
            })
        };
        let commands = ["sim", "check", "sweep", "cluster"];
        let all =
            commands.into_iter().fold(Args::command(), |all, it| all.mut_subcommand(it, named));
        let program = called();
        let all = match self.entries.first() {
            Some(first) if program != "synod" => help::as_typed(all, &program, first.name()),
            _ => all,
        };
        let examples = all.get_after_help().map(ToString::to_string).unwrap_or_default();
        let environment = help::environment(&all);
        all.after_long_help(format!("{examples}\n\n{environment}"))
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.entries.iter().map(|entry| entry.name()).collect();
        names.join(", ")
    }

    /// What is known of the events of every algorithm.
    pub(crate) fn catalogues(&self) -> Result<Vec<Catalogue>, Problem> {
        let catalogues = self.entries.iter().map(|entry| entry.catalogue());
        catalogues.collect::<Result<_, _>>().map_err(|error| Problem::caused(&error))
    }

    /// Whether each algorithm can be told by its name: the second of two would never run.
    fn names_differ(&self) -> Result<(), Problem> {
        let mut entries = self.entries.iter();
        while let Some(one) = entries.next() {
            let Some(other) = entries.as_slice().iter().find(|it| it.name() == one.name()) else {
                continue;
            };
            let (name, types) = (one.name(), [one.type_name(), other.type_name()]);
            let what = format!("two algorithms are called `{name}`: {} and {}", types[0], types[1]);
            let hint = "give one of them another `NAME`, or add it once";
            return Err(Problem::new(Exit::Defect, what).hint(hint));
        }
        Ok(())
    }

    /// The algorithm of that name; the first one if there is no name.
    pub(crate) fn entry(&self, name: Option<&str>) -> Result<&dyn Entry, Problem> {
        let found = match name {
            Some(name) => self.entries.iter().find(|entry| entry.name() == name),
            None => self.entries.first(),
        };
        found.map(AsRef::as_ref).ok_or_else(|| {
            let what = format!("there is no algorithm `{}`", name.unwrap_or_default());
            Problem::new(Exit::Usage, what).hint(format!("known here: {}", self.names()))
        })
    }
}

/// The name of the file that runs.
fn called() -> String {
    let called = words().next().unwrap_or_default();
    Path::new(&called).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The command with what `synod.toml` adds to what was typed.
fn configured(
    all: &clap::Command,
    matches: &ArgMatches,
    typed: Vec<OsString>,
    command: Command,
    printer: &Printer,
) -> Result<Command, Problem> {
    let (all_words, keys) = configured::completed(all, matches, typed)?;
    if keys.is_empty() {
        return Ok(command);
    }
    printer.note(format!("of {}: {}", configured::FILE, keys.join(", ")));
    let parsed = all.clone().try_get_matches_from(all_words);
    let args = parsed.and_then(|it| Args::from_arg_matches(&it));
    Ok(args.expect("each was read before").command.unwrap_or(command))
}

/// The variable of the environment that holds the refused value, where no flag does.
fn variable(all: &clap::Command, error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(told)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = told.split(' ').next()?;
    if words().any(|word| word.split('=').next() == Some(flag)) {
        return None;
    }
    let long = flag.strip_prefix("--")?;
    let all = all.get_subcommands().flat_map(clap::Command::get_arguments);
    let mut named = all.filter(|it| it.get_long() == Some(long)).filter_map(clap::Arg::get_env);
    let found = named.find(|name| std::env::var_os(name).is_some())?;
    Some(found.to_string_lossy().into_owned())
}

/// Tells programs why the command line is wrong, and all where that stands if it is not there; the rest
/// people have been told.
fn refused(error: &clap::Error, variable: Option<String>) -> ExitCode {
    let is_for_programs = words().any(|argument| argument == "--json");
    let text = error.to_string();
    let what = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let hint = match variable {
        Some(name) => {
            let hint = format!("the value is that of {name} in the environment");
            let _ = writeln!(io::stderr(), "\n  {hint}");
            hint
        }
        None => String::from("--help shows what is allowed"),
    };
    let problem = Problem::new(Exit::Usage, what).hint(hint);
    Printer::new(Look { json: is_for_programs, ..Look::default() }).tell(&problem);
    problem.exit.into()
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|entry| entry.name())).finish()
    }
}

#[cfg(test)]
mod tests {
    use synod_algorithms::{Bully, Echo};
    use synod_core::Handlers;

    use super::*;

    fn asked(app: &App) -> Option<String> {
        let parsed =
            app.command().try_get_matches_from(["program", "check", "--nodes", "3"]).ok()?;
        match Args::from_arg_matches(&parsed).expect("it was parsed").command {
            Some(Command::Check(check)) => Some(check.algorithm),
            _ => None,
        }
    }

    /// Is called as another one is.
    #[derive(Clone, Debug, Default, Hash, Serialize)]
    struct Election;

    impl Algorithm for Election {
        const NAME: &'static str = "bully";

        fn handlers() -> Handlers<Self> {
            Handlers::new()
        }
    }

    #[test]
    fn two_algorithms_of_one_name_are_refused_with_their_types() {
        let app = App::new().algorithm::<Bully>().algorithm::<Echo>();
        assert!(app.names_differ().is_ok());
        let problem = app.algorithm::<Election>().names_differ().expect_err("a name twice");
        assert_eq!(problem.exit, Exit::Defect);
        let what = problem.what;
        for words in ["two algorithms are called `bully`: ", "::Bully and ", "tests::Election"] {
            assert!(what.contains(words), "{words}: {what}");
        }
    }

    #[test]
    fn a_program_with_one_algorithm_need_not_be_told_which() {
        let one = App::new().algorithm::<Bully>();
        assert_eq!(asked(&one).as_deref(), Some("bully"));
        assert_eq!(asked(&one.algorithm::<Echo>()), None);
    }
}
