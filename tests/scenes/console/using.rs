//! What the console is for, without a script: from a file to contacts, and what was wrong on the way.

use super::visitor::{Visitor, after, new_user, words};
use crate::harness::{Home, Service, contacts_csv, counts, field};

scenes!(
    a_file_becomes_contacts_with_its_bad_rows_corrected,
    a_form_that_is_sent_twice_starts_one_import,
    columns_are_remembered_and_left_out,
    files_that_are_no_utf8_can_be_read,
    a_file_comes_in_pieces,
    contacts_are_found,
    imports_are_listed_and_narrowed,
    tokens_are_made_rotated_and_revoked,
    a_program_is_made_and_changed,
    the_doctor_finds_what_was_signed_otherwise,
    accounts_are_gone_between,
);

/// A program of an account, and an admin who has signed in.
fn ground(home: Home) -> (Service, crate::harness::Client, Visitor) {
    let service = home.serve();
    let client = service.client();
    new_user(&service.home, &client.account.id, "ada", "admin");
    let ada = Visitor::signed_in(&service, "ada");
    (service, client, ada)
}

/// Puts a file into a program, and gives the page where it is looked at.
fn put(visitor: &mut Visitor, program: &str, csv: &str) -> String {
    let answer = visitor.upload(&format!("/console/programs/{program}/import"), "night.csv", csv.as_bytes());
    assert_eq!(answer.status, 303, "{}", answer.body);
    answer.header("location").unwrap().to_owned()
}

/// Fills in the form of that page as it comes, with these changes, and gives the dry run's place when it is complete.
fn try_out(visitor: &mut Visitor, upload: &str, changes: &[(&str, &str)]) -> String {
    let page = visitor.get(upload).body;
    let mut fields = form_of(&page, upload);
    for (name, value) in changes {
        fields.retain(|(known, _)| known != name);
        fields.push(((*name).to_owned(), (*value).to_owned()));
    }
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = visitor.post(upload, &fields);
    assert_eq!(answer.status, 303, "{}", answer.body);
    let place = answer.header("location").unwrap().to_owned();
    visitor.completed(&place);
    place
}

/// The fields of the form that is sent to this place, as a browser would send them untouched.
fn form_of(page: &str, action: &str) -> Vec<(String, String)> {
    let start = page.find(&format!("method=\"post\" action=\"{action}\"")).unwrap_or_else(|| panic!("no form: {page}"));
    let form = page[start..].split("</form>").next().unwrap();
    let attribute = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        Some(rest.split('"').next().unwrap().replace("&#38;", "&").replace("&#34;", "\""))
    };
    let mut fields = Vec::new();
    let mut select: Option<(String, Vec<(String, bool)>)> = None;
    for tag in form.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        if tag.starts_with("input") {
            let kind = attribute(tag, "type").unwrap();
            let ticks = kind == "checkbox" || kind == "radio";
            if !ticks || tag.ends_with(" checked") {
                fields.push((attribute(tag, "name").unwrap(), attribute(tag, "value").unwrap_or("on".to_owned())));
            }
        } else if tag.starts_with("select") {
            select = Some((attribute(tag, "name").unwrap(), Vec::new()));
        } else if tag.starts_with("option") {
            let options = &mut select.as_mut().unwrap().1;
            options.push((attribute(tag, "value").unwrap(), tag.ends_with(" selected")));
        } else if tag.starts_with("/select") {
            let (name, options) = select.take().unwrap();
            let chosen = options.iter().find(|(_, is_chosen)| *is_chosen).or(options.first()).unwrap();
            fields.push((name, chosen.0.clone()));
        }
    }
    fields
}

/// Starts what a dry run has tried, and gives its page when it is complete.
fn start(visitor: &mut Visitor, tried: &str) -> (String, String) {
    let page = visitor.get(tried).body;
    let once = after(&page, "name=\"once\" value=\"").to_owned();
    let answer = visitor.post(&format!("{tried}/start"), &[("once", &once)]);
    assert_eq!(answer.status, 303, "{}", answer.body);
    let place = answer.header("location").unwrap().to_owned();
    let page = visitor.completed(&place);
    (place, page)
}

