//! The clients: what they send to whichever node is there, and what must come of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use super::cast::Cast;
use super::files::{self, Random};
use super::model::{COLUMNS, Contact, Outcome, Program};
use crate::harness::{Account, Answer, Client, Request, body};

/// Client threads, each with programs of its own.
const CLIENTS: usize = 24;

/// One program in so many gets imports of thousands of rows.
const ONE_IN_BIG: u64 = 10;

/// Then another node is asked. Longer than most answers take, and about as long as a node is stopped: some of what is sent to one is
/// answered after it has woken up, and some is sent again meanwhile.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_600);

/// When the scene gives up: then something waits for ever.
const ALL_WITHIN: Duration = Duration::from_secs(1_800);

/// A program with everything that was and is to be sent to it.
struct Track {
    client: Client,
    number: u64,
    random: Random,
    /// After which import the client reads the ids of the contacts, and names some by them from then on.
    ids_after: usize,
    model: Program,
    sent: Vec<Sent>,
    imports: usize,
}

struct Sent {
    request: Request,
    location: String,
    expected: Outcome,
    /// How often it was sent until it was accepted.
    sendings: usize,
}

pub(super) struct Campaign {
    tracks: Vec<Mutex<Track>>,
    accepted: AtomicUsize,
    changed: (Mutex<()>, Condvar),
    until: Instant,
}

