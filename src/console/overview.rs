//! The first page: the account's programs with what came in and what failed, what is under way, and how the last days were.

use askama::Template;
use axum::response::Response;

use super::answer::{Turned, page as show};
use super::chart::{Chart, chart};
use super::data::Data;
use super::form::Asked;
use super::frame::{Frame, Section};
use super::report_view::{ItemView, item_view};
use super::words;
use crate::store::{DayTally, ImportsOf, ImportsQuery, ProgramItem};
use crate::tenant::Role;

/// So many days are drawn.
const DAYS: i64 = 30;
/// So many of those that run, and of those that wait, are listed.
const OPEN_MAX: u32 = 10;

#[derive(Template)]
#[template(path = "console/overview.html")]
struct OverviewPage {
    frame: Frame,
    programs: Vec<ProgramView>,
    contacts: String,
    /// All that wait and run.
    open: u64,
    open_items: Vec<ItemView>,
    bad_today: u64,
    imports_today: u64,
    chart: Option<Chart>,
    may_make: bool,
    may_import: bool,
}

struct ProgramView {
    id: String,
    name: String,
    is_active: bool,
    contacts: String,
    open: u64,
    last: Option<ItemView>,
    imports_today: u64,
    bad_today: u64,
}

pub(super) async fn page(data: Data, Asked(asked): Asked) -> Result<Response, Turned> {
    let now_ms = data.now_ms();
    let today = words::day_of(now_ms);
    let items = data.program_items().await?;
    let days = data.days(today - DAYS + 1).await?;
    let open: u64 = items.iter().map(|item| item.open).sum();
    let mut open_items = Vec::new();
    if open > 0 {
        for of in [ImportsOf::Running, ImportsOf::Queued] {
            let query = ImportsQuery { of, ..ImportsQuery::all(OPEN_MAX) };
            open_items.extend(data.imports(query).await?);
        }
    }
    let name_of = |program| items.iter().find(|item| item.program.id == program).map(|item| item.program.name.as_str());
    let of_today = |item: &ProgramItem| {
        let tally = days.iter().find(|tally| tally.day == today && tally.program == item.program.id);
        tally.map_or((0, 0), |tally| (tally.imports, tally.bad_imports))
    };
    let programs = items.iter().map(|item| {
        let (imports_today, bad_today) = of_today(item);
        ProgramView {
            id: item.program.id.to_string(),
            name: item.program.name.clone(),
            is_active: item.program.active,
            contacts: words::number(item.contacts),
            open: item.open,
            last: item.last.as_ref().map(|last| item_view(last, None, now_ms)),
            imports_today,
            bad_today,
        }
    });
    let open_items = open_items.iter().map(|item| item_view(item, name_of(item.program), now_ms)).collect();
    let on_today = |tallies: &[DayTally], of: fn(&DayTally) -> u64| {
        tallies.iter().filter(|tally| tally.day == today).map(of).sum::<u64>()
    };
    let overview = OverviewPage {
        frame: Frame::of("Overview", Section::Overview, &data).after(asked.some("done")),
        contacts: words::number(items.iter().map(|item| item.contacts).sum()),
        open,
        open_items,
        bad_today: on_today(&days, |tally| tally.bad_imports),
        imports_today: on_today(&days, |tally| tally.imports),
        chart: chart(&days, today - DAYS + 1, today),
        programs: programs.collect(),
        may_make: data.may(Role::Admin),
        may_import: data.may(Role::Editor),
    };
    Ok(show(&overview))
}
