//! A person at a browser: opens pages, clicks what has a name, types into what has a label, reads what is there.
//!
//! Whatever is looked for is waited for, for a bounded time, on the page's own state; so is what `wait_for` names. Nothing is found by
//! its id or class: what has no label is not there, as for somebody who listens to the page. When the browser is closed, nothing may have been
//! wrong with the pages that were looked at, and its console must have been silent: what a page's content security policy stopped, or a script
//! threw, fails the test.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::webdriver::{Element, Fault, Session};

/// How long anything is waited for. A machine that runs other tests is slow at times.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at the page.
const PAUSE: Duration = Duration::from_millis(20);

/// What an image shows of a page that is longer: more is not drawn at once.
const SHOT_HEIGHT_MAX: f64 = 8_000.0;

/// One browser at a time: two of them on two processors only take turns, and run out of patience.
static TURN: Mutex<()> = Mutex::new(());

/// What can be clicked.
const CLICKABLE: &str = "a[href], button, summary, input:is([type=submit], [type=button], [type=checkbox], [type=radio]), \
     [role=button], [role=tab]";

/// What takes something in.
const FIELDS: &str = "input:not([type=hidden], [type=submit], [type=button]), select, textarea";

/// Elements of a kind by the name that they have on the page; all names, for who does not find his.
/// A part of the page is a row, an item, a group or a section, the smallest that has these words and something of the name.
const FIND: &str = r"
    const [kinds, wanted, part] = arguments;
    const plain = (text) => (text ?? '').replace(/\s+/g, ' ').trim();
    const bare = (node) => {
        const copy = node.cloneNode(true);
        copy.querySelectorAll('input, select, textarea, [aria-hidden=true]').forEach((inner) => inner.remove());
        return copy.textContent;
    };
    const name = (element) => {
        const by = element.getAttribute('aria-labelledby');
        if (by) return by.split(/\s+/).map((id) => document.getElementById(id)?.textContent ?? '').join(' ');
        if (element.hasAttribute('aria-label')) return element.getAttribute('aria-label');
        if (element.labels?.length) return [...element.labels].map(bare).join(' ');
        if (element.matches('input')) return element.value;
        return plain(bare(element)) || element.querySelector('img[alt]')?.alt || element.title;
    };
    const search = (root) => {
        const there = [...root.querySelectorAll(kinds)].filter((element) => element.checkVisibility({ visibilityProperty: true }));
        const named = there.map((element) => ({ element, name: plain(name(element)) }));
        const exact = named.filter((one) => one.name === wanted);
        let found = exact.length ? exact : named.filter((one) => one.name.includes(wanted));
        // What is opened by a word may have the same word within.
        if (found.length > 1) found = found.filter((one) => !one.element.matches('details[open] > summary'));
        // The same link may stand at two places.
        if (found.every((one) => one.element.href && one.element.href === found[0].element.href)) found = found.slice(0, 1);
        return { found: found.map((one) => one.element), names: named.map((one) => one.name) };
    };
    if (!part) return search(document);
    const parts = [...document.querySelectorAll('tr, li, dt, dd, fieldset, form, article, section, dialog, details')]
        .filter((element) => plain(element.textContent).includes(part))
        .sort((one, other) => one.textContent.length - other.textContent.length);
    const searched = parts.map(search);
    return searched.find((one) => one.found.length) ?? searched[0] ?? { found: [], names: [`(no part has '${part}')`] };
";

/// What is wider than the page, if the page can be pushed sideways.
const SIDEWAYS: &str = "
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const held = (element) => {
        for (let at = element.parentElement; at && at !== document.documentElement; at = at.parentElement) {
            if (getComputedStyle(at).overflowX !== 'visible') return true;
        }
        return false;
    };
    const wide = [...document.querySelectorAll('body *')]
        .filter((element) => element.getBoundingClientRect().right > width + 0.5 && !held(element));
    return wide.slice(0, 5).map((element) => element.outerHTML.slice(0, 160));
