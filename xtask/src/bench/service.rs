//! The service as a side of the measurement: the released binary, a node of its own, and a new program each round.

use super::{Input, Sample, Side};
use crate::memory;
use crate::postgres::Server;
use crate::roster::{Counts, Home, Node, Tenant};

pub(super) struct Service<'a> {
    name: &'static str,
    home: Home,
    database: Option<&'a Server>,
    node: Node,
    tenant: Tenant,
}

impl<'a> Service<'a> {
    /// `name` tells two builds apart.
    pub(super) fn start(home: Home, database: Option<&'a Server>, name: &'static str) -> Result<Service<'a>, String> {
        let kind = if database.is_some() { "postgres" } else { "sqlite" };
        let node = home.serve("127.0.0.1:0", &home.directory.join(format!("{kind}.log")))?;
        let tenant = home.new_tenant()?;
        Ok(Service { name, home, database, node, tenant })
    }
}

impl Side for Service<'_> {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn begin(&mut self) -> Result<(), String> {
        self.tenant.program = self.home.new_program(&self.tenant.account, "A round's")?;
        Ok(())
    }

    fn bring(&mut self, input: &Input) -> Result<Sample, String> {
        let import = self.home.import(&self.tenant, &input.csv)?;
        let id = self.node.process.id;
        let database = self.database.map(postmaster).transpose()?;
        if let Some(server) = self.database {
            server.query("postgres", "CHECKPOINT");
        }
        memory::reset_peak(id);
        let used = || (memory::processor_seconds(id), database.map(memory::processor_seconds_with_children));
        let (before, database_before) = used();
        let (counts, took) = import.send(&self.node.address)?;
        let (after, database_after) = used();
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
            processor_seconds: Some(after - before),
            database_seconds: database_after.zip(database_before).map(|(after, before)| after - before),
        })
    }
}

/// The id of the server's first process, the parent of all others.
pub(super) fn postmaster(server: &Server) -> Result<u32, String> {
    // The file is the server's own, which an ordinary user may not read; the server may.
    let text = server.query("postgres", "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)");
    text.parse().map_err(|_| format!("'{text}' is no id of a process"))
}
