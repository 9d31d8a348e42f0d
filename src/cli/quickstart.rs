//! `roster quickstart`: from nothing to an imported file in one command.
//!
//! It makes what is not there yet, starts the service in this process, and then is a client like any other: the sample goes
//! through the real HTTP interface. On a directory that it made before it works again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::BoolishValueParser;
use tokio::runtime::Runtime;
use ureq::tls::TlsConfig;

use crate::app::Service;
use crate::config::Settings;
use crate::contact::Region;
use crate::store::Store;
use crate::tenant::{Account, AccountId, NewProgram, Program, ProgramId, Role, Scope, TokenListing, User, UserName};
use crate::wire::Status;

use super::choices::default_options;
use super::client::Client;
use super::console_link::{self, Link, MINUTES};
use super::failure::{Exit, Failure};
use super::field::NewField;
use super::location::Origin;
use super::logging::{self, DefaultLevel};
use super::operator::{in_store, now_ms, runtime};
use super::output::Output;
use super::program::create_with_fields;
use super::serve::{Signals, print_address, stop_on_signal};
use super::settings::{GlobalArgs, ServiceArgs};
use super::signing::Credentials;
use super::source::Source;
use super::token::Minted;
use super::transfer::{Seen, Transfer, send_and_wait};
use super::upload::Compression;
use super::{report, shell};

/// The file that is imported; `samples/make_contacts.py` makes it.
const SAMPLE: &[u8] = include_bytes!("../../samples/contacts.csv");
const SAMPLE_NAME: &str = "sample-contacts.csv";
const ACCOUNT: &str = "Example College";
const PROGRAM: &str = "Fall Outreach";
const TOKEN: &str = "quickstart";
const USER: &str = "admin";

/// The program's own fields: one for each column of the sample that is no system field, of many types.
const FIELDS: [&str; 11] = [
    "major:String",
    "gpa:Float",
    "credits:Numeric",
    "honors:Maybe (Boolean)",
    "fafsa_complete:Boolean",
    "birth_date:Maybe (Date)",
    "enrolled_on:Date",
    "last_contact_at:Maybe (DateTime)",
    "advisor_phone:Maybe (Phone)",
    "crm_id:Maybe (UUID)",
    "notes:String",
];

#[derive(Args)]
#[command(after_help = "Example:\n  roster quickstart --data /tmp/roster-try --listen 127.0.0.1:0")]
pub(super) struct QuickstartArgs {
    #[command(flatten)]
    service: ServiceArgs,
    /// Stop after the import instead of serving on
    #[arg(long, env = "ROSTER_ONCE", value_parser = BoolishValueParser::new())]
    once: bool,
}

/// What there is to sign and import with.
struct Prepared {
    account: AccountId,
    program: ProgramId,
    credentials: Credentials,
    /// `None` if the user was disabled since.
    link: Option<Link>,
}

pub(super) fn run(args: &QuickstartArgs, global: &GlobalArgs, output: Output) -> Result<Exit, Failure> {
    let settings = global.settings(args.service.given())?;
    if settings.database.is_some() {
        return Err(Failure::yours("quickstart shows the service on a data directory, not on a database")
            .with_remedy("Leave --database (or ROSTER_DATABASE) out, or use 'roster serve --database'."));
    }
    if settings.tls_certificate.is_some() {
        return Err(Failure::yours("quickstart imports over plain HTTP, from this very machine")
            .with_remedy("Leave tls_certificate and tls_key out, or use 'roster serve'."));
    }
    logging::start(&settings, DefaultLevel::Warn)?;
    let runtime = runtime()?;
    let prepared = runtime.block_on(in_store(&settings, async |store| prepare(&*store).await))?;
    let sample = write_sample(&settings.data)?;
    let service = runtime.block_on(Service::start(&settings))?;
    let run = Run { settings: &settings, prepared: &prepared, sample: &sample, address: service.address(), output };
    let ended = if args.once { once(&run, service, &runtime) } else { serve_on(&run, service, &runtime) };
    runtime.shutdown_background();
    ended
}

/// Imports, stops, and prints what to do next.
fn once(run: &Run<'_>, service: Service, runtime: &Runtime) -> Result<Exit, Failure> {
    let seen = run.import();
    runtime.block_on(service.stop());
    run.print(&seen?, &[("Serve it", run.serve_command()), ("Then import it again", run.import_command())])?;
    Ok(Exit::Done)
}

