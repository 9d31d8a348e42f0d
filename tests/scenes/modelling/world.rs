//! A service and what it should be: an account with two programs, its tokens, and all imports that were accepted. Each step is done to both.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use jiff::Timestamp;
use roster::signature::{print_digest, sign};
use roster::wire::{write_import, write_options};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::contract::{Contact, File, Model, Report, Wrong};
use super::import::{Existing, ImportOptions};
use super::made_up::{self, Choices};
use super::shown::{self, Differs, same};
use super::{Import, Step};
use crate::harness::{Account, Answer, Client, Home, Request, Service, text};

/// Longer than any of these imports takes.
const WAIT: &str = "wait=30";

/// A choice below this is one of what is more interesting; others are of all that there is.
const MOSTLY: usize = 208;

/// How much was done, over all sequences.
#[derive(Debug, Default)]
#[allow(dead_code, reason = "it is printed")]
pub(super) struct Done {
    steps: usize,
    imports: usize,
    applied: usize,
    cancelled: usize,
    refused: usize,
    replayed: usize,
    reads: usize,
    restarts: usize,
}

/// What sequences have in common: a service, and an account that is theirs one after the other.
pub(super) struct Ground {
    service: Service,
    /// As long as this file is there, no import that begins comes to its end.
    hold: PathBuf,
    /// Signs what is only to find out; nobody takes its token away.
    owner: Account,
    /// A token that the next sequence may begin with.
    first: Option<Account>,
    pub(super) done: Done,
}

impl Ground {
    pub(super) fn new(home: Home) -> Ground {
        let (home, hold) = home.held_at("import.begun");
        std::fs::remove_file(&hold).unwrap();
        let service = home.serve();
        let owner = service.new_account();
        Ground { service, hold, owner, first: None, done: Done::default() }
    }

    /// Whether there is a service for the next sequence, wherever the one before ended.
    pub(super) fn is_fit(&mut self) -> bool {
        let _ = std::fs::remove_file(&self.hold);
        self.service.is_running() || catch_unwind(AssertUnwindSafe(|| self.service.start())).is_ok()
    }
}

struct Token {
    account: Account,
    name: String,
    /// The secret before the last rotation, and whether it still holds.
    old_secret: Option<(String, bool)>,
    is_read_only: bool,
    /// The one program that it reaches.
    only: Option<usize>,
    is_revoked: bool,
}

/// An import that was accepted.
struct Post {
    request: Request,
    token: usize,
    /// The secret that it is signed with.
    secret: String,
    program: usize,
    key: Option<String>,
    options: ImportOptions,
    file: File,
    is_stream: bool,
    location: String,
    is_cancelled: bool,
    /// Its status, once it is known to be complete: it never changes again.
    status: Option<Value>,
}

struct Program {
    id: String,
    model: Model,
    /// When each field of each contact last changed, as it was last read.
    updated: Vec<BTreeMap<String, String>>,
    /// All that were accepted, in this order; those behind the first `settled` are not in the model yet.
    posts: Vec<usize>,
    settled: usize,
}

pub(super) struct World<'g> {
    ground: &'g mut Ground,
    programs: [Program; 2],
    tokens: Vec<Token>,
    posts: Vec<Post>,
    /// Which post each key is for, and what was sent with it.
    keys: HashMap<(usize, usize, String), (usize, Vec<u8>)>,
    is_held: bool,
}