fn a_file_becomes_contacts_with_its_bad_rows_corrected(home: Home) {
    let (_service, client, mut ada) = ground(home);
    let program = client.program.clone();
    client.import("add", "ignore", "row", "customer_id,phone,first_name\nA,(212) 555-0143,Adda\n");
    let csv =
        "Student ID,Mobile,Given Name,Likes\nA,2125550143,Ada,tea\nB,2125550144,Bo,milk\nC,nope,Cy,water\nD,,Di,\n";
    let upload = put(&mut ada, &program, csv);
    let page = ada.get(&upload).body;
    let seen = words(&page);
    assert!(seen.contains("UTF-8, cells separated by commas"), "{seen}");
    assert!(seen.contains("night.csv") && seen.contains("2125550143"), "{seen}");
    // Nobody has said what "Likes" is: that is asked, and nothing is sent.
    let fields = form_of(&page, &upload);
    let value = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(
        [value("field.0"), value("field.1"), value("field.2"), value("field.3")],
        [Some("customer_id"), Some("phone"), Some("first_name"), Some("?")]
    );
    let pairs: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let again = ada.post(&upload, &pairs);
    assert_eq!(again.status, 422);
    assert!(words(&again.body).contains("Say which field “Likes” is, or leave it out."), "{}", words(&again.body));
    let tried = try_out(&mut ada, &upload, &[("field.3", "note")]);
    let report = words(&ada.get(&tried).body);
    for expected in
        ["Tried: errors", "4 rows read, 2 errors", "row 2 Adda → becomes Ada", "The column “Given Name” is first_name"]
    {
        assert!(report.contains(expected), "{expected}: {report}");
    }
    assert_eq!(client.contacts().len(), 1, "a dry run changes nothing");
    let (place, page) = start(&mut ada, &tried);
    let report = words(&page);
    for expected in ["Applied in part", "4 rows read, 2 errors", "Not a value of this field", "nope", "From ada"] {
        assert!(report.contains(expected), "{expected}: {report}");
    }
    assert_eq!(client.contacts().len(), 2);
    assert_eq!(field(&client.contact("A"), "first_name"), "Ada");
    // What the API tells of it is the same.
    let status = client.completed(&format!("/v2/commands/{}", place.rsplit('/').next().unwrap()));
    assert_eq!(counts(&status), ([4, 1, 1, 0, 0, 2], true));
    assert_eq!(status["from"], "ada");
    let failed = ada.get(&format!("{place}/failed-rows.csv"));
    assert_eq!(failed.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(
        failed.body.starts_with("Student ID,Mobile,Given Name,Likes,_row,_errors\nC,nope,Cy,water,4,"),
        "{}",
        failed.body
    );
    let corrected = failed.body.replace("nope", "2125550145").replace("D,,", "D,2125550146,");
    let upload = put(&mut ada, &program, &corrected);
    // The columns are known by now, and those that the download added are left out by themselves.
    let tried = try_out(&mut ada, &upload, &[]);
    assert!(words(&ada.get(&tried).body).contains("Tried: fine"));
    let (_, page) = start(&mut ada, &tried);
    assert!(words(&page).contains("Every row was taken."), "{}", words(&page));
    assert_eq!(client.contacts().len(), 4);
    let found = ada.get(&format!("/console/programs/{program}?q=cy"));
    let contact = after(&found.body, "<a href=\"/console/contacts/").to_owned();
    let seen = words(&ada.get(&format!("/console/contacts/{contact}")).body);
    assert!(seen.contains("note water String") && seen.contains("by this import"), "{seen}");
    let overview = words(&ada.get("/console").body);
    assert!(overview.contains("Contacts 4") && overview.contains("With errors today 1"), "{overview}");
    assert!(overview.contains("Rows by day"), "{overview}");
}

fn a_form_that_is_sent_twice_starts_one_import(home: Home) {
    let (_service, client, mut ada) = ground(home);
    let upload = put(&mut ada, &client.program, "customer_id,phone\nA,2125550143\n");
    let page = ada.get(&upload).body;
    let fields = form_of(&page, &upload);
    let pairs: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let places = [(); 3].map(|()| ada.post(&upload, &pairs).header("location").unwrap().to_owned());
    assert_eq!(places[0], places[1]);
    assert_eq!(places[0], places[2]);
    ada.completed(&places[0]);
    let page = ada.get(&places[0]).body;
    let once = after(&page, "name=\"once\" value=\"").to_owned();
    let started = [(); 2].map(|()| ada.post(&format!("{}/start", places[0]), &[("once", &once)]));
    let started = started.map(|answer| answer.header("location").unwrap().split('?').next().unwrap().to_owned());
    assert_eq!(started[0], started[1]);
    ada.completed(&started[0]);
    let list = client.get(&format!("/v2/programs/{}/commands", client.program)).json();
    assert_eq!(list["total"], 2, "one dry run and one import");
    // What is no dry run is not started again.
    assert_eq!(ada.post(&format!("{}/start", started[0]), &[("once", "x")]).status, 409);
    assert_eq!(ada.post(&format!("{}/cancel", started[0]), &[]).status, 409);
}

fn columns_are_remembered_and_left_out(home: Home) {
    let (_service, client, mut ada) = ground(home);
    let csv = "Nummer;Handy;Quatsch\nA;2125550143;x\n";
    let upload = put(&mut ada, &client.program, csv);
    let chosen = [("field.0", "customer_id"), ("field.1", "phone"), ("field.2", "")];
    try_out(&mut ada, &upload, &chosen);
    let upload = put(&mut ada, &client.program, &csv.replace("A;", "B;").replace("0143", "0144"));
    let seen = words(&ada.get(&upload).body);
    assert_eq!(seen.matches("as last time").count(), 3, "{seen}");
    assert!(seen.contains("cells separated by semicolons"), "{seen}");
    let tried = try_out(&mut ada, &upload, &[("mode", "tx"), ("max_new", "0")]);
    let report = words(&ada.get(&tried).body);
    for expected in ["Not applied", "A limit is exceeded", "All or nothing", "Leave out the column “Quatsch”"] {
        assert!(report.contains(expected), "{expected}: {report}");
    }
    assert!(!ada.get(&tried).body.contains("Start the import"), "it could only end the same way");
    assert_eq!(client.contacts().len(), 0);
}

fn files_that_are_no_utf8_can_be_read(home: Home) {
    let (_service, client, mut ada) = ground(home);
    let path = format!("/console/programs/{}/import", client.program);
    let answer = ada.upload(&path, "excel.csv", b"customer_id,phone,first_name\nA,2125550143,Jos\xe9\n");
    let upload = answer.header("location").unwrap().to_owned();
    assert!(words(&ada.get(&upload).body).contains("The file is not UTF-8"));
    let latin = ada.get(&format!("{upload}?charset=windows-1252")).body;
    assert!(words(&latin).contains("José"), "{latin}");
    let fields = form_of(&latin, &upload);
    let pairs: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let tried = ada.post(&upload, &pairs).header("location").unwrap().to_owned();
    ada.completed(&tried);
    start(&mut ada, &tried);
    assert_eq!(field(&client.contact("A"), "first_name"), "José");
    for (name, bytes, told) in [("", &b""[..], "Choose a file first."), ("empty.csv", b"", "The file is empty.")] {
        let answer = ada.upload(&path, name, bytes);
        assert_eq!(answer.status, 422);
        assert!(words(&answer.body).contains(told), "{told}");
    }
    let upload = ada.upload(&path, "none.csv", b"\n\n").header("location").unwrap().to_owned();
    assert!(words(&ada.get(&upload).body).contains("The file has no header"));
}

fn a_file_comes_in_pieces(home: Home) {
    let home = home.with("ROSTER_STREAM_BYTES_MAX", "3000000");
    let (service, client, mut ada) = ground(home);
    let csv = contacts_csv(1, 23_000).into_bytes();
    let size = csv.len().to_string();
    assert!(csv.len() > 2_000_000 && csv.len() < 3_000_000, "{size}");
    let begin = format!("/console/programs/{}/pieces", client.program);
    let begun = ada.post(&begin, &[("name", "big.csv"), ("bytes", &size)]);
    assert_eq!(begun.status, 201, "{}", begun.body);
    let place = format!("/console/pieces/{}", begun.body);
    let put = |visitor: &mut Visitor, at: usize, bytes: &[u8]| {
        let request = visitor.request("POST", &format!("{place}?at={at}"), bytes.to_vec());
        visitor.send(request).status
    };
    let pieces: Vec<&[u8]> = csv.chunks(1_000_000).collect();
    assert_eq!(put(&mut ada, 0, pieces[0]), 204);
    assert_eq!(put(&mut ada, 0, pieces[0]), 204, "sent again, it has come already");
    assert_eq!(put(&mut ada, 2_000_000, pieces[2]), 409, "one is missing");
    assert_eq!(put(&mut ada, 1_000_000, &vec![b'x'; 1_100_000]), 400, "too large for a piece");
    assert_eq!(ada.post(&format!("{place}/end"), &[("bytes", &size)]).status, 409, "it is not all there");
    // It is nobody else's, of the same account either.
    new_user(&service.home, &client.account.id, "bo", "admin");
    let mut bo = Visitor::signed_in(&service, "bo");
    assert_eq!(put(&mut bo, 1_000_000, pieces[1]), 404);
    assert_eq!(bo.post(&format!("{place}/end"), &[("bytes", &size)]).status, 404);
    assert_eq!(put(&mut ada, 1_000_000, pieces[1]), 204);
    assert_eq!(put(&mut ada, 2_000_000, pieces[2]), 204);
    let ended = ada.post(&format!("{place}/end"), &[("bytes", &size)]);
    assert_eq!(ended.status, 200, "{}", ended.body);
    assert_eq!(ada.post(&format!("{place}/end"), &[("bytes", &size)]).status, 404, "it has ended");
    let tried = try_out(&mut ada, &ended.body, &[]);
    start(&mut ada, &tried);
    assert_eq!(
        client.get(&format!("/v1/programs/{}/participants?active=all&count=1", client.program)).json()["total"],
        23_000
    );
    // What is too large is told before it is sent, and where that is not said, when it comes.
    assert_eq!(ada.post(&begin, &[("name", "x"), ("bytes", "3000001")]).status, 413);
    let begun = ada.post(&begin, &[("name", "x")]).body;
    let statuses = [0, 1_000_000, 2_000_000, 3_000_000].map(|at| {
        let request = ada.request("POST", &format!("/console/pieces/{begun}?at={at}"), vec![b'x'; 1_000_000]);
        ada.send(request).status
    });
    assert_eq!(statuses, [204, 204, 204, 413]);
}

fn contacts_are_found(home: Home) {
    let (_service, client, mut ada) = ground(home);
    let program = client.program.clone();
    let empty = words(&ada.get(&format!("/console/programs/{program}")).body);
    assert!(empty.contains("There are no contacts yet. Import a file"), "{empty}");
    client.import("add", "ignore", "row", &contacts_csv(1, 120));
    client.import("ignore", "active", "row", "customer_id,active\nc0000007,no\n");
    let mut names = |query: &str| -> Vec<String> {
        let page = ada.get(&format!("/console/programs/{program}?{query}"));
        assert_eq!(page.status, 200, "{}", page.body);
        let rows = page.body.split("<a href=\"/console/contacts/").skip(1);
        rows.map(|row| words(row.split_once('>').unwrap().1.split('<').next().unwrap())).collect()
    };
    assert_eq!(names("").len(), 50);
    assert_eq!(names("q=zo%C3%AB+7").len(), (1..=120).filter(|number: &u32| number.to_string().contains('7')).count());
    assert_eq!(names("q=ZO%C3%8B+119"), ["Zoë 119 O'Neil, 119"]);
    assert_eq!(names("q=c0000012"), ["Zoë 12 O'Neil, 12"]);
    let phone = crate::harness::nth_phone(5);
    let phone: String = form_urlencoded::byte_serialize(phone.as_bytes()).collect();
    assert_eq!(names(&format!("q={phone}")), ["Zoë 5 O'Neil, 5"]);
    let id = crate::harness::text(&client.contact("c0000003")["id"]);
    assert_eq!(names(&format!("q={id}")), ["Zoë 3 O'Neil, 3"]);
    assert_eq!(names("activity=inactive"), ["Zoë 7 O'Neil, 7"]);
    assert_eq!(names("q=zo%C3%AB&group=b&activity=active").len(), 50);
    assert!(names("group=c").is_empty() && names("q=nobody").is_empty());
    // Page by page everybody is seen once.
    for query in ["", "q=neil", "activity=active"] {
        let (mut place, mut seen) = (format!("/console/programs/{program}?{query}"), Vec::new());
        loop {
            let page = ada.get(&place).body;
            seen.extend(page.split("href=\"/console/contacts/").skip(1).map(|row| row[..36].to_owned()));
            let Some((_, next)) = page.split_once("rel=\"next\" href=\"") else { break };
            place = next.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
        }
        let expected = if query.starts_with("activity") { 119 } else { 120 };
        assert_eq!(seen.len(), expected, "{query}");
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), expected, "{query}");
    }
    // What an import changes is found after it.
    client.import("ignore", "first_name", "row", "customer_id,first_name\nc0000001,Nobody\n");
    assert_eq!(
        words(&ada.get(&format!("/console/programs/{program}?q=nobody")).body).matches("1 contact found").count(),
        1
    );
}

