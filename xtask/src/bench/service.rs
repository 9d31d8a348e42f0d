//! The service as a side of the measurement: the released binary, a node of its own, and a new program each round.

use super::place::{Kind, Place, Site};
use super::{Input, Sample, Side};
use crate::memory;
use crate::postgres::Server;
use crate::roster::Counts;

pub(super) struct Service<'a> {
    place: &'a Place<'a>,
    kind: Kind,
    site: Site,
}

impl<'a> Service<'a> {
    pub(super) fn start(place: &'a Place<'a>, kind: Kind, build: usize) -> Result<Service<'a>, String> {
        Ok(Service { place, kind, site: place.site(kind, build, "files")? })
    }
}

impl Side for Service<'_> {
    fn name(&self) -> String {
        self.site.build.to_owned()
    }

    fn begin(&mut self) -> Result<(), String> {
        self.site.tenant.program = self.site.home.new_program(&self.site.tenant.account, "A round's")?;
        Ok(())
    }

    fn bring(&mut self, input: &Input) -> Result<Sample, String> {
        let import = self.site.home.import(&self.site.tenant, &input.csv)?;
        let id = self.site.node.process.id;
        if self.kind == Kind::Postgres {
            self.place.server.query("postgres", "CHECKPOINT");
        }
        memory::reset_peak(id);
        let before = self.place.used(self.kind, id)?;
        let (counts, took) = import.send(&self.site.node.address)?;
        let after = self.place.used(self.kind, id)?;
        let expected = Counts {
            read: input.rows,
            added: input.added,
            updated: input.changed,
            unchanged: input.rows - input.added - input.changed,
        };
        if counts != expected {
            return Err(format!("{counts:?} instead of {expected:?}"));
        }
        Ok(Sample {
            took,
            peak_kib: memory::peak_kib(id),
            processor_seconds: Some(after.0 - before.0),
            database_seconds: (self.kind == Kind::Postgres).then_some(after.1 - before.1),
        })
    }
}

/// The id of the server's first process, the parent of all others.
pub(super) fn postmaster(server: &Server) -> Result<u32, String> {
    // The file is the server's own, which an ordinary user may not read; the server may.
    let text = server.query("postgres", "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)");
    text.parse().map_err(|_| format!("'{text}' is no id of a process"))
}