/// Imports, prints what to do next, and serves until a signal comes.
fn serve_on(run: &Run<'_>, service: Service, runtime: &Runtime) -> Result<Exit, Failure> {
    if !run.output.json {
        print_address(&service, run.output)?;
    }
    let imported = run.import();
    // From here on a signal stops the service; during the import it ends the process, which loses nothing.
    let told = imported.and_then(|seen| {
        let signals = runtime.block_on(async { Signals::listen() })?;
        run.print(&seen, &[("Next, in another terminal", run.import_command())])?;
        run.output.say("\nServing on; Ctrl-C stops.");
        Ok(signals)
    });
    match told {
        Ok(mut signals) => runtime.block_on(stop_on_signal(service, &mut signals, run.output)),
        Err(failure) => {
            runtime.block_on(service.stop());
            Err(failure)
        }
    }
}

/// Finds or makes account, program, token and user, and a link that signs the user in.
async fn prepare(store: &dyn Store) -> Result<Prepared, Failure> {
    let account = find_or_make_account(store).await?;
    let program = find_or_make_program(store, account.id).await?;
    let credentials = find_or_make_token(store, account.id).await?;
    let user = find_or_make_user(store, account.id).await?;
    let link = if user.disabled_ms.is_none() { Some(Link::make(store, user.id, MINUTES).await?) } else { None };
    Ok(Prepared { account: account.id, program: program.id, credentials, link })
}

/// The user of the console, without a password. What it may do is given to a new one; an operator may have changed it since.
async fn find_or_make_user(store: &dyn Store, account: AccountId) -> Result<User, Failure> {
    let name = UserName::parse(USER).map_err(|fault| Failure::ours(fault.to_string()))?;
    let user = match store.user_by_name(&name).await? {
        Some(user) => user,
        None => store.create_user(&name, now_ms()).await?,
    };
    if user.memberships.is_empty() && user.last_signed_in_ms.is_none() {
        store.set_role(user.id, account, Some(Role::Admin)).await?;
    }
    Ok(user)
}

async fn find_or_make_account(store: &dyn Store) -> Result<Account, Failure> {
    let found = store.accounts().await?.into_iter().find(|account| account.name == ACCOUNT);
    match found {
        Some(account) => Ok(account),
        None => Ok(store.create_account(ACCOUNT, now_ms()).await?),
    }
}

async fn find_or_make_program(store: &dyn Store, account: AccountId) -> Result<Program, Failure> {
    let found = store.programs(Some(account)).await?.into_iter().find(|program| program.name == PROGRAM);
    let fields = fields()?;
    let Some(program) = found else {
        let timezone = Some("America/Denver".to_owned());
        let new = NewProgram { name: PROGRAM.to_owned(), region: Region::US, phone: None, timezone };
        return create_with_fields(store, account, new, &fields).await;
    };
    let schema = store.schema(account, program.id).await?;
    for NewField { name, field_type } in fields.iter().filter(|field| schema.by_name(&field.name).is_none()) {
        store.add_field(account, program.id, name, *field_type, now_ms()).await?;
    }
    Ok(program)
}

/// The token of an earlier quickstart, whose secret the store still has, or a new one. One of its name that may not do everything is not
/// it.
async fn find_or_make_token(store: &dyn Store, account: AccountId) -> Result<Credentials, Failure> {
    let listed = store.tokens(Some(account)).await?;
    let is_it = |token: &&TokenListing| token.name == TOKEN && token.revoked_ms.is_none() && token.scope == Scope::FULL;
    if let Some(known) = listed.iter().find(is_it)
        && let Some(token) = store.token(&known.token).await?
    {
        return Ok(Credentials { token: token.token, secret: token.secret });
    }
    let Minted { token, secret } = Minted::create(store, account, TOKEN, Scope::FULL).await?;
    Ok(Credentials { token, secret })
}

fn fields() -> Result<Vec<NewField>, Failure> {
    FIELDS.iter().map(|field| field.parse().map_err(Failure::ours)).collect()
}

/// Puts the sample where the next command can name it.
fn write_sample(data: &Path) -> Result<PathBuf, Failure> {
    let path = data.join(SAMPLE_NAME);
    let written = std::fs::create_dir_all(data).and_then(|()| std::fs::write(&path, SAMPLE));
    written.map_err(|error| Failure::yours(format!("cannot write {}: {error}", path.display())))?;
    // The path is to work from any directory; one that cannot be resolved still works from this one.
    Ok(path.canonicalize().unwrap_or(path))
}

/// One quickstart, with its service running.
struct Run<'a> {
    settings: &'a Settings,
    prepared: &'a Prepared,
    sample: &'a Path,
    address: SocketAddr,
    output: Output,
}

