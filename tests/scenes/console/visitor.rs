//! Somebody at a browser without scripts: follows links, fills in forms, keeps the session's cookie.

use std::time::Duration;

use crate::harness::{Answer, Home, Request, Service};

/// A password that a rule for passwords has nothing against.
pub(super) const PASSWORD: &str = "correct horse battery staple";

/// One browser.
#[derive(Clone)]
pub(super) struct Visitor {
    address: String,
    cookie: Option<String>,
}

/// Makes a user with the password, and gives nothing: who signs in is a [`Visitor`].
pub(super) fn new_user(home: &Home, account: &str, name: &str, role: &str) {
    let file = home.file("password", PASSWORD);
    let file = file.to_str().unwrap();
    home.operate(&["user", "create", name, "--account", account, "--role", role, "--password-file", file]);
}

impl Visitor {
    pub(super) fn of(service: &Service) -> Visitor {
        Visitor { address: service.address.clone(), cookie: None }
    }

    /// One who has signed in.
    pub(super) fn signed_in(service: &Service, name: &str) -> Visitor {
        let mut visitor = Visitor::of(service);
        let answer = visitor.post("/console/sign-in", &[("name", name), ("password", PASSWORD)]);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/console")), "{}", answer.body);
        visitor
    }

    pub(super) fn is_signed_in(&mut self) -> bool {
        self.get("/console").status == 200
    }

    pub(super) fn get(&mut self, path: &str) -> Answer {
        self.send(self.request("GET", path, Vec::new()))
    }

    /// Sends a form.
    pub(super) fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(self.form(path, fields))
    }

    /// Sends a form and looks where it leads.
    pub(super) fn go(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let answer = self.post(path, fields);
        assert_eq!(answer.status, 303, "{path}: {}", answer.body);
        let place = answer.header("location").unwrap().to_owned();
        let place = place.split('#').next().unwrap();
        let page = self.get(place);
        assert_eq!(page.status, 200, "{place}: {}", page.body);
        page
    }

    pub(super) fn form(&self, path: &str, fields: &[(&str, &str)]) -> Request {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.request("POST", path, body.into_bytes()).header("content-type", "application/x-www-form-urlencoded")
    }

    /// Puts a file into a form.
    pub(super) fn upload(&mut self, path: &str, name: &str, bytes: &[u8]) -> Answer {
        let mut body = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: text/csv\r\n\r\n"
        )
        .into_bytes();
        body.extend(bytes);
        body.extend(b"\r\n--edge--\r\n");
        let request = self.request("POST", path, body);
        self.send(request.header("content-type", "multipart/form-data; boundary=edge"))
    }

    /// As a browser sends it from a page of the console.
    pub(super) fn request(&self, method: &'static str, path: &str, body: Vec<u8>) -> Request {
        let (path, query) =
            path.split_once('?').map_or((path, String::new()), |(path, query)| (path, format!("?{query}")));
        let request = Request { method, path: path.to_owned(), query, headers: Vec::new(), body };
        let request = request.header("sec-fetch-site", "same-origin");
        match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    /// Sends a request, and keeps the cookie that comes back.
    pub(super) fn send(&mut self, request: Request) -> Answer {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(120)))
            .build()
            .into();
        let answer = request.send_with(&agent, &self.address);
        let answer = answer.unwrap_or_else(|fault| panic!("{} {}: {fault}", request.method, request.path));
        if let Some(cookie) = answer.header("set-cookie") {
            let pair = cookie.split(';').next().unwrap();
            self.cookie = Some(pair.to_owned()).filter(|pair| !pair.ends_with('='));
        }
        answer
    }

    /// Looks at an import until it is complete, and gives its page.
    pub(super) fn completed(&mut self, place: &str) -> String {
        // It is told when something is new, and ends with the import.
        for _ in 0..20 {
            let events = self.get(&format!("{place}/events"));
            assert_eq!(events.header("content-type"), Some("text/event-stream"));
            if events.body.contains("event: complete") {
                let page = self.get(place);
                assert_eq!(page.status, 200, "{}", page.body);
                return page.body;
            }
        }
        panic!("{place} is not complete");
    }
}

/// The text of a page without its tags, with single blanks.
pub(super) fn words(html: &str) -> String {
    let mut text = String::new();
    let mut is_tag = false;
    for at in html.chars() {
        match at {
            '<' => is_tag = true,
            '>' => {
                is_tag = false;
                text.push(' ');
            }
            at if !is_tag => text.push(at),
            _ => {}
        }
    }
    let text = text.replace("&#38;", "&").replace("&#60;", "<").replace("&#62;", ">").replace("&#34;", "\"");
    text.replace("&#39;", "'").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What stands in an attribute behind this text of a page.
pub(super) fn after<'a>(html: &'a str, before: &str) -> &'a str {
    let (_, rest) = html.split_once(before).unwrap_or_else(|| panic!("no '{before}' in {html}"));
    rest.split('"').next().unwrap()
}
