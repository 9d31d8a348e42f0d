//! A database as a move sees it: marks that every node heeds, rows out and rows in.
//!
//! A node that serves asks for a mark whenever it accepts or claims something (`queue`, `commands`). So nodes need not be found
//! to be stopped; but a node that has an import at work is waited for by nobody, and the move is refused.

mod read;
mod write;

use async_trait::async_trait;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

use super::check_key;
use super::connection::{self, Context, Lent, Pool, begin, connection, first_connection};
use super::migration;
use super::queue::NOW_MS;
use super::target::Target;
use crate::store::moving::{CommandRow, Cursor, Direction, Mark, Movable, Part, Row, moved_away, standing};
use crate::store::secrets::{MasterKey, MasterKeySource};
use crate::store::stock::Stock;
use crate::store::{OpenAs, StoreError};
use crate::tenant::{ProgramId, Secret};

/// One reads while another writes, on a third pieces are read.
const CONNECTIONS_MAX: usize = 4;

/// A database that is moved from or into.
pub(crate) struct PostgresMovable {
    place: String,
    pool: Pool,
    key: MasterKey,
}

/// What people call a database: without user and password.
pub(super) fn place(url: &str) -> Result<String, StoreError> {
    let target = Target::parse(url)?;
    let hosts: Vec<String> = target
        .hosts
        .iter()
        .map(|host| match host.config.get_ports().first() {
            Some(port) if *port != 5432 => format!("{}:{port}", host.name),
            Some(_) | None => host.name.clone(),
        })
        .collect();
    let name = target.hosts.first().and_then(|host| host.config.get_dbname().or(host.config.get_user()));
    Ok(format!("the database {} on {}", name.unwrap_or_default(), hosts.join(",")))
}

/// Refuses a database that is being moved. Of one that was moved away the accepting and claiming statements know.
pub(super) async fn check_standing(pool: &Pool, place: &str, open_as: OpenAs) -> Result<(), StoreError> {
    let client = first_connection(pool).await?;
    let marks = marks(&client).await;
    standing(place, &client.done(marks)?, open_as)?;
    Ok(())
}

/// All marks.
pub(super) async fn marks(client: &Client) -> Result<Vec<Mark>, StoreError> {
    let reading = || "reading the marks of moves";
    let rows = client
        .query_typed("SELECT id, direction, peer, begun_ms, finished_ms FROM moving", &[])
        .await
        .context(reading)?;
    let mut marks = Vec::new();
    for row in &rows {
        marks.push(Mark {
            id: row.try_get(0).context(reading)?,
            direction: Direction::parse(row.try_get(1).context(reading)?)?,
            peer: row.try_get(2).context(reading)?,
            begun_ms: row.try_get(3).context(reading)?,
            finished_ms: row.try_get(4).context(reading)?,
        });
    }
    Ok(marks)
}

/// The condition under which a node takes on no work: a move is on its way, or has led out of here.
pub(super) const IS_MOVING: &str =
    "EXISTS (SELECT 1 FROM moving WHERE finished_ms IS NULL OR moving.direction = 'out')";

/// The condition under which nobody gets in: not everything is there yet.
pub(super) const IS_HALF_FILLED: &str =
    "EXISTS (SELECT 1 FROM moving WHERE finished_ms IS NULL AND moving.direction = 'in')";

/// Refuses to change what is being moved, or was. Who comes to this point before a move takes the lanes is waited for by it, and who comes
/// after that sees its mark; so nothing is changed that the move does not see.
pub(super) async fn not_while_moving(tx: &Transaction<'_>) -> Result<(), StoreError> {
    tx.batch_execute("LOCK TABLE lane IN ROW EXCLUSIVE MODE")
        .await
        .context(|| "making sure that nothing is being moved")?;
    let is_moving: bool = tx
        .query_typed_one(&format!("SELECT {IS_MOVING}"), &[])
        .await
        .and_then(|row| row.try_get(0))
        .context(|| "asking whether everything is being moved")?;
    if is_moving { Err(refuse_work(tx.client()).await?) } else { Ok(()) }
}

/// What is answered to who wants to import while [`IS_MOVING`].
pub(super) async fn refuse_work(client: &Client) -> Result<StoreError, StoreError> {
    let marks = marks(client).await?;
    Ok(match marks.iter().find(|mark| mark.direction == Direction::Out && mark.finished_ms.is_some()) {
        Some(mark) => moved_away(&mark.peer),
        None => StoreError::Unavailable("everything is just being moved".to_owned()),
    })
}

/// Borrows a connection for a piece of work.
macro_rules! with {
    ($home:expr, |mut $client:ident| $work:expr) => {{
        let mut $client = $home.client().await?;
        let done = $work.await;
        $client.done(done)
    }};
    ($home:expr, |$client:ident| $work:expr) => {{
        let $client = $home.client().await?;
        let done = $work.await;
        $client.done(done)
    }};
}

impl PostgresMovable {
    /// Opens a database that has data.
    pub(crate) async fn source(url: &Secret, master_key: MasterKeySource) -> Result<PostgresMovable, StoreError> {
        Self::open(url, master_key.of_existing()).await
    }

    /// Opens a database, and migrates it where it lacks something.
    pub(crate) async fn open(url: &Secret, master_key: MasterKeySource) -> Result<PostgresMovable, StoreError> {
        let place = place(url.expose())?;
        let pool = connection::pool(connection::sessions(url.expose())?, CONNECTIONS_MAX)?;
        migration::migrate(&pool, &migration::steps()?).await?;
        let key = check_key(&pool, master_key).await?;
        Ok(PostgresMovable { place, pool, key })
    }

    async fn client(&self) -> Result<Lent, StoreError> {
        connection(&self.pool).await
    }