fn imports_are_listed_and_narrowed(home: Home) {
    let (service, client, mut ada) = ground(home);
    client.import("add", "ignore", "row", "customer_id,phone\nA,2125550143\n");
    client.import("add", "ignore", "row", "customer_id,phone\nB,nope\n");
    let second = service.home.new_program(&client.account, "Spring");
    let other = service.client_of(&client.account, &second);
    for number in 0..60 {
        other.import("add", "ignore", "row", &contacts_csv(number, 1));
    }
    let mut listed = |query: &str| {
        let page = ada.get(&format!("/console/imports?{query}")).body;
        (page.matches("<th scope=\"row\"><a href=\"/console/imports/").count(), page)
    };
    let (count, page) = listed("");
    assert_eq!(count, 50);
    let older = after(&page, "rel=\"next\" href=\"/console/imports?").replace("&#38;", "&");
    assert_eq!(listed(&older).0, 12);
    assert_eq!(listed("state=bad").0, 1);
    assert_eq!(listed(&format!("state=good&program={}", client.program)).0, 1);
    assert_eq!(listed("from=nightly").0, 50);
    assert_eq!(listed("from=somebody").0, 0);
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    assert_eq!(listed(&format!("state=bad&day={today}")).0, 1);
    assert_eq!(listed("day=2020-01-01").0, 0);
    let (_, page) = listed("day=yesterday");
    assert!(words(&page).contains("A day is written like 2026-11-28; got “yesterday”."));
    let (_, page) = listed("state=queued");
    assert!(words(&page).contains("No import is like this."));
}