impl Campaign {
    /// Accounts and programs, made by the operator's command line.
    pub(super) fn prepare(cast: &Cast, seed: u64, programs: u64, imports: u64) -> Campaign {
        let accounts: Vec<Account> = (0..5).map(|number| cast.home.new_account(&format!("College {number}"))).collect();
        let next = AtomicUsize::new(0);
        let make = |number: u64| {
            let account = &accounts[usize::try_from(number).unwrap() % accounts.len()];
            let program = cast.home.new_program(account, &format!("Program {number}"));
            let client = Client { address: String::new(), account: account.clone(), program };
            let imports = imports / programs + u64::from(number < imports % programs);
            Mutex::new(Track {
                client,
                number,
                random: Random::new(seed, number),
                ids_after: usize::try_from(1 + number % 4).unwrap(),
                model: Program::default(),
                sent: Vec::new(),
                imports: usize::try_from(imports).unwrap(),
            })
        };
        let tracks = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed) as u64;
                        if number >= programs {
                            return;
                        }
                        let track = make(number);
                        tracks.lock().unwrap().insert(number, track);
                    }
                });
            }
        });
        Campaign {
            tracks: tracks.into_inner().unwrap().into_values().collect(),
            accepted: AtomicUsize::new(0),
            changed: (Mutex::new(()), Condvar::new()),
            until: Instant::now() + ALL_WITHIN,
        }
    }

    /// How many imports there are.
    pub(super) fn imports(&self) -> usize {
        self.tracks.iter().map(|track| track.lock().unwrap().imports).sum()
    }

    /// Sends everything: of a program one after the other, each until it is accepted.
    pub(super) fn send_all(&self, cast: &Cast) {
        self.with_clients(cast, |sender, tracks| {
            let mut open: Vec<&Mutex<Track>> = tracks.to_vec();
            while !open.is_empty() {
                let at = usize::try_from(sender.random.below(open.len() as u64)).unwrap();
                let mut track = open[at].lock().unwrap();
                track.send_next(sender);
                if track.sent.len() == track.imports {
                    open.swap_remove(at);
                }
                self.accepted.fetch_add(1, Ordering::Relaxed);
                drop(self.changed.0.lock().unwrap());
                self.changed.1.notify_all();
            }
        });
    }

    /// Waits until so many were accepted.
    pub(super) fn wait_for_accepted(&self, count: usize) {
        let waiting = self.changed.0.lock().unwrap();
        drop(self.changed.1.wait_while(waiting, |()| self.accepted.load(Ordering::Relaxed) < count).unwrap());
    }

    /// Waits until everything is complete.
    pub(super) fn wait_for_all(&self, cast: &Cast) {
        self.with_clients(cast, |sender, tracks| {
            for track in tracks {
                let track = track.lock().unwrap();
                if let Some(last) = track.sent.last() {
                    sender.completed(&track.client, &last.location);
                }
            }
        });
    }

    /// Every command has come out as the model says, every request is known, every contact is as it should be, and the
    /// database holds nothing beside.
    pub(super) fn check(&self, cast: &Cast) {
        let commands = cast.home.query("SELECT count(*) FROM command");
        self.with_clients(cast, |sender, tracks| {
            for track in tracks {
                track.lock().unwrap().check(sender);
            }
        });
        assert_eq!(commands, self.imports().to_string(), "each request made one command");
        let sum = |sql: &str| cast.home.query(sql);
        assert_eq!(sum("SELECT count(*) FROM command"), commands, "what was sent again made none");
        let none = [
            "command WHERE finished_ms IS NULL OR report IS NULL",
            "lane WHERE running OR head <> next_seq OR attempt <> 0",
            "payload WHERE NOT EXISTS (SELECT FROM command WHERE command.id = payload.command AND command.program = payload.program)",
            "signature WHERE NOT EXISTS (SELECT FROM command WHERE command.id = signature.command)",
            "contact WHERE phone < 0",
            "stock WHERE contacts <> (SELECT count(*) FROM contact WHERE contact.program = stock.program)
               OR active <> (SELECT count(*) FROM contact WHERE contact.program = stock.program AND contact.active)",
        ];
        for what in none {
            assert_eq!(sum(&format!("SELECT count(*) FROM {what}")), "0", "{what}");
        }
    }

    /// What has come of the imports, so that a reader sees that nothing is missing among them.
    pub(super) fn story(&self) -> String {
        let (mut rows, mut applied, mut attempts) = ([0; 6], 0, 0);
        for track in &self.tracks {
            for sent in &track.lock().unwrap().sent {
                (0..6).for_each(|at| rows[at] += sent.expected.counts[at]);
                applied += usize::from(sent.expected.applied);
                attempts += sent.sendings;
            }
        }
        let imports = self.imports();
        let [read, added, updated, unchanged, ignored, failed] = rows;
        format!(
            "{imports} imports, {applied} of them applied, sent {attempts} times; rows: {read} read, {added} added, \
             {updated} updated, {unchanged} unchanged, {ignored} ignored, {failed} failed"
        )
    }

    fn with_clients(&self, cast: &Cast, work: impl Fn(&mut Sender<'_>, &[&Mutex<Track>]) + Sync) {
        std::thread::scope(|scope| {
            for number in 0..CLIENTS {
                let work = &work;
                scope.spawn(move || {
                    let tracks: Vec<_> = self.tracks.iter().skip(number).step_by(CLIENTS).collect();
                    work(&mut Sender::new(cast, number as u64, self.until), &tracks);
                });
            }
        });
    }
}

impl Track {
    fn send_next(&mut self, sender: &mut Sender<'_>) {
        if self.sent.len() == self.ids_after {
            sender.completed(&self.client, &self.sent[self.ids_after - 1].location);
            let contacts = sender.contacts(&self.client);
            self.model.learn_ids(contacts.into_iter().map(|contact| contact.id).collect());
        }
        let import = files::import(&mut self.random, &self.model, self.number.is_multiple_of(ONE_IN_BIG));
        let new = if import.adds { "add" } else { "ignore" };
        let mode = if import.is_tx { "tx" } else { "row" };
        let existing = import.fields.as_ref().map_or("ignore".to_owned(), |fields| fields.join(","));
        let body = body(&self.client.program, new, &existing, mode, &files::csv(&import));
        let request = self.client.request("POST", &self.client.participants_path(), body);
        let before = sender.sendings;
        let location = sender.until(&request, 202).location();
        let sendings = sender.sendings - before;
        let expected = self.model.import(&import);
        self.sent.push(Sent { request, location, expected, sendings });
    }