impl<'g> World<'g> {
    /// Fresh programs in an account that has others.
    pub(super) fn new(ground: &'g mut Ground) -> World<'g> {
        let program = || Program {
            id: String::new(),
            model: Model { schema: made_up::schema(), contacts: Vec::new(), new_id: |_| String::new() },
            updated: Vec::new(),
            posts: Vec::new(),
            settled: 0,
        };
        let programs = [program(), program()];
        let mut world =
            World { ground, programs, tokens: Vec::new(), posts: Vec::new(), keys: HashMap::new(), is_held: false };
        let first = match world.ground.first.take() {
            Some(account) => Token { account, ..world.no_token("first") },
            None => world.new_token("first", &[]),
        };
        world.tokens.push(first);
        world.ready(0);
        world
    }

    /// Makes the program, if nothing has needed it before.
    fn ready(&mut self, program: usize) {
        if self.programs[program].id.is_empty() {
            let fields = made_up::VARIABLES.map(|(name, printed)| format!("{name}:{printed}"));
            let fields = fields.iter().flat_map(|field| ["--field", field]);
            let arguments = ["program", "create", "Fall", "--account", &self.ground.owner.id].into_iter().chain(fields);
            let made = self.ground.service.home.operate(&arguments.collect::<Vec<_>>());
            self.programs[program].id = text(&made["id"]);
        }
    }

    /// Does a step.
    pub(super) fn take(&mut self, step: &Step) -> Result<(), Differs> {
        self.ground.done.steps += 1;
        match step {
            Step::Import(import) => self.import(import),
            Step::Again { which } => self.again(*which),
            Step::SameKey { which, is_other } => self.same_key(*which, *is_other),
            Step::Cancel { token, which } => self.cancel(*token, *which),
            Step::Look { token, which } => self.look(*token, *which),
            Step::Read { program, count, by_offset, active } => {
                self.read(usize::from(*program) % 2, 1 + usize::from(*count) % 5, *by_offset, *active)
            }
            Step::List { program } => self.list(usize::from(*program) % 2),
            Step::Settle => self.settle(),
            Step::Hold => {
                self.settle()?;
                std::fs::write(&self.ground.hold, "").unwrap();
                self.is_held = true;
                Ok(())
            }
            Step::Release => {
                self.release();
                Ok(())
            }
            Step::NewToken { kind } => {
                let kind = usize::from(*kind) % 4;
                let only = [None, None, Some(0), Some(1)][kind];
                only.into_iter().for_each(|program| self.ready(program));
                let program = only.map(|at: usize| self.programs[at].id.clone());
                let flags: Vec<&str> = match (&program, kind) {
                    (Some(program), _) => vec!["--program", program],
                    (None, 0) => vec!["--read-only"],
                    (None, _) => vec![],
                };
                let name = format!("token {}", self.tokens.len());
                let token = self.new_token(&name, &flags);
                self.tokens.push(Token { is_read_only: kind == 0, only, ..token });
                Ok(())
            }
            Step::Revoke { token } => {
                self.revoke(*token);
                Ok(())
            }
            Step::Rotate { token, overlaps } => {
                self.rotate(*token, *overlaps);
                Ok(())
            }
            Step::Terminate => {
                self.release();
                same("the exit code", self.ground.service.terminate(), Some(0))?;
                self.restarted()
            }
            Step::Kill => {
                self.ground.service.kill();
                self.restarted()
            }
        }
    }

    /// What must hold after all steps.
    pub(super) fn end(&mut self) -> Result<(), Differs> {
        self.settle()?;
        for program in 0..2 {
            self.read(program, 1_000, false, false)?;
            self.list(program)?;
        }
        // What was told once is told for ever.
        for post in &self.posts {
            let status = self.owner(post.program).get(&post.location).json();
            same("the status at the end", Some(&status), post.status.as_ref())?;
        }
        // The next one may have what is as it was.
        let first = self.tokens.swap_remove(0);
        if !first.is_revoked && first.old_secret.is_none() {
            self.ground.first = Some(first.account);
        }
        Ok(())
    }

    fn restarted(&mut self) -> Result<(), Differs> {
        self.ground.done.restarts += 1;
        self.ground.service.start();
        Ok(())
    }

    fn release(&mut self) {
        if std::mem::take(&mut self.is_held) {
            std::fs::remove_file(&self.ground.hold).unwrap();
        }
    }

    fn new_token(&self, name: &str, flags: &[&str]) -> Token {
        let id = self.ground.owner.id.clone();
        let arguments = [&["token", "create", "--account", &id, "--name", name], flags].concat();
        let made = self.ground.service.home.operate(&arguments);
        let account = Account { id, token: text(&made["token"]), secret: text(&made["secret"]) };
        Token { account, ..self.no_token(name) }
    }

    /// What a token begins with, under its account's name.
    fn no_token(&self, name: &str) -> Token {
        let account = self.ground.owner.clone();
        Token { account, name: name.to_owned(), old_secret: None, is_read_only: false, only: None, is_revoked: false }
    }

    fn revoke(&mut self, token: u8) {
        let at = self.token(token);
        if std::mem::replace(&mut self.tokens[at].is_revoked, true) {
            return;
        }
        let token = &self.tokens[at].account.token;
        let output = self.ground.service.home.command(&["token", "revoke", token]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        if self.good_tokens().is_empty() {
            let token = self.new_token(&format!("token {}", self.tokens.len()), &[]);
            self.tokens.push(token);
        }
    }

    fn rotate(&mut self, token: u8, overlaps: bool) {
        let at = self.token(token);
        let token = &mut self.tokens[at];
        if token.is_revoked {
            return;
        }
        let overlap = if overlaps { "1h" } else { "0" };
        let made = self.ground.service.home.operate(&["token", "rotate", &token.account.token, "--overlap", overlap]);
        let old = std::mem::replace(&mut token.account.secret, text(&made["secret"]));
        token.old_secret = Some((old, overlaps));
    }

    /// The tokens that may do everything.
    fn good_tokens(&self) -> Vec<usize> {
        let may_all = |token: &Token| !token.is_revoked && !token.is_read_only && token.only.is_none();
        (0..self.tokens.len()).filter(|at| may_all(&self.tokens[*at])).collect()
    }

    /// Mostly one of these.
    fn token(&self, which: u8) -> usize {
        let (good, which) = (self.good_tokens(), usize::from(which));
        if which < MOSTLY && !good.is_empty() { good[which % good.len()] } else { which % self.tokens.len() }
    }

    fn owner(&self, program: usize) -> Client {
        self.client(&self.ground.owner, program)
    }

    fn client(&self, account: &Account, program: usize) -> Client {
        self.ground.service.client_of(account, &self.programs[program].id)
    }

    /// Why a request is refused before it is looked at, if it is.
    fn refusal(&self, token: usize, secret: &str, program: usize, writes: bool) -> Option<(u16, &'static str)> {
        let token = &self.tokens[token];
        let holds = secret == token.account.secret
            || token.old_secret.as_ref().is_some_and(|old| *old == (secret.to_owned(), true));
        if token.is_revoked {
            Some((401, "unknown_token"))
        } else if !holds {
            Some((401, "signature_mismatch"))
        } else if writes && token.is_read_only {
            Some((403, "forbidden"))
        } else if token.only.is_some_and(|only| only != program) {
            Some((404, "not_found"))
        } else {
            None
        }
    }

    /// Whether an answer is the refusal that it must be, if it must be one.
    fn is_refused(&mut self, answer: &Answer, refusal: Option<(u16, &'static str)>) -> Result<bool, Differs> {
        let Some((status, code)) = refusal else { return Ok(false) };
        self.ground.done.refused += 1;
        let found = (answer.status, answer.json()["code"].as_str().map(str::to_owned));
        same("the refusal", found, (status, Some(code.to_owned())))?;
        Ok(true)
    }

    fn import(&mut self, import: &Import) -> Result<(), Differs> {
        let Import { token, with_old_secret, program, is_stream, key, waits, bytes } = import;
        let (token, program) = (self.token(*token), usize::from(*program % 4 == 3));
        self.ready(program);
        let ids: Vec<String> = self.programs[program].model.contacts.iter().map(|contact| contact.id.clone()).collect();
        let id = |number: usize| match ids.get(number - 1) {
            Some(id) if !id.is_empty() => id.clone(),
            _ => format!("00000000-0000-4000-8000-{number:012}"),
        };
        let (options, file) = made_up::import(&mut Choices::new(bytes), &id);
        let old = self.tokens[token].old_secret.as_ref().filter(|_| *with_old_secret);
        let secret = old.map_or_else(|| self.tokens[token].account.secret.clone(), |(old, _)| old.clone());
        let key = key.map(|key| format!("key {key}"));
        self.post((token, secret, program), (options, file), *is_stream, key, *waits)
    }

    /// Signs an import, sends it, and says what must be answered.
    fn post(
        &mut self,
        (token, secret, program): (usize, String, usize),
        (options, file): (ImportOptions, File),
        is_stream: bool,
        key: Option<String>,
        waits: bool,
    ) -> Result<(), Differs> {
        // In a query commas part the names.
        let is_plain = match &options.existing {
            Existing::Ignore => true,
            Existing::Fields(names) => names.iter().all(|name| !name.is_empty() && !name.contains(',')),
        };
        let is_stream = is_stream && is_plain;
        let account = Account { secret: secret.clone(), ..self.tokens[token].account.clone() };
        let mut request = signed(&self.client(&account, program), &options, &file, is_stream);
        if let Some(key) = &key {
            request = request.header("idempotency-key", key);
        }
        if waits && !self.is_held {
            request = request.header("prefer", WAIT);
        }
        let answer = self.client(&account, program).send(&request);
        if self.is_refused(&answer, self.refusal(token, &secret, program, true))? {
            return Ok(());
        }
        let sent = [request.query.as_bytes(), b"\n", &request.body].concat();
        let known = key.clone().and_then(|key| self.keys.get(&(token, program, key)));
        match known {
            Some((post, before)) if *before == sent => return self.is_replay(*post, &answer),
            Some(_) => {
                same("a key for something else", answer.status, 422)?;
                return same("its code", answer.json()["code"].as_str(), Some("idempotency_key_reused"));
            }
            None => {}
        }
        same("the answer to an import", answer.status, 202)?;
        same("the header of a replay", answer.header("idempotency-replayed"), None)?;
        let location = answer.location();
        same("a command of its own", self.posts.iter().any(|post| post.location == location), false)?;
        self.ground.done.imports += 1;
        let post = self.posts.len();
        if let Some(key) = &key {
            self.keys.insert((token, program, key.clone()), (post, sent));
        }
        self.programs[program].posts.push(post);
        let (status, is_cancelled) = (None, false);
        self.posts.push(Post {
            request,
            token,
            secret,
            program,
            key,
            options,
            file,
            is_stream,
            location,
            is_cancelled,
            status,
        });
        self.note(post, answer.json())
    }

    /// Looks at a status: that of a complete import is kept, and never another one.
    fn note(&mut self, post: usize, status: Value) -> Result<(), Differs> {
        let of = &mut self.posts[post];
        same("whose import it is", status["from"].as_str(), Some(&*self.tokens[of.token].name))?;
        match &of.status {
            Some(before) => same("the status of what was complete", &status, before)?,
            None if status["complete"] == true => of.status = Some(status),
            None => same("the error of what runs", &status["error"], &Value::Bool(false))?,
        }
        Ok(())
    }

    fn is_replay(&mut self, post: usize, answer: &Answer) -> Result<(), Differs> {
        self.ground.done.replayed += 1;
        same("the answer to a request that was accepted before", answer.status, 202)?;
        same("the header of a replay", answer.header("idempotency-replayed"), Some("true"))?;
        same("the location of a replay", answer.location(), self.posts[post].location.clone())?;
        self.note(post, answer.json())
    }

    /// An import that was accepted; mostly one that may still be under way, if there is one.
    fn chosen(&self, which: u8) -> Option<usize> {
        let open: Vec<usize> = (0..self.posts.len()).filter(|at| self.posts[*at].status.is_none()).collect();
        let which = usize::from(which);
        if which < MOSTLY && !open.is_empty() {
            return Some(open[open.len() - 1 - which % open.len()]);
        }
        (!self.posts.is_empty()).then(|| which % self.posts.len())
    }

    fn again(&mut self, which: u8) -> Result<(), Differs> {
        let Some(at) = self.chosen(which) else { return Ok(()) };
        let post = &self.posts[at];
        let request = post.request.clone();
        let request = if self.is_held { request.without("prefer") } else { request };
        let refusal = self.refusal(post.token, &post.secret, post.program, true);
        let answer = self.owner(post.program).send(&request);
        if self.is_refused(&answer, refusal)? {
            return Ok(());
        }
        self.is_replay(at, &answer)
    }

    fn same_key(&mut self, which: u8, is_other: bool) -> Result<(), Differs> {
        let Some(at) = self.chosen(which) else { return Ok(()) };
        let Post { token, program, key, options, file, is_stream, .. } = &self.posts[at];
        let Some(key) = key.clone() else { return Ok(()) };
        let (token, program, is_stream) = (*token, *program, *is_stream);
        let mut options = options.clone();
        options.dry_run ^= is_other;
        let secret = self.tokens[token].account.secret.clone();
        self.post((token, secret, program), (options, file.clone()), is_stream, Some(key), false)
    }

    fn cancel(&mut self, token: u8, which: u8) -> Result<(), Differs> {
        let Some(at) = self.chosen(which) else { return Ok(()) };
        let (program, location) = (self.posts[at].program, self.posts[at].location.clone());
        let waiting = &self.programs[program].posts[self.programs[program].settled..];
        let is_first = waiting.first() == Some(&at);
        if is_first && self.posts[at].status.is_none() {
            // It may have begun: then the answer waits for its end.
            self.release();
        }
        let token = self.token(token);
        let Token { account, name, .. } = &self.tokens[token];
        let (account, name) = (account.clone(), name.clone());
        let client = self.client(&account, program);
        let answer = client.send(&client.request("DELETE", &location, ""));
        if self.is_refused(&answer, self.refusal(token, &account.secret, program, true))? {
            return Ok(());
        }
        if self.posts[at].status.is_some() || answer.status == 409 {
            same("cancelling what is complete", answer.status, 409)?;
            same("its code", answer.json()["code"].as_str(), Some("already_complete"))?;
            // What is held has not begun, unless it is the first.
            return same(
                "too late for what waits",
                self.is_held && self.posts[at].status.is_none() && !is_first,
                false,
            );
        }
        same("the answer to a cancellation", answer.status, 200)?;
        let mut status = answer.json();
        let is_told = status["complete"] == true;
        if !is_told {
            // One that runs ends when it can; one of a process that was killed may turn out to have been applied.
            same("what waits is cancelled at once", self.is_held && !is_first, false)?;
            status = self.owner(program).completed(&location);
        }
        if is_told || status["message"]["notApplied"] == "cancelled" {
            let says = text(&status["message"]["errors"][0]["message"]);
            same("who cancelled", says, format!("The import was cancelled by {name}"))?;
            self.posts[at].is_cancelled = true;
            self.ground.done.cancelled += 1;
        }
        self.note(at, status)
    }

    fn look(&mut self, token: u8, which: u8) -> Result<(), Differs> {
        let Some(at) = self.chosen(which) else { return Ok(()) };
        let token = self.token(token);
        let account = self.tokens[token].account.clone();
        let post = &self.posts[at];
        let answer = self.client(&account, post.program).get(&post.location);
        let refusal = self.refusal(token, &account.secret, post.program, false);
        if self.is_refused(&answer, refusal)? {
            return Ok(());
        }
        same("the answer about an import", answer.status, 200)?;
        self.note(at, answer.json())?;
        let post = &self.posts[at];
        let answer = self.client(&account, post.program).get(&format!("{}/errors.csv", post.location));
        let Some(status) = &post.status else {
            // It may be complete by now.
            return same("the failed rows", matches!(answer.status, 200 | 404), true);
        };
        same("the failed rows", answer.status, 200)?;
        same(
            "their numbers",
            shown::failed_rows(&answer.body, post.file.header.len())?,
            shown::rows_with_errors(status),
        )
    }

    /// Waits for all imports, and does them to the model, in the order of their acceptance.
    fn settle(&mut self) -> Result<(), Differs> {
        self.release();
        for program in 0..2 {
            while let Some(at) = self.programs[program].posts.get(self.programs[program].settled).copied() {
                let client = self.owner(program);
                let status = client.completed(&self.posts[at].location);
                self.note(at, status.clone())?;
                let post = &self.posts[at];
                let expected = if post.is_cancelled {
                    let cancelled = Wrong { row: None, field: None, code: "cancelled", value: None, message: None };
                    Report::without_rows("cancelled", vec![cancelled])
                } else {
                    self.programs[program].model.import(&post.options, &post.file)
                };
                self.ground.done.applied += usize::from(expected.not_applied.is_none());
                self.programs[program].settled += 1;
                let what = || format!("the report of {} {:?}", made_up::words(&post.options), post.file.csv());
                same(&what(), shown::report(&status)?, expected)?;
                same("the mode", status["message"]["mode"].as_str(), Some(post.options.mode.as_str()))?;
                let is_read = post.is_stream && !post.is_cancelled;
                same("the dialect", status["message"].get("dialect").is_some(), is_read)?;
            }
        }
        Ok(())
    }

    /// Reads a program's contacts: page by page where nothing is going on, else as a whole that some moment must have had.
    fn read(&mut self, program: usize, count: usize, by_offset: bool, active: bool) -> Result<(), Differs> {
        let of = &self.programs[program];
        if of.id.is_empty() {
            return Ok(());
        }
        self.ground.done.reads += 1;
        let client = self.owner(program);
        if of.settled < of.posts.len() {
            let path = format!("/v1/programs/{}/participants?type=full&active=all&count=1000", of.id);
            let found = client.get(&path).json()["items"].as_array().ok_or("no items")?.clone();
            let values = |json| shown::contact(json).map(|(contact, _)| contact.values);
            let found = found.iter().map(values).collect::<Result<Vec<_>, Differs>>()?;
            let states = self.states(program);
            if states.contains(&found) {
                return Ok(());
            }
            return Err(format!("contacts as no moment has had them:\n   found {found:?}\nof {states:?}"));
        }
        let all = if active { "" } else { "&active=all" };
        let mut path = format!("/v1/programs/{}/participants?type=full{all}&count={count}", of.id);
        let first = path.clone();
        let mut found = Vec::new();
        loop {
            let page = client.get(&path).json();
            let items = page["items"].as_array().ok_or("no items")?;
            found.extend(items.iter().cloned());
            let links = page["links"].as_array().ok_or("no links")?;
            let next = links.iter().find(|link| link["rel"] == "next").map(|link| text(&link["uri"]));
            let Some(next) = next else { break };
            path = if by_offset { format!("{first}&offset={}", found.len()) } else { next };
        }
        self.compare(program, &found, active)
    }

    /// The contacts that there may be while imports are under way.
    fn states(&self, program: usize) -> Vec<Vec<BTreeMap<String, String>>> {
        let of = &self.programs[program];
        let mut model =
            Model { schema: of.model.schema.clone(), contacts: of.model.contacts.clone(), new_id: of.model.new_id };
        let values = |model: &Model| model.contacts.iter().map(|contact| contact.values.clone()).collect::<Vec<_>>();
        let mut states = vec![values(&model)];
        for at in &of.posts[of.settled..] {
            let post = &self.posts[*at];
            if !post.is_cancelled && !self.is_held {
                model.import(&post.options, &post.file);
            }
            // One that waits is cancelled before those ahead of it are over.
            if post.status.is_some() && !post.is_cancelled {
                states.clear();
            }
            states.push(values(&model));
        }
        states
    }

    /// All contacts, or all active ones, as they were read.
    fn compare(&mut self, program: usize, found: &[Value], active: bool) -> Result<(), Differs> {
        let of = &mut self.programs[program];
        let shown: Vec<_> = found.iter().map(shown::contact).collect::<Result<_, _>>()?;
        let is_shown = |contact: &Contact| !active || contact.value("active") == "true";
        let expected = of.model.contacts.iter().filter(|contact| is_shown(contact)).map(|contact| &contact.values);
        let expected: Vec<_> = expected.collect();
        same("the contacts", shown.iter().map(|(contact, _)| &contact.values).collect(), expected)?;
        if active {
            return Ok(());
        }
        for (at, (contact, updated)) in shown.into_iter().enumerate() {
            let known = &mut of.model.contacts[at];
            if known.id.is_empty() {
                known.id.clone_from(&contact.id);
            }
            same("the id", &contact.id, &known.id)?;
            let changed = std::mem::take(&mut known.changed);
            let created = text(&found[at]["created"]);
            for (name, updated) in &updated {
                let before = of.updated.get(at).map_or(&created, |before| &before[name]);
                let is_right = if changed.contains(name) { updated >= before } else { updated == before };
                same(&format!("{name} was updated {updated}, before {before}"), is_right, true)?;
            }
            of.updated.truncate(at.max(of.updated.len()));
            if at < of.updated.len() { of.updated[at] = updated } else { of.updated.push(updated) }
        }
        Ok(())
    }

    /// The program's imports, newest first.
    fn list(&mut self, program: usize) -> Result<(), Differs> {
        let of = &self.programs[program];
        if of.id.is_empty() {
            return Ok(());
        }
        let client = self.owner(program);
        let page = client.get(&format!("/v2/programs/{}/commands?count=100", of.id)).json();
        let items = page["items"].as_array().ok_or("no items")?;
        let found: Vec<String> = items.iter().map(|item| text(&item["location"])).collect();
        let expected: Vec<String> = of.posts.iter().rev().map(|at| self.posts[*at].location.clone()).collect();
        same("the imports", found, expected)?;
        for (item, at) in items.iter().zip(of.posts.iter().rev()) {
            let Some(status) = &self.posts[*at].status else { continue };
            for name in ["applied", "notApplied", "rows", "errorCount", "summary", "mode"] {
                same(name, item.get(name), status["message"].get(name))?;
            }
        }
        Ok(())
    }
}

/// An import, signed at a moment that no other request has.
fn signed(client: &Client, options: &ImportOptions, file: &File, is_stream: bool) -> Request {
    let (csv, timestamp) = (file.csv(), format!("{:.6}", Timestamp::now()));
    if !is_stream {
        let body = write_import(&client.program, options, &csv);
        return client.request_at(&timestamp, "POST", &client.participants_path(), body);
    }
    let (path, query) = (client.participants_path(), format!("?{}", write_options(options)));
    let digest = print_digest(&Sha256::digest(csv.as_bytes()).into());
    let Account { token, secret, .. } = &client.account;
    let signature = sign(token, secret.as_bytes(), "POST", &format!("{path}{query}"), digest.as_bytes(), &timestamp);
    Request { method: "POST", path, query, headers: Vec::new(), body: csv.into_bytes() }
        .header("content-type", "text/csv")
        .header("content-digest", &digest)
        .header("authorization", &format!("SignalVine {token}:{signature}"))
        .header("signalvine-date", &timestamp)
}