fn tokens_are_made_rotated_and_revoked(home: Home) {
    let (service, client, mut ada) = ground(home);
    let blank = ada.post("/console/tokens", &[("name", " ")]);
    assert_eq!(blank.status, 422);
    let made =
        ada.post("/console/tokens", &[("name", "dashboard"), ("read_only", "on"), ("program", &client.program)]).body;
    let (token, secret) = (inside(&made, "token"), inside(&made, "secret"));
    assert_eq!((token.len(), secret.len()), (32, 36));
    let account =
        crate::harness::Account { id: client.account.id.clone(), token: token.clone(), secret: secret.clone() };
    let reader = service.client_of(&account, &client.program);
    let path = format!("/v1/programs/{}", client.program);
    assert_eq!(reader.get(&path).status, 200);
    reader.send(&reader.import_request("add", "ignore", "row", "customer_id,phone\n")).problem(403, "forbidden");
    let list = ada.get("/console/tokens").body;
    assert!(list.contains(&token) && !list.contains(&secret), "a secret is shown once");
    let rotated = ada.post("/console/tokens/rotate", &[("token", &token), ("overlap", "24h")]).body;
    let new = inside(&rotated, "secret");
    assert_ne!(new, secret);
    assert!(words(&rotated).contains("holds until"));
    let with_new =
        service.client_of(&crate::harness::Account { secret: new.clone(), ..account.clone() }, &client.program);
    assert_eq!((reader.get(&path).status, with_new.get(&path).status), (200, 200), "both hold for a day");
    let rotated = ada.post("/console/tokens/rotate", &[("token", &token), ("overlap", "0")]).body;
    assert!(words(&rotated).contains("holds no more"));
    with_new.get(&path).problem(401, "signature_mismatch");
    assert_eq!(ada.post("/console/tokens/rotate", &[("token", &token)]).status, 400);
    ada.go("/console/tokens/revoke", &[("token", &token)]);
    assert_eq!(ada.post("/console/tokens/revoke", &[("token", &token)]).status, 409);
    assert!(!service.home.log().contains(&secret) && !service.home.log().contains(&new));
}