    fn check(&self, sender: &mut Sender<'_>) {
        let program = self.number;
        for (at, Sent { request, location, expected, sendings: _ }) in self.sent.iter().enumerate() {
            let status = sender.until(&self.client.request("GET", location, ""), 200).json();
            assert_eq!(status["complete"], true);
            assert_eq!(&outcome(&status), expected, "import {at} of program {program}");
            let again = sender.until(request, 202);
            assert_eq!((again.location(), again.header("idempotency-replayed")), (location.clone(), Some("true")));
            assert_eq!(again.json(), status);
        }
        let contacts = sender.contacts(&self.client);
        assert_eq!(contacts.len(), self.model.contacts.len(), "program {program}");
        for (at, (read, expected)) in contacts.into_iter().zip(&self.model.contacts).enumerate() {
            assert_eq!(&read.cells(), expected, "contact {at} of program {program}");
        }
    }
}

fn outcome(status: &Value) -> Outcome {
    let (counts, applied) = crate::harness::counts(status);
    Outcome { counts, applied, errors: usize::try_from(status["message"]["errorCount"].as_u64().unwrap()).unwrap() }
}

/// Sends through any node, again until there is an answer.
struct Sender<'a> {
    cast: &'a Cast,
    random: Random,
    agent: ureq::Agent,
    until: Instant,
    sendings: usize,
}

impl Sender<'_> {
    fn new(cast: &Cast, number: u64, until: Instant) -> Sender<'_> {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER_WITHIN));
        Sender { cast, random: Random::new(number, 2_000_000), agent: config.build().into(), until, sendings: 0 }
    }

    /// The same request until it is answered so. That nobody is there, that the connection ends and that the node is busy is
    /// as it may be; any other answer is wrong.
    fn until(&mut self, request: &Request, status: u16) -> Answer {
        loop {
            assert!(Instant::now() < self.until, "{} is not answered", request.path);
            self.sendings += 1;
            let address = self.cast.address(&mut self.random);
            match request.send_with(&self.agent, &address) {
                Ok(answer) if answer.status == status => return answer,
                Ok(answer) => assert_eq!(answer.status, 503, "{} {}: {}", request.method, request.path, answer.body),
                Err(_) => {}
            }
        }
    }

    fn completed(&mut self, client: &Client, location: &str) {
        loop {
            let request = client.request("GET", location, "").header("prefer", "wait=1");
            if self.until(&request, 200).json()["complete"] == true {
                return;
            }
        }
    }

    /// All contacts of a program, in the order of creation.
    fn contacts(&mut self, client: &Client) -> Vec<FullContact> {
        let mut all = Vec::new();
        loop {
            let path = format!("/v1/programs/{}/participants", client.program);
            let query = format!("?type=full&active=all&count=1000&offset={}", all.len());
            let answer = self.until(&client.request("GET", &(path + &query), ""), 200);
            let page: Page = serde_json::from_str(&answer.body).unwrap();
            if page.items.is_empty() {
                assert_eq!(page.total, all.len());
                return all;
            }
            all.extend(page.items);
            if all.len() == page.total {
                return all;
            }
        }
    }
}

#[derive(Deserialize)]
struct Page {
    total: usize,
    items: Vec<FullContact>,
}

/// What is compared of a contact, as it is read in full.
#[derive(Deserialize)]
struct FullContact {
    id: String,
    profile: Vec<Field>,
}

#[derive(Deserialize)]
struct Field {
    name: String,
    value: String,
}

impl FullContact {
    fn cells(self) -> Contact {
        let column = |name: &str| COLUMNS.into_iter().skip(1).find(|column| *column == name);
        self.profile.into_iter().filter_map(|field| Some((column(&field.name)?, field.value))).collect()
    }
}