";

/// How a page is looked at: the reader's colours, and the window.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    /// 1280 × 900.
    Wide,
    /// 390 × 844, and told to the page as a phone tells it.
    Phone,
    /// 320 wide: a small phone, or a page that is shown four times as large.
    Narrow,
}

pub(crate) struct Browser {
    session: Session,
    are_scripts_on: Cell<bool>,
    /// What the console has said and nobody expected.
    complaints: RefCell<Vec<String>>,
    /// What was wrong with pages that were looked at.
    blemishes: RefCell<Vec<String>>,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    /// Light, wide, scripts on, a fresh profile.
    pub(crate) fn start() -> Browser {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let session = Session::start();
        let browser = Browser {
            session,
            are_scripts_on: Cell::new(true),
            complaints: RefCell::default(),
            blemishes: RefCell::default(),
            _turn: turn,
        };
        let downloads = browser.session.directory.join("downloads");
        let allow = json!({ "behavior": "allow", "downloadPath": downloads });
        browser.session.devtools("Browser.setDownloadBehavior", allow);
        browser.show(Scheme::Light, Window::Wide);
        browser
    }

    // Going somewhere, and seeing where one is.

    /// Opens an address, and is back when the page is loaded.
    pub(crate) fn open(&self, url: &str) {
        self.must(self.session.post("/url", json!({ "url": url })), url);
    }