impl Run<'_> {
    /// Imports the sample, as any client would.
    fn import(&self) -> Result<Seen, Failure> {
        let csv = std::str::from_utf8(SAMPLE).map_err(|error| Failure::ours(format!("the sample: {error}")))?;
        let (origin, credentials) = (Origin::parse(&self.url())?, self.prepared.credentials.clone());
        let client = Client::new(origin, TlsConfig::default(), credentials, self.output);
        let (program, options) = (self.prepared.program, default_options(csv));
        let file = &Source::of_text(csv);
        let transfer = Transfer { program, file, options, compression: Compression::Never };
        self.output.say(format_args!("Importing {} …", self.sample.display()));
        send_and_wait(&client, &transfer, self.output)
    }

    fn print(&self, seen: &Seen, next: &[(&str, String)]) -> Result<(), Failure> {
        if self.output.json { self.print_json(seen, next) } else { self.print_words(seen, next) }
    }

    fn print_words(&self, seen: &Seen, next: &[(&str, String)]) -> Result<(), Failure> {
        let Prepared { account, program, credentials, link: _ } = self.prepared;
        let output = self.output;
        report::print(&seen.status, output)?;
        output.say("\nThe bad rows are in the sample on purpose: this is what their reports look like.");
        output.line(format_args!("\naccount        {account}  {ACCOUNT}\nprogram        {program}  {PROGRAM}"))?;
        output.line(format_args!("ROSTER_TOKEN   {}", credentials.token))?;
        output.line(format_args!("ROSTER_SECRET  {}", credentials.secret.expose()))?;
        match self.console_link() {
            Some(link) => {
                output.line(format_args!("console        {link}  (signs in once, within {MINUTES} minutes)"))?
            }
            None => output.line(format_args!("console        {}/console", self.console()))?,
        }
        next.iter().try_for_each(|(when, command)| output.line(format_args!("\n{when}:\n  {command}")))
    }

    fn print_json(&self, seen: &Seen, next: &[(&str, String)]) -> Result<(), Failure> {
        let Prepared { account, program, credentials, link: _ } = self.prepared;
        self.output.object(&QuickstartJson {
            url: self.url(),
            account_id: account.to_string(),
            program_id: program.to_string(),
            token: &credentials.token,
            secret: credentials.secret.expose(),
            console_link: self.console_link(),
            sample: self.sample.display().to_string(),
            next: next.iter().map(|(_, command)| &**command).collect(),
            status: &seen.status,
        })
    }

    /// Where a client on this machine reaches the service.
    fn url(&self) -> String {
        format!("http://{}", console_link::reached(self.address))
    }

    /// Where a browser does.
    fn console(&self) -> String {
        self.settings.console_url.clone().unwrap_or_else(|| self.url())
    }

    fn console_link(&self) -> Option<String> {
        self.prepared.link.as_ref().map(|link| link.under(&self.console()))
    }

    /// The import of the sample, for a shell.
    fn import_command(&self) -> String {
        let Credentials { token, secret } = &self.prepared.credentials;
        let variables = [("ROSTER_TOKEN", &**token), ("ROSTER_SECRET", secret.expose())];
        let (program, sample) = (self.prepared.program.to_string(), self.sample.to_string_lossy());
        let words = [&*this_program(), "import", &sample, "--program", &program, "--url", &self.url()];
        shell::command(&variables, &words)
    }

    /// The service over the same data, for a shell.
    fn serve_command(&self) -> String {
        let data = self.settings.data.canonicalize().unwrap_or_else(|_| self.settings.data.clone());
        let address = self.address.to_string();
        let words = [&*this_program(), "serve", "--data", &data.to_string_lossy(), "--listen", &address];
        shell::command(&[], &words)
    }
}

/// The report of a quickstart, as scripts read it.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct QuickstartJson<'a> {
    url: String,
    account_id: String,
    program_id: String,
    token: &'a str,
    secret: &'a str,
    /// Signs in once, within a quarter of an hour; null if the user is disabled.
    console_link: Option<String>,
    sample: String,
    next: Vec<&'a str>,
    status: &'a Status,
}