    /// Changes the marks, durably; how many.
    async fn mark(&self, sql: &str, parameters: &[(&(dyn ToSql + Sync), Type)]) -> Result<u64, StoreError> {
        let client = self.client().await?;
        let marked = connection::execute(&client, sql, parameters, || "marking the database".to_owned()).await;
        client.done(marked)
    }
}

/// Takes the lanes away from who had them. Who is about to accept or to commit something is waited for; who begins after that
/// sees the mark. Whether nobody was at work.
async fn take_lanes(client: &mut Lent) -> Result<bool, StoreError> {
    let taking = || "taking the queues over";
    let tx = begin(client).await.context(taking)?;
    tx.batch_execute("LOCK TABLE lane IN EXCLUSIVE MODE").await.context(taking)?;
    if somebody_works(tx.client()).await? {
        tx.rollback().await.context(taking)?;
        return Ok(false);
    }
    tx.batch_execute("UPDATE lane SET running = false, rows = 0, node = NULL WHERE running").await.context(taking)?;
    tx.commit().await.context(taking)?;
    client.confirmed()?;
    Ok(true)
}

async fn somebody_works(client: &Client) -> Result<bool, StoreError> {
    client
        .query_typed_one(
            &format!("SELECT EXISTS (SELECT 1 FROM lane WHERE running AND lease_until_ms > {NOW_MS})"),
            &[],
        )
        .await
        .and_then(|row| row.try_get(0))
        .context(|| "looking for nodes that work")
}

async fn holds_anything(client: &Client) -> Result<bool, StoreError> {
    client
        .query_typed_one("SELECT EXISTS (SELECT 1 FROM account) OR EXISTS (SELECT 1 FROM console_user)", &[])
        .await
        .and_then(|row| row.try_get(0))
        .context(|| "looking for accounts and users")
}

async fn write_batch(client: &mut Lent, key: &MasterKey, part: Part, rows: Vec<Row>) -> Result<(), StoreError> {
    let filling = || "filling the database";
    let tx = begin(client).await.context(filling)?;
    write::write(tx.client(), key, part, rows).await?;
    tx.commit().await.context(filling)?;
    client.confirmed()
}

#[async_trait]
impl Movable for PostgresMovable {
    fn place(&self) -> String {
        self.place.clone()
    }

    async fn marks(&self) -> Result<Vec<Mark>, StoreError> {
        with!(self, |client| marks(&client))
    }

    async fn holds_anything(&self) -> Result<bool, StoreError> {
        with!(self, |client| holds_anything(&client))
    }

    async fn hold(&self, mark: &Mark) -> Result<(), StoreError> {
        let at_work = || {
            StoreError::Refused(format!(
                "a node is at work on {}, or was killed a moment ago; stop all nodes, and try again in a few seconds",
                self.place
            ))
        };
        if with!(self, |client| somebody_works(&client))? {
            return Err(at_work());
        }
        let Mark { id, direction, peer, begun_ms, finished_ms: _ } = mark;
        let is_new = self
            .mark(
                "INSERT INTO moving (id, direction, peer, begun_ms) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
                &[(id, Type::UUID), (&direction.word(), Type::TEXT), (peer, Type::TEXT), (begun_ms, Type::INT8)],
            )
            .await?;
        let are_taken = with!(self, |mut client| take_lanes(&mut client));
        if let Ok(true) = are_taken {
            return Ok(());
        }
        if is_new > 0 {
            self.release(*id, *direction).await?;
        }
        are_taken?;
        Err(at_work())
    }

    async fn end(&self, id: Uuid, direction: Direction, finished_ms: i64) -> Result<(), StoreError> {
        self.mark(
            "UPDATE moving SET finished_ms = $3 WHERE id = $1 AND direction = $2 AND finished_ms IS NULL",
            &[(&id, Type::UUID), (&direction.word(), Type::TEXT), (&finished_ms, Type::INT8)],
        )
        .await?;
        Ok(())
    }

    async fn release(&self, id: Uuid, direction: Direction) -> Result<(), StoreError> {
        self.mark(
            "DELETE FROM moving WHERE id = $1 AND direction = $2 AND finished_ms IS NULL",
            &[(&id, Type::UUID), (&direction.word(), Type::TEXT)],
        )
        .await?;
        Ok(())
    }

    async fn page(&self, part: Part, after: &Cursor, rows_max: u32) -> Result<Vec<Row>, StoreError> {
        with!(self, |mut client| read::page(&mut client, &self.key, part, after, rows_max))
    }

    async fn piece(&self, command: &CommandRow, piece: u32) -> Result<Vec<u8>, StoreError> {
        with!(self, |client| read::piece(&client, command, piece))
    }

    async fn stock(&self, program: ProgramId) -> Result<Stock, StoreError> {
        with!(self, |client| read::stock(&client, program))
    }

    async fn reached(&self, part: Part) -> Result<u64, StoreError> {
        with!(self, |client| read::reached(&client, part))
    }

    async fn write(&self, part: Part, rows: Vec<Row>) -> Result<(), StoreError> {
        with!(self, |mut client| write_batch(&mut client, &self.key, part, rows))
    }

    async fn write_piece(&self, command: &CommandRow, piece: u32, bytes: &[u8], _: bool) -> Result<(), StoreError> {
        with!(self, |client| write::piece(&client, command, piece, bytes))
    }

    async fn write_stock(&self, program: ProgramId, stock: Stock) -> Result<(), StoreError> {
        with!(self, |client| write::stock(&client, program, stock))
    }

    async fn settle(&self) -> Result<(), StoreError> {
        with!(self, |client| write::settle(&client))
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.pool.close();
        Ok(())
    }
}
