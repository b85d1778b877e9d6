//! Visitors of a shop that does not exist, and their frustration, in the demo.

mod findings;
mod hints;
mod visitors;

use clap::Args;
use futures::future::{BoxFuture, FutureExt};

use self::visitors::Sent;
use crate::families::demonstration::{Demo, Demonstration, Failure};

/// The visitors.
#[derive(Debug, Args)]
pub(super) struct Visitors {
    /// How many browser sessions are generated.
    #[arg(long, value_name = "NUMBER", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    sessions: u64,
    #[arg(skip)]
    sent: Option<Sent>,
}

impl Demonstration for Visitors {
    fn send<'a>(&'a mut self, demo: &'a Demo) -> BoxFuture<'a, Result<(), Failure>> {
        async {
            self.sent = Some(visitors::send(self.sessions, demo).await?);
            Ok(())
        }
        .boxed()
    }

    fn show<'a>(&'a self, demo: &'a Demo) -> BoxFuture<'a, Result<(), Failure>> {
        async {
            match &self.sent {
                Some(sent) => findings::print(demo, sent).await,
                None => Ok(()),
            }
        }
        .boxed()
    }

    fn hints<'a>(&'a self, demo: &'a Demo) -> BoxFuture<'a, Result<String, Failure>> {
        hints::hints(demo).boxed()
    }
}
