//! Which options a command line gives, as it writes them: for what has to know more than their values.

use clap::error::Error;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// What a command line gives, by the id of the argument. It has no option itself: flattened into a command's arguments,
/// before all others (which take what is theirs), it sees them.
#[derive(Clone, Default, Debug)]
pub(crate) struct Given(Vec<(String, Vec<String>)>);

/// An option that was given: its long name, without dashes, and the values, of which a flag has none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GivenOption {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
}

impl Given {
    /// The options that a command's arguments `A` have in common with what is given, in the order of their definition.
    pub(crate) fn options<A: Args>(&self) -> Vec<GivenOption> {
        let command = A::augment_args(Command::new("limpid"));
        let given = |arg: &clap::Arg| {
            let (_, values) = self.0.iter().find(|(id, _)| arg.get_id().as_str() == id)?;
            let values = if arg.get_action().takes_values() { values.clone() } else { Vec::new() };
            Some(GivenOption { name: arg.get_long()?.to_owned(), values })
        };
        command.get_arguments().filter_map(given).collect()
    }
}

impl GivenOption {
    /// As a parser takes it.
    pub(crate) fn words(&self) -> Vec<String> {
        match self.values.as_slice() {
            [] => vec![format!("--{}", self.name)],
            values => values.iter().map(|value| format!("--{}={value}", self.name)).collect(),
        }
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let ids = matches.ids().map(clap::Id::as_str);
        let ids = ids.filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine));
        // Groups are among the ids, too; no argument is called as they are.
        let given = ids.map(|id| {
            let values = matches.try_get_raw(id).ok().flatten().into_iter().flatten();
            (id.to_owned(), values.map(|value| value.to_string_lossy().into_owned()).collect())
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}