    pub(crate) fn address(&self) -> String {
        self.must(self.session.get("/url"), "the address").as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn title(&self) -> String {
        self.must(self.session.get("/title"), "the title").as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn reload(&self) {
        self.must(self.session.post("/refresh", json!({})), "loading anew");
    }

    pub(crate) fn back(&self) {
        self.must(self.session.post("/back", json!({})), "going back");
    }

    // What a person does. A name is a label or what stands on a button; the whole of it, or a piece that no other has.

    /// Clicks the link, button or box of this name. Where that leads elsewhere, wait for a word of the next page before you look at it,
    /// or open another: a form is not on its way at once.
    pub(crate) fn click(&self, name: &str) {
        self.click_in("", name);
    }

    /// The same within the row, item or section that has these words.
    pub(crate) fn click_in(&self, part: &str, name: &str) {
        self.with(CLICKABLE, part, name, |element| {
            let clicked = self.session.to(element, "click", json!({}));
            match clicked {
                // A box that is drawn by its label is clicked there, by people too.
                Err(fault) if fault.word == "element not interactable" || fault.word == "element click intercepted" => {
                    let label = self.session.script("return arguments[0].labels?.[0]", &[element.json()])?;
                    let label = Element::of(&label).ok_or(fault)?;
                    self.session.to(&label, "click", json!({}))
                }
                other => other,
            }
        });
    }

    /// Types into the field with this label, over what is there.
    pub(crate) fn type_into(&self, label: &str, text: &str) {
        self.type_into_in("", label, text);
    }

    /// The same within the row, item or section that has these words.
    pub(crate) fn type_into_in(&self, part: &str, label: &str, text: &str) {
        self.with(FIELDS, part, label, |element| {
            self.session.to(element, "clear", json!({}))?;
            self.session.to(element, "value", json!({ "text": text }))
        });
    }

    /// Chooses a file for the file field with this label.
    pub(crate) fn choose_file(&self, label: &str, file: &Path) {
        self.with(FIELDS, "", label, |element| self.session.to(element, "value", json!({ "text": file })));
    }

    /// Drags a file from outside over the place where this text stands, and lets it go.
    pub(crate) fn drop_file(&self, text: &str, file: &Path) {
        let script = r"
            const [wanted] = arguments;
            const all = [...document.querySelectorAll('body *')].filter((element) => element.checkVisibility());
            const place = all.filter((element) => element.textContent.replace(/\s+/g, ' ').includes(wanted)).pop();
            if (!place) return null;
            place.scrollIntoView({ block: 'center', behavior: 'instant' });
            const { left, top, width, height } = place.getBoundingClientRect();
            return [left + width / 2, top + height / 2];
        ";
        let place = self.patiently(&format!("'{text}' to drop a file at"), || {
            let place = self.session.script(script, &[json!(text)]).map_err(|fault| fault.to_string())?;
            place.as_array().cloned().ok_or_else(|| "it is not there".to_owned())
        });
        let data = json!({ "items": [], "files": [file], "dragOperationsMask": 1 });
        for kind in ["dragEnter", "dragOver", "drop"] {
            let event = json!({ "type": kind, "x": place[0], "y": place[1], "data": data });
            self.session.devtools("Input.dispatchDragEvent", event);
        }
    }

    /// Selects an option of the field with this label.
    pub(crate) fn select(&self, label: &str, option: &str) {
        self.select_in("", label, option);
    }

    /// The same within the row, item or section that has these words.
    pub(crate) fn select_in(&self, part: &str, label: &str, option: &str) {
        let script = r"
            const [field, wanted] = arguments;
            const plain = (text) => text.replace(/\s+/g, ' ').trim();
            const options = [...(field.options ?? [])];
            return options.find((option) => plain(option.label) === wanted) ?? options.map((option) => option.label);
        ";
        self.with(FIELDS, part, label, |element| {
            let found = self.session.script(script, &[element.json(), json!(option)])?;
            let found = Element::of(&found).ok_or_else(|| no_option(option, &found))?;
            self.session.to(&found, "click", json!({}))
        });
    }

    /// Presses a key, wherever the focus is: `Tab`, `Enter`, `Escape`, `Space`, an arrow like `ArrowDown`, or a letter.
    pub(crate) fn press(&self, key: &str) {
        let code = match key {
            "Tab" => "\u{e004}",
            "Enter" => "\u{e007}",
            "Escape" => "\u{e00c}",
            "Space" => " ",
            "ArrowUp" => "\u{e013}",
            "ArrowDown" => "\u{e015}",
            letter => letter,
        };
        let strokes = ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": code }));
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] });
        self.must(self.session.post("/actions", actions), key);
    }

    // What a person reads.

    /// All that is to be read on the page.
    pub(crate) fn text(&self) -> String {
        self.script("return document.body.innerText", &[]).as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        plain(&self.text()).contains(&plain(text))
    }

    /// What is in the field with this label; of a box, whether it is ticked.
    pub(crate) fn value(&self, label: &str) -> String {
        let script = "
            const [field] = arguments;
            if (['checkbox', 'radio'].includes(field.type)) return String(field.checked);
            return field.selectedOptions ? field.selectedOptions[0]?.label ?? '' : field.value;
        ";
        let value = self.with(FIELDS, "", label, |element| self.session.script(script, &[element.json()]));
        value.as_str().unwrap_or_default().to_owned()
    }

    /// The names of all that can be clicked, in their order.
    pub(crate) fn clickable(&self) -> Vec<String> {
        self.names(CLICKABLE)
    }

    /// The labels of all that takes something in, in their order.
    pub(crate) fn fields(&self) -> Vec<String> {
        self.names(FIELDS)
    }

    fn names(&self, kinds: &str) -> Vec<String> {
        let found = self.script(FIND, &[json!(kinds), json!(""), json!("")]);
        serde_json::from_value(found["names"].clone()).unwrap()
    }

    /// Role and name of what has the focus, as it is told to who cannot see it: `button Start`.
    pub(crate) fn focused(&self) -> String {
        let focused = self.script("return document.activeElement", &[]);
        let element = Element::of(&focused).unwrap();
        let role = self.must(self.session.of(&element, "computedrole"), "the focus");
        let name = self.must(self.session.of(&element, "computedlabel"), "the focus");
        format!("{role} {}", plain(&name)).trim().to_owned()
    }

    /// Whether who looks sees where the focus is: an outline or a shadow that is not there without it, on what is itself to be seen.
    pub(crate) fn is_focus_seen(&self) -> bool {
        let script = "
            const at = document.activeElement;
            const look = () => { const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(at); return [outlineStyle, outlineWidth, boxShadow].join(); };
            const box = at.getBoundingClientRect();
            const is_there = box.width > 1 && box.height > 1 && box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight;
            const focused = look();
            at.blur();
            const bare = look();
            at.focus({ focusVisible: true, preventScroll: true });
            return is_there && focused !== bare;
        ";
        self.script(script, &[]) == true
    }

    /// The cells of every row of the table with this caption, or in the part of the page that is called so; heads too.
    pub(crate) fn table(&self, caption: &str) -> Vec<Vec<String>> {
        let script = r"
            const [wanted] = arguments;
            const plain = (text) => (text ?? '').replace(/\s+/g, ' ').trim();
            const by = (part) => document.getElementById(part.getAttribute('aria-labelledby'))?.innerText;
            const name = (table) => {
                const part = table.closest('[aria-label], [aria-labelledby]');
                return plain(table.caption?.innerText ?? part?.getAttribute('aria-label') ?? (part && by(part)));
            };
            const table = [...document.querySelectorAll('table')].find((table) => name(table).includes(wanted) && table.checkVisibility());
            return table && [...table.rows].map((row) => [...row.cells].map((cell) => plain(cell.innerText)));
        ";
        let rows = self.patiently(&format!("the table '{caption}'"), || {
            let rows = self.session.script(script, &[json!(caption)]).map_err(|fault| fault.to_string())?;
            if rows.is_array() { Ok(rows) } else { Err("there is none".to_owned()) }
        });
        serde_json::from_value(rows).unwrap()
    }

    // Waiting.

    pub(crate) fn wait_for(&self, text: &str) {
        self.wait_until(&format!("'{text}'"), || self.has(text));
    }

    /// Waits until it holds of the page. What holds at once is not waited for.
    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn() -> bool) {
        self.patiently(what, || if holds() { Ok(()) } else { Err("it does not come".to_owned()) });
    }

    fn patiently<T>(&self, what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
        let begun = Instant::now();
        loop {
            match attempt() {
                Ok(value) => return value,
                Err(why) if begun.elapsed() > PATIENCE => panic!("{what}: {why}\n{}", self.seen()),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// The page, for who reads why a test failed.
    fn seen(&self) -> String {
        format!("-- {} shows:\n{}\n--", self.address(), self.text())
    }

    /// Does something with the one element of this kind and name, anew if the page changes meanwhile.
    fn with(
        &self,
        kinds: &str,
        part: &str,
        name: &str,
        mut act: impl FnMut(&Element) -> Result<Value, Fault>,
    ) -> Value {
        self.patiently(&format!("'{name}'"), || {
            let element = match self.find(kinds, part, name) {
                Ok(found) => found?,
                Err(fault) => return Err(fault.to_string()),
            };
            match act(&element) {
                Ok(value) => Ok(value),
                Err(fault) if fault.is_gone() => Err(fault.to_string()),
                Err(fault) => panic!("'{name}': {fault}\n{}", self.seen()),
            }
        })
    }

    fn find(&self, kinds: &str, part: &str, name: &str) -> Result<Result<Element, String>, Fault> {
        let answer = self.session.script(FIND, &[json!(kinds), json!(name), json!(part)])?;
        let found: Vec<Element> = answer["found"].as_array().unwrap().iter().filter_map(Element::of).collect();
        let [element] = found.as_slice() else {
            let how_many = if found.is_empty() { "nothing".to_owned() } else { format!("{} things", found.len()) };
            return Ok(Err(format!("{how_many} of this name; there is {}", answer["names"])));
        };
        // What is told to who cannot see it is the same.
        let label = plain(&self.session.of(element, "computedlabel")?);
        if label.contains(name) {
            Ok(Ok(element.clone()))
        } else {
            Ok(Err(format!("a screen reader says '{label}' instead")))
        }
    }

    // The browser itself.

    /// In these colours and this window; nothing moves, so that what is seen is what stays.
    pub(crate) fn show(&self, scheme: Scheme, window: Window) {
        let value = if scheme == Scheme::Light { "light" } else { "dark" };
        let features = [("prefers-color-scheme", value), ("prefers-reduced-motion", "reduce")];
        let features = features.map(|(name, value)| json!({ "name": name, "value": value }));
        self.session.devtools("Emulation.setEmulatedMedia", json!({ "features": features }));
        let metrics = match window {
            Window::Wide => json!({ "width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": false }),
            Window::Phone => json!({ "width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true }),
            Window::Narrow => json!({ "width": 320, "height": 640, "deviceScaleFactor": 2, "mobile": true }),
        };
        self.session.devtools("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// What was copied last.
    pub(crate) fn clipboard(&self) -> String {
        self.session.devtools("Browser.grantPermissions", json!({ "permissions": ["clipboardReadWrite"] }));
        let script =
            "const done = arguments[0]; navigator.clipboard.readText().then(done, (fault) => done(String(fault)));";
        self.slow_script(script, &[]).as_str().unwrap_or_default().to_owned()
    }

    /// From now on the line takes so many bytes in a second from the browser.
    pub(crate) fn send_slowly(&self, bytes: u32) {
        self.session.devtools("Network.enable", json!({}));
        let line = json!({ "offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes });
        self.session.devtools("Network.emulateNetworkConditions", line);
    }

    /// From now on nothing is fetched of addresses like `*/events`.
    pub(crate) fn hold_back(&self, addresses: &str) {
        self.session.devtools("Network.enable", json!({}));
        self.session
            .devtools("Network.setBlockedURLs", json!({ "urlPatterns": [{ "urlPattern": addresses, "block": true }] }));
    }

    /// From now on no page runs a script.
    pub(crate) fn turn_scripts_off(&self) {
        self.set_scripts(false);
        self.are_scripts_on.set(false);
    }

    fn set_scripts(&self, are_on: bool) {
        self.session.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": !are_on }));
    }

    /// Has the driver's own scripts wait and be called, on a page that may run none.
    pub(crate) fn with_scripts<T>(&self, act: impl FnOnce() -> T) -> T {
        if self.are_scripts_on.get() {
            return act();
        }
        self.set_scripts(true);
        let value = act();
        self.set_scripts(false);
        value
    }

    /// A file that was downloaded, by the beginning and the end of its name, once it is there whole.
    pub(crate) fn downloaded(&self, begin: &str, end: &str) -> Vec<u8> {
        let folder = self.session.directory.join("downloads");
        self.patiently(&format!("the download '{begin}…{end}'"), || {
            let there = std::fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
            let there: Vec<String> = there.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
            // While it comes it has another name.
            let found = there.iter().find(|name| name.starts_with(begin) && name.ends_with(end));
            let file = found.and_then(|name| std::fs::read(folder.join(name)).ok());
            file.ok_or_else(|| format!("there is {there:?}"))
        })
    }

    /// Keeps what is seen now, the whole page unless it is very long, in `target/console-screenshots`.
    pub(crate) fn screenshot(&self, name: &str) -> PathBuf {
        let size = self.session.devtools("Page.getLayoutMetrics", json!({}));
        let size = &size["cssContentSize"];
        let height = size["height"].as_f64().unwrap().min(SHOT_HEIGHT_MAX);
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1 });
        let how = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let shot = self.session.devtools("Page.captureScreenshot", how);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("console-screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.png"));
        std::fs::write(&file, BASE64_STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()).unwrap();
        file
    }

    /// Looks at the page in light and dark, wide and on a phone: keeps what it looks like, what axe finds, and what is wider than a
    /// phone. The test goes on, so that one run tells of all its pages, and fails when the browser is closed.
    pub(crate) fn look(&self, name: &str) {
        for (scheme, light) in [(Scheme::Light, "light"), (Scheme::Dark, "dark")] {
            for (window, wide) in [(Window::Wide, "wide"), (Window::Phone, "phone")] {
                self.show(scheme, window);
                self.screenshot(&format!("{name}-{light}-{wide}"));
                let found = self.violations().into_iter().chain(self.sideways());
                let found = found.map(|what| format!("{name}, {light}, {wide}: {what}"));
                self.blemishes.borrow_mut().extend(found);
            }
        }
        self.show(Scheme::Light, Window::Narrow);
        let found = self.sideways().into_iter().map(|what| format!("{name}, 320 wide: {what}"));
        self.blemishes.borrow_mut().extend(found);
        self.show(Scheme::Light, Window::Wide);
    }

    /// What makes the page wider than its window.
    pub(crate) fn sideways(&self) -> Vec<String> {
        let wide = self.script(SIDEWAYS, &[]);
        let wide: Vec<String> = serde_json::from_value(wide).unwrap();
        wide.into_iter().map(|html| format!("wider than the window: {html}")).collect()
    }

    pub(crate) fn script(&self, body: &str, arguments: &[Value]) -> Value {
        self.must(self.session.script(body, arguments), "a script")
    }

    pub(crate) fn slow_script(&self, body: &str, arguments: &[Value]) -> Value {
        self.must(self.session.slow_script(body, arguments), "a script")
    }

    fn must<T>(&self, answer: Result<T, Fault>, what: &str) -> T {
        answer.unwrap_or_else(|fault| panic!("{what}: {fault}"))
    }

    /// What the browser's console has said since the last time, but for what is only told to developers.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let said = self.must(self.session.post("/se/log", json!({ "type": "browser" })), "the console");
        let said = said.as_array().cloned().unwrap_or_default();
        let bad = said.iter().filter(|entry| ["SEVERE", "WARNING"].iter().any(|level| entry["level"] == *level));
        let bad = bad.map(|entry| format!("{}: {}", text(&entry["source"]), text(&entry["message"])));
        self.complaints.take().into_iter().chain(bad).collect()
    }

    /// Whether the console has said something with this in it, which stays to be expected.
    pub(crate) fn has_complaint(&self, piece: &str) -> bool {
        let complaints = self.complaints();
        let has = complaints.iter().any(|complaint| complaint.contains(piece));
        self.complaints.replace(complaints);
        has
    }

    /// Something that the console had to say, and has: a page that is answered with a status of 422, say.
    pub(crate) fn expect_complaint(&self, piece: &str) {
        let (expected, others): (Vec<_>, Vec<_>) =
            self.complaints().into_iter().partition(|complaint| complaint.contains(piece));
        assert!(!expected.is_empty(), "the console did not say '{piece}', but {others:?}");
        self.complaints.replace(others);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let blemishes = self.blemishes.take();
        if std::thread::panicking() {
            let test = std::thread::current().name().unwrap_or("test").replace("::", "-");
            // Its browser may be what failed.
            let shot =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.screenshot(&format!("failed-{test}"))));
            eprintln!("what was seen last: {shot:?}\n{}", blemishes.join("\n"));
            return;
        }
        let complaints = self.complaints();
        let complaints = complaints.iter().map(|complaint| format!("the browser's console says {complaint}"));
        let wrong: Vec<String> = blemishes.into_iter().chain(complaints).collect();
        assert!(wrong.is_empty(), "pages that were seen have something wrong:\n{}", wrong.join("\n"));
    }
}

fn no_option(option: &str, there: &Value) -> Fault {
    Fault { word: "no such option".to_owned(), sentence: format!("'{option}' is not among {there}") }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// With one space where there are some, or a line end.
pub(crate) fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
