//! The command line: arguments become plain options in one place, every error
//! becomes a sentence and an exit status in another.
//!
//! Data goes to files or standard output; progress and notes go to standard error.

mod args;
mod dump;
mod exit;
mod live;
mod options;
mod outputs;
mod progress;
mod ps;
pub mod record;
mod report;
mod screen;
mod stop;

use std::process::ExitCode;

use clap::Parser;

pub use args::{DumpArgs, PsArgs, RecordArgs, ReportArgs};
pub use exit::{Failure, Status};
pub use options::{Dump, Ps, Record, Report, Target, View};
pub use outputs::{Outputs, Place, Planned, What};
pub use progress::Bar;
pub use stop::on_signals;

/// Does what the arguments say.
pub fn main() -> ExitCode {
    let outcome = match args::Arguments::try_parse() {
        Ok(arguments) => match arguments.command {
            args::Command::Record(args) => {
                args.to_options().and_then(|options| live::record(&options))
            }
            args::Command::Report(args) => {
                args.to_options().and_then(|options| report::run(&options)).map(|()| 0)
            }
            args::Command::Dump(args) => {
                args.to_options().and_then(|options| dump::run(&options)).map(|()| 0)
            }
            args::Command::Ps(args) => {
                args.to_options().and_then(|options| ps::run(&options)).map(|()| 0)
            }
        },
        Err(error) => {
            // Help and the version too are such errors, with status 0. Where even
            // that cannot be printed, there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            failure.print();
            failure.status.into()
        }
    }
}

#[cfg(test)]
mod tests;