/// The text of the element of this id.
fn inside(html: &str, id: &str) -> String {
    let (_, rest) = html.split_once(&format!("id=\"{id}\">")).unwrap_or_else(|| panic!("no {id}: {html}"));
    rest.split('<').next().unwrap().to_owned()
}

fn a_program_is_made_and_changed(home: Home) {
    let (service, client, mut ada) = ground(home);
    let wrong = [
        ("name", ""),
        ("region", "Mars"),
        ("phone", "12"),
        ("timezone", "Denver"),
        ("field.0", "Bad Name"),
        ("type.0", "String"),
    ];
    let answer = ada.post("/console/programs/new", &wrong);
    assert_eq!(answer.status, 422);
    let told = words(&answer.body);
    for expected in
        ["A name has 1 to 200 characters.", "got “Mars”", "This is no time zone: “Denver”", "got 'Bad Name'"]
    {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let right = [
        ("name", "Spring"),
        ("region", "CA"),
        ("phone", "(416) 555-0143"),
        ("timezone", "America/Toronto"),
        ("field.0", "gpa"),
        ("type.0", "Maybe (Float)"),
    ];
    let page = ada.go("/console/programs/new", &right);
    let program = inside(&page.body, "program-id");
    let settings = client.get(&format!("/v1/programs/{program}")).json();
    assert_eq!(
        (settings["name"].as_str(), settings["phone"].as_str()),
        (Some("Spring"), Some("+14165550143")),
        "{settings}"
    );
    let path = format!("/console/programs/{program}");
    ada.go(&format!("{path}/fields"), &[("field", "honors"), ("type", "Boolean")]);
    let taken = ada.post(&format!("{path}/fields"), &[("field", "honors"), ("type", "Boolean")]);
    assert_eq!(taken.status, 422, "{}", taken.body);
    ada.go(&format!("{path}/fields/remove"), &[("field", "gpa")]);
    let fields = words(&ada.get(&format!("{path}/settings")).body);
    assert!(fields.contains("honors Boolean") && !fields.contains("gpa"), "{fields}");
    let changed = [("name", "Autumn"), ("region", "US"), ("phone", ""), ("timezone", "")];
    let page = words(&ada.go(&format!("{path}/settings"), &changed).body);
    assert!(page.contains("The settings were saved."), "{page}");
    let settings = client.get(&format!("/v1/programs/{program}")).json();
    assert_eq!((settings["name"].as_str(), settings["active"].as_bool()), (Some("Autumn"), Some(false)), "{settings}");
    // One who may only look sees the settings, and no form.
    new_user(&service.home, &client.account.id, "bo", "viewer");
    let mut bo = Visitor::signed_in(&service, "bo");
    let page = bo.get(&format!("{path}/settings")).body;
    assert!(!page.contains("method=\"post\" action=\"/console/programs"), "{page}");
}

fn the_doctor_finds_what_was_signed_otherwise(home: Home) {
    let (_service, client, mut ada) = ground(home);
    let request = client.import_request("add", "ignore", "row", "customer_id,phone\nA,2125550143\n");
    let header = |name: &str| request.headers.iter().find(|(known, _)| *known == name).unwrap().1.clone();
    let (timestamp, body) = (header("signalvine-date"), String::from_utf8(request.body.clone()).unwrap());
    let signature = header("authorization").rsplit(':').next().unwrap().to_owned();
    let signed =
        roster::signature::canonical(&client.account.token, "POST", &request.path, &body, &timestamp).join("\n");
    let fields = [
        ("token", client.account.token.as_str()),
        ("method", "POST"),
        ("path", request.path.as_str()),
        ("body", body.as_str()),
        ("timestamp", timestamp.as_str()),
        ("signed", signed.as_str()),
        ("signature", signature.as_str()),
    ];
    let told = words(&ada.post("/console/doctor", &fields).body);
    assert!(told.contains("Your code signed what this service expects."), "{told}");
    assert!(told.contains("The signature fits this request."), "{told}");
    let upper = signed.replace("\npost\n", "\nPOST\n");
    let mut fields = fields;
    fields[5].1 = &upper;
    fields[6].1 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let answer = ada.post("/console/doctor", &fields).body;
    let told = words(&answer);
    assert!(told.contains("in: method.") && told.contains("It is not in lower case."), "{told}");
    assert!(told.contains("The signature does not fit this request"), "{told}");
    assert!(answer.contains("<mark class=\"was\">P</mark>OST"), "{answer}");
    assert!(!answer.contains(&client.account.secret));
}

fn accounts_are_gone_between(home: Home) {
    let (service, client, mut ada) = ground(home);
    let other = service.home.new_account("Second College");
    let program = service.home.new_program(&other, "Theirs");
    assert_eq!(ada.post("/console/me/account", &[("account", &other.id)]).status, 404);
    service.home.operate(&["user", "role", "ada", "--account", &other.id, "--role", "viewer"]);
    let here = format!("/console/programs/{program}");
    assert_eq!(ada.get(&here).status, 404, "until she goes there");
    let page = words(&ada.go("/console/me/account", &[("account", &other.id)]).body);
    assert!(page.contains("Theirs") && page.contains("ada · viewer"), "{page}");
    assert_eq!(ada.get(&here).status, 200);
    assert_eq!(ada.get(&format!("{here}/import")).status, 403, "she may only look there");
    assert_eq!(ada.get(&format!("/console/programs/{}", client.program)).status, 404);
}