/// How this program is called from any directory.
fn this_program() -> String {
    let path = std::env::current_exe().ok();
    path.map_or_else(|| "roster".to_owned(), |path| path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::contact::{ContactNumber, FieldNumber, ProgramTag, Schema};
    use crate::import::{FilePlan, Planner, Report, RowFound, RowReader};

    use super::*;

    fn sample() -> &'static str {
        std::str::from_utf8(SAMPLE).expect("UTF-8")
    }

    fn schema() -> Schema {
        let fields = fields().expect("fields").into_iter().zip(FieldNumber::FIRST_VARIABLE.0..);
        Schema::new(fields.map(|(field, number)| (FieldNumber(number), field.name, field.field_type)))
    }

    /// What the import of the sample into an empty program reports. It is small enough for one batch, so that the empty
    /// program is all that a store would be asked about.
    fn report() -> Report {
        let mut reader = RowReader::new(SAMPLE, b',');
        let header = reader.header().expect("readable");
        let tag = ProgramTag::from_bits(1);
        let options = default_options(sample());
        let file = FilePlan::new(header.as_ref(), &schema(), &options, Region::US, tag).expect("a good header");
        let batch = file.identify(reader.next_batch().expect("readable").expect("rows"));
        let mut planner = Planner::new(&file, ContactNumber::new(1).expect("a number"), 0);
        planner.plan(&batch, &vec![RowFound::default(); batch.len()]).expect("planned");
        assert!(reader.next_batch().expect("readable").is_none(), "one batch");
        planner.finish()
    }

    #[test]
    fn each_own_field_has_a_column() {
        let columns = Source::of_text(sample()).head(None).expect("a header").names;
        for field in schema().variables() {
            assert!(columns.contains(&field.name), "{}", field.name);
        }
    }

    #[test]
    fn the_sample_shows_every_error_that_a_first_import_can_have() {
        let report = report();
        let errors = report.errors.iter().map(|error| {
            let row = error.row.unwrap_or_default();
            format!(
                "{row:>5}  {:22} {:16} {}\n",
                error.code.as_str(),
                error.field.as_deref().unwrap_or("-"),
                error.message
            )
        });
        expect![[r#"
            Counts { read: 2182, added: 2160, updated: 0, unchanged: 0, ignored: 0, failed: 22 }
               99  invalid_value          honors           Could not parse 'sure why not' as Maybe (Boolean)
              196  invalid_value          credits          Could not parse '12.5' as Numeric
              293  invalid_value          gpa              Could not parse '3,9' as Float
              390  invalid_value          birth_date       Could not parse '2005-02-30' as Maybe (Date)
              487  invalid_value          enrolled_on      Could not parse 'next fall' as Date
              584  invalid_value          last_contact_at  Could not parse '2026-11-22 12:00' as Maybe (DateTime)
              681  invalid_value          phone            Could not parse '555-CALL-NOW' as Phone
              778  invalid_value          advisor_phone    Could not parse '12345' as Maybe (Phone)
              875  invalid_value          crm_id           Could not parse 'not-an-id' as Maybe (UUID)
              972  invalid_value          timezone         Could not parse 'Mars/Olympus_Mons' as Timezone
             1069  invalid_value          signalvine_id    Could not parse '33a58d8b27cb11e8ad0a' as UUID
             1166  missing_value          fafsa_complete   Could not parse '' as Boolean
             1263  missing_value          phone            Could not parse '' as Phone
             1360  unknown_signalvine_id  signalvine_id    No contact of the program has the signalvine_id '33a58d8b-27cb-11e8-ad0a-0ab427fa565c', and none can be added under a given one
             1457  duplicate_row          customer_id      Row 2 of the file is about the same contact
             1554  duplicate_row          phone            Row 2 of the file is about the same contact
             1651  phone_taken            phone            Another contact of the program has the phone +14015550129
             1748  invalid_value          timezone         Could not parse 'MST7' as Timezone
             1748  invalid_value          gpa              Could not parse 'A+' as Float
             1748  invalid_value          honors           Could not parse 'maybe' as Maybe (Boolean)
             1748  missing_value          enrolled_on      Could not parse '' as Date
             1845  missing_value          phone            Could not parse '' as Phone
             1845  missing_value          active           Could not parse '' as Boolean
             1845  missing_value          gpa              Could not parse '' as Float
             1845  missing_value          credits          Could not parse '' as Numeric
             1845  missing_value          fafsa_complete   Could not parse '' as Boolean
             1845  missing_value          enrolled_on      Could not parse '' as Date
             1942  cell_count             -                The row has 18 cells, the header has 19 cells
             2039  cell_count             -                The row has 20 cells, the header has 19 cells
             2136  bad_quotes             -                Text follows a closing quote in column 2
        "#]].assert_eq(&format!("{:?}\n{}", report.counts, errors.collect::<String>()));
        assert!(report.applied());
    }
}
